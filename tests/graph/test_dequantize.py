"""Real numbers from codes, against ONNX's reference evaluator, ONNX Runtime, and slow loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxvis.errors import ModelError
from onnxvis.graph.dequantize import dequantized, spread
from onnxvis.graph.weights import Quantization, Weights

Array = np.ndarray[Any, np.dtype[Any]]
SHAPE = (4, 6, 2, 3)
FLOAT = TensorProto.FLOAT


def model_of(
    nodes: list[NodeProto], tensors: dict[str, Array], shapes: dict[str, list[int]] | None = None
) -> ModelProto:
    """Inputs are what `shapes` names; the last node's output is the model's."""
    kinds = {"x_u8": TensorProto.UINT8}
    inputs = [helper.make_tensor_value_info(name, kinds.get(name, FLOAT), s) for name, s in (shapes or {}).items()]
    output = helper.make_empty_tensor_value_info(nodes[-1].output[0])
    stored = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "g", inputs, [output], stored)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def reference(model: ModelProto, feeds: dict[str, Array]) -> Array:
    """The model's output by ONNX's own evaluator."""
    found = ReferenceEvaluator(model).run(None, feeds)
    assert isinstance(found, list)
    return np.asarray(found[0])


def weights_of(model: ModelProto) -> Weights:
    return Weights(model, Path())


def codes_of(data_type: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    dtype = helper.tensor_dtype_to_np_dtype(data_type)
    bits = 4 if "4" in dtype.name else 8 * dtype.itemsize
    low = -(2 ** (bits - 1)) if dtype.name.startswith("int") else 0
    return rng.integers(low, low + 2**bits, shape).astype(np.int64).astype(dtype)


@given(
    data_type=st.sampled_from(
        [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4, TensorProto.INT16]
    ),
    axis=st.sampled_from([None, 0, 1, 2, 3, -1, -2, -4]),
    block=st.sampled_from([0, 1, 2, 3]),
    zero=st.booleans(),
    seed=st.integers(0, 99),
)
def test_dequantize_linear(data_type: int, axis: int | None, block: int, zero: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = codes_of(data_type, SHAPE, rng)
    parameters: tuple[int, ...] = () if axis is None else (SHAPE[axis],)
    if axis is not None and block:
        blocks = list(SHAPE)
        blocks[axis] = -(-SHAPE[axis] // block)
        parameters = tuple(blocks)
    tensors = {"w": codes, "s": rng.random(parameters).astype(np.float32) + np.float32(0.01)}
    if zero:
        tensors["z"] = codes_of(data_type, parameters, rng)
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis} | ({"block_size": block} if block else {})
    model = model_of([helper.make_node("DequantizeLinear", list(tensors), ["y"], **attributes)], tensors)
    weights = weights_of(model)
    quantization = weights.quantization("w")
    assert quantization is not None
    assert (quantization.scales, quantization.zero_point) == (("s",), "z" if zero else "")
    if axis is not None and np.prod(parameters) > 1:
        assert (quantization.axis, quantization.block_size) == (axis % 4, block)
    real = weights.real("w")
    assert real.dtype == np.float32
    wide_scale, wide_zero = tensors["s"].astype(np.float64), tensors["z"].astype(np.float64) if zero else 0.0
    expected = np.empty(SHAPE)
    for index in np.ndindex(*SHAPE):
        at: tuple[int, ...] = ()
        if axis is not None:
            at = (index[axis],)
            if block:
                at = tuple(i // block if a == axis % 4 else i for a, i in enumerate(index))
        point = wide_zero[at] if isinstance(wide_zero, np.ndarray) else wide_zero
        expected[index] = (float(codes[index].astype(np.float64)) - point) * wide_scale[at]
    np.testing.assert_allclose(real, expected, rtol=2e-7)
    np.testing.assert_array_equal(real, reference(model, {}))


@pytest.mark.parametrize("data_type", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT4, TensorProto.UINT4])
@pytest.mark.parametrize("axis", [0, 1, 3])
@pytest.mark.parametrize("block", [0, 2])
def test_the_runtime_agrees(data_type: int, axis: int, block: int) -> None:
    rng = np.random.default_rng(3)
    shape = (4, 6, 2, 8)
    parameters = tuple(n // block if a == axis else n for a, n in enumerate(shape)) if block else (shape[axis],)
    tensors = {"w": codes_of(data_type, shape, rng), "s": rng.random(parameters).astype(np.float32)}
    tensors["z"] = codes_of(data_type, parameters, rng)
    node = helper.make_node("DequantizeLinear", list(tensors), ["y"], axis=axis, block_size=block)
    model = model_of([node], tensors)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(weights_of(model).real("w"), session.run(None, {})[0])


def test_large_int32_codes_lose_nothing_before_the_difference() -> None:
    codes = np.array([2**30 + 1, 2**30 + 3], np.int32)
    found = dequantized(codes, [np.array(1, np.float32)], np.array(2**30, np.int32), None, 0)
    assert found.tolist() == [1, 3]


def through(op: str, **attributes: Any) -> tuple[list[NodeProto], Array]:
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Identity", ["w"], ["w1"]),
        helper.make_node(op, ["w1", *(["shape"] if op == "Reshape" else [])], ["w2"], **attributes),
        helper.make_node("DequantizeLinear", ["w2", "s"], ["y"], axis=0),
    ]
    return nodes, codes_of(TensorProto.INT8, (4, 6, 2), rng)


@pytest.mark.parametrize("perm", [None, [2, 0, 1], [1, 2, 0], [0, 1, 2]])
def test_scales_along_an_axis_that_a_transpose_moves(perm: list[int] | None) -> None:
    nodes, codes = through("Transpose", **({} if perm is None else {"perm": perm}))
    moved = codes.transpose(perm)
    scale = np.arange(1, moved.shape[0] + 1, dtype=np.float32)
    weights = weights_of(model_of(nodes, {"w": codes, "s": scale}))
    expected = (moved * scale[:, None, None]).transpose(np.argsort(perm) if perm else None)
    np.testing.assert_array_equal(weights.real("w"), expected)


def test_scales_past_a_reshape() -> None:
    nodes, codes = through("Reshape")
    shape = np.array([8, 6], np.int64)
    one = weights_of(model_of(nodes, {"w": codes, "shape": shape, "s": np.array([0.5], np.float32)}))
    np.testing.assert_array_equal(one.real("w"), codes * np.float32(0.5))
    several = weights_of(model_of(nodes, {"w": codes, "shape": shape, "s": np.ones(8, np.float32)}))
    assert several.quantization("w") is None
    assert several.real("w").dtype == np.int8


def qlinear_conv(x_scale: str = "xs") -> tuple[ModelProto, dict[str, Array]]:
    rng = np.random.default_rng(2)
    tensors: dict[str, Array] = {
        "xs": np.array(0.02, np.float32),
        "xz": np.array(3, np.uint8),
        "w": codes_of(TensorProto.INT8, (5, 3, 3, 3), rng),
        "ws": rng.random(5).astype(np.float32) / 50,
        "wz": np.zeros(5, np.int8),
        "ys": np.array(0.1, np.float32),
        "yz": np.array(100, np.uint8),
        "b": rng.integers(-9000, 9000, 5).astype(np.int32),
    }
    inputs = ["x_u8", x_scale, "xz", "w", "ws", "wz", "ys", "yz", "b"]
    nodes = [
        helper.make_node("QLinearConv", inputs, ["q"]),
        helper.make_node("DequantizeLinear", ["q", "ys", "yz"], ["y"]),
    ]
    return model_of(nodes, tensors, {"x_u8": [1, 3, 8, 8]}), tensors


def test_a_quantised_convolution_is_a_convolution_with_the_real_numbers() -> None:
    model, tensors = qlinear_conv()
    weights = weights_of(model)
    assert weights.quantization("w") == Quantization("int8", 0, 0, ("ws",), "wz")
    assert weights.quantization("b") == Quantization("int32", 0, 0, ("xs", "ws"), "")
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 8, 8)).astype(np.uint8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    quantised = session.run(None, {"x_u8": x})[0]
    real = (x.astype(np.float32) - 3) * tensors["xs"]
    plain = model_of(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        {"w": weights.real("w"), "b": weights.real("b")},
        {"x": [1, 3, 8, 8]},
    )
    expected = reference(plain, {"x": real})
    low, high = (0 - 100) * 0.1, (255 - 100) * 0.1
    assert expected.std() > 1
    np.testing.assert_allclose(quantised, np.clip(expected, low, high), atol=0.0501)


def test_a_bias_whose_scale_is_computed_stays_in_codes() -> None:
    model, tensors = qlinear_conv(x_scale="computed")
    model.graph.node.insert(0, helper.make_node("Sqrt", ["xs"], ["computed"]))
    weights = weights_of(model)
    assert weights.quantization("b") is None
    assert weights.quantization("w") is not None
    np.testing.assert_array_equal(weights.real("b"), tensors["b"], strict=True)


@pytest.mark.parametrize("per_column", [False, True])
def test_a_quantised_matrix_product(per_column: bool) -> None:
    rng = np.random.default_rng(4)
    b, scale = codes_of(TensorProto.UINT8, (7, 5), rng), rng.random(5 if per_column else ()).astype(np.float32)
    zero = np.full(scale.shape, 9, np.uint8)
    names = ["x", "as", "az", "b", "bs", "bz", "ys", "yz"]
    tensors = {"as": np.float32(1), "az": np.uint8(0), "b": b, "bs": scale, "bz": zero}
    tensors |= {"ys": np.float32(1), "yz": np.uint8(0)}
    model = model_of([helper.make_node("QLinearMatMul", names, ["y"])], {k: np.asarray(v) for k, v in tensors.items()})
    expected = np.array([[(int(b[i, j]) - 9) * np.broadcast_to(scale, 5)[j] for j in range(5)] for i in range(7)])
    np.testing.assert_allclose(weights_of(model).real("b"), expected, rtol=1e-6)
    assert weights_of(model).quantization("b") == Quantization("uint8", 1 if per_column else None, 0, ("bs",), "bz")


@pytest.mark.parametrize("transposed", [0, 1])
def test_the_runtimes_quantised_gemm(transposed: int) -> None:
    """ONNX Runtime's QGemm with a float result: y = (A − a_z)·a_s @ (B − b_z)·b_s + C·a_s·b_s."""
    rng = np.random.default_rng(5)
    shape = (5, 7) if transposed else (7, 5)
    tensors: dict[str, Array] = {
        "as": np.array(0.03, np.float32), "az": np.array(4, np.uint8), "b": codes_of(TensorProto.INT8, shape, rng),
        "bs": rng.random(5).astype(np.float32), "bz": np.zeros(5, np.int8),
        "c": rng.integers(-99, 99, 5).astype(np.int32),
    }  # fmt: skip
    node = helper.make_node("QGemm", ["x_u8", *tensors], ["y"], domain="com.microsoft", transB=transposed)
    model = model_of([node], tensors, {"x_u8": [2, 7]})
    weights = weights_of(model)
    x = rng.integers(0, 256, (2, 7)).astype(np.uint8)
    found = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x_u8": x})[
        0
    ]
    real = (x.astype(np.float32) - 4) * tensors["as"]
    b = weights.real("b").T if transposed else weights.real("b")
    np.testing.assert_allclose(found, real @ b + weights.real("c"), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_dynamic_quantisation(op: str) -> None:
    """The scale of the weights comes after the product, as ONNX Runtime's quantize_dynamic writes it."""
    rng = np.random.default_rng(6)
    shape, x_shape = ((4, 3, 1, 1), [1, 3, 5, 5]) if op == "ConvInteger" else ((3, 4), [5, 3])
    scale = rng.random((4, 1, 1) if op == "ConvInteger" else 4).astype(np.float32)
    tensors = {"w": codes_of(TensorProto.UINT8, shape, rng), "wz": np.asarray(np.uint8(128)), "ws": scale}
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "xs", "xz"]),
        helper.make_node(op, ["q", "w", "xz", "wz"], ["product"]),
        helper.make_node("Cast", ["product"], ["float"], to=FLOAT),
        helper.make_node("Mul", ["xs", "ws"], ["factor"]),
        helper.make_node("Mul", ["float", "factor"], ["y"]),
    ]
    model = model_of(nodes, tensors, {"x": x_shape})
    weights = weights_of(model)
    assert weights.quantization("w") == Quantization("uint8", 0 if op == "ConvInteger" else 1, 0, ("ws",), "wz")
    x = rng.standard_normal(x_shape).astype(np.float32)
    found = reference(model, {"x": x})
    plain = helper.make_node("Conv" if op == "ConvInteger" else "MatMul", ["x", "w"], ["y"])
    expected = reference(model_of([plain], {"w": weights.real("w")}, {"x": x_shape}), {"x": x})
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_without_a_scale_codes_remain() -> None:
    weights = weights_of(
        model_of(
            [helper.make_node("ConvInteger", ["x_u8", "w"], ["y"])],
            {"w": np.ones((1, 1, 1, 1), np.int8)},
            {"x_u8": [1, 1, 2, 2]},
        )
    )
    assert weights.quantization("w") is None
    np.testing.assert_array_equal(weights.real("w"), np.ones((1, 1, 1, 1), np.int8), strict=True)


