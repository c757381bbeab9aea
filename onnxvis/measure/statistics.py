"""Arrays to numbers: moments, extremes and a histogram of any tensor.

A tensor is read twice, a piece at a time: once for its range, once for counts and moments together, in float64. So
memory stays at a few hundred kilobytes however large the tensor is, and a weight that is a view of a mapped file is
never copied whole. Types of 16 bits and fewer are read once: every possible value is counted, the rest follows exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHUNK", "TensorStatistics", "power_scale", "require_real", "summarise"]

CHUNK = 1 << 16
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """Statistics of one tensor over its finite values.

    `count`: all values, `nan` and `inf` among them are left out of everything but `zero_fraction`, the share of exact
    zeros among `count`. `std` has ddof = 1 and is NaN for fewer than two values; mean, min and max are NaN for none.
    `counts` (bins,) int64 sums to the finite values, `edges` (bins + 1,) float64 spans min to max.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    zero_fraction: float
    nan: int
    inf: int
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]


def summarise(array: NDArray[Any], bins: int = 50) -> TensorStatistics:
    """Moments, extremes and a histogram of all values of `array`, of any shape and any real dtype.

    Each value is converted to float64 (exact but for integers beyond 2**53) and non-finite ones are left out. The
    histogram is then that of `numpy.histogram(values, bins)` on these float64 values: bin i holds
    edges[i] <= v < edges[i + 1], the last one its right edge too, edges = linspace(min, max); one value alone spans
    ±0.5 around itself; no value, 0 to 1. (On a float32 array numpy rounds the edges to float32; here they stay
    float64.) The standard deviation has ddof = 1; moments of pieces are joined as in Chan, Golub and LeVeque (1979),
    so a large mean costs no digits.
    Raises InputError where the dtype has no order (complex, strings, objects).
    """
    require_real(array)
    size = array.dtype.itemsize
    if size <= 2 and array.size > 1 << 8 * size:
        return _summarise_codes(array, bins)
    low, high, zeros, nan, inf = _extent(array)
    grid = _Grid(low, high, bins, array.dtype)
    counts = np.zeros(bins, np.int64)
    moments = _Moments()
    if math.isfinite(low):
        for chunk in _chunks(array):
            values = chunk[np.isfinite(chunk)] if nan or inf else chunk
            if values.size:
                moments = moments.join(grid.add(values, counts))
    return _result(array.size, moments, grid, (zeros, nan, inf), counts)


