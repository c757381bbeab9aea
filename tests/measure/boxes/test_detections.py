from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.errors import UsageError
from onnxvis.measure.boxes.detections import Box, Detections, detect, why_raw
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from tests.measure.boxes.yolo import (
    ANCHORS,
    CLASSES,
    FLAGS,
    columns,
    declared,
    opened,
    outputs_of,
    picture,
    raw,
    rows,
    sigmoid,
    with_metadata,
)
from tests.tiny import Array

FEEDS = picture()
OUTPUTS = outputs_of(raw(), FEEDS)


def found(outputs: dict[str, Array] | None = None, flags: DetectorFlags = FLAGS, **told: Any) -> Detections:
    result = detect(opened(raw()), FEEDS, outputs or OUTPUTS, flags, **told)
    assert result is not None
    return result


def slow(outputs: dict[str, Array], least: float) -> list[Box]:
    """Darknet's decoding, cell by cell; strongest first."""
    boxes = []
    for stride, anchors in ((8, ANCHORS[:2]), (16, ANCHORS[2:])):
        values = outputs[f"head{stride}"][0]
        for anchor, (width, height) in enumerate(anchors):
            for row in range(values.shape[1]):
                for column in range(values.shape[2]):
                    x, y, w, h, objectness, *classes = map(float, values[anchor * 8 : anchor * 8 + 8, row, column])
                    centre = (column + sigmoid(x)) * stride, (row + sigmoid(y)) * stride
                    half = math.exp(w) * width / 2, math.exp(h) * height / 2
                    score = sigmoid(objectness) * sigmoid(max(classes))
                    if score >= least:
                        boxes.append(Box(
                            centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1],
                            classes.index(max(classes)), score, f"head{stride}", row, column, anchor, stride,
                        ))  # fmt: skip
    return sorted(boxes, key=lambda box: -box.score)


def overlap(one: Box, other: Box) -> float:
    width, height = min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0)
    common = max(width, 0) * max(height, 0)
    areas = [(box.x1 - box.x0) * (box.y1 - box.y0) for box in (one, other)]
    return common / (sum(areas) - common)


def test_the_boxes_are_those_of_a_slow_decoder() -> None:
    every, kept = slow(OUTPUTS, 0.1), list[Box]()
    for box in every:
        if all(overlap(box, other) <= 0.3 for other in kept if other.label == box.label):
            kept.append(box)
    result = found(least_score=0.1, overlap=0.3)
    assert (result.kind, result.classes, result.found) == ("YOLOv3 heads", CLASSES, len(every))
    assert (result.least_score, result.overlap) == (0.1, 0.3)
    assert len(kept) < len(every)
    assert len(result.boxes) == min(100, len(kept))
    for box, wanted in zip(result.boxes, kept, strict=False):
        assert list(vars(box).values())[6:] == list(vars(wanted).values())[6:]
        assert box.label == wanted.label
        ours, theirs = ((one.x0, one.y0, one.x1, one.y1, one.score) for one in (box, wanted))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_metadata_tells_what_the_flags_tell() -> None:
    proto = with_metadata(raw(), onnxvis__detector=json.dumps(declared(boxes="boxes", scores="scores")))
    assert detect(opened(proto), FEEDS, OUTPUTS) == found()


