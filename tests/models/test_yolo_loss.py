"""The detector's loss, against a slow loop over boxes and cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from onnxvis.models.precision import box_iou

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[test,torch]'")

from onnxvis.models.yolo_loss import decode, generalized_iou, yolo_loss  # noqa: E402

ANCHORS = [[(20.0, 16.0), (30.0, 34.0)], [(8.0, 8.0), (12.0, 10.0)]]
STRIDES = (16, 8)
CLASSES = 3


def heads(seed: int) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 2 * (5 + CLASSES), side, side, generator=generator).double() for side in (4, 8)]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def entropy(logit: float, wanted: float) -> float:
    chance = sigmoid(logit)
    return -(wanted * math.log(chance) + (1 - wanted) * math.log(1 - chance))


def box_at(head: Any, picture: int, anchor: int, row: int, column: int, level: int) -> list[float]:
    x, y, w, h = (float(head[picture, anchor * (5 + CLASSES) + k, row, column]) for k in range(4))
    centre = ((sigmoid(x) + column) * STRIDES[level], (sigmoid(y) + row) * STRIDES[level])
    half = (math.exp(w) * ANCHORS[level][anchor][0] / 2, math.exp(h) * ANCHORS[level][anchor][1] / 2)
    return [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]


def giou(one: list[float], other: list[float]) -> float:
    iou = float(box_iou(np.array([one]), np.array([other]))[0, 0])
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    union = areas / (1 + iou)
    around = (max(one[2], other[2]) - min(one[0], other[0])) * (max(one[3], other[3]) - min(one[1], other[1]))
    return iou - (around - union) / around


def same_shape(one: tuple[float, float], other: tuple[float, float]) -> float:
    shared = min(one[0], other[0]) * min(one[1], other[1])
    return shared / (one[0] * one[1] + other[0] * other[1] - shared)


def slow_loss(outputs: list[Any], truth: list[list[float]]) -> tuple[float, float, float]:
    box = kind = 0.0
    positive: set[tuple[int, int, int, int, int]] = set()
    count = 0
    for picture, x0, y0, x1, y1, label in truth:
        shapes = {(level, a): same_shape((x1 - x0, y1 - y0), ANCHORS[level][a]) for level in (0, 1) for a in (0, 1)}
        best = max(shapes, key=lambda key: shapes[key])
        for level, a in {best, *(key for key, iou in shapes.items() if iou > 0.6)}:
            row, column = int((y0 + y1) / 2 / STRIDES[level]), int((x0 + x1) / 2 / STRIDES[level])
            place = (level, int(picture), a, row, column)
            positive.add(place)
            count += 1
            box += 1 - giou(box_at(outputs[level], int(picture), a, row, column, level), [x0, y0, x1, y1])
            values = outputs[level][int(picture), a * (5 + CLASSES) + 5 : (a + 1) * (5 + CLASSES), row, column]
            kind += sum(entropy(float(value), float(k == label)) for k, value in enumerate(values))
    there = 0.0
    for level, head in enumerate(outputs):
        side = head.shape[-1]
        for picture, a, row, column in np.ndindex(2, 2, side, side):
            logit = float(head[picture, a * (5 + CLASSES) + 4, row, column])
            found = (level, picture, a, row, column) in positive
            ours = box_at(head, picture, a, row, column, level)
            met = any(box_iou(np.array([ours]), np.array([t[1:5]]))[0, 0] > 0.6 for t in truth if t[0] == picture)
            if found or not met:
                there += entropy(logit, float(found))
    return 2 * box / count, there / count, kind / count


TRUTH: list[list[float]] = [
    [0, 3, 5, 24, 22, 1],
    [0, 40, 41, 49, 50, 0],
    [1, 10, 10, 41, 44, 2],
    [1, 30.5, 6, 42, 17, 2],
]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_loss_is_the_sum_over_boxes_and_cells(seed: int) -> None:
    outputs = heads(seed)
    losses = yolo_loss(outputs, torch.tensor(ANCHORS).double(), STRIDES, torch.tensor(TRUTH).double())
    box, there, kind = slow_loss(outputs, TRUTH)
    assert float(losses.box) == pytest.approx(box)
    assert float(losses.objectness) == pytest.approx(there)
    assert float(losses.label) == pytest.approx(kind)
    assert float(losses.total) == pytest.approx(box + there + kind)


def test_a_prediction_that_meets_a_true_box_is_not_told_that_it_is_empty() -> None:
    """The finer head predicts, one cell away from the true box's own, the very box."""
    outputs = [torch.full((2, 2 * (5 + CLASSES), side, side), -8.0).double() for side in (4, 8)]
    truth = [[0.0, 4.1, 8, 12.1, 16, 1]]
    outputs[1][0, 0:4, 1, 0] = torch.tensor([8.0, 0.0, 0.0, 0.0])
    outputs[1][0, 4, 1, 0] = 3.0
    losses = yolo_loss(outputs, torch.tensor(ANCHORS).double(), STRIDES, torch.tensor(truth).double())
    assert float(losses.objectness) == pytest.approx(slow_loss(outputs, truth)[1])
    outputs[1][0, 4, 1, 0] = -3.0
    again = yolo_loss(outputs, torch.tensor(ANCHORS).double(), STRIDES, torch.tensor(truth).double())
    assert float(again.objectness) == pytest.approx(float(losses.objectness))


def test_a_batch_with_nothing_in_it_has_only_objectness() -> None:
    outputs = heads(4)
    losses = yolo_loss(outputs, torch.tensor(ANCHORS).double(), STRIDES, torch.zeros(0, 6).double())
    every = sum(entropy(float(v), 0.0) for head in outputs for v in head.view(2, 2, 8, -1)[:, :, 4].flatten())
    assert float(losses.total) == pytest.approx(every)


def test_boxes_are_decoded_cell_by_cell() -> None:
    head = heads(5)[0]
    corners, raw = decode(head, torch.tensor(ANCHORS[0]).double(), 16)
    for picture, a, row, column in np.ndindex(2, 2, 4, 4):
        expected = box_at(head, picture, a, row, column, 0)
        assert corners[picture, a, row, column].tolist() == pytest.approx(expected)
    assert torch.equal(raw[1, 1, 2, 3], head[1, 8:16, 2, 3])


def test_the_generalized_iou_of_boxes_apart_is_negative() -> None:
    one = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    other = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]])
    assert generalized_iou(one, other).tolist() == pytest.approx([1.0, -1 / 3])
