from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from onnxvis.measure.boxes.decode import decode, out_of_range
from onnxvis.measure.boxes.heads import Form, Head, Heads
from tests.measure.boxes.yolo import sigmoid
from tests.tiny import Array

ROWS, COLUMNS, CLASSES, STRIDE = 3, 4, 2, 8
ANCHORS = ((5.0, 7.0), (20.0, 11.0))
HEAD = Head("y", STRIDE, ROWS, COLUMNS, 2, "channels", anchors=ANCHORS)
HEADS = Heads("YOLOv3 heads", CLASSES, (HEAD,), objectness=True)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 2, (1, *shape)).astype(np.float32)


@pytest.mark.parametrize(
    "head",
    [HEAD, replace(HEAD, scale_xy=1.2), replace(HEAD, scale_xy=2.0, squared=True),
     replace(HEAD, scale_xy=2.0, squared=True, activated=True)],
    ids=["YOLOv3", "YOLOv4", "YOLOv5", "new coordinates"],
)  # fmt: skip
def test_raw_heads_are_decoded_cell_by_cell(head: Head) -> None:
    output = numbers(2 * (5 + CLASSES), ROWS, COLUMNS)
    if head.activated:
        output = np.asarray(1 / (1 + np.exp(-output)))
    found = decode(HEADS, head, output)
    for box in range(2):
        for row in range(ROWS):
            for column in range(COLUMNS):
                raw = [float(output[0, box * (5 + CLASSES) + n, row, column]) for n in range(5 + CLASSES)]
                x, y, w, h, objectness, *classes = raw if head.activated else [sigmoid(value) for value in raw]
                centre_x = (x * head.scale_xy - (head.scale_xy - 1) / 2 + column) * STRIDE
                centre_y = (y * head.scale_xy - (head.scale_xy - 1) / 2 + row) * STRIDE
                width = ((2 * w) ** 2 if head.squared else math.exp(raw[2])) * ANCHORS[box][0]
                height = ((2 * h) ** 2 if head.squared else math.exp(raw[3])) * ANCHORS[box][1]
                wanted = [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
                np.testing.assert_allclose(found.corners[box, row, column], wanted, rtol=1e-9)
                np.testing.assert_allclose(
                    found.scores[box, row, column], [objectness * one for one in classes], rtol=1e-9
                )


@pytest.mark.parametrize(("form", "objectness"), [("rows", True), ("rows", False), ("columns", False)])
def test_decoded_outputs_are_read_line_by_line(form: Form, objectness: bool) -> None:
    boxes, first, more = 3 if objectness else 1, 5, 1
    head = Head("y", STRIDE, ROWS, COLUMNS, boxes, form, first)
    heads = Heads("", CLASSES, (head,), objectness)
    count = first + boxes * ROWS * COLUMNS + 2
    lines = np.abs(numbers(count, heads.first_class + CLASSES + more))
    found = decode(heads, head, lines if form == "rows" else lines.transpose(0, 2, 1))
    place = first
    for box in range(boxes):
        for row in range(ROWS):
            for column in range(COLUMNS):
                x, y, w, h, *rest = map(float, lines[0, place])
                scale = rest.pop(0) if objectness else 1.0
                wanted = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                np.testing.assert_allclose(found.corners[box, row, column], wanted, rtol=1e-12)
                scores = [scale * one for one in rest[:CLASSES]]
                np.testing.assert_allclose(found.scores[box, row, column], scores, rtol=1e-12)
                place += 1


def test_numbers_without_end_warn_of_nothing_and_stay() -> None:
    output = numbers(2 * (5 + CLASSES), ROWS, COLUMNS)
    output[0, :4, 0, 0] = [1e38, -1e38, 1e38, -1e38]
    output[0, 4:7, 0, 1] = [-np.inf, np.inf, np.nan]
    found = decode(HEADS, HEAD, output)
    assert np.isinf(found.corners[0, 0, 0, 0])
    assert found.corners[0, 0, 0, 1] == found.corners[0, 0, 0, 3] == 0  # no height, at the top of its cell
    assert found.scores[0, 0, 1, 0] == 0
    assert np.isnan(found.scores[0, 0, 1, 1])
    assert np.isfinite(found.corners[1]).all()


def test_half_precision_is_decoded_in_double() -> None:
    output = numbers(2 * (5 + CLASSES), ROWS, COLUMNS).astype(np.float16)
    single, half = decode(HEADS, HEAD, output.astype(np.float32)), decode(HEADS, HEAD, output)
    np.testing.assert_array_equal(single.corners, half.corners)


def test_scores_outside_0_to_1_are_none() -> None:
    head = Head("y\n", STRIDE, 1, 2, 1, "columns")
    heads = Heads("YOLOv8 columns", 2, (head,), objectness=False)
    values = np.array([[[9, 9], [9, 9], [1, 1], [1, 1], [0, 1.004], [0.5, np.nan]]], np.float32)
    assert out_of_range(heads, {"y\n": values}) == ""
    values[0, 5, 0] = -3.25
    assert "output 'y\\x0a' has the shape of YOLOv8 columns, but what should be scores goes from -3.25 to" in (
        out_of_range(heads, {"y\n": values})
    )
    raw = replace(head, anchors=ANCHORS[:1])
    assert out_of_range(Heads("", 2, (raw,), objectness=False), {"y\n": values}) == ""
