"""All channels of a tensor in one map, and a map laid over a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

import cv2
import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.show.mosaic import stretch

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MERGES", "Merge", "merge", "overlay"]

Merge = Literal["mean", "sum", "max", "blend"]
MERGES: tuple[Merge, ...] = get_args(Merge)

_CHUNK = 1 << 18


def merge(maps: NDArray[Any], how: Merge = "mean") -> NDArray[np.float64]:
    """One (H, W) float64 map of `maps` (K, H, W), K ≥ 1.

    'mean', 'sum', 'max' over the channels, position by position; 'blend': each channel stretched to 0–1 by its own
    min and max (a constant channel adds 0), all added, the sum stretched to 0–1 again, so that every channel counts
    alike however large its values are. Values that are not finite count as 0 (in 'max': as the least value).
    Raises UsageError for another name, ValueError where there is no channel.
    """
    if how not in MERGES:
        raise UsageError(f"no merge is called '{one_line(how)}'; choose one of: {', '.join(MERGES)}")
    if not maps.shape[0]:
        raise ValueError(f"maps of shape {maps.shape} have no channel to merge")
    if how in ("mean", "sum"):
        quick: NDArray[np.float64] = maps.sum(axis=0, dtype=np.float64)
        if np.isfinite(quick).all():  # as no term was NaN or infinite then
            return np.divide(quick, maps.shape[0]) if how == "mean" else quick
    total: NDArray[np.float64] = np.full(maps.shape[1:], -np.inf if how == "max" else 0.0)
    step = max(1, _CHUNK // max(1, total.size))
    for start in range(0, maps.shape[0], step):
        values = maps[start : start + step].astype(np.float64)
        values[~np.isfinite(values)] = -np.inf if how == "max" else np.nan
        if how == "max":
            np.maximum(total, values.max(axis=0), out=total)
        else:
            total += np.nansum(_unit(values) if how == "blend" else values, axis=0)
    if how == "mean":
        total /= maps.shape[0]
    if how == "blend":
        total = _unit(total[None])[0]
    total[~np.isfinite(total)] = total[np.isfinite(total)].min(initial=np.inf) if np.isfinite(total).any() else 0
    return total


def overlay(
    picture: NDArray[np.uint8],
    heat: NDArray[Any],
    palette: NDArray[np.uint8],
    alpha: float = 0.5,
    symmetric: bool = False,
    gray: bool = False,
) -> NDArray[np.uint8]:
    """`heat` (h, w) over `picture` (H, W, 3) uint8 RGB: (H, W, 3) uint8.

    The map is upsampled bilinearly to (H, W), pixel centres at half-integers (OpenCV's INTER_LINEAR), stretched from
    its min to its max (`symmetric`: −m … m) and coloured by `palette` (256, 3); result = alpha · colour +
    (1 − alpha) · picture, rounded. `gray`: the picture's colours are taken away first (luma, ITU-R BT.601), so that
    every colour seen is the map's.
    """
    height, width = picture.shape[:2]
    small = np.where(np.isfinite(heat), heat, np.nan_to_num(heat[np.isfinite(heat)].min(initial=np.inf), posinf=0))
    # Values near float32's limits are brought to 0–1 first, so that resizing in float32 loses nothing that shows.
    span = max(float(np.abs(small).max(initial=0)), np.finfo(np.float64).tiny)
    large = cv2.resize((small / span).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    indices = stretch(large[None], "tensor", symmetric=symmetric).indices[0]
    if gray:
        picture = np.asarray(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    mixed: NDArray[np.float64] = alpha * palette[indices].astype(np.float64) + (1 - alpha) * picture.astype(np.float64)
    rounded: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return rounded


def _unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each of `values` (K, H, W) stretched from its finite min…max to 0…1; a constant one is 0; NaN stays."""
    some = np.isfinite(values).any(axis=(1, 2), keepdims=True)
    filled = np.where(some, values, 0)
    low, high = np.nanmin(filled, axis=(1, 2), keepdims=True), np.nanmax(filled, axis=(1, 2), keepdims=True)
    half = high / 2 - low / 2
    return np.asarray(np.where(half > 0, (values / 2 - low / 2) / np.where(half > 0, half, 1), 0 * filled))
