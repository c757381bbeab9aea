from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.measure.boxes.flags import DetectorFlags
from onnxvis.measure.boxes.heads import as_grid
from onnxvis.measure.boxes.recognise import recognise
from tests.measure.boxes.yolo import declared

NINE = tuple((float(10 * n), float(11 * n)) for n in range(1, 10))
Shape = tuple[int, ...]

YOLOV3: dict[str, Shape] = {"a": (1, 255, 13, 13), "b": (1, 255, 26, 26), "c": (1, 255, 52, 52)}
YOLOV5_RAW: dict[str, Shape] = {"a": (1, 3, 80, 80, 85), "b": (1, 3, 40, 40, 85), "c": (1, 3, 20, 20, 85)}


def known(shapes: Mapping[str, Shape], size: tuple[int, int] = (640, 640), **told: Any) -> tuple[str, int, list[int]]:
    """(kind, classes, strides) of what is recognised."""
    named = told.pop("named", None)
    metadata = told.pop("metadata", {})
    heads, reason = recognise(shapes, size, metadata, DetectorFlags(**told), named)
    if heads is None:
        return reason, 0, []
    return heads.kind, heads.classes, [head.stride for head in heads.heads]


def test_raw_heads_of_yolov3_share_the_anchors_out() -> None:
    heads, _ = recognise(YOLOV3, (416, 416), {}, DetectorFlags(NINE))
    assert heads is not None
    assert (heads.kind, heads.classes) == ("YOLOv3 heads", 80)
    found = [(head.output, head.stride, head.rows, head.anchors) for head in heads.heads]
    assert found == [("c", 8, 52, NINE[:3]), ("b", 16, 26, NINE[3:6]), ("a", 32, 13, NINE[6:])]


