from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.unary import CASES
from tests.rewrite.differences import Case, run, single, worst_error
from tests.tiny import Array

SLOPES: dict[str, tuple[float, float, Callable[[Array], Array]]] = {
    "Neg": (-9, 9, lambda x: np.full_like(x, -1)),
    "Abs": (-9, 9, np.sign),
    "Exp": (-9, 9, np.exp),
    "Log": (0.01, 9, lambda x: x**-1.0),
    "Sqrt": (0.01, 9, lambda x: 0.5 * x**-0.5),
    "Reciprocal": (0.01, 9, lambda x: -(x**-2.0)),
    "Erf": (-4, 4, lambda x: 2 / np.sqrt(np.pi) * np.exp(-(x**2))),
    "Sin": (-9, 9, np.cos),
    "Cos": (-9, 9, lambda x: -np.sin(x)),
    "Tan": (-1.5, 1.5, lambda x: np.cos(x) ** -2.0),
    "Asin": (-0.99999, 0.99999, lambda x: (1 - x**2) ** -0.5),
    "Acos": (-0.99999, 0.99999, lambda x: -((1 - x**2) ** -0.5)),
    "Atan": (-9, 9, lambda x: 1 / (1 + x**2)),
    "Sinh": (-9, 9, np.cosh),
    "Cosh": (-9, 9, np.sinh),
    "Asinh": (-9, 9, lambda x: (x**2 + 1) ** -0.5),
    "Acosh": (1.00001, 9, lambda x: (x**2 - 1) ** -0.5),
    "Atanh": (-0.99999, 0.99999, lambda x: 1 / (1 - x**2)),
}
"""{operator: the least value, the largest, the derivative}"""


def slopes(op: str, x: Array) -> Array:
    found = differentiate(Model(Path("m.onnx"), single(op, x.shape), Path.cwd()), ["y"], ["x"])
    return run(found.proto, {"x": x, found.seeds["y"]: np.ones_like(x)})[found.gradients["x"]]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@settings(max_examples=60)
@given(op=st.sampled_from(sorted(SLOPES)), seed=st.integers(0, 99))
def test_each_value_has_its_own_derivative_up_to_the_ends_of_the_domain(op: str, seed: int) -> None:
    least, largest, derivative = SLOPES[op]
    x = np.append(np.random.default_rng(seed).uniform(least, largest, 12), [least, largest]).astype(np.float32)
    np.testing.assert_allclose(slopes(op, x), derivative(x.astype(np.float64)), rtol=1e-4, atol=1e-6)


def test_the_slope_of_abs_is_zero_at_zero() -> None:
    np.testing.assert_array_equal(slopes("Abs", np.array([-2, 0, 3], np.float32)), [-1, 0, 1])


@pytest.mark.parametrize("op", ["Asin", "Acos", "Atanh", "Acosh"])
def test_slopes_are_exact_close_to_the_end_of_the_domain(op: str) -> None:
    distance = np.arange(1, 40, dtype=np.float32) * np.float32(2.0**-22)
    x = 1 + distance if op == "Acosh" else 1 - distance
    np.testing.assert_allclose(slopes(op, x), SLOPES[op][2](x.astype(np.float64)), rtol=1e-6)
