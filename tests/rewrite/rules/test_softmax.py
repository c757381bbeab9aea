from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.softmax import CASES
from tests.rewrite.differences import Case, apart, run, single, worst_error
from tests.tiny import Array

_SEED = np.random.default_rng(5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= 1e-4


@settings(max_examples=30)
@given(st.sampled_from(["Softmax", "LogSoftmax"]), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_gradients_over_any_axis_of_any_shape(op: str, shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] += 1  # over one element the gradient is zero throughout
    x = apart(shape, 0.05)
    assert worst_error(Case(op, "drawn", single(op, shape, axis=axis), {"x": x})) <= 1e-4


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_before_operator_set_13_all_axes_from_the_one_named_on_are_one(op: str) -> None:
    x = apart((2, 3, 4), 0.07)
    seed = _SEED.standard_normal(x.shape).astype(np.float32)
    expected = _by_hand(op, x.reshape(2, 12), seed.reshape(2, 12)).reshape(x.shape)
    np.testing.assert_allclose(_gradient(single(op, x.shape, opset=9, axis=1), x, seed), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_logits_beyond_what_an_exponential_can_hold_have_a_gradient(op: str) -> None:
    x = np.array([[1000, -1000, 999], [-2000, -2000, -2003]], np.float32)
    seed = np.array([[1, 2, -3], [0.5, -1, 4]], np.float32)
    np.testing.assert_allclose(_gradient(single(op, x.shape), x, seed), _by_hand(op, x, seed), rtol=1e-5, atol=1e-6)


def _by_hand(op: str, x: Array, seed: Array) -> Array:
    """The gradient of softmax or its logarithm over rows, by the matrix of derivatives of each row."""
    found = np.empty(x.shape)
    for row, values in enumerate(x.astype(np.float64)):
        powers = np.exp(values - values.max())
        share = powers / powers.sum()
        if op == "Softmax":
            derivatives = np.diag(share) - np.outer(share, share)
        else:
            derivatives = np.eye(len(share)) - share[None, :]
        found[row] = derivatives.T @ seed[row]
    return found


def _gradient(model: ModelProto, x: Array, seed: Array) -> Array:
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    return run(found.proto, {"x": x, found.seeds["y"]: seed})[found.gradients["x"]]