@dataclass(frozen=True)
class _Moments:
    """Count, mean and sum of squared distances from the mean, of values multiplied by a grid's `scale`."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def join(self, other: _Moments) -> _Moments:
        count = self.count + other.count
        if not count:
            return self
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / count)
        return _Moments(count, mean, self.squares + other.squares + gap * gap * (self.count * other.count / count))


class _Grid:
    """Equal bins from `low` to `high`, and a fast way to put values into them that is right at every edge.

    A value's position is computed with rounding; positions within `doubt` of an edge, the only ones that can be wrong,
    are then compared with the edges. float32 values are placed in float32 where their range allows it.
    """

    def __init__(self, low: float, high: float, bins: int, dtype: np.dtype[Any]) -> None:
        self.low, self.high, self.bins = low, high, bins
        self.scale = power_scale(low, high)
        first, last = (low, high) if low < high else (low - 0.5, high + 0.5)
        if not math.isfinite(low):
            first, last = 0.0, 1.0
        # Edges are made from scaled ends, as last - first may overflow; a power of two changes no digit.
        self.first, self.width = first * self.scale, last * self.scale - first * self.scale
        self.edges = np.linspace(self.first, last * self.scale, bins + 1) / self.scale
        self.edges[0], self.edges[-1] = first, last
        narrow = dtype == np.float32 and 1e-30 < self.width < 1e30 and low < high
        self.work = np.float32 if narrow else np.float64
        largest = max(abs(self.first), abs(last * self.scale))
        self._buffers: dict[str, NDArray[Any]] = {}
        self.doubt = 1.0
        if self.width > 0:
            self.doubt = bins * (8 * float(np.finfo(self.work).eps) + 16 * _EPSILON * (1 + largest / self.width))

    def add(self, chunk: NDArray[Any], counts: NDArray[np.int64]) -> _Moments:
        """Count finite, non-empty `chunk` into `counts`, and return its moments."""
        values = self._buffer("values", chunk.size, np.float64)
        np.copyto(values, chunk, casting="unsafe")
        if self.scale != 1:
            values *= self.scale
        index = self.exact(chunk) if self.doubt >= 0.25 else self._place(chunk, values)
        counts += np.bincount(index, minlength=self.bins)
        mean = float(values.sum()) / values.size
        values -= mean
        return _Moments(values.size, mean, float(np.dot(values, values)))

    def _place(self, chunk: NDArray[Any], scaled: NDArray[np.float64]) -> NDArray[Any]:
        position = self._buffer("position", chunk.size, self.work)
        np.subtract(chunk if self.work is np.float32 else scaled, self.work(self.first), out=position)
        position *= self.work(self.bins / self.width)
        below = np.floor(position, out=self._buffer("below", chunk.size, self.work))
        index = self._buffer("index", chunk.size, np.intp)
        np.copyto(index, below, casting="unsafe")
        position -= below
        position -= self.work(0.5)
        near = np.flatnonzero(np.abs(position, out=position) > 0.5 - self.doubt)
        if near.size:
            index[near] = self._settle(np.clip(index[near], 0, self.bins - 1), chunk[near].astype(np.float64))
        return index

    def _buffer(self, name: str, size: int, dtype: type[np.generic]) -> NDArray[Any]:
        """Scratch space kept from chunk to chunk: fresh pages for each would cost more than the arithmetic."""
        kept = self._buffers.get(name)
        if kept is None or kept.size < size:
            kept = self._buffers[name] = np.empty(size, dtype)
        return kept[:size]

    def _settle(self, index: NDArray[Any], values: NDArray[np.float64]) -> NDArray[Any]:
        """Bins that are at most one off, put right by comparing the values with the edges."""
        index -= values < self.edges[index]
        index += (values >= self.edges[index + 1]) & (index < self.bins - 1)
        return index

    def exact(self, values: NDArray[Any]) -> NDArray[np.intp]:
        """The bin of each value by search among the edges: slow, for few values, or bins at the rounding limit."""
        index = np.searchsorted(self.edges, values.astype(np.float64), side="right") - 1
        return np.clip(index, 0, self.bins - 1)


def _summarise_codes(array: NDArray[Any], bins: int) -> TensorStatistics:
    """`summarise` for types of one or two bytes: count each bit pattern, then weigh the values they stand for."""
    code = np.dtype(f"u{array.dtype.itemsize}")
    native = array.dtype.newbyteorder("=")
    tally = np.zeros(1 << 8 * code.itemsize, np.int64)
    for chunk in _chunks(array):
        tally += np.bincount(chunk.astype(native, copy=False).view(code), minlength=tally.size)
    present = np.flatnonzero(tally)
    values, weights = present.astype(code).view(native).astype(np.float64), tally[present]
    nan, inf = int(weights[np.isnan(values)].sum()), int(weights[np.isinf(values)].sum())
    zeros = int(weights[values == 0].sum())
    finite = np.isfinite(values)
    values, weights = values[finite], weights[finite]
    if not values.size:
        grid = _Grid(math.nan, math.nan, bins, array.dtype)
        return _result(array.size, _Moments(), grid, (zeros, nan, inf), np.zeros(bins, np.int64))
    grid = _Grid(float(values.min()), float(values.max()), bins, array.dtype)
    total = int(weights.sum())
    scaled = values * grid.scale
    mean = float(np.dot(scaled, weights)) / total
    moments = _Moments(total, mean, float(np.dot((scaled - mean) ** 2, weights)))
    counts = np.zeros(bins, np.int64)
    np.add.at(counts, grid.exact(values), weights)
    return _result(array.size, moments, grid, (zeros, nan, inf), counts)


def _result(
    size: int, moments: _Moments, grid: _Grid, special: tuple[int, int, int], counts: NDArray[np.int64]
) -> TensorStatistics:
    zeros, nan, inf = special
    constant = grid.low == grid.high
    mean = grid.low if constant else moments.mean / grid.scale
    spread = 0.0 if constant else moments.squares
    return TensorStatistics(
        count=size,
        mean=mean if moments.count else math.nan,
        std=math.sqrt(spread / (moments.count - 1)) / grid.scale if moments.count > 1 else math.nan,
        min=grid.low,
        max=grid.high,
        zero_fraction=zeros / size if size else 0.0,
        nan=nan,
        inf=inf,
        counts=counts,
        edges=grid.edges,
    )


def _extent(array: NDArray[Any]) -> tuple[float, float, int, int, int]:
    """min and max of the finite values (NaN for none), and the counts of zeros, NaNs and infinities."""
    low, high, zeros, nan, inf = math.inf, -math.inf, 0, 0, 0
    for chunk in _chunks(array):
        values = chunk
        zeros += chunk.size - int(np.count_nonzero(chunk != 0))
        least, most = float(chunk.min()), float(chunk.max())
        if not math.isfinite(least) or not math.isfinite(most):
            nan += int(np.count_nonzero(np.isnan(chunk)))
            inf += int(np.count_nonzero(np.isinf(chunk)))
            values = chunk[np.isfinite(chunk)]
            if not values.size:
                continue
            least, most = float(values.min()), float(values.max())
        low, high = min(low, least), max(high, most)
    return (low, high, zeros, nan, inf) if low <= high else (math.nan, math.nan, zeros, nan, inf)


def _chunks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """All values in aligned, contiguous pieces, in any order; of a view of a mapped file only a piece is copied."""
    flags = array.flags
    flat = array.reshape(-1, order="A") if flags.c_contiguous or flags.f_contiguous else array.flat
    for start in range(0, array.size, CHUNK):
        chunk = flat[start : start + CHUNK]
        yield chunk if chunk.flags.aligned else chunk.copy()


def power_scale(low: float, high: float) -> float:
    """A power of two that brings very large or very small values near 1; 1 for ordinary ones and for none."""
    largest = max(abs(low), abs(high))
    if not math.isfinite(largest) or largest == 0:
        return 1.0
    exponent = math.frexp(largest)[1]
    return 1.0 if abs(exponent) < 400 else 2.0 ** -max(-1000, min(1000, exponent))


def require_real(array: NDArray[Any]) -> None:
    """Raise InputError for values without an order: complex numbers, texts, objects."""
    try:
        real = array.dtype.kind not in "cOSUMmT" and np.zeros(1, array.dtype).astype(np.float64).size == 1
    except (TypeError, ValueError):
        real = False
    if not real:
        raise InputError(f"values of type {array.dtype} have no order, so there are no statistics of them")
