"""Boxes and scores in the graph against a slow loop over cells."""

from __future__ import annotations

import math

import numpy as np
import pytest

from onnxvis.models.darknet.build import build
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.layers import Yolo
from onnxvis.models.darknet.plan import Plan
from tests.models.darknet.cfgs import Array, plan_of, run

HEADS = {
    "plain": "",
    "scaled": "scale_x_y=1.2",
    "new coordinates": "scale_x_y=2.0 new_coords=1",
}


def two_heads(extra: str, activation: str) -> Plan:
    yolo = f"anchors=10,13,16,30,33,23,30,61,62,45 num=5 classes=3 {extra}"
    return plan_of(
        "convolutional batch_normalize=1 filters=8 size=3 stride=4 pad=1 activation=leaky",
        f"convolutional filters=16 activation={activation}", f"yolo mask=3,4 {yolo}", "route layers=0",
        "upsample stride=2", f"convolutional filters=24 activation={activation}", f"yolo mask=0,2,1 {yolo}",
        net="width=24 height=16 channels=3",
    )  # fmt: skip


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def decoded(raw: Array, what: Yolo, stride: int) -> tuple[list[list[float]], list[list[float]]]:
    """Corners and scores of one head (A · (5 + C), H, W)."""
    boxes, scores = [], []
    gate = (lambda x: float(x)) if what.new_coords else sigmoid
    for a, anchor in enumerate(what.anchors):
        for row in range(raw.shape[1]):
            for column in range(raw.shape[2]):
                x, y, w, h, objectness, *classes = map(float, raw[a * 8 : (a + 1) * 8, row, column])
                bias = (what.scale_xy - 1) / 2
                cx = (gate(x) * what.scale_xy - bias + column) * stride
                cy = (gate(y) * what.scale_xy - bias + row) * stride
                sides = [
                    ((2 * value) ** 2 if what.new_coords else math.exp(value)) * side
                    for value, side in zip((w, h), anchor, strict=True)
                ]
                boxes.append([cx - sides[0] / 2, cy - sides[1] / 2, cx + sides[0] / 2, cy + sides[1] / 2])
                scores.append([gate(objectness) * gate(value) for value in classes])
    return boxes, scores


@pytest.mark.parametrize("name", HEADS)
def test_boxes_and_scores_equal_a_loop_over_cells(name: str) -> None:
    plan = two_heads(HEADS[name], "logistic" if "new_coords" in HEADS[name] else "linear")
    picture = np.random.default_rng(1).standard_normal((2, *plan.picture), np.float32)
    found = run(build(plan, DrawnWeights(plan, 4), decoded=True), picture)
    assert list(found) == ["head4x6", "head8x12", "boxes", "scores"]
    for index in range(2):
        boxes, scores = [], []
        for head, output, stride in zip(plan.heads, ("head4x6", "head8x12"), (4, 2), strict=True):
            assert isinstance(head.what, Yolo)
            more = decoded(found[output][index], head.what, stride)
            boxes += more[0]
            scores += more[1]
        np.testing.assert_allclose(found["boxes"][index], boxes, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found["scores"][index], scores, rtol=1e-5, atol=1e-6)
        assert np.ptp(scores) > 0.1


def test_raw_heads_are_the_same_with_and_without_decoding() -> None:
    plan = two_heads("", "linear")
    picture = np.random.default_rng(1).random((1, *plan.picture), np.float32)
    plain = run(build(plan, DrawnWeights(plan, 4)), picture)
    also = run(build(plan, DrawnWeights(plan, 4), decoded=True), picture)
    for name, value in plain.items():
        np.testing.assert_array_equal(also[name], value)
