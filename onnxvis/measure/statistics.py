"""Arrays to numbers: moments, extremes and a histogram of any tensor, and those of several tensors joined.

A tensor is read twice, a piece at a time: once for its range, once for counts and moments together, in float64. So
memory stays at a few hundred kilobytes however large the tensor is, and a weight that is a view of a mapped file is
never copied whole. Types of 16 bits and fewer are read once: every possible value is counted, the rest follows
exactly. Short tensors are sorted, and those that repeat one value by strides of 0 are never walked through.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxvis.errors import InputError
from onnxvis.measure.histogram import Histogram, check_bins, equal_edges, exact_bins
from onnxvis.measure.moments import Moments, moments, power_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHUNK", "TensorStatistics", "power_scale", "require_real", "summarise"]

CHUNK = 1 << 16
_SHORT = 1 << 11
_PIECE = 1 << 17

Span = tuple[float, float]
_NONE = (math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """Statistics of one tensor over its finite values.

    `count`: all values, `nan` and `inf` among them are left out of everything but `zero_fraction`, the share of exact
    zeros among `count`. `std` has ddof = 1 and is NaN for fewer than two values; mean, min and max are NaN for none.
    `counts` (bins,) int64 are of the finite values that lie within `edges` (bins + 1,) float64: all of them, as the
    edges span min to max, unless a span was given.
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

    @property
    def finite(self) -> int:
        """How many values are neither NaN nor infinite."""
        return self.count - self.nan - self.inf

    @property
    def zeros(self) -> int:
        """How many values are exactly zero."""
        return round(self.zero_fraction * self.count)

    def join(self, other: TensorStatistics) -> TensorStatistics:
        """The statistics of both tensors' values together, as if they had been one.

        Counts, min, max, NaNs, infinities and histogram are exact; zeros are up to 2**52 values. Mean and std are
        joined as in Chan, Golub and LeVeque (1979): whatever the order, they differ by float64 rounding alone.
        Raises InputError where the histograms have not the same edges: summarise both with the same `span`.
        """
        if not np.array_equal(self.edges, other.edges):
            raise InputError(
                f"histograms of {self.counts.size} bins from {self.edges[0]:g} to {self.edges[-1]:g} and of "
                f"{other.counts.size} from {other.edges[0]:g} to {other.edges[-1]:g} cannot be joined; "
                "summarise both with the same bins and span"
            )
        low, high = _least(self.min, other.min), -_least(-self.max, -other.max)
        scale = power_scale(low, high)
        return _result(
            self.count + other.count,
            self._moments(scale).join(other._moments(scale)),
            scale,
            _Extremes(low, high, self.zeros + other.zeros, self.nan + other.nan, self.inf + other.inf),
            self.counts + other.counts,
            self.edges,
        )

    def _moments(self, scale: float) -> Moments:
        if not self.finite:
            return Moments()
        return Moments(
            self.finite, self.mean * scale, (self.std * scale) ** 2 * (self.finite - 1) if self.finite > 1 else 0.0
        )


def summarise(array: NDArray[Any], bins: int = 50, span: Span | None = None) -> TensorStatistics:
    """Moments, extremes and a histogram of all values of `array`, of any shape and any real dtype.

    Each value is converted to float64 (exact but for integers beyond 2**53) and non-finite ones are left out. The
    histogram is then that of `numpy.histogram(values, bins, span)` on these float64 values: bin i holds
    edges[i] <= v < edges[i + 1], the last one its right edge too, edges = linspace(min, max); one value alone spans
    ±0.5 around itself; no value, 0 to 1. (On a float32 array numpy rounds the edges to float32; here they stay
    float64.) With `span` (low, high) the edges lie there instead and values outside are in no bin, so that several
    tensors' statistics can be joined. The standard deviation has ddof = 1; moments of pieces are joined as in Chan,
    Golub and LeVeque (1979), so a large mean costs no digits.
    Raises InputError where the dtype has no order (complex, strings, objects), for bins other than 1 to 65536, and
    for a span that does not rise from one finite number to another.
    """
    require_real(array)
    check_bins(bins)
    if span is not None and not -math.inf < span[0] < span[1] < math.inf:
        raise InputError(
            f"a histogram cannot span {span[0]:g} to {span[1]:g}; give two finite numbers, the lower first"
        )
    base, times = _without_repeats(array)
    found = _summarise(base, bins, span)
    return found if times == 1 else _repeated(found, times)


