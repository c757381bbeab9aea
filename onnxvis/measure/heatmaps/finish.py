"""From a method's values to a map in 0–1 of the picture's size, and why a map is blank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

__all__ = ["blank_reason", "fused", "stretched", "unit", "upsample"]

Array = np.ndarray[Any, np.dtype[Any]]

_TINY = 1e-7


def unit(values: Array) -> Array:
    """(values − min) / (1e-7 + max of that), in 0–1."""
    shifted = values - values.min()
    return np.asarray(shifted / (_TINY + shifted.max()))


def stretched(values: Array) -> Array:
    """`unit` of values whose largest magnitude was made 1 first: a map of tiny gradients does not fade."""
    return unit(values / (np.abs(values).max() or 1))


def upsample(values: Array, size: Sequence[int]) -> Array:
    """`values` (h, w) at `size` (H, W), bilinear with pixel centres at halves: OpenCV's INTER_LINEAR."""
    height, width = size
    return np.asarray(cv2.resize(values.astype(np.float64), (width, height), interpolation=cv2.INTER_LINEAR))


def fused(maps: Sequence[Array], size: Sequence[int], *, rectified: bool) -> Array:
    """Maps (h, w) of several layers as one of `size`: each cut off at 0 where `rectified`, to 0–1, upsampled; their
    mean, to 0–1 again. As pytorch-grad-cam does it. (H, W) float32.
    """
    large = [upsample(stretched(np.maximum(item, 0) if rectified else item), size) for item in maps]
    return unit(np.mean(large, axis=0)).astype(np.float32)


def blank_reason(values: Array, gradient: Array | None, *, rectified: bool) -> str:
    """Why a map of `values` shows nothing, given the `gradient` it was made of; '' where it shows something."""
    if not np.isfinite(values).all():
        where = "gradient" if gradient is not None and not np.isfinite(gradient).all() else "layer"
        return f"the map is blank: the {where} holds NaN or infinite values"
    if gradient is not None and not gradient.any():
        return "the map is blank: the gradient is zero, as where the target sits after a unit that is saturated or off"
    if rectified and values.max() <= 0:
        what = "every value was negative" if values.max() < 0 else "no value was positive"
        return f"the map is blank: {what} before the relu"
    if values.size and values.min() == values.max():
        return "the map is blank: it has the same value everywhere"
    return ""
