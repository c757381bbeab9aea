"""Numbers of each channel of feature maps: range, mean, spread, zeros, and whether the channel is dead."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.measure.statistics import CHUNK, power_scale, require_real

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChannelStatistics", "channel_statistics"]


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Statistics of (K, H, W) feature maps over the finite values of each channel; every array is (K,).

    `std` is the population's (ddof = 0: a channel's positions are all there are). `zero_fraction` is the share of
    exact zeros among all H·W values. `nan`, `inf`: counts of values left out of the rest. Where a channel has no
    finite value, min, max, mean and std are NaN.
    `dead`: the channel is constant on this input, max == min with nothing left out; it carries no picture here,
    though another input may wake it.
    """

    min: NDArray[np.float64]
    max: NDArray[np.float64]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    zero_fraction: NDArray[np.float64]
    nan: NDArray[np.int64]
    inf: NDArray[np.int64]
    dead: NDArray[np.bool_]


def channel_statistics(maps: NDArray[Any]) -> ChannelStatistics:
    """Statistics of each channel of `maps` (K, H, W), any real dtype; a few channels are in memory at a time.

    Raises InputError where `maps` has not three dimensions or is not numeric.
    """
    if maps.ndim != 3:
        raise InputError(f"feature maps of shape {maps.shape} are not (channels, height, width); give one picture's")
    require_real(maps)
    channels, positions = maps.shape[0], maps.shape[1] * maps.shape[2]
    floats = {name: np.full(channels, np.nan) for name in ("min", "max", "mean", "std")}
    zeros, nan, inf = (np.zeros(channels, np.int64) for _ in range(3))
    step = max(1, CHUNK // max(1, positions))
    for start in range(0, channels if positions else 0, step):
        part = slice(start, start + step)
        values = maps[part].reshape(-1, positions).astype(np.float64)
        zeros[part] = positions - np.count_nonzero(values, axis=1)
        # A sum is finite where all its terms are, and overflows only where the slow way does no harm.
        finite = None
        with np.errstate(over="ignore", invalid="ignore"):
            suspect = not math.isfinite(float(values.sum()))
        if suspect:
            finite = np.isfinite(values)
            nan[part] = np.isnan(values).sum(axis=1)
            inf[part] = np.isinf(values).sum(axis=1)
        for name, column in _rows(values, finite).items():
            floats[name][part] = column
    dead = (floats["min"] == floats["max"]) & (nan == 0) & (inf == 0)
    return ChannelStatistics(**floats, zero_fraction=zeros / max(1, positions), nan=nan, inf=inf, dead=dead)


def _rows(values: NDArray[np.float64], finite: NDArray[np.bool_] | None) -> dict[str, NDArray[np.float64]]:
    """min, max, mean and std of each row's finite values, NaN for rows that have none. `values` is used up.

    `finite` None: all are.
    """
    count = np.full(len(values), values.shape[1]) if finite is None else finite.sum(axis=1)
    low = (values if finite is None else np.where(finite, values, np.inf)).min(axis=1)
    high = (values if finite is None else np.where(finite, values, -np.inf)).max(axis=1)
    # Scaling by a power of two is exact, and keeps squares of very large or very small values in range.
    scale = np.array([power_scale(float(lo), float(hi)) for lo, hi in zip(low, high, strict=True)])
    if (scale != 1).any():
        values *= scale[:, None]
    if finite is not None:
        values[~finite] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = values.sum(axis=1) / count
        values -= mean[:, None]
        if finite is not None:
            values[~finite] = 0
        std = np.sqrt(np.einsum("ij,ij->i", values, values) / count)
    # A constant channel's mean is that constant, whatever the sum was rounded to.
    constant, some = low == high, count > 0
    mean, std = np.where(constant, low, mean / scale), np.where(constant, 0, std / scale)
    return {
        "min": np.where(some, low, np.nan),
        "max": np.where(some, high, np.nan),
        "mean": np.where(some, mean, np.nan),
        "std": np.where(some, std, np.nan),
    }