def _summarise(array: NDArray[Any], bins: int, span: Span | None) -> TensorStatistics:
    if 0 < array.size <= _SHORT:
        values = np.sort(array, axis=None).astype(np.float64)
        if math.isfinite(values[0]) and math.isfinite(values[-1]):
            return _summarise_sorted(values, bins, span)
    if array.dtype.itemsize <= 2 and array.size > 1 << 8 * array.dtype.itemsize:
        return _summarise_codes(array, bins, span)
    low, high, nan, inf = _extent(array)
    if low == high and not (nan or inf):
        return _repeated(_summarise_sorted(np.array([low]), bins, span), array.size)
    edges = equal_edges(*(span or (low, high)), bins)
    histogram = Histogram(edges, low, high, array.dtype)
    scale, whole, zeros = power_scale(low, high), Moments(), 0
    buffer, null = np.empty(min(CHUNK, array.size)), np.empty(min(CHUNK, array.size), np.bool_)
    for chunk in _chunks(array, CHUNK) if math.isfinite(low) else ():
        values = buffer[: chunk.size]
        np.copyto(values, chunk, casting="unsafe")
        if nan or inf:
            values = values[np.isfinite(values)]
        if not values.size:
            continue
        if low <= 0 <= high:
            zeros += int(np.count_nonzero(np.equal(chunk, 0, out=null[: chunk.size])))
        whole = whole.join(moments(values if scale == 1 else values * scale))
        histogram.add(values)
    return _result(array.size, whole, scale, _Extremes(low, high, zeros, nan, inf), histogram.counts, edges)


def _summarise_sorted(values: NDArray[np.float64], bins: int, span: Span | None) -> TensorStatistics:
    """`summarise` for a few finite values in rising order: bins are the places of the edges among them."""
    low, high, zeros = float(values[0]), float(values[-1]), 0
    edges = equal_edges(*(span or (low, high)), bins)
    places = values.searchsorted(edges)
    places[-1] = values.searchsorted(edges[-1], "right")
    if low <= 0 <= high:
        zeros = int(values.searchsorted(0, "right") - values.searchsorted(0))
    scale = power_scale(low, high)
    if scale != 1:
        values *= scale
    extremes = _Extremes(low, high, zeros, 0, 0)
    return _result(values.size, moments(values), scale, extremes, places[1:] - places[:-1], edges)


def _summarise_codes(array: NDArray[Any], bins: int, span: Span | None) -> TensorStatistics:
    """`summarise` for types of one or two bytes: count each bit pattern, then weigh the values they stand for."""
    tally = _tally(array)
    present = np.flatnonzero(tally)
    native = array.dtype.newbyteorder("=")
    values = present.astype(f"u{native.itemsize}").view(native).astype(np.float64)
    weights = tally[present]
    nan, inf = int(weights[np.isnan(values)].sum()), int(weights[np.isinf(values)].sum())
    zeros = int(weights[values == 0].sum())
    finite = np.isfinite(values)
    values, weights = values[finite], weights[finite]
    low, high = (float(values.min()), float(values.max())) if values.size else _NONE
    edges = equal_edges(*(span or (low, high)), bins)
    counts = np.zeros(bins, np.int64)
    inside = (values >= edges[0]) & (values <= edges[-1])
    np.add.at(counts, exact_bins(edges, values[inside]), weights[inside])
    whole = Moments()
    if values.size:
        total = int(weights.sum())
        mean = float(np.dot(values, weights)) / total
        whole = Moments(total, mean, float(np.dot((values - mean) ** 2, weights)))
    return _result(array.size, whole, 1.0, _Extremes(low, high, zeros, nan, inf), counts, edges)


def _tally(array: NDArray[Any]) -> NDArray[np.int64]:
    """How often each bit pattern of a type of one or two bytes occurs."""
    native, pairs = array.dtype.newbyteorder("="), np.zeros(1 << 16, np.int64)
    single = np.zeros(1 << 8, np.int64)
    for chunk in _chunks(array, _PIECE):
        codes = np.ascontiguousarray(chunk.astype(native, copy=False)).view(np.uint8)
        even = codes.size & ~1
        pairs += np.bincount(codes[:even].view(np.uint16), minlength=pairs.size)
        single += np.bincount(codes[even:], minlength=single.size)
    if native.itemsize == 2:
        return pairs
    # Of types of one byte two are counted at a time.
    square = pairs.reshape(1 << 8, 1 << 8)
    single += square.sum(axis=0)
    single += square.sum(axis=1)
    return single


