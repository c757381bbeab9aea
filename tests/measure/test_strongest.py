"""Rankings against Python's own sort of every position of every picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.measure.strongest import Array, Strongest

Ranked = list[tuple[float, int, int, int]]


def ranked(rank: Strongest, channel: int) -> Ranked:
    """(value, picture, row, column) of a channel, strongest first."""
    places = zip(rank.values[channel], rank.pictures[channel], rank.positions[channel], strict=True)
    return [(float(v), int(p), int(y), int(x)) for v, p, (y, x) in places if v > -np.inf]


def brute_force(pictures: list[Array], channel: int, top: int) -> Ranked:
    """One position a picture, the first of its strongest; then the strongest pictures, the earlier of equal ones."""
    found = []
    for number, maps in enumerate(pictures):
        values = [
            (-float(value), row, column)
            for row, line in enumerate(maps[channel])
            for column, value in enumerate(line)
            if np.isfinite(value)
        ]
        if values:
            least, row, column = min(values)
            found.append((least, number, row, column))
    return [(-value, *place) for value, *place in sorted(found)[:top]]  # type: ignore[misc]


@given(st.data(), st.integers(1, 5), st.sampled_from(["float32", "float16", "int8", "uint8", "float64", "bool"]))
def test_equals_sorting_all_positions(data: st.DataObject, top: int, dtype: str) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    shapes = [(4, *data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))) for _ in range(9)]
    pictures = [rng.integers(0, 4, shape).astype(dtype) for shape in shapes]  # few values: many ties
    rank = Strongest(4, top)
    for number, maps in enumerate(pictures):
        rank.add(maps, number)
    for channel in range(4):
        assert ranked(rank, channel) == brute_force(pictures, channel, top)
        assert rank.least[channel] == min(float(maps[channel].min()) for maps in pictures)
    assert rank.odd == 0


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_not_finite_is_left_out_and_counted(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.standard_normal((3, 4, 5)).astype(dtype) for _ in range(8)]
    pictures[1][0, 2, 2] = np.nan
    pictures[2][1] = np.inf
    pictures[3][:, 0] = -np.inf
    pictures[5][:] = np.nan
    rank = Strongest(3, 8)
    for number, maps in enumerate(pictures):
        assert rank.add(maps, number) == (number != 5)
    for channel in range(3):
        assert ranked(rank, channel) == brute_force(pictures, channel, 8)
        finite = np.concatenate([maps[channel][np.isfinite(maps[channel])] for maps in pictures])
        assert rank.least[channel] == finite.min()
    assert rank.odd == 4


def test_a_picture_that_is_nowhere_stronger_changes_nothing() -> None:
    rank = Strongest(2, 1)
    assert rank.add(np.full((2, 1, 2), 3.0), 0)
    assert not rank.add(np.full((2, 1, 2), 3.0), 1)
    assert rank.add(np.asarray([[[3.0, 3.5]], [[0.0, 0.0]]]), 2)
    assert [ranked(rank, channel) for channel in (0, 1)] == [[(3.5, 2, 0, 1)], [(3.0, 0, 0, 0)]]
