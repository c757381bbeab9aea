from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.reduce import CASES, OPERATORS
from tests.rewrite.differences import Case, apart, run, single, worst_error
from tests.tiny import Array

_EXTREMES = ("ReduceMax", "ReduceMin")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@settings(max_examples=40)
@given(st.sampled_from(OPERATORS), st.lists(st.integers(1, 3), min_size=1, max_size=4), st.data())
def test_gradients_over_any_axes_of_any_shape(op: str, shape: list[int], data: st.DataObject) -> None:
    rank = len(shape)
    axes = [
        data.draw(st.sampled_from([axis, axis - rank]))
        for axis in data.draw(st.lists(st.integers(0, rank - 1), unique=True))
    ]
    opset, keepdims = data.draw(st.sampled_from([13, 16, 18, 26])), data.draw(st.integers(0, 1))
    declared = [f"d{axis}" if data.draw(st.booleans()) else size for axis, size in enumerate(shape)]
    x = np.abs(apart(shape)) if op == "ReduceLogSum" else apart(shape)
    model = _model(op, declared, axes, opset, keepdims)
    assert worst_error(Case(op, "drawn", model, {"x": x}, linear=op in ("ReduceSum", "ReduceMean"))) <= 1e-4


@pytest.mark.parametrize("opset", [16, 20])
@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_a_product_of_some_zeros_has_the_gradient_of_the_product_of_the_others(zeros: int, opset: int) -> None:
    x = apart((3, 5), 0.3)
    for row in range(3):
        x[row, row : row + zeros] = 0
    seed = np.array([[2], [-1], [0.5]], np.float32)
    expected = np.array([[np.prod(np.delete(row, place)) for place in range(5)] for row in x.astype(np.float64)])
    found = _gradient(_model("ReduceProd", x.shape, [1], opset), x, seed)
    np.testing.assert_allclose(found, expected * seed, rtol=1e-5)


def test_a_product_over_all_axes_counts_zeros_over_all_of_them() -> None:
    x = np.array([[0, 2], [3, 4]], np.float32)
    found = _gradient(_model("ReduceProd", ("h", "w"), [], 20, keepdims=0), x, np.array(0.5, np.float32))
    np.testing.assert_array_equal(found, [[12, 0], [0, 0]])


@pytest.mark.parametrize("op", _EXTREMES)
def test_elements_that_share_the_extreme_share_the_gradient_evenly(op: str) -> None:
    x = np.array([[3, 1, 3, 3], [2, 2, 2, 2], [5, 4, 3, 2]], np.float32) * (1 if op == "ReduceMax" else -1)
    seed = np.array([[6], [-2], [3]], np.float32)
    found = _gradient(_model(op, x.shape, [1], 20), x, seed)
    np.testing.assert_array_equal(found, [[2, 0, 2, 2], [-0.5] * 4, [3, 0, 0, 0]])


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2"])
def test_the_norm_of_a_zero_vector_has_gradient_zero(op: str) -> None:
    x = np.array([[0, 0, 0], [3, 0, -4]], np.float32)
    found = _gradient(_model(op, x.shape, [1], 20, keepdims=0), x, np.array([7, 10], np.float32))
    expected = [10, 0, -10] if op == "ReduceL1" else [6, 0, -8]
    np.testing.assert_allclose(found, [[0, 0, 0], expected], rtol=1e-6)


def test_a_logarithm_of_exponentials_too_large_to_hold_has_the_gradient_of_softmax() -> None:
    x = np.array([[1000, 1000, 998]], np.float32)
    shares = np.exp([0, 0, -2]) / np.exp([0, 0, -2]).sum()
    found = _gradient(_model("ReduceLogSumExp", x.shape, [1], 20), x, np.array([[3]], np.float32))
    np.testing.assert_allclose(found[0], 3 * shares, rtol=1e-4)  # y itself is rounded to 6e-5


def _model(op: str, shape: Sequence[int | str], axes: list[int], opset: int, keepdims: int = 1) -> ModelProto:
    """Axes as the operator set takes them; none are left out."""

    if not axes:
        return single(op, shape, opset=opset, keepdims=keepdims)
    if opset < (13 if op == "ReduceSum" else 18):
        return single(op, shape, opset=opset, keepdims=keepdims, axes=axes)
    return single(op, shape, {"axes": np.array(axes, np.int64)}, opset=opset, keepdims=keepdims)


def _gradient(model: ModelProto, x: Array, seed: Array) -> Array:
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    return run(found.proto, {"x": x, found.seeds["y"]: seed})[found.gradients["x"]]
