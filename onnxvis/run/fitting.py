"""Where a picture lands on the canvas that a model takes: stretch, crop or letterbox, and the resizing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from onnxvis.errors import InputError

__all__ = ["PAD", "Fit", "Interpolation", "Placement", "fit_picture", "place", "resize"]

Fit = Literal["stretch", "crop", "letterbox"]
Interpolation = Literal["nearest", "linear", "cubic", "area"]

PAD = 114
"""The grey around a letterboxed picture, as YOLO's trainers use it."""

_MAX_RESIZED = 1 << 28
_CV2 = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


@dataclass(frozen=True)
class Placement:
    """The picture resized to `resized` (height, width) with its corner at row `top`, column `left` of a `size` canvas.

    Negative corners mean that the picture was cropped. Pixel (y, x) of the canvas shows the point
    ((y + 0.5 − top) · H / resized_H, (x + 0.5 − left) · W / resized_W) of the H × W original.
    """

    resized: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]


def place(original: tuple[int, int], size: tuple[int, int] | None, fit: Fit, shorter: int | None = None) -> Placement:
    """Where a picture of `original` (height, width) lies on a canvas of `size`, or of its own size where that is None.

    - stretch: resized to the canvas, whatever the proportions.
    - crop: the shorter side resized to `shorter` (the longer one floor(shorter · long / short), as torchvision's
      Resize), or as much more as covers the canvas; then the centre, from round((resized − size) / 2).
    - letterbox: the largest size that fits inside with the proportions kept, centred; odd pixels go to the bottom and
      right, as Ultralytics' LetterBox.

    Without a size, `crop` with `shorter` resizes only, and everything else keeps the picture as it is.
    """
    height, width = original
    if size is None:
        resized = _shorter_side(original, shorter) if fit == "crop" and shorter else original
        return Placement(resized, 0, 0, resized)
    if fit == "stretch":
        return Placement(size, 0, 0, size)
    if fit == "letterbox":
        ratio = min(size[0] / height, size[1] / width)
        resized = min(max(1, round(height * ratio)), size[0]), min(max(1, round(width * ratio)), size[1])
        top, left = (round((size[axis] - resized[axis]) / 2 - 0.1) for axis in (0, 1))
        return Placement(resized, top, left, size)
    resized = _shorter_side(original, shorter) if shorter else (0, 0)
    if resized[0] < size[0] or resized[1] < size[1]:
        ratio = max(size[0] / height, size[1] / width)
        resized = max(size[0], round(height * ratio)), max(size[1], round(width * ratio))
    top, left = (-round((resized[axis] - size[axis]) / 2) for axis in (0, 1))
    return Placement(resized, top, left, size)


def fit_picture(picture: np.ndarray, placement: Placement, interpolation: Interpolation) -> np.ndarray:
    """(H, W, C) uint8 → (size[0], size[1], C) uint8: resized, then cropped or set on grey (opaque in RGBA)."""
    resized = resize(picture, placement.resized, interpolation)
    if placement.resized == placement.size:
        return resized
    top, left, (height, width) = placement.top, placement.left, placement.size
    if resized.shape[0] >= height and resized.shape[1] >= width:
        return np.ascontiguousarray(resized[-top : height - top, -left : width - left])
    canvas = np.full((height, width, picture.shape[2]), PAD, np.uint8)
    canvas[..., 3:] = 255
    canvas[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
    return canvas


def resize(picture: np.ndarray, size: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """(H, W, C) uint8 → (size[0], size[1], C) uint8 with OpenCV's interpolation of that name, half-pixel centres.

    `area` averages boxes along an axis that shrinks, and is linear along one that grows: OpenCV's own area would then
    repeat pixels. `linear` and `cubic` do not smooth before shrinking. Raises InputError where the result would have
    more than 2^28 pixels (a very long, narrow picture).
    """
    if size == picture.shape[:2]:
        return picture
    if size[0] * size[1] > _MAX_RESIZED:
        raise InputError(
            f"a picture of {picture.shape[1]}x{picture.shape[0]} would have to be resized to {size[1]}x{size[0]}: "
            "take a smaller --size, or --fit stretch or letterbox"
        )
    if interpolation == "area":
        smaller = min(size[0], picture.shape[0]), min(size[1], picture.shape[1])
        return _cv2_resize(_cv2_resize(picture, smaller, cv2.INTER_AREA), size, cv2.INTER_LINEAR)
    return _cv2_resize(picture, size, _CV2[interpolation])


def _cv2_resize(picture: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if size == picture.shape[:2]:
        return picture
    resized = cv2.resize(np.ascontiguousarray(picture), size[::-1], interpolation=interpolation)
    return np.asarray(resized).reshape(*size, picture.shape[2])


def _shorter_side(original: tuple[int, int], shorter: int) -> tuple[int, int]:
    height, width = original
    if height <= width:
        return shorter, shorter * width // height
    return shorter * height // width, shorter
