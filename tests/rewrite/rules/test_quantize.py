from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import Gradient, differentiate
from tests.rewrite.cases.quantize import CASES, MOVED, RANGES, MovedCase, QuantizedCase
from tests.rewrite.differences import central_differences, model_of, run
from tests.tiny import Array

NOTE = "QuantizeLinear is passed straight through, and holds the gradient back where it saturates"


def gradient_of(model: ModelProto, *wrt: str) -> Gradient:
    return differentiate(Model(Path("m.onnx"), model, Path.cwd()), ["y"], wrt or ["x"])


def held_back(case: QuantizedCase, upstream: Array) -> Array:
    """The upstream gradient where the code is one that its type holds, place by place."""
    low, high = RANGES[case.dtype]
    expected = np.zeros_like(upstream)
    for place in np.ndindex(case.x.shape):
        at = [
            index // case.block if case.block and axis == case.axis % 3 else index for axis, index in enumerate(place)
        ]
        which = tuple(at) if case.block else (place[case.axis],) if case.scale.size > 1 else (0,) * case.scale.ndim
        code = np.rint(case.x[place] / case.scale[which]) + float(case.zero_point[which])
        expected[place] = upstream[place] if low <= code <= high else 0
    return expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_gradient_passes_but_where_the_code_saturates(case: QuantizedCase) -> None:
    upstream = np.random.default_rng(4).standard_normal(case.x.shape).astype(np.float32)
    expected = held_back(case, upstream)
    assert 0 < np.count_nonzero(expected) < expected.size, "only what is held back in part tests both"
    found = gradient_of(case.model)
    gradient = run(found.proto, {"x": case.x, found.seeds["y"]: upstream})[found.gradients["x"]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)
    assert found.notes == (NOTE,)


@pytest.mark.parametrize("case", MOVED, ids=str)
def test_codes_that_are_moved_take_their_gradient_along(case: MovedCase) -> None:
    found = gradient_of(case.model)
    y = run(case.model, case.floats.feeds)["y"]
    upstream = {"y": np.random.default_rng(4).standard_normal(y.shape).astype(np.float32)}
    expected = central_differences(case.floats, upstream, ["x"])["x"]
    assert 0 < np.count_nonzero(np.abs(expected) > 1e-6) < expected.size
    gradient = run(found.proto, {**case.floats.feeds, found.seeds["y"]: upstream["y"]})[found.gradients["x"]]
    assert np.abs(gradient - expected).max() <= 1e-5 * np.abs(expected).max()


@settings(max_examples=40)
@given(
    dtype=st.sampled_from(["int8", "uint8", "int16", "uint16"]),
    code=st.integers(0, 255),
    steps=st.lists(st.integers(-600, 600), min_size=1, max_size=8),
    scale=st.sampled_from([0.25, 1.0, 8.0]),
)
def test_a_value_half_a_step_beyond_the_last_code_is_held_back(
    dtype: str, code: int, steps: list[int], scale: float
) -> None:
    """x is a whole number of half steps, which rounds to the even one."""
    low, high = RANGES[dtype]
    zero_point = min(max(low + code, low), high)
    x = np.array([*steps, 2 * (low - zero_point) - 1, 2 * (high - zero_point) + 1], np.float32) * np.float32(scale / 2)
    weights: dict[str, Array] = {"scale": np.array(scale, np.float32), "zero": np.array(zero_point, dtype)}
    found = gradient_of(model_of(_pair(), {"x": x.shape}, weights, opset=21))
    gradient = run(found.proto, {"x": x, found.seeds["y"]: np.full_like(x, 3)})[found.gradients["x"]]
    codes = [round(value / scale) + zero_point for value in x.tolist()]
    np.testing.assert_allclose(gradient, [3.0 if low <= code <= high else 0 for code in codes], rtol=1e-6)


def _pair(**attributes: Any) -> list[Any]:
    return [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"], **attributes),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"], **attributes),
    ]


def test_codes_of_the_fewest_bits_of_floats_are_refused() -> None:
    zero = helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    model = model_of(_pair(), {"x": (3,)}, {"scale": np.array(0.1, np.float32)}, opset=21)
    model.graph.initializer.append(zero)
    with pytest.raises(RewriteError, match="its codes are float8e4m3fn; only integers are passed straight through"):
        gradient_of(model)


def test_a_scale_that_changes_with_x_is_refused() -> None:
    weights: dict[str, Array] = {"zero": np.array(0, np.uint8), "axes": np.array([0])}
    nodes = [helper.make_node("ReduceMax", ["x", "axes"], ["scale"], keepdims=0), *_pair()]
    with pytest.raises(RewriteError, match="its scale 'scale' changes with what it is differentiated by"):
        gradient_of(model_of(nodes, {"x": (3,)}, weights))


def test_dynamic_quantization_is_refused() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
    ]
    with pytest.raises(RewriteError, match="its scale 'scale' changes with what"):
        gradient_of(model_of(nodes, {"x": (3,)}, {}))


def test_a_stored_weight_in_codes_needs_no_gradient() -> None:
    weights: dict[str, Array] = {"codes": np.array([3, -5, 7], np.int8), "scale": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["weight"]),
        helper.make_node("Mul", ["x", "weight"], ["y"]),
    ]
    found = gradient_of(model_of(nodes, {"x": (3,)}, weights))
    feeds = {"x": np.ones(3, np.float32), found.seeds["y"]: np.array([1, 2, 4], np.float32)}
    np.testing.assert_array_equal(run(found.proto, feeds)[found.gradients["x"]], [1.5, -5, 14])
    assert found.notes == ()


def test_codes_that_are_cast_keep_their_gradient_in_steps() -> None:
    """DequantizeLinear written out: (codes - zero) · scale."""
    weights: dict[str, Array] = {
        "scale": np.array(0.5, np.float32),
        "zero": np.array(3, np.uint8),
        "middle": np.array(3, np.float32),
    }
    nodes = [
        _pair()[0],
        helper.make_node("Cast", ["codes"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["numbers", "middle"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["y"]),
    ]
    found = gradient_of(model_of(nodes, {"x": (4,)}, weights))
    feeds = {"x": np.array([-9, 0.1, 7, 900], np.float32), found.seeds["y"]: np.array([1, 2, 4, 8], np.float32)}
    np.testing.assert_allclose(run(found.proto, feeds)[found.gradients["x"]], [0, 2, 4, 0], rtol=1e-6)