@pytest.mark.parametrize(("proto", "kind"), [(rows(), "YOLOv5 rows"), (columns(), "YOLOv8 columns")])
def test_decoded_outputs_say_where_a_box_was_predicted(proto: Any, kind: str) -> None:
    """Every line of the output is some box, and the place of a box leads back to its line."""
    outputs = outputs_of(proto, FEEDS)
    result = detect(opened(proto), FEEDS, outputs, least_score=0.0, overlap=1.0, most=1000)
    assert result is not None
    assert result.kind == kind
    ((name, values),) = outputs.items()
    lines = values[0] if kind == "YOLOv5 rows" else values[0].T
    assert len(result.boxes) == len(lines)
    anchors = 3 if kind == "YOLOv5 rows" else 1
    for box in result.boxes:
        before = sum((64 // stride) ** 2 * anchors for stride in (8, 16, 32) if stride < box.stride)
        side = 64 // box.stride
        line = lines[before + (box.anchor * side + box.row) * side + box.column]
        x, y, w, h = map(float, line[:4])
        np.testing.assert_allclose(
            (box.x0, box.y0, box.x1, box.y1), (x - w / 2, y - h / 2, x + w / 2, y + h / 2), rtol=1e-5, atol=1e-5
        )
        scores = line[5:] * line[4] if anchors == 3 else line[4:]
        assert box.score == pytest.approx(scores.max(), rel=1e-6)
        assert (box.label, box.output) == (scores.argmax(), name)


def test_the_first_picture_of_the_batch_counts() -> None:
    twice = {name: np.concatenate([value, value[::-1] * 3]) for name, value in OUTPUTS.items()}
    assert found(twice).boxes == found().boxes


def test_broken_numbers_are_told() -> None:
    values = OUTPUTS["head8"].copy()
    values[0, 0, 3, 4] = np.nan  # x of one box
    values[0, 8 + 2, 1, 1] = 3e38  # the width of another
    result = found({**OUTPUTS, "head8": values}, least_score=0, overlap=1, most=1000)
    assert "2 boxes hold NaN, infinite numbers or a side below 0 and are left out" in result.notes
    assert result.found == 2 * (64 + 16) - 2
    assert all(math.isfinite(side) for box in result.boxes for side in (box.x0, box.y0, box.x1, box.y1, box.score))


def test_the_strongest_are_kept_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = found(least_score=0.05, overlap=1.0, most=1000)
    monkeypatch.setattr("onnxvis.measure.boxes.detections._MOST_CANDIDATES", 20)
    few = found(least_score=0.05, overlap=1.0, most=7)
    assert few.boxes == whole.boxes[:7]
    assert few.found == whole.found > 20
    assert few.notes == (
        f"of {whole.found} boxes of a score of 0.05 the strongest 20 are looked at",
        "of 20 boxes the strongest 7 are kept",
    )


def test_without_boxes_there_is_an_empty_list() -> None:
    result = found(least_score=1.0)
    assert (result.boxes, result.found, result.notes) == ((), 0, ())


def test_what_is_no_detector_has_none_and_a_reason() -> None:
    assert detect(opened(raw()), FEEDS, {"y": np.zeros((1, 10), np.float32)}) is None
    assert detect(opened(raw()), FEEDS, OUTPUTS, DetectorFlags(ANCHORS[:3])) is None
    assert "3 anchors cannot be dealt" in why_raw(opened(raw()), FEEDS, OUTPUTS, DetectorFlags(ANCHORS[:3]))
    assert why_raw(opened(raw()), FEEDS, OUTPUTS, FLAGS) == ""
    assert detect(opened(raw()), FEEDS, OUTPUTS, DetectorFlags(ANCHORS, kind="none")) is None


@pytest.mark.parametrize("told", [{"least_score": -1}, {"least_score": math.nan}, {"overlap": 2}, {"most": 0}])
def test_numbers_out_of_their_ranges_are_refused(told: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be in 0–1"):
        found(**told)


HOSTILE: list[Any] = [0, 1, -1, 8, 16, 0.5, 1e-300, 1e300, math.inf, math.nan, True, None, "8", 10**400, [], {}]
numbers = st.sampled_from(HOSTILE)


@given(
    classes=numbers | st.just(3),
    heads=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "output": st.sampled_from(["head8", "head16", "nothing", 3]),
                "stride": st.sampled_from([8, 16]) | numbers,
                "anchors": st.lists(st.lists(numbers, min_size=1, max_size=3), max_size=3)
                | st.just([[5, 6], [1e-300, 1e6]]),
                "scale_xy": numbers,
                "new_coords": st.booleans() | numbers,
            },
        ),
        max_size=3,
    ),
    values=st.sampled_from([0.0, 1e38, -1e38, math.inf, -math.inf, math.nan]),
)
def test_hostile_metadata_and_values_give_boxes_or_a_reason(classes: Any, heads: list[Any], values: float) -> None:
    text = json.dumps({"kind": "yolo", "classes": classes, "heads": heads})
    model = opened(with_metadata(raw(), onnxvis__detector=text))
    outputs = {**OUTPUTS, "head8": np.full_like(OUTPUTS["head8"], values)}
    result = detect(model, FEEDS, outputs, NO_FLAGS)
    if result is None:
        assert why_raw(model, FEEDS, outputs, NO_FLAGS).startswith("metadata onnxvis.detector")
    else:
        assert all(0 <= box.score <= 1 and math.isfinite(box.x0 + box.x1) for box in result.boxes)
