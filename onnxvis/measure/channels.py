"""Numbers of each channel of feature maps: range, mean, spread, zeros, and whether the channel is dead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.measure.moments import CANCELS, sum_of_squares
from onnxvis.measure.statistics import CHUNK, require_real

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ChannelStatistics", "channel_statistics"]

_LONG, _ROWS = 1 << 10, 1 << 18
_Floats = tuple["NDArray[np.float64]", ...]


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """Statistics of (K, H, W) feature maps over the finite values of each channel; every array is (K,).

    `std` is the population's (ddof = 0: a channel's positions are all there are). `zero_fraction` is the share of
    exact zeros among all `count` = H·W values. `nan`, `inf`: counts of values left out of the rest. Where a channel
    has no finite value, min, max, mean and std are NaN.
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
    count: int

    def join(self, other: ChannelStatistics) -> ChannelStatistics:
        """The statistics of the same channels over both sets of maps together, of whatever heights and widths.

        min, max, NaNs and infinities are exact, zeros up to 2**52 values; mean and std are joined as in Chan, Golub
        and LeVeque (1979): whatever the order, they differ by float64 rounding alone. A channel is dead where it is
        constant over both. Raises InputError where the numbers of channels differ.
        """
        if len(self.min) != len(other.min):
            raise InputError(
                f"statistics of {len(self.min)} and of {len(other.min)} channels cannot be joined; "
                "join those of one tensor for several inputs"
            )
        count, nan, inf = self.count + other.count, self.nan + other.nan, self.inf + other.inf
        low, high = np.fmin(self.min, other.min), np.fmax(self.max, other.max)
        mean, std = _join_moments(self, other, _scales(low, high))
        constant = low == high
        zeros = np.rint(self.zero_fraction * self.count) + np.rint(other.zero_fraction * other.count)
        dead = constant & (nan == 0) & (inf == 0)
        mean, std = np.where(constant, low, mean), np.where(constant, 0, std)
        return ChannelStatistics(low, high, mean, std, zeros / max(1, count), nan, inf, dead, count)


