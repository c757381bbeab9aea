from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.errors import InputError
from onnxvis.measure.boxes.declared import declared_heads
from onnxvis.measure.boxes.heads import Head, Heads
from tests.measure.boxes.yolo import ANCHORS, declared

SHAPES = {"head8": (1, 16, 8, 8), "head16": (1, 16, 4, 4)}
SIZE = (64, 64)


def read(content: Any) -> Heads:
    return declared_heads(content if isinstance(content, str) else json.dumps(content), SHAPES, SIZE)


def test_what_is_declared_is_taken() -> None:
    assert read(declared()) == Heads(
        "YOLOv3 heads",
        3,
        (
            Head("head8", 8, 8, 8, 2, "channels", anchors=ANCHORS[:2]),
            Head("head16", 16, 4, 4, 2, "channels", anchors=ANCHORS[2:]),
        ),
        objectness=True,
    )


def test_new_coordinates_and_scale() -> None:
    content = declared()
    content["heads"][1] |= {"scale_xy": 2.0, "new_coords": True}
    plain, scaled = read(content).heads
    assert (plain.scale_xy, plain.activated, plain.squared) == (1.0, False, False)
    assert (scaled.scale_xy, scaled.activated, scaled.squared) == (2.0, True, True)


HEAD = declared()["heads"][0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("[]", "must hold a JSON object"),
        ('"' + "x" * (2 << 20) + '"', "is longer than"),
        (declared(kind="ssd"), "'kind' must be 'yolo', not 'ssd'"),
        (declared(kind=3), "'kind' must be text"),
        (declared(classes=0), "'classes' must be a whole number in 1"),
        (declared(classes=10**30), "'classes' must be a whole number in 1"),
        (declared(classes=True), "'classes' must be a whole number"),
        (declared(classes=4), r"should be \[18, 8, 8\] without the batch"),
        (declared(heads=[]), "'heads' must be a list of 1 to 64 heads"),
        (declared(heads={}), "'heads' must be a list of 1 to 64 heads"),
        (declared(heads=[HEAD] * 65), "'heads' must be a list of 1 to 64 heads"),
        (declared(heads=[7]), r"heads\[0\] must be an object, not int"),
        (declared(heads=[HEAD, HEAD]), "heads name an output twice"),
        (declared(heads=[HEAD | {"output": "x\n"}]), r"'output' must be an output with numbers: head8, head16"),
        (declared(heads=[HEAD | {"output": None}]), r"'output' must be an output with numbers"),
        (declared(heads=[HEAD | {"stride": 0}]), "'stride' must be the pixels"),
        (declared(heads=[HEAD | {"stride": 7}]), "should be"),
        (declared(heads=[HEAD | {"stride": 16}]), "should be"),
        (declared(heads=[HEAD | {"anchors": []}]), "'anchors' must be a list of 1 to 64 pairs"),
        (declared(heads=[HEAD | {"anchors": [[1, 2]] * 65}]), "'anchors' must be a list of 1 to 64 pairs"),
        (declared(heads=[HEAD | {"anchors": [[1, 2], [1]]}]), "'anchors' must be a list"),
        (declared(heads=[HEAD | {"anchors": [[1, 2], [1, 0]]}]), "'anchors' must be a list"),
        (declared(heads=[HEAD | {"anchors": [[1, 2], [1, float("nan")]]}]), "'anchors' must be a list"),
        (declared(heads=[HEAD | {"anchors": [[1, 2], [1, 1e400]]}]), "'anchors' must be a list"),
        (declared(heads=[HEAD | {"anchors": [[1, 2]]}]), "should be"),
        (declared(heads=[HEAD | {"scale_xy": -1}]), "'scale_xy' must be a number in 0–10"),
        (declared(heads=[HEAD | {"new_coords": 1}]), "'new_coords' must be true or false"),
    ],
)
def test_what_is_wrong_is_refused_by_name(content: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        read(content)
    assert str(caught.value).startswith("metadata onnxvis.detector")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(["output", "stride", "anchors", "scale_xy", "new_coords"])


@given(
    top=st.dictionaries(st.sampled_from(["kind", "classes", "heads"]), values, max_size=2),
    of_head=st.dictionaries(keys, values, max_size=2),
)
def test_hostile_metadata_is_an_error_or_fits_the_outputs(top: dict[str, Any], of_head: dict[str, Any]) -> None:
    content = declared(**top)
    if "heads" not in top:
        content["heads"][1] |= of_head
    try:
        found = read(content)
    except InputError:
        return
    for head in found.heads:
        wanted = (1, head.boxes * (5 + found.classes), head.rows, head.columns)
        assert SHAPES[head.output] == wanted
        assert len(head.anchors) == head.boxes
        assert head.rows * head.stride == 64
