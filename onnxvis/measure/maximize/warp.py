"""A picture moved, scaled and turned a little, at random, and the exact adjoint of that.

What a unit answers to only at one place and size is noise for people: a picture that must excite it wherever it is
moved holds none (Olah, Mordvintsev and Schubert, 2017: transformation robustness).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Warp", "Wobble"]

Array = np.ndarray[Any, np.dtype[Any]]

_OUTSIDE = 0.5


@dataclass(frozen=True)
class Wobble:
    """How far pictures are moved: up to `jitter` pixels each way, scaled by 1 − `scale` to 1 + `scale`, turned by up to
    `rotate` degrees each way. All evenly spread; all zero: not at all.
    """

    jitter: float = 8.0
    scale: float = 0.1
    rotate: float = 10.0

    def draw(self, random: np.random.Generator, size: tuple[int, int]) -> Warp | None:
        """A warp of pictures of `size` (H, W); None where nothing would move."""
        if not (self.jitter or self.scale or self.rotate):
            return None
        down, right, size_by, turn = random.uniform(-1, 1, 4)
        return Warp(size, (self.jitter * down, self.jitter * right), 1 + self.scale * size_by, self.rotate * turn)


class Warp:
    """Pictures (C, H, W) enlarged by `factor` and turned by `degrees` (anticlockwise) about the middle, then shifted.

    `shift`: (down, right) in pixels. Values lie at pixels' centres and are interpolated bilinearly; outside is 0.5.
    """

    def __init__(self, size: tuple[int, int], shift: tuple[float, float], factor: float, degrees: float) -> None:
        height, width = size
        self._size = size
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
        middle = (height - 1) / 2, (width - 1) / 2
        down, right = rows - middle[0] - shift[0], columns - middle[1] - shift[1]
        cos, sin = math.cos(math.radians(degrees)) / factor, math.sin(math.radians(degrees)) / factor
        y, x = middle[0] + cos * down + sin * right, middle[1] - sin * down + cos * right
        top, left = np.floor(y), np.floor(x)
        below, beside = y - top, x - left
        self._places, self._weights = [], []
        for row, weight in ((top, 1 - below), (top + 1, below)):
            for column, share in ((left, 1 - beside), (left + 1, beside)):
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                place = np.where(inside, row * width + column, 0).astype(np.intp)
                self._places.append(place.reshape(-1))
                self._weights.append(np.where(inside, weight * share, 0).reshape(-1))

    def apply(self, picture: Array) -> Array:
        """The picture (C, H, W) warped."""
        flat = (picture - _OUTSIDE).reshape(len(picture), -1)
        moved = np.zeros(flat.shape)
        for place, weight in zip(self._places, self._weights, strict=True):
            moved += flat.take(place, axis=1) * weight
        return (moved + _OUTSIDE).reshape(picture.shape)

    def adjoint(self, gradient: Array) -> Array:
        """From a gradient by the warped picture (C, H, W) to that by the picture."""
        back = np.zeros((len(gradient), math.prod(self._size)))
        for into, given in zip(back, gradient.reshape(len(gradient), -1), strict=True):
            for place, weight in zip(self._places, self._weights, strict=True):
                into += np.bincount(place, given * weight, into.size)
        return back.reshape(gradient.shape)