def test_raw_heads_of_other_spellings() -> None:
    last = {name: (1, shape[2], shape[3], shape[1]) for name, shape in YOLOV3.items()}
    assert known(last, (416, 416), anchors=NINE) == ("YOLOv3 heads", 80, [8, 16, 32])
    assert known({"a": (1, 255, 13, 13), "b": (1, 255, 26, 26)}, (416, 416), anchors=NINE[:6])[2] == [16, 32]
    wide = {"a": (2, 24, 2, 4), "b": (2, 24, 4, 8)}
    assert known(wide, (64, 128), anchors=NINE[:6]) == ("YOLOv3 heads", 3, [16, 32])
    four = {f"p{stride}": (1, 255, 640 // stride, 640 // stride) for stride in (8, 16, 32, 64)}
    assert known(four, anchors=NINE[:8] + NINE[:4]) == ("YOLOv3 heads", 80, [8, 16, 32, 64])
    assert known(YOLOV5_RAW, anchors=NINE) == ("YOLOv5 heads", 80, [8, 16, 32])
    assert known(YOLOV5_RAW, anchors=NINE, kind="yolov3")[0] == "YOLOv3 heads"
    assert known(YOLOV3, (416, 416), anchors=NINE, kind="yolov5")[0] == "YOLOv5 heads"


def test_without_anchors_raw_heads_stay_raw_and_say_so() -> None:
    for shapes, size in ((YOLOV3, (416, 416)), (YOLOV5_RAW, (640, 640))):
        heads, reason = recognise(shapes, size, {}, DetectorFlags())
        assert heads is None
        assert "look like raw heads of the YOLOv3 family; give --anchors" in reason


@pytest.mark.parametrize(("count", "classes"), [(5, None), (8, None), (2, None), (9, 79), (6, None)])
def test_anchors_that_do_not_fit_are_told(count: int, classes: int | None) -> None:
    heads, reason = recognise(YOLOV3, (416, 416), {}, DetectorFlags(NINE[:count], classes))
    assert heads is None
    assert f"{count} anchors cannot be dealt to outputs 'c', 'b', 'a' of 255 numbers" in reason


def test_decoded_rows_of_yolov5() -> None:
    assert known({"output": (1, 25200, 85)}) == ("YOLOv5 rows", 80, [8, 16, 32])
    assert known({"output": (4, 102000, 85)}, (1280, 1280)) == ("YOLOv5 rows", 80, [8, 16, 32, 64])
    assert known({"output": (1, 18900, 7)}, (480, 640)) == ("YOLOv5 rows", 2, [8, 16, 32])
    assert known({"output": (1, 25200, 85), **YOLOV5_RAW}) == ("YOLOv5 rows", 80, [8, 16, 32])
    heads, _ = recognise({"output": (1, 25200, 85)}, (640, 640), {}, DetectorFlags())
    assert heads is not None
    assert [(head.first, head.rows, head.boxes) for head in heads.heads] == [(0, 80, 3), (19200, 40, 3), (24000, 20, 3)]


def test_decoded_columns_of_yolov8() -> None:
    assert known({"output0": (1, 84, 8400)}) == ("YOLOv8 columns", 80, [8, 16, 32])
    assert known({"output0": (1, 5, 6300)}, (480, 640)) == ("YOLOv8 columns", 1, [8, 16, 32])
    assert known({"output0": (1, 84, 34000)}, (1280, 1280))[2] == [8, 16, 32, 64]
    assert known({"output0": (1, 84, 33600 + 400)}, (640, 640))[2] == [4, 8, 16, 32]


def test_masks_and_key_points_are_no_classes() -> None:
    masks = {"output0": (1, 116, 8400), "output1": (1, 32, 160, 160)}
    assert known(masks) == ("YOLOv8 columns", 80, [8, 16, 32])
    assert known({"output0": (1, 56, 8400)}, named=1) == ("YOLOv8 columns", 1, [8, 16, 32])
    assert known({"output0": (1, 25200, 117), "output1": (1, 32, 160, 160)}) == ("YOLOv5 rows", 80, [8, 16, 32])
    heads, _ = recognise(masks, (640, 640), {}, DetectorFlags())
    assert heads is not None
    assert heads.notes == ("32 more numbers of each box are no class scores and are not read",)
    assert known({"output0": (1, 84, 8400)}, named=1000)[1] == 80


def test_rows_without_objectness_need_to_be_told() -> None:
    """(N, P, V) is what YOLOX returns too, with an objectness and undecoded."""
    shapes = {"out": (1, 8400, 85)}
    assert "may hold boxes of YOLOv8 in rows, or of YOLOX; give --detector yolov8" in known(shapes)[0]
    assert known(shapes, named=81) == ("YOLOv8 rows", 81, [8, 16, 32])
    assert known({"out": (1, 8400, 84)}, kind="yolov8") == ("YOLOv8 rows", 80, [8, 16, 32])


OTHERS: dict[str, tuple[dict[str, Shape], tuple[int, int]]] = {
    "FastestDet": ({"758": (1, 85, 22, 22)}, (352, 352)),
    "BlazeFace": ({"a": (1, 512, 1), "b": (1, 384, 1), "c": (1, 512, 16), "d": (1, 384, 16)}, (128, 128)),
    "YuNet": (
        {f"{what}_{s}": (1, (640 // s) ** 2, n)
         for what, n in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)) for s in (8, 16, 32)},
        (640, 640),
    ),
    "SSD": ({"scores": (1, 3000, 2), "boxes": (1, 3000, 4)}, (300, 300)),
    "boxes and scores apart": ({"boxes": (1, 10647, 4), "scores": (1, 10647, 80)}, (416, 416)),
    "the same without anchors": ({"boxes": (1, 8400, 4), "scores": (1, 8400, 80)}, (640, 640)),
    "the same in columns": ({"boxes": (1, 4, 8400), "scores": (1, 80, 8400)}, (640, 640)),
    "a classifier": ({"scores": (1, 1000)}, (224, 224)),
    "segmentation": ({"out": (1, 21, 520, 520), "aux": (1, 21, 520, 520)}, (520, 520)),
    "boxes after suppression": ({"output0": (1, 300, 6)}, (640, 640)),
    "queries": ({"logits": (1, 100, 92), "pred_boxes": (1, 100, 4)}, (800, 800)),
    "one raw head": ({"a": (1, 255, 13, 13)}, (416, 416)),
    "two of a stride": ({"a": (1, 255, 13, 13), "b": (1, 255, 13, 13)}, (416, 416)),
    "a pyramid of features": ({"a": (1, 256, 80, 80), "b": (1, 256, 40, 40), "c": (1, 256, 20, 20)}, (640, 640)),
    "another size": ({"output0": (1, 84, 8400)}, (416, 416)),
    "nothing": ({}, (640, 640)),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_head_stays_raw(name: str) -> None:
    shapes, size = OTHERS[name]
    assert recognise(shapes, size, {}, DetectorFlags()) == (None, "")


def test_a_kind_that_is_asked_for_is_the_only_one() -> None:
    assert known({"output0": (1, 84, 8400)}, kind="none") == ("", 0, [])
    assert "no output has the shape of yolov5's heads at 640×640" in known({"output0": (1, 84, 8400)}, kind="yolov5")[0]
    assert "no output has the shape of yolov3's heads" in known({"output": (1, 25200, 85)}, kind="yolov3")[0]
    assert "no output has the shape of yolov8's heads" in known(YOLOV3, (416, 416), kind="yolov8", anchors=NINE)[0]


def test_metadata_comes_first_and_anchors_before_it() -> None:
    shapes = {"head8": (1, 16, 8, 8), "head16": (1, 16, 4, 4)}
    metadata = {"onnxvis.detector": json.dumps(declared())}
    assert known(shapes, (64, 64), metadata=metadata) == ("YOLOv3 heads", 3, [8, 16])
    heads, _ = recognise(shapes, (64, 64), metadata, DetectorFlags(NINE[:4]))
    assert heads is not None
    assert heads.heads[0].anchors == NINE[:2]
    wrong = {"onnxvis.detector": json.dumps(declared(classes=9))}
    assert "metadata onnxvis.detector" in known(shapes, (64, 64), metadata=wrong)[0]


sides = st.sampled_from([32, 64, 96, 128])
dims = st.lists(st.sampled_from([1, 2, 3, 4, 6, 7, 8, 12, 16, 18, 21, 24, 63, 84, 252, 336]), min_size=2, max_size=4)
exact = st.sampled_from(
    [(16, 8, 8), (16, 4, 4), (16, 2, 2), (8, 8, 16), (4, 4, 16), (2, 8, 8, 8), (2, 4, 4, 8), (252, 8), (7, 84), (84, 7)]
)
shape = dims.map(tuple) | exact


@given(
    shapes=st.dictionaries(st.sampled_from("abcd"), shape.map(lambda s: (1, *s)), max_size=4),
    size=st.tuples(sides, sides),
    anchors=st.integers(0, 6),
    kind=st.sampled_from(["auto", "yolov3", "yolov5", "yolov8"]),
    named=st.none() | st.integers(1, 30),
)
def test_what_is_recognised_covers_its_outputs(
    shapes: dict[str, Shape], size: tuple[int, int], anchors: int, kind: str, named: int | None
) -> None:
    heads, reason = recognise(shapes, size, {}, DetectorFlags(NINE[:anchors], kind=kind), named)
    if heads is None:
        assert reason.isprintable()
        return
    assert heads.classes >= 1
    found: dict[str, int] = {}
    for head in heads.heads:
        assert (head.rows * head.stride, head.columns * head.stride) == size
        numbers = as_grid(head, np.zeros(shapes[head.output][1:], np.int8))
        assert numbers.shape[:3] == (head.boxes, head.rows, head.columns)
        assert numbers.shape[3] >= heads.first_class + heads.classes
        assert len(head.anchors) in (0, head.boxes)
        found[head.output] = found.get(head.output, 0) + numbers.size
    assert found == {name: int(np.prod(shapes[name][1:])) for name in found}
