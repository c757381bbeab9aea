from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from onnxvis.errors import UsageError
from onnxvis.measure.boxes.chosen import Chosen, choose, is_box
from onnxvis.measure.boxes.detections import detect
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from tests.measure.boxes.yolo import FLAGS, columns, opened, outputs_of, picture, raw, rows, sigmoid
from tests.tiny import Array

FEEDS = picture()
OUTPUTS = outputs_of(raw(), FEEDS)


def chosen(text: str, outputs: dict[str, Array] | None = None, flags: DetectorFlags = FLAGS) -> Chosen:
    return choose(opened(raw()), FEEDS, outputs or OUTPUTS, text, flags)


def of_class(label: int, row: int, column: int, stride: int, anchor: int) -> float:
    values = OUTPUTS[f"head{stride}"][0, anchor * 8 : anchor * 8 + 8, row, column]
    return sigmoid(float(values[4])) * sigmoid(float(values[5 + label]))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("box:0", True), ("box:12", True), ("class:17@3,4", True), ("class:0@0,0@head8", True),
     ("class:0@0,0@a:b@1", True),
     ("box", False), ("box:", False), ("box:-1", False), ("box:0,1", False), ("box:1234567890", False),
     ("class:1", False), ("class:1@2", False), ("class:1@2,3@", False), ("top", False), ("boxes:0", False)],
)  # fmt: skip
def test_how_a_box_is_named(text: str, wanted: bool) -> None:
    assert is_box(text) == wanted


@pytest.mark.parametrize("place", [0, 1, 5, 120])
def test_boxes_are_numbered_after_suppression(place: int) -> None:
    found = detect(opened(raw()), FEEDS, OUTPUTS, FLAGS, most=1000)
    assert found is not None
    one = chosen(f"box:{place}")
    assert one.box == found.boxes[place]
    assert one.notes == ()


def test_the_numbers_are_the_class_and_the_objectness() -> None:
    one = chosen("box:0")
    values = OUTPUTS[one.box.output][0]
    label, objectness = (float(values[number]) for number in one.numbers)
    assert sigmoid(label) * sigmoid(objectness) == pytest.approx(one.box.score, rel=1e-6)
    assert one.grid == values.shape[1:]
    assert one.raw


@pytest.mark.parametrize("proto", [rows(), columns()])
def test_the_numbers_of_decoded_outputs_are_scores(proto: ModelProto) -> None:
    model = opened(proto)
    outputs = outputs_of(model.proto, FEEDS)
    one = choose(model, FEEDS, outputs, "box:2")
    scores = [float(outputs[one.box.output][0][number]) for number in one.numbers]
    assert np.prod(scores) == pytest.approx(one.box.score, rel=1e-6)
    assert one.grid == (64 // one.box.stride, 64 // one.box.stride)
    assert not one.raw


def test_a_class_in_a_cell_is_sought_in_every_head_and_anchor() -> None:
    for label, row, column in ((0, 1, 2), (1, 3, 3), (2, 0, 0), (2, 2, 1)):
        scores = {(s, a): of_class(label, row, column, s, a) for s in (8, 16) for a in (0, 1)}
        box = chosen(f"class:{label}@{row},{column}").box
        assert (box.stride, box.anchor) == max(scores, key=scores.__getitem__)
        assert box.score == pytest.approx(max(scores.values()), rel=1e-6)
        assert (box.label, box.row, box.column) == (label, row, column)


@pytest.mark.parametrize("where", ["16", "head16"])
def test_a_head_may_be_named_or_its_stride(where: str) -> None:
    box = chosen(f"class:1@3,2@{where}").box
    assert (box.output, box.stride, box.row, box.column) == ("head16", 16, 3, 2)
    assert box.score == pytest.approx(max(of_class(1, 3, 2, 16, anchor) for anchor in (0, 1)), rel=1e-6)
    numbers = chosen(f"class:1@3,2@{where}").numbers
    assert numbers == ((box.anchor * 8 + 6, 3, 2), (box.anchor * 8 + 4, 3, 2))


def test_cells_that_only_the_finer_grid_has() -> None:
    assert chosen("class:0@7,7").box.stride == 8


def test_an_output_s_name_comes_before_a_stride() -> None:
    outputs = {"16": OUTPUTS["head8"], "b": OUTPUTS["head16"]}
    assert chosen("class:0@1,1@16", outputs).box.stride == 8
    assert chosen("class:0@1,1@8", {"a": OUTPUTS["head8"], "b": OUTPUTS["head16"]}).box.output == "a"


def test_where_no_box_is_sure_the_strongest_stands_for_it() -> None:
    doubtful = {name: value - 8 for name, value in OUTPUTS.items()}
    found = detect(opened(raw()), FEEDS, doubtful, FLAGS, least_score=0)
    assert found is not None
    one = chosen("box:0", doubtful)
    assert one.box.score == found.boxes[0].score < 0.05
    assert one.notes == ("no box reaches a score of 0.05: box:0 is the strongest candidate",)
    with pytest.raises(UsageError, match="found no box 1 in this picture; it found none"):
        chosen("box:1", doubtful)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("box:99999999", "found no box 99999999 in this picture; it found box:0 to box:"),
        ("class:3@0,0", "has no class 3: its boxes have 3, from 0"),
        ("class:0@8,0", "has no cell in row 8 and column 0; its grids have 8×8, 4×4"),
        ("class:0@5,0@16", "has no cell in row 5 and column 0; its grids have 4×4"),
        ("class:0@0,0@32", r"has no head '32'; it has head8 \(stride 8\), head16 \(stride 16\)"),
        ("class:0@0,0@\n\x1b", r"has no head '\\x0a\\x1b'"),
        ("3", "'3' is no box; give box:0 or class:"),
    ],
)
def test_what_is_not_there_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        chosen(text)


def test_no_heads_no_box() -> None:
    with pytest.raises(UsageError, match=r"no boxes in the outputs of case\.onnx: they look like no known detector"):
        chosen("box:0", {"y": np.zeros((1, 10, 4), np.float32)}, NO_FLAGS)
    with pytest.raises(UsageError, match="3 anchors cannot be dealt"):
        chosen("box:0", flags=DetectorFlags(FLAGS.anchors[:3]))


def test_nothing_but_nan_has_no_box() -> None:
    empty = {name: np.full_like(value, np.nan) for name, value in OUTPUTS.items()}
    with pytest.raises(UsageError, match="found no box 0 in this picture; it found none"):
        chosen("box:0", empty)
    with pytest.raises(UsageError, match="row 1 and column 1 hold NaN, infinite numbers or a side below 0"):
        chosen("class:0@1,1", empty)