def channel_statistics(maps: NDArray[Any]) -> ChannelStatistics:
    """Statistics of each channel of `maps` (K, H, W), any real dtype; a few channels are in memory at a time.

    Raises InputError where `maps` has not three dimensions or is not numeric.
    """
    if maps.ndim != 3:
        raise InputError(f"feature maps of shape {maps.shape} are not (channels, height, width); give one picture's")
    require_real(maps)
    channels, height, width = maps.shape
    if 0 < maps.strides[0] < min(maps.strides[1:]) and maps.size > _ROWS:
        # Channels lie side by side: gathering one would touch all the memory that the others share with it.
        rows = max(1, _ROWS // (channels * width))
        pieces = (np.ascontiguousarray(maps[:, row : row + rows]) for row in range(0, height, rows))
        return reduce(ChannelStatistics.join, map(_by_channel, pieces))
    return _by_channel(maps)


def _by_channel(maps: NDArray[Any]) -> ChannelStatistics:
    channels, positions = maps.shape[0], maps.shape[1] * maps.shape[2]
    low, high, mean, std = (np.full(channels, np.nan) for _ in range(4))
    zeros, nan, inf = (np.zeros(channels, np.int64) for _ in range(3))
    step = max(1, min(channels, CHUNK // max(1, positions)))
    # Kept from block to block: fresh pages for each would cost more than the arithmetic.
    numbers, empty = np.empty((step, positions)), np.empty((step, positions), np.bool_)
    for start in range(0, channels if positions else 0, step):
        part = slice(start, start + step)
        block = maps[part].reshape(-1, positions)
        if block.dtype.itemsize <= 2 and block.dtype.kind not in "iub":
            block = block.astype(np.float32)  # NumPy compares these one by one
        values, null = numbers[: len(block)], empty[: len(block)]
        zeros[part] = np.equal(block, 0, out=null).view(np.uint8).sum(axis=1, dtype=np.uint32)
        low[part], high[part] = block.min(axis=1), block.max(axis=1)
        np.copyto(values, block)
        if _ordinary(low[part], high[part]):
            mean[part], std[part] = _moments(values, low[part] < high[part])
            continue
        finite = np.isfinite(values)
        nan[part], inf[part] = np.isnan(values).sum(axis=1), np.isinf(values).sum(axis=1)
        low[part], high[part], mean[part], std[part] = _finite_rows(values, finite)
    constant = low == high
    dead = constant & (nan == 0) & (inf == 0)
    # A constant channel's mean is that constant, whatever the sum was rounded to.
    mean, std = np.where(constant, low, mean), np.where(constant, 0, std)
    return ChannelStatistics(low, high, mean, std, zeros / max(1, positions), nan, inf, dead, positions)


def _ordinary(low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    """Whether all is finite, and of a size whose squares are too."""
    largest = np.maximum(np.abs(low), np.abs(high))
    return bool(((largest == 0) | ((largest > 2.0**-400) & (largest < 2.0**400))).all())


def _moments(values: NDArray[np.float64], varied: NDArray[np.bool_]) -> _Floats:
    """Mean and std of each row of ordinary values; only those of `varied` rows have to be exact."""
    positions = values.shape[1]
    mean = values.sum(axis=1) / positions
    if positions >= _LONG:
        squares = np.array([sum_of_squares(row) for row in values])
    else:
        squares = np.einsum("ij,ij->i", values, values)
    distances = squares - mean * mean * positions
    cancelled = np.flatnonzero((distances * CANCELS < squares) & varied)
    if cancelled.size:
        rows = values[cancelled] - mean[cancelled, None]
        distances[cancelled] = np.einsum("ij,ij->i", rows, rows)
    return mean, np.sqrt(np.maximum(distances, 0) / positions)


def _finite_rows(values: NDArray[np.float64], finite: NDArray[np.bool_]) -> _Floats:
    """min, max, mean and std of each row's finite values, NaN for rows that have none. `values` is used up."""
    count = finite.sum(axis=1)
    low = np.where(finite, values, np.inf).min(axis=1)
    high = np.where(finite, values, -np.inf).max(axis=1)
    none = count == 0
    low[none] = high[none] = np.nan
    scale = _scales(low, high)
    values[~finite] = 0
    values *= scale[:, None]
    with np.errstate(invalid="ignore"):
        mean = values.sum(axis=1) / np.where(none, np.nan, count)
        values -= mean[:, None]
        values[~finite] = 0
        std = np.sqrt(np.einsum("ij,ij->i", values, values) / np.where(none, np.nan, count))
    return low, high, mean / scale, std / scale


def _scales(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """A power of two for each channel, exact, that keeps squares of very large or very small values in range."""
    largest = np.maximum(np.abs(low), np.abs(high))
    exponent = np.frexp(np.where(np.isfinite(largest), largest, 0))[1]
    return np.where(np.abs(exponent) < 400, 1.0, np.ldexp(1.0, -np.clip(exponent, -1000, 1000)))


def _join_moments(one: ChannelStatistics, other: ChannelStatistics, scale: NDArray[np.float64]) -> _Floats:
    first, second = (part.count - part.nan - part.inf for part in (one, other))
    total = np.maximum(first + second, 1)
    # A side without finite values weighs nothing, and its NaNs must not spread.
    mean, gap_to, spread, added = (
        np.where(some > 0, numbers * scale, 0)
        for numbers, some in ((one.mean, first), (other.mean, second), (one.std, first), (other.std, second))
    )
    gap = np.where((first > 0) & (second > 0), gap_to - mean, 0)
    joined = np.where(first > 0, mean + gap * (second / total), gap_to)
    variance = (
        spread * spread * (first / total)
        + added * added * (second / total)
        + gap * gap * (first / total) * (second / total)
    )
    none = first + second == 0
    return np.where(none, np.nan, joined / scale), np.where(none, np.nan, np.sqrt(variance) / scale)
