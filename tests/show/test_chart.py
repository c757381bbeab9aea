from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.show.chart import histogram, nice_values
from tests.show.outline import bar_heights


@pytest.mark.parametrize("counts", [[1, 2, 4], [0, 0, 5, 0], [10**12, 1, 0], list(range(50)), [3]])
def test_bars_are_as_high_as_their_share(counts: list[int]) -> None:
    result = histogram(np.array(counts), height=40, step=2)
    expected = [max(1, round(40 * count / max(counts) - 0.5 + 1e-9)) if count else 0 for count in counts]
    assert np.abs(np.array(bar_heights(result.path, 2)) - expected).max() <= 1
    assert max(bar_heights(result.path, 2)) == 40
    assert [height == 0 for height in bar_heights(result.path, 2)] == [count == 0 for count in counts]
    assert result.view_box == f"0 0 {2 * len(counts)} 40"


def test_empty_histograms() -> None:
    assert bar_heights(histogram([0, 0]).path, 2) == [0, 0]
    assert histogram([]).path == "M0 40V40z"


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (-1, 1, ["−1", "−0.5", "0", "0.5", "1"]),
        (0.9, 1.1, ["0.9", "0.95", "1", "1.05", "1.1"]),
        (-3e-5, 7e-4, ["0", "0.0002", "0.0004", "0.0006"]),
        (-3.1, 4.2, ["−2", "0", "2", "4"]),
        (-sys.float_info.max, sys.float_info.max, ["−1e+308", "0", "1e+308"]),
        (0, 5e-324, ["0", "4.941e−324"]),
        (1e6, 1e6 + 0.1, ["1000000", *(f"1000000.{place:02d}" for place in (2, 4, 6, 8)), "1000000.1"]),
    ],
)
def test_axes_have_round_values(low: float, high: float, labels: list[str]) -> None:
    assert [label.replace("e308", "e+308") for _, label in nice_values(low, high)] == labels


@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_round_values_lie_in_their_range(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    if low == high:
        high = math.nextafter(low, math.inf)
    found = nice_values(low, high)
    values = [value for value, _ in found]
    assert 2 <= len(values) <= 7
    assert values == sorted(values)
    slack = (high / 2 - low / 2) * 1e-9
    assert all(low - slack <= value <= high + slack for value in values)
    assert len({label for _, label in found}) == len(values)
    for value, label in found:
        assert float(label.replace("−", "-")) == pytest.approx(value, rel=1e-3, abs=slack)