def test_scales_inside_a_function_are_found_outside() -> None:
    """The codes are the function's own, the scale an argument of its only call."""
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.array([4, 6], np.int8))),
        helper.make_node("DequantizeLinear", ["w", "scale"], ["real"]),
        helper.make_node("Add", ["a", "real"], ["b"]),
    ]
    function = helper.make_function("here", "F", ["a", "scale"], ["b"], nodes, [helper.make_opsetid("", 21)])
    model = model_of(
        [helper.make_node("F", ["x", "s"], ["y"], domain="here")], {"s": np.asarray(np.float32(0.5))}, {"x": [2]}
    )
    model.functions.append(function)
    assert weights_of(model).real("w").tolist() == [2, 3]
    model.graph.node.insert(0, helper.make_node("F", ["x", "other"], ["unused"], domain="here"))
    assert weights_of(model).quantization("w") is None


@pytest.mark.parametrize(
    ("parameters", "attributes"),
    [
        ((3,), {"axis": 0}),
        ((2, 2), {"axis": 0}),
        ((2, 6, 1, 1), {"axis": 0, "block_size": 2}),
        ((4, 6), {"axis": 1, "block_size": -1}),
    ],
)
def test_scales_that_do_not_fit_are_refused(parameters: tuple[int, ...], attributes: dict[str, Any]) -> None:
    tensors: dict[str, Array] = {"w": np.zeros(SHAPE, np.int8), "s": np.ones(parameters, np.float32)}
    weights = weights_of(model_of([helper.make_node("DequantizeLinear", ["w", "s"], ["y"], **attributes)], tensors))
    with pytest.raises(ModelError, match=r"tensor 'w' of shape \[4, 6, 2, 3\] does not fit its scale 's'"):
        weights.real("w")


def test_an_enormous_block_makes_nothing_enormous() -> None:
    assert spread(np.array([[2.0], [3.0]]), (2, 4), 1, 2**60).tolist() == [[2] * 4, [3] * 4]
