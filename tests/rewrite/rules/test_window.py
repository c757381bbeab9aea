from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from onnxvis.rewrite.rules.window import Axis, spread, windows_of
from onnxvis.rewrite.tape import NotDifferentiable, Tape
from tests.rewrite.differences import run, single
from tests.tiny import Array


def _windows(op: str, shape: tuple[int | str, ...], **attributes: Any) -> tuple[Axis, ...]:
    kernel = attributes.get("kernel_shape", [1])
    weights = {"w": np.ones((1, 1, *kernel), np.float32)} if op == "Conv" else {}
    tape = Tape(single(op, shape, weights, **attributes), Path.cwd())
    return windows_of(tape.view.nodes[0], tape)


def _gathered(axis: Axis, weights: Array) -> Array:
    """The matrix of a convolution along this axis, window by window."""
    assert axis.size is not None
    assert axis.count is not None
    matrix = np.zeros((axis.count, axis.size), np.float32)
    for window in range(axis.count):
        for place in range(axis.kernel):
            position = window * axis.stride - axis.begin + place * axis.dilation
            if 0 <= position < axis.size:
                matrix[window, position] += weights[place]
    return matrix


@st.composite
def _convolutions(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    size, kernel, stride = draw(st.integers(4, 9)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    dilation = 1 if auto.startswith("SAME") else draw(st.integers(1, 2))
    pads = [draw(st.integers(0, kernel - 1)) for _ in range(2)]
    assume(size + (sum(pads) if auto == "NOTSET" else 0) >= dilation * (kernel - 1) + 1 or auto.startswith("SAME"))
    how: dict[str, Any] = {"kernel_shape": [kernel], "strides": [stride], "dilations": [dilation], "auto_pad": auto}
    return size, how | ({"pads": pads} if auto == "NOTSET" else {})


@given(_convolutions())
def test_windows_lie_where_onnx_runtime_puts_them(drawn: tuple[int, dict[str, Any]]) -> None:
    size, how = drawn
    try:
        (axis,) = _windows("Conv", (1, 1, size), **how)
    except NotDifferentiable:
        assert how["auto_pad"].startswith("SAME")
        assert how["strides"][0] - how["kernel_shape"][0] > 1
        return
    weights = np.arange(1, axis.kernel + 1, dtype=np.float32)
    model = single("Conv", (size, 1, size), {"w": weights.reshape(1, 1, -1)}, **how)
    columns = run(model, {"x": np.eye(size, dtype=np.float32)[:, None]})["y"]
    np.testing.assert_array_equal(_gathered(axis, weights), columns[:, 0].T)


@given(st.integers(4, 9), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.data())
def test_the_rest_is_what_lies_behind_the_last_window(
    size: int, kernel: int, stride: int, dilation: int, ceil: bool, data: st.DataObject
) -> None:
    begin, end = data.draw(st.integers(0, kernel - 1)), data.draw(st.integers(0, kernel - 1))
    axis = Axis(size, kernel, stride, dilation, begin, end, ceil)
    assume(size + begin + end >= axis.span)
    assert axis.count is not None
    last = (axis.count - 1) * stride + dilation * (kernel - 1) - begin
    assert axis.rest == size + end - 1 - last or stride == 1
    assert axis.rest is not None
    assert -stride < axis.rest < stride


def test_each_axis_takes_its_own_pads_begin_first() -> None:
    rows, columns = _windows("AveragePool", (1, 1, 9, 8), kernel_shape=[3, 4], strides=[2, 3], pads=[0, 1, 2, 3])
    assert rows == Axis(9, 3, 2, 1, 0, 2)
    assert columns == Axis(8, 4, 3, 1, 1, 3)


def test_the_padding_of_same_does_not_need_a_size_that_a_stride_of_one_does_not_need() -> None:
    free, fixed = _windows(
        "Conv", (1, 1, "height", 7), kernel_shape=[4, 3], strides=[1, 2], dilations=[2, 1], auto_pad="SAME_UPPER"
    )
    assert (free.begin, free.end, free.count, free.rest) == (3, 3, None, 0)
    assert (fixed.begin, fixed.end, fixed.count) == (1, 1, 4)


@pytest.mark.parametrize(
    ("op", "shape", "how", "reason"),
    [
        ("Conv", (1, 1, "width"), {"strides": [2]}, "auto_pad SAME_UPPER with strides [2], depends on the size"),
        ("Conv", (1, 1, 8), {"kernel_shape": [1], "strides": [4]}, "step over more than one pixel on 8"),
        ("AveragePool", (1, 1, 8), {"dilations": [2]}, "auto_pad SAME_UPPER with dilations"),
    ],
)
def test_padding_that_cannot_be_known_is_refused(
    op: str, shape: tuple[int | str, ...], how: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotDifferentiable) as refusal:
        _windows(op, shape, auto_pad="SAME_UPPER", **{"kernel_shape": [3], **how})
    assert reason in str(refusal.value)


def test_a_kernel_of_unknown_shape_is_refused() -> None:
    tape = Tape(single("Conv", (1, 1, 8), inputs=["x", "unknown"]), Path.cwd())
    with pytest.raises(NotDifferentiable, match="has no kernel_shape"):
        windows_of(tape.view.nodes[0], tape)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.booleans(), st.data())
def test_what_windows_gathered_spreads_to_all_that_they_read(
    kernel: int, stride: int, dilation: int, ceil: bool, free: bool, data: st.DataObject
) -> None:
    """With padding that is the same at both ends, whatever the windows' own."""
    widest = kernel - 1 if ceil else 4  # pools are padded by less than their kernel
    begin, end = (data.draw(st.integers(0, widest)) for _ in range(2))
    axis = Axis(8, kernel, stride, dilation, begin, end, ceil)
    weights = np.arange(1, kernel + 1, dtype=np.float32)
    matrix = _gathered(axis, weights)
    like = single("Identity", (1, 1, "width" if free else 8))
    tape = Tape(like, Path.cwd())
    axis = replace(axis, size=None if free else 8)
    made = spread("windows", tape.constant(weights.reshape(1, 1, -1)), [axis], "x", tape)
    transposed = next(node for node in tape.proto.graph.node if node.op_type == "ConvTranspose")
    first, last = next(item.ints for item in transposed.attribute if item.name == "pads")
    assert first == last
    tape.proto.graph.output.add(name=made)
    tape.proto.graph.input.append(helper.make_tensor_value_info("windows", TensorProto.FLOAT, (1, 1, len(matrix))))
    seed = np.random.default_rng(0).standard_normal(len(matrix)).astype(np.float32)
    found = run(tape.proto, {"x": np.zeros((1, 1, 8), np.float32), "windows": seed[None, None]}, [made])[made]
    np.testing.assert_allclose(found[0, 0], matrix.T @ seed, rtol=1e-5, atol=1e-5)
