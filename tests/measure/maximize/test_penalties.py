from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onnxvis.measure.maximize.penalties import contrast, variation

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.mark.parametrize("penalty", [contrast, variation])
def test_gradients_are_those_of_finite_differences(penalty: Callable[[Array], tuple[float, Array]]) -> None:
    rng = np.random.default_rng(0)
    picture, direction = rng.random((3, 5, 6)), rng.standard_normal((3, 5, 6))
    slope = (penalty(picture + 1e-7 * direction)[0] - penalty(picture - 1e-7 * direction)[0]) / 2e-7
    assert (penalty(picture)[1] * direction).sum() == pytest.approx(slope, rel=1e-5)


def test_values_are_those_of_loops() -> None:
    picture = np.random.default_rng(1).random((2, 4, 3))
    total = far = 0.0
    for plane in picture:
        for row in range(4):
            for column in range(3):
                far += (plane[row, column] - 0.5) ** 2
                total += abs(plane[row, column] - plane[row - 1, column]) if row else 0
                total += abs(plane[row, column] - plane[row, column - 1]) if column else 0
    assert contrast(picture)[0] == pytest.approx(far / 24)
    assert variation(picture)[0] == pytest.approx(total / 24)


def test_an_even_grey_costs_nothing() -> None:
    grey = np.full((3, 4, 4), 0.5)
    for penalty in (contrast, variation):
        value, gradient = penalty(grey)
        assert value == 0
        assert not gradient.any()
