from __future__ import annotations

import numpy as np
import pytest

from tests.rewrite.cases.activation import CASES
from tests.rewrite.differences import Case, single, worst_error
from tests.rewrite.linear import gradient_and_output


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@pytest.mark.parametrize(
    ("op", "at", "slope"),
    [("Relu", 0, 0), ("LeakyRelu", 0, 0.01), ("ThresholdedRelu", 1, 0), ("HardSigmoid", 2.5, 0), ("HardSwish", -3, 0),
     ("HardSwish", 3, 1), ("Elu", 0, 1), ("Softsign", 0, 1)],
)  # fmt: skip
def test_at_a_kink_the_slope_is_that_of_one_side(op: str, at: float, slope: float) -> None:
    x = np.array([at], np.float32)
    gradient, seed, _ = gradient_and_output(single(op, [1]), {"x": x})
    assert gradient == pytest.approx(slope * seed, abs=1e-6)