class _Extremes(NamedTuple):
    low: float
    high: float
    zeros: int
    nan: int
    inf: int


def _result(
    size: int,
    whole: Moments,
    scale: float,
    extremes: _Extremes,
    counts: NDArray[np.int64],
    edges: NDArray[np.float64],
) -> TensorStatistics:
    """`whole` are the moments of the values times `scale`."""
    low, high, zeros, nan, inf = extremes
    if low == high:  # whatever the sums were rounded to
        mean, spread = low, 0.0
    else:
        mean, spread = whole.mean / scale if whole.count else math.nan, whole.squares
    std = math.sqrt(spread / (whole.count - 1)) / scale if whole.count > 1 else math.nan
    return TensorStatistics(size, mean, std, low, high, zeros / size if size else 0.0, nan, inf, counts, edges)


def _without_repeats(array: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Each value that strides of 0 repeat once, and how often all of them are repeated."""
    if 0 not in array.strides or not array.size:
        return array, 1
    repeats = [size if stride == 0 else 1 for size, stride in zip(array.shape, array.strides, strict=True)]
    return array[tuple(slice(0, 1) if times > 1 else slice(None) for times in repeats)], math.prod(repeats)


def _repeated(found: TensorStatistics, times: int) -> TensorStatistics:
    """The statistics of the same values, each of them `times` times."""
    scale = power_scale(found.min, found.max)
    once = found._moments(scale)
    whole = Moments(once.count * times, once.mean, once.squares * times)
    extremes = _Extremes(found.min, found.max, found.zeros * times, found.nan * times, found.inf * times)
    return _result(found.count * times, whole, scale, extremes, found.counts * times, found.edges)


def _extent(array: NDArray[Any]) -> tuple[float, float, int, int]:
    """min and max of the finite values (NaN for none), and the counts of NaNs and infinities."""
    low, high, nan, inf = math.inf, -math.inf, 0, 0
    for chunk in _chunks(array, CHUNK):
        least, most = float(chunk.min()), float(chunk.max())
        if not math.isfinite(least) or not math.isfinite(most):
            nan += int(np.count_nonzero(np.isnan(chunk)))
            inf += int(np.count_nonzero(np.isinf(chunk)))
            values = chunk[np.isfinite(chunk)]
            if not values.size:
                continue
            least, most = float(values.min()), float(values.max())
        low, high = min(low, least), max(high, most)
    return (low, high, nan, inf) if low <= high else (*_NONE, nan, inf)


def _chunks(array: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """All values in aligned, contiguous pieces, in any order, each of them good until the next is asked for.

    Of a view of a mapped file, which may begin at any byte, only a piece is copied at a time.
    """
    flags = array.flags
    flat = array.reshape(-1, order="A") if flags.c_contiguous or flags.f_contiguous else array.flat
    aligned = np.empty(0 if flags.aligned else min(size, array.size), array.dtype)
    for start in range(0, array.size, size):
        chunk = flat[start : start + size]
        if not chunk.flags.aligned:
            # As bytes, which is several times as fast as value by value.
            np.copyto(aligned[: chunk.size].view(np.uint8), np.ascontiguousarray(chunk).view(np.uint8))
            chunk = aligned[: chunk.size]
        yield chunk


def _least(one: float, other: float) -> float:
    """The lesser of two, where NaN stands for none."""
    return other if math.isnan(one) else one if math.isnan(other) else min(one, other)


def require_real(array: NDArray[Any]) -> None:
    """Raise InputError for values without an order: complex numbers, texts, objects."""
    if not _is_real(array.dtype):
        raise InputError(f"values of type {array.dtype} have no order, so there are no statistics of them")


@lru_cache
def _is_real(dtype: np.dtype[Any]) -> bool:
    try:
        return dtype.kind not in "cOSUMmT" and np.zeros(1, dtype).astype(np.float64).size == 1
    except (TypeError, ValueError):
        return False
