from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.pool import CASES, MISJUDGED
from tests.rewrite.differences import Case, apart, run, single, worst_error
from tests.rewrite.linear import gradient_and_output, linear_error
from tests.tiny import Array

_STEP = 1e-5


def _along(how: dict[str, Any], axis: int, size: int) -> list[list[int]]:
    """The positions in each window along one axis, counted out; those in the padding are left out."""
    kernel, stride, dilation = (how[key][axis] for key in ("kernel_shape", "strides", "dilations"))
    auto, rank = how["auto_pad"], len(how["kernel_shape"])
    begin, end = (how["pads"][axis], how["pads"][axis + rank]) if auto == "NOTSET" else (0, 0)
    if auto.startswith("SAME"):
        total = max((int(np.ceil(size / stride)) - 1) * stride + kernel - size, 0)
        begin = total // 2 if auto == "SAME_UPPER" else total - total // 2
        end = total - begin
    windows: list[list[int]] = []
    reached = -begin - 1
    for start in range(-begin, size, stride):
        positions = [start + dilation * place for place in range(kernel)]
        if positions[-1] >= size + end and (not how["ceil_mode"] or not windows or reached >= size + end - 1):
            break
        reached = positions[-1]
        windows.append([position for position in positions if 0 <= position < size])
    return windows


def _windows(node: Any, sizes: tuple[int, ...]) -> tuple[Array, list[int]]:
    """For each window the flat positions that it holds, filled up with the number of positions, and how many windows
    there are along each axis.
    """
    rank, total = len(sizes), int(np.prod(sizes))
    if node.op_type.startswith("Global"):
        return np.arange(total)[None], [1] * rank
    how: dict[str, Any] = {"strides": [1] * rank, "dilations": [1] * rank, "pads": [0] * 2 * rank, "ceil_mode": 0}
    how |= {item.name: helper.get_attribute_value(item) for item in node.attribute}
    how["auto_pad"] = how.get("auto_pad", b"NOTSET").decode()
    axes = [_along(how, axis, size) for axis, size in enumerate(sizes)]
    strides = [int(np.prod(sizes[axis + 1 :])) for axis in range(rank)]
    table = []
    for window in itertools.product(*axes):
        held = [int(np.dot(place, strides)) for place in itertools.product(*window)]
        table.append(held + [total] * (int(np.prod(how["kernel_shape"])) - len(held)))
    return np.array(table), [len(axis) for axis in axes]


def _pool(model: ModelProto, shape: tuple[int, ...]) -> Callable[[Array], Array]:
    """The pool in NumPy."""
    node = model.graph.node[0]
    table, counts = _windows(node, shape[2:])
    power = next((item.i for item in node.attribute if item.name == "p"), 2)

    def forward(x: Array) -> Array:
        filling = np.finfo(np.float32).min if "Max" in node.op_type else 0
        flat = np.concatenate([x.reshape(*shape[:2], -1), np.full((*shape[:2], 1), filling)], 2)[:, :, table]
        y: Array = flat.max(3) if "Max" in node.op_type else (np.abs(flat) ** power).sum(3) ** (1 / power)
        return y.reshape(*shape[:2], *counts)

    return forward


