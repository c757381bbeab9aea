"""What is told of a detector's heads beside the model: the anchors of raw heads, the number of classes, the kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxvis.errors import UsageError
from onnxvis.files import one_line

__all__ = ["KINDS", "NO_FLAGS", "DetectorFlags"]

KINDS = ("auto", "none", "yolov3", "yolov5", "yolov8")
"""What the outputs may be taken for; 'auto' is what they look like, 'none' leaves them raw."""

_MOST_ANCHORS, _LARGEST = 256, 1e6


@dataclass(frozen=True)
class DetectorFlags:
    """`anchors`: (width, height) in pixels of the input, smallest first as in Darknet's cfg; the finest grid gets the
    first. `classes`: how many a box has, None for what the outputs leave. `scale_xy`: how far a centre may leave its
    cell (Darknet's scale_x_y). `kind`: one of `KINDS`.
    """

    anchors: tuple[tuple[float, float], ...] = ()
    classes: int | None = None
    scale_xy: float = 1.0
    kind: str = "auto"

    @classmethod
    def parse(cls, *, anchors: str | None = None, kind: str = "auto", scale_xy: float = 1.0) -> DetectorFlags:
        """The flags from texts: `anchors` as '10,13,16,30,…'. Raises UsageError."""
        if kind not in KINDS:
            raise UsageError(f"--detector must be one of {', '.join(KINDS)}, not '{one_line(kind)}'")
        if not 0 < scale_xy <= 10:
            raise UsageError(f"--scale-xy {scale_xy:g} is not in 0–10; Darknet's scale_x_y is between 1 and 2")
        return cls(_pairs(anchors) if anchors is not None else (), None, scale_xy, kind)


def _pairs(text: str) -> tuple[tuple[float, float], ...]:
    wrong = f"--anchors '{one_line(text, 60)}' must be width,height,width,height,… in pixels of the input, all above 0"
    words = text.split(",", 2 * _MOST_ANCHORS)
    try:
        sides = [float(word) for word in words]
    except ValueError as error:
        raise UsageError(wrong) from error
    if len(sides) % 2 or len(sides) > 2 * _MOST_ANCHORS or not all(_is_side(side) for side in sides):
        raise UsageError(wrong)
    return tuple(zip(sides[::2], sides[1::2], strict=True))


def _is_side(value: float) -> bool:
    return math.isfinite(value) and 0 < value <= _LARGEST


NO_FLAGS = DetectorFlags()
"""Nothing is told: the outputs are what they look like."""
