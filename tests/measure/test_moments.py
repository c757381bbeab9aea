"""Moments against the statistics module, which computes in fractions, and math.fsum."""

from __future__ import annotations

import math
import statistics
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.measure.moments import Moments, moments, power_scale, sum_of_squares

RNG = np.random.default_rng(5)
NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60)


def exact_distances(values: list[float]) -> float:
    """The sum of squared distances in fractions."""
    return float(statistics.pvariance(values)) * len(values)


def check(found: Moments, values: list[float]) -> None:
    largest = max(map(abs, values))
    assert found.count == len(values)
    assert found.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-13, abs=1e-14 * largest)
    assert found.squares == pytest.approx(exact_distances(values), rel=1e-12, abs=1e-28 * largest**2 * len(values))


@pytest.mark.parametrize("mean", [0, 0.3, 5, 8, 1e3, 1e8])
@pytest.mark.parametrize("size", [1, 2, 50, 25_001])
def test_moments_equal_those_of_fractions(mean: float, size: int) -> None:
    values = RNG.standard_normal(size) + mean
    before = values.copy()
    check(moments(values), values.tolist())
    assert (values == before).all()


@given(NUMBERS)
def test_any_numbers(values: list[float]) -> None:
    check(moments(np.array(values)), values)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.randoms())
def test_pieces_join_to_the_whole_in_any_order(pieces: list[list[float]], shuffle: object) -> None:
    found = [moments(np.array(piece)) for piece in pieces]
    found.append(Moments())
    shuffle.shuffle(found)  # type: ignore[attr-defined]
    check(reduce(Moments.join, found), [value for piece in pieces for value in piece])


def test_nothing_joined_to_nothing() -> None:
    assert Moments().join(Moments()) == Moments()


def test_squares_of_more_values_than_one_piece() -> None:
    values = RNG.standard_normal(30_001)
    assert sum_of_squares(values) == pytest.approx(math.fsum(value * value for value in values), rel=1e-13)
    assert sum_of_squares(values[:0]) == 0


@pytest.mark.parametrize(
    ("low", "high"), [(-1.7e308, 1e308), (0.0, 5e-324), (-1e-200, 1e-250), (3e150, 4e150), (-1e-300, 1e-301)]
)
def test_scaled_values_have_squares_in_range(low: float, high: float) -> None:
    scale = power_scale(low, high)
    assert math.frexp(scale)[0] == 0.5
    largest = max(abs(low), abs(high)) * scale
    assert 1e-30 < largest < 1e30
    assert largest / scale == max(abs(low), abs(high))


@pytest.mark.parametrize("high", [0.0, 1.0, 3e38, 1e-45, math.nan, math.inf])
def test_ordinary_values_are_not_scaled(high: float) -> None:
    assert power_scale(0.0, high) == 1
