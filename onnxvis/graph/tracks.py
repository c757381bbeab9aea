"""What the positions of a tensor depend on in the input picture, along its rows and along its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from onnxvis.graph.windows import Taps

__all__ = ["Axis", "Interior", "Track", "Unknown", "regular"]

Ints = np.ndarray[Any, np.dtype[np.int64]]
_NOTHING = np.iinfo(np.int64).max


class Unknown(Exception):
    """Why a rule cannot say what its output depends on."""


class Interior(NamedTuple):
    """Away from the borders: position i depends on `size` pixels from `offset + i · stride` on."""

    size: int
    stride: int
    offset: int


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a field: for each position the first and the last input pixel (inclusive) that it depends on.

    `first`, `last`: int64 of shape (positions,). A position that depends on nothing, having read padding alone, has
    last < first. `interior` is None where no one size, stride and offset holds (as behind a Resize).
    """

    first: Ints
    last: Ints
    interior: Interior | None

    @classmethod
    def of_input(cls, length: int) -> Axis:
        """The input itself: each pixel depends on itself."""
        return cls(np.arange(length), np.arange(length), Interior(1, 1, 0))

    @classmethod
    def nothing(cls, length: int) -> Axis:
        """Positions that do not depend on the input."""
        return cls(np.full(length, _NOTHING), np.full(length, -1), None)

    def __len__(self) -> int:
        return len(self.first)

    def through(self, taps: Taps, interior: Interior | None) -> Axis:
        """The axis of an output that reads these positions; `interior` describes the taps away from the borders."""
        # One more place, past the end, stands for the padding: it depends on nothing.
        places = np.where((taps >= 0) & (taps < len(self)), taps, len(self))
        first = np.append(self.first, _NOTHING)[places].min(axis=1, initial=_NOTHING)
        last = np.append(self.last, -1)[places].max(axis=1, initial=-1)
        return Axis(first, last, self._composed(interior))

    def collapsed(self) -> Axis:
        """One position that depends on all that any position depends on."""
        first, last = int(self.first.min(initial=_NOTHING)), int(self.last.max(initial=-1))
        interior = Interior(last - first + 1, 0, first) if last >= first else None
        return Axis(np.array([first]), np.array([last]), interior)

    def spread(self, length: int) -> Axis:
        """A single position repeated `length` times; an axis of that length already, as it is."""
        if len(self) == length:
            return self
        interior = self.interior._replace(stride=0) if self.interior else None
        return Axis(np.repeat(self.first, length), np.repeat(self.last, length), interior)

    def union(self, other: Axis) -> Axis:
        """What either depends on, position by position; an axis of one position goes with every one of the other's.

        Raises Unknown where the lengths differ otherwise.
        """
        length = max(len(self), len(other)) if min(len(self), len(other)) else 0
        one, two = self.spread(length), other.spread(length)
        if len(one) != len(two):
            raise Unknown(f"it joins maps of {len(one)} and {len(two)} positions")
        first, last = np.minimum(one.first, two.first), np.maximum(one.last, two.last)
        return Axis(first, last, _joined(one, two, int(first.min(initial=0)), int(last.max(initial=-1))))

    def _composed(self, taps: Interior | None) -> Interior | None:
        mine = self.interior
        if mine is None or taps is None:
            return None
        reach = (taps.size - 1) * mine.stride
        start = mine.offset + taps.offset * mine.stride
        return Interior(mine.size + abs(reach), taps.stride * mine.stride, start + min(reach, 0))


class Track(NamedTuple):
    """How one tensor depends on the input picture: its two axes, and which of the tensor's axes they lie along.

    Places count from the tensor's last axis (-1), None where the tensor has no such axis any more. Both are the same
    where a Reshape has put row after row into one axis.
    """

    rows: Axis
    columns: Axis
    places: tuple[int | None, int | None]

    def axis(self, which: int) -> Axis:
        """Rows (0) or columns (1)."""
        return self.columns if which else self.rows

    def apart(self, place: int) -> Track:
        """The same, for an operator that changes positions along the axis `place`: were rows and columns merged into
        it, they are given up, and every position depends on all.
        """
        return self.vector() if self.places == (place, place) else self

    def collapsed(self, which: int, *, place: int | None = None) -> Track:
        """Rows (0) or columns (1) become one value that depends on all; `place` is where a length-1 axis stays."""
        places = (place, self.places[1]) if which == 0 else (self.places[0], place)
        return self.with_axis(which, self.axis(which).collapsed())._replace(places=places)

    def with_axis(self, which: int, axis: Axis) -> Track:
        """The same with one axis replaced."""
        return self._replace(columns=axis) if which else self._replace(rows=axis)

    def vector(self) -> Track:
        """What a tensor without positions depends on: everything that any position depends on."""
        return self.collapsed(0).collapsed(1)

    def union(self, other: Track) -> Track:
        """What either depends on. Raises Unknown where rows and columns lie along different axes of the tensor."""
        places = []
        for mine, theirs in zip(self.places, other.places, strict=True):
            if mine is not None and theirs is not None and mine != theirs:
                raise Unknown("it joins maps whose rows and columns lie along different axes")
            places.append(theirs if mine is None else mine)
        return Track(self.rows.union(other.rows), self.columns.union(other.columns), (places[0], places[1]))


def regular(taps: Taps) -> Interior | None:
    """Size, stride and offset of taps that say them plainly: each position reads the same stretch, shifted evenly."""
    if not taps.size:
        return None
    first, last = taps.min(axis=1), taps.max(axis=1)
    steps = np.diff(first)
    if (last - first != last[0] - first[0]).any() or (len(steps) and (steps != steps[0]).any()):
        return None
    return Interior(int(last[0] - first[0]) + 1, int(steps[0]) if len(steps) else 1, int(first[0]))


def _joined(one: Axis, two: Axis, latest_first: int, earliest_last: int) -> Interior | None:
    mine, theirs = one.interior, two.interior
    for whole in (mine, theirs):
        # a branch that sees everything hides what the other sees, whatever its stride
        if (
            whole
            and not whole.stride
            and whole.offset >= latest_first
            and whole.offset + whole.size <= earliest_last + 1
        ):
            return whole
    if mine is None or theirs is None or mine.stride != theirs.stride:
        return None
    start = min(mine.offset, theirs.offset)
    return Interior(max(mine.offset + mine.size, theirs.offset + theirs.size) - start, mine.stride, start)