def _nonlinear_error(model: ModelProto, x: Array) -> float:
    """The largest difference from central differences of the pool in NumPy, in float64, over the largest value."""
    gradient, seed, y = gradient_and_output(model, {"x": x})
    forward, point = _pool(model, x.shape), x.astype(np.float64)
    np.testing.assert_allclose(y, forward(point), rtol=1e-5, atol=1e-5)
    expected = np.zeros(x.size)
    for place in range(x.size):
        for sign in (1, -1):
            point.reshape(-1)[place] += sign * _STEP
            expected[place] += sign * ((forward(point) - y) * seed).sum() / (2 * _STEP)
            point.reshape(-1)[place] = x.reshape(-1)[place]
    assert gradient.shape == x.shape
    return float(np.abs(gradient - expected.reshape(x.shape)).max() / max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize("case", [*CASES, *MISJUDGED], ids=str)
def test_gradients_are_those_of_an_oracle(case: Case) -> None:
    """For means the transposed matrix; for the others central differences of a pool in NumPy."""
    if case.linear:
        assert linear_error(case.model, case.feeds) <= 1e-5
    else:
        assert _nonlinear_error(case.model, case.feeds["x"]) <= 1e-4


_FEW = ("MaxPool: opset 9", "AveragePool: opset 9", "LpPool: opset 9", "GlobalMaxPool: opset 9")


@pytest.mark.parametrize("case", [case for case in CASES if str(case) in _FEW], ids=str)
def test_gradients_are_those_of_the_reference_evaluator_too(case: Case) -> None:
    assert worst_error(case) <= 1e-4


@st.composite
def _pools(draw: st.DrawFn, *ops: str) -> tuple[ModelProto, Array]:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    sizes = each(4, 9 if rank == 1 else 6 if rank == 2 else 4)
    kernel, strides, dilations = each(1, 4), each(1, 3), each(1, 2)
    pads = [draw(st.integers(0, side - 1)) for side in kernel * 2]
    for axis in range(rank):
        assume(sizes[axis] + pads[axis] + pads[axis + rank] > dilations[axis] * (kernel[axis] - 1))
    op = draw(st.sampled_from(ops))
    how: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    how["ceil_mode"] = draw(st.integers(0, 1))
    if op == "AveragePool":
        how["count_include_pad"] = draw(st.integers(0, 1))
    if op == "LpPool":
        how["p"] = draw(st.integers(1, 3))
    if op == "MaxPool":
        how["storage_order"] = draw(st.integers(0, 1))
    shape = [draw(st.integers(1, 2)), draw(st.integers(1, 2)), *sizes]
    declared: list[Any] = [f"size{axis}" for axis in range(rank + 2)] if draw(st.booleans()) else shape
    model = single(op, declared, opset=draw(st.sampled_from([22, 26])), **how)
    return model, apart(shape, seed=draw(st.integers(0, 9)))


@settings(max_examples=60)
@given(_pools("AveragePool"))
def test_any_mean_has_the_gradient_of_its_matrix(drawn: tuple[ModelProto, Array]) -> None:
    model, x = drawn
    assert linear_error(model, {"x": x}) <= 1e-5


@settings(max_examples=60)
@given(_pools("MaxPool", "LpPool"))
def test_any_maximum_and_norm_has_the_gradient_of_central_differences(drawn: tuple[ModelProto, Array]) -> None:
    assert _nonlinear_error(*drawn) <= 1e-4


@pytest.mark.parametrize("columns_first", [0, 1])
def test_where_maxima_are_equal_the_first_of_each_window_takes_the_gradient(columns_first: int) -> None:
    model = single("MaxPool", (1, 2, 4, 5), kernel_shape=[2, 3], strides=[1, 2], storage_order=columns_first)
    x = np.zeros((1, 2, 4, 5), np.float32)
    gradient, seed, _ = gradient_and_output(model, {"x": x})
    expected = np.zeros_like(x)
    expected[:, :, :3, [0, 2]] = seed
    np.testing.assert_array_equal(gradient, expected)


def test_a_gradient_through_windows_that_overlap_adds_up() -> None:
    x = np.zeros((1, 1, 5), np.float32)
    x[0, 0, 2] = 1
    gradient, seed, _ = gradient_and_output(single("MaxPool", (1, 1, 5), kernel_shape=[3]), {"x": x})
    np.testing.assert_allclose(gradient, x * seed.sum(), rtol=1e-6)


@pytest.mark.parametrize("width", [1, "width"])
def test_a_window_of_nothing_but_padding_passes_no_gradient(width: int | str) -> None:
    """Its steps of 2 leap over a map one pixel wide; ONNX Runtime calls its maximum's place -1."""
    model = single("MaxPool", (1, 2, width), kernel_shape=[2], dilations=[2], pads=[1, 1])
    gradient, _, _ = gradient_and_output(model, {"x": np.ones((1, 2, 1), np.float32)})
    np.testing.assert_array_equal(gradient, np.zeros((1, 2, 1)))


def test_the_first_of_equal_maxima_of_a_map_takes_the_gradient() -> None:
    x = np.array([[1, 3, 3, 2], [3, 0, 1, 3]], np.float32).reshape(1, 2, 2, 2)
    gradient, seed, _ = gradient_and_output(single("GlobalMaxPool", (1, 2, 2, 2)), {"x": x})
    first, second = seed.reshape(2)
    np.testing.assert_array_equal(gradient.reshape(2, 4), [[0, first, 0, 0], [second, 0, 0, 0]])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_norm_of_nothing_but_zeros_passes_a_gradient_of_zero(p: int) -> None:
    x = np.array([[0, 0, 0, 5, 7]], np.float32)[None]
    gradient, _, _ = gradient_and_output(single("LpPool", (1, 1, 5), kernel_shape=[2], p=p), {"x": x})
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[0, 0, :2], [0, 0])
    whole, _, _ = gradient_and_output(single("GlobalLpPool", (1, 1, 5), p=p), {"x": np.zeros((1, 1, 5), np.float32)})
    np.testing.assert_array_equal(whole, np.zeros((1, 1, 5)))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool"])
def test_a_pool_whose_shape_onnx_gets_wrong_is_refused(op: str) -> None:
    how: dict[str, Any] = {"kernel_shape": [2], "strides": [2], "pads": [1, 1], "ceil_mode": 1}
    model = single(op, (1, 1, 5), opset=18, **how)
    assert run(model, {"x": np.ones((1, 1, 5), np.float32)})["y"].shape == (1, 1, 3)
    with pytest.raises(RewriteError, match=r"to have \(4,\) pixels with ceil_mode and these pads, where it has \(3,\)"):
        differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    assert (
        linear_error(single("AveragePool", (1, 1, 5), opset=22, **how), {"x": np.ones((1, 1, 5), np.float32)}) <= 1e-5
    )


def test_the_gradient_of_a_mean_stores_one_kernel_however_many_channels_there_are() -> None:
    model = single("AveragePool", (1, 4096, 6, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    assert found.proto.ByteSize() < 4096


def test_the_output_that_is_asked_of_a_node_takes_no_name_that_there_is() -> None:
    model = single("MaxPool", (1, 1, 4, 4), kernel_shape=[2, 2])
    model.graph.node.append(helper.make_node("MaxPool", ["y"], ["y.indices"], kernel_shape=[2, 2]))
    model.graph.output.add(name="y.indices")
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y.indices"], ["x"])
    x = apart((1, 1, 4, 4))
    given_ = run(found.proto, {"x": x, found.seeds["y.indices"]: np.ones((1, 1, 2, 2), np.float32)})
    windows = np.lib.stride_tricks.sliding_window_view(x[0, 0], (3, 3)).reshape(4, 9)
    expected = np.zeros((1, 1, 4, 4), np.float32)
    for value in windows.max(1):
        expected[x == value] += 1
    np.testing.assert_array_equal(given_[found.gradients["x"]], expected)
