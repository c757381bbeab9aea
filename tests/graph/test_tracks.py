"""Axes and tracks against sets of pixels: for each position, the set of those that it depends on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onnxvis.graph.tracks import Axis, Interior, Track, Unknown, regular
from onnxvis.graph.windows import sliding

LENGTH = 12
WINDOWS = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2))  # kernel, stride, pad


def windowed(axis: Axis, kernel: int, stride: int, pad: int) -> Axis:
    count = max((len(axis) + 2 * pad - kernel) // stride + 1, 0)
    taps = sliding(count, kernel, stride, 1, pad)
    return axis.through(taps, Interior(kernel, stride, -pad))


def hulls(axis: Axis) -> list[tuple[int, int] | None]:
    ends = zip(axis.first.tolist(), axis.last.tolist(), strict=True)
    return [(first, last) if first <= last else None for first, last in ends]


@given(st.lists(WINDOWS, min_size=1, max_size=3))
@example([(4, 3, 0), (4, 1, 0), (1, 1, 1)])  # an axis of no positions in between
def test_windows_upon_windows(windows: list[tuple[int, int, int]]) -> None:
    axis = Axis.of_input(LENGTH)
    seen = [{i} for i in range(LENGTH)]
    for kernel, stride, pad in windows:
        axis = windowed(axis, kernel, stride, pad)
        padded: list[set[int]] = [set()] * pad + seen + [set()] * pad
        starts = range(0, len(padded) - kernel + 1, stride)
        seen = [set().union(*padded[start : start + kernel]) for start in starts]
    assert hulls(axis) == [(min(pixels), max(pixels)) if pixels else None for pixels in seen]
    assert axis.interior is not None
    for place, pixels in enumerate(seen):
        start = axis.interior.offset + place * axis.interior.stride
        if start >= 0 and start + axis.interior.size <= LENGTH and pixels:
            assert (min(pixels), max(pixels)) == (start, start + axis.interior.size - 1)


@given(WINDOWS, WINDOWS)
def test_a_union_depends_on_both(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    first, second = windowed(Axis.of_input(LENGTH), *one), windowed(Axis.of_input(LENGTH), *other)
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        with pytest.raises(Unknown, match="joins maps of"):
            first.union(second)
        return
    joined = first.union(second)
    for place, hull in enumerate(hulls(joined)):
        parts = [item for axis in (first, second) if (item := hulls(axis)[place if len(axis) > 1 else 0])]
        assert hull == ((min(a for a, _ in parts), max(b for _, b in parts)) if parts else None)


def test_a_collapsed_axis_sees_everything_and_can_be_spread() -> None:
    axis = windowed(Axis.of_input(LENGTH), 3, 2, 0)
    whole = axis.collapsed()
    assert hulls(whole) == [(0, 10)]
    assert whole.interior == Interior(11, 0, 0)
    assert hulls(whole.spread(4)) == [(0, 10)] * 4
    assert axis.spread(len(axis)) is axis
    assert hulls(Axis.nothing(3)) == [None] * 3


def test_tracks_keep_rows_and_columns_apart() -> None:
    track = Track(Axis.of_input(4), Axis.of_input(6), (-2, -1))
    assert (len(track.axis(0)), len(track.axis(1))) == (4, 6)
    gone = track.collapsed(0, place=-2)
    assert (len(gone.rows), len(gone.columns), gone.places) == (1, 6, (-2, -1))
    assert track.vector().places == (None, None)
    merged = track._replace(places=(-1, -1))
    assert merged.apart(-1).places == (None, None)
    assert merged.apart(-2) is merged
    with pytest.raises(Unknown, match="different axes"):
        track.union(track._replace(places=(-1, -2)))
    assert track.union(track.vector()).places == (-2, -1)


def test_what_is_regular() -> None:
    assert regular(np.array([[1, 2], [3, 4], [5, 6]])) == Interior(2, 2, 1)
    assert regular(np.array([[1, 2], [3, 4], [6, 7]])) is None
    assert regular(np.array([[1, 2], [3, 5]])) is None
    assert regular(np.zeros((0, 2), np.int64)) is None
