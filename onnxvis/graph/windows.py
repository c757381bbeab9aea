"""Which input positions each output position reads, along one axis, for every operator that moves positions.

A table of taps has shape (output positions, taps), int64; an entry outside [0, length) reads nothing (padding).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Taps", "pooled_count", "resized", "same_pads", "sliding", "transposed", "transposed_pads"]

Taps = np.ndarray[Any, np.dtype[np.int64]]
_Coordinates = np.ndarray[Any, np.dtype[np.float32]]

_CENTRED = frozenset({"half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"})


def sliding(count: int, kernel: int, stride: int, dilation: int, pad: int) -> Taps:
    """A convolution's or pool's windows: output o reads o · stride − pad + k · dilation for k in [0, kernel)."""
    return np.arange(count)[:, None] * stride - pad + np.arange(kernel)[None, :] * dilation


def transposed(count: int, kernel: int, stride: int, dilation: int, pad: int) -> Taps:
    """A transposed convolution's: output o reads i wherever i · stride − pad + k · dilation = o."""
    reached = np.arange(count)[:, None] + pad - np.arange(kernel)[None, :] * dilation
    return np.where(reached % stride == 0, reached // stride, -1)


def pooled_count(length: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int], *, ceil: bool) -> int:
    """How many windows fit; with `ceil` a last one may hang over the end, if it begins inside the input or its padding
    at the start (https://onnx.ai/onnx/operators/onnx__MaxPool.html).
    """
    spare = length + sum(pads) - (dilation * (kernel - 1) + 1)
    count = (-(-spare // stride) if ceil else spare // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= length + pads[0] else count


def same_pads(length: int, kernel: int, stride: int, dilation: int, *, lower: bool) -> tuple[int, int]:
    """The padding of auto_pad SAME_UPPER or SAME_LOWER: ceil(length / stride) windows, an odd pixel at one end.

    Source: https://onnx.ai/onnx/operators/onnx__Conv.html
    """
    total = max((-(-length // stride) - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
    small = total // 2
    return (total - small, small) if lower else (small, total - small)


def transposed_pads(total: int, *, upper: bool) -> int:
    """How much of a transposed convolution's `total` padding stands at the start, where its output's size is given."""
    return total // 2 if upper else total - total // 2


def resized(length: int, count: int, scale: float, how: dict[str, Any]) -> Taps:
    """Resize's windows along one axis: interpolation taps of weight 0 are left out, those past the edge moved onto it.

    `how` holds the attributes: mode, coordinate_transformation_mode, nearest_mode, antialias. Computed in float32, as
    ONNX Runtime does, so that ties fall alike. Raises ValueError for what depends on more than sizes.
    Source: https://onnx.ai/onnx/operators/onnx__Resize.html
    """
    where = _coordinates(length, count, np.float32(scale), how["coordinate_transformation_mode"])
    if how["mode"] == "nearest":
        return _nearest(where, how["nearest_mode"], length)[:, None]
    reach = {"linear": 1, "cubic": 2}[how["mode"]]
    if how["antialias"] and scale < 1:
        return _smoothed(length, count, scale, reach, how["coordinate_transformation_mode"])
    first = np.floor(where).astype(np.int64)
    taps = first[:, None] + np.arange(1 - reach, 1 + reach)[None, :]
    exact = (where == first)[:, None]
    return np.clip(np.where(exact, first[:, None], taps), 0, length - 1)


def _coordinates(length: int, count: int, scale: np.float32, mode: str) -> _Coordinates:
    o, half = np.arange(count, dtype=np.float32), np.float32(0.5)
    if mode == "align_corners":
        return o * np.float32(length - 1) / np.float32(count - 1) if count > 1 else np.zeros_like(o)
    if mode == "asymmetric":
        return o / scale
    if mode == "tf_half_pixel_for_nn":
        return (o + half) / scale
    if mode == "pytorch_half_pixel" and count == 1:
        return np.zeros_like(o)
    if mode not in _CENTRED:
        raise ValueError(f"coordinate transformation '{mode}'")
    where = (o + half) / scale - half
    if mode == "half_pixel_symmetric":
        where = where + np.float32(length / 2 * (1 - count / (float(scale) * length)))
    return where.astype(np.float32)


def _nearest(where: _Coordinates, mode: str, length: int) -> Taps:
    whole = np.floor(where)
    rounded = {
        "floor": whole,
        "ceil": np.ceil(where),
        "round_prefer_ceil": np.floor(where + np.float32(0.5)),
        "round_prefer_floor": np.ceil(where - np.float32(0.5)),
    }
    if mode not in rounded:
        raise ValueError(f"nearest mode '{mode}'")
    taps: Taps = np.clip(rounded[mode].astype(np.int64), 0, length - 1)
    return taps


def _smoothed(length: int, count: int, scale: float, reach: int, mode: str) -> Taps:
    """With antialias the filter is stretched over `reach / scale` pixels to each side of the output's centre."""
    if mode not in _CENTRED:
        raise ValueError(f"antialias with coordinate transformation '{mode}'")
    centres = (np.arange(count) + 0.5) / scale
    pixels = np.arange(length)
    distance = np.abs(pixels[None, :] + 0.5 - centres[:, None])
    return np.where(distance < reach / scale - 1e-6, pixels[None, :], -1)
