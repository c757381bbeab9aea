"""Counting values into equal bins, quickly, and right at every edge.

A value's bin is computed as trunc(v · factor + offset), which never falls as v grows. So for types with gaps between
their values it is enough to try it on two values an edge: the least that belongs above it and the greatest that
belongs below. Where both land rightly at every edge, every value of that type does, and none needs to be looked at
again. Where they do not, and for float64, values that lie near an edge are compared with it one by one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.measure.moments import power_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_BINS", "Histogram", "check_bins", "equal_edges"]

MAX_BINS = 1 << 16
_EPSILON = float(np.finfo(np.float64).eps)
_SIDE = 64
_WHOLE = 2.0**53


def check_bins(bins: int) -> None:
    """Raise InputError for a number of bins that no histogram here can have."""
    if not 1 <= bins <= MAX_BINS:
        raise InputError(f"a histogram cannot have {bins} bins; choose 1 to {MAX_BINS}")


def equal_edges(low: float, high: float, bins: int) -> NDArray[np.float64]:
    """The (bins + 1,) edges that `numpy.histogram` makes for values from `low` to `high`.

    Equal ends span ±0.5 around themselves; ends that are not finite (no values) give 0 to 1.
    """
    first, last = (low, high) if low < high else (low - 0.5, high + 0.5)
    if not math.isfinite(low):
        first, last = 0.0, 1.0
    scale = power_scale(first, last)
    # Edges are made from scaled ends, as last - first may overflow; a power of two changes no digit.
    start, width = first * scale, last * scale - first * scale
    edges = np.arange(bins + 1.0)
    edges *= width / bins
    edges += start
    if scale != 1:
        with np.errstate(over="ignore"):  # of the last one, which is set below
            edges /= scale
    edges[0], edges[-1] = first, last
    return edges


class Histogram:
    """Counts of values from `edges[0]` to `edges[-1]`, as `numpy.histogram` counts them; others are passed over.

    `low`, `high`: between these all values to come lie, inclusive. `dtype`: the type whose values they are.
    """

    def __init__(self, edges: NDArray[np.float64], low: float, high: float, dtype: np.dtype[Any]) -> None:
        self.edges = edges
        self.bins = edges.size - 1
        self._counts = np.zeros(self.bins + 1, np.int64)
        self._square = np.zeros((_SIDE, _SIDE), np.int64)
        first, last = float(edges[0]), float(edges[-1])
        self._outside = low < first or high > last
        self._buffers: dict[str, NDArray[Any]] = {}
        self._sure, self._doubt = False, 1.0
        width = last - first
        if power_scale(first, last) == 1 and width > 0:
            self._factor = self.bins / width
            # A nudge past the rounding error, for values that lie on an edge.
            self._offset = self.bins * 8 * _EPSILON - first * self._factor
            self._doubt = self.bins * 16 * _EPSILON * (2.5 + max(abs(first), abs(last)) / width)
            self._sure = self._proven(dtype, max(abs(first), abs(last)))

    def _proven(self, dtype: np.dtype[Any], largest: float) -> bool:
        """Whether every value of the type is placed rightly by `_positions` alone."""
        inner = self.edges[1:-1]
        if dtype.kind in "iu":
            if largest >= _WHOLE:
                return False
            above = np.ceil(inner)
            below = above - 1
        elif dtype.itemsize <= 2 or (dtype.kind == "f" and dtype.itemsize == 4):
            # What two bytes or one can hold, float32 can.
            near = inner.astype(np.float32)
            infinity = np.float32(np.inf)
            near = np.where(near < inner, np.nextafter(near, infinity), near)
            above, below = near.astype(np.float64), np.nextafter(near, -infinity).astype(np.float64)
        else:
            return False
        number = np.arange(1, self.bins)
        ends = self._positions(self.edges[[0, -1]], np.empty(2))
        return bool(
            (self._positions(above, np.empty(inner.size)) >= number).all()
            and (self._positions(below, np.empty(inner.size)) < number).all()
            and ends[0] > -1
            and ends[1] < self.bins + 1
        )

    def _positions(self, values: NDArray[np.float64], out: NDArray[np.float64]) -> NDArray[np.float64]:
        np.multiply(values, self._factor, out=out)
        out += self._offset
        return out

    @property
    def counts(self) -> NDArray[np.int64]:
        """(bins,) int64: how many of the values so far lie in each bin."""
        tally = self._counts.copy()
        pairs = self._square.sum(axis=0) + self._square.sum(axis=1)
        used = min(tally.size, pairs.size)
        tally[:used] += pairs[:used]
        # The highest values may have been rounded to the far side of the last edge.
        tally[-2] += tally[-1]
        return tally[:-1]

    def add(self, values: NDArray[np.float64]) -> None:
        """Count `values` (N,), which may be overwritten."""
        if self._outside:
            values = values[(values >= self.edges[0]) & (values <= self.edges[-1])]
        if not self._sure:
            index = exact_bins(self.edges, values) if self._doubt >= 0.25 else self._place(values)
            self._counts[:-1] += np.bincount(index, minlength=self.bins)
            return
        position = self._positions(values, values)
        half = position.size // 2 if self.bins < _SIDE else 0
        self._add_pairs(position[:half], position[half : 2 * half])
        index = self._buffer("index", position.size - 2 * half, np.intp)
        np.copyto(index, position[2 * half :], casting="unsafe")
        self._counts += np.bincount(index, minlength=self.bins + 1)

    def _add_pairs(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> None:
        """Counting costs the most of all, so two values are counted at a time, in a square of all pairs of bins."""
        if not one.size:
            return
        pair = self._buffer("pair", one.size, np.uint16)
        small = self._buffer("small", one.size, np.uint8)
        np.copyto(small, one, casting="unsafe")
        np.multiply(small, _SIDE, out=pair, dtype=np.uint16)
        np.copyto(small, other, casting="unsafe")
        pair += small
        index = self._buffer("index", one.size, np.intp)
        np.copyto(index, pair)
        self._square += np.bincount(index, minlength=_SIDE * _SIDE).reshape(_SIDE, _SIDE)

    def _place(self, values: NDArray[np.float64]) -> NDArray[np.intp]:
        """The bin of each value; those in doubt, the only ones that can be wrong, are compared with the edges."""
        position = self._positions(values, self._buffer("position", values.size, np.float64))
        below = np.floor(position, out=self._buffer("below", values.size, np.float64))
        index = self._buffer("index", values.size, np.intp)
        np.copyto(index, below, casting="unsafe")
        position -= below
        position -= 0.5
        near = np.flatnonzero(np.abs(position, out=position) > 0.5 - self._doubt)
        if near.size:
            index[near] = exact_bins(self.edges, values[near])
        return index

    def _buffer(self, name: str, size: int, dtype: type[np.generic]) -> NDArray[Any]:
        """Scratch space kept from piece to piece: fresh pages for each would cost more than the arithmetic."""
        kept = self._buffers.get(name)
        if kept is None or kept.size < size:
            kept = self._buffers[name] = np.empty(size, dtype)
        return kept[:size]


def exact_bins(edges: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each value by search among the edges, in between which all lie: slow, and right whatever they are."""
    index = np.searchsorted(edges, values, side="right") - 1
    return np.minimum(index, edges.size - 2)
