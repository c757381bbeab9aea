from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.measure.faithfulness.spearman import ranks, spearman

Values = list[int]
pairs = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=12)


def place(values: Values, at: int) -> float:
    """By definition: one more than are below, and half of the others that are equal."""
    below = sum(other < values[at] for other in values)
    equal = sum(other == values[at] for other in values)
    return below + (equal + 1) / 2


@given(pairs)
def test_ranks_and_their_correlation_are_those_of_the_definition(both: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in both], [b for _, b in both]
    a = [place(one, at) for at in range(len(one))]
    b = [place(other, at) for at in range(len(other))]
    assert ranks(np.array(one)).tolist() == a
    mean = (len(one) + 1) / 2
    covariance = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    spread = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    wanted = covariance / spread**0.5 if spread else 0.0
    assert spearman(np.array(one), np.array(other)) == pytest.approx(wanted, abs=1e-12)


def test_only_the_order_counts() -> None:
    values = np.random.default_rng(0).random((7, 9))
    assert spearman(values, np.exp(5 * values)) == pytest.approx(1)
    assert spearman(values, -(values**3)) == pytest.approx(-1)


def test_without_ties_it_is_the_formula_of_squared_differences() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.permutation(50), rng.permutation(50)
    wanted = 1 - 6 * sum((int(a) - int(b)) ** 2 for a, b in zip(one, other, strict=True)) / (50 * (50**2 - 1))
    assert spearman(one, other) == pytest.approx(wanted)
