from __future__ import annotations

import pytest

from onnxvis.errors import UsageError
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags


def test_nothing_is_told_by_default() -> None:
    assert DetectorFlags.parse() == NO_FLAGS == DetectorFlags((), None, 1.0, "auto")


def test_anchors_are_pairs() -> None:
    found = DetectorFlags.parse(anchors="10,13, 16,30.5", kind="yolov3", scale_xy=1.05)
    assert found == DetectorFlags(((10.0, 13.0), (16.0, 30.5)), None, 1.05, "yolov3")


@pytest.mark.parametrize(
    "anchors", ["", "10", "10,13,16", "10,0", "10,-1", "10,nan", "10,inf", "10,1e7", "a,b", "1," * 5000 + "1", "\n\x1b"]
)
def test_anchors_that_are_none_are_refused(anchors: str) -> None:
    with pytest.raises(UsageError, match="must be width,height,width,height") as caught:
        DetectorFlags.parse(anchors=anchors)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_other_kinds_and_scales_are_refused() -> None:
    with pytest.raises(UsageError, match="--detector must be one of auto, none, yolov3, yolov5, yolov8, not 'ssd'"):
        DetectorFlags.parse(kind="ssd")
    for scale in (0.0, -1.0, 11.0, float("nan")):
        with pytest.raises(UsageError, match="--scale-xy"):
            DetectorFlags.parse(scale_xy=scale)
