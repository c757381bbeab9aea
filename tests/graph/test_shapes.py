"""Shapes and types: what ONNX infers, what the model declares, what inputs are told to be."""

from __future__ import annotations

import time

import onnx
from onnx import ModelProto, TensorProto, helper

from onnxvis.graph.shapes import infer


def parsed(body: str, inputs: str = "float[N, 3, H, W] x", made: str = "float") -> ModelProto:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({made}[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def test_inferred_and_with_numbers_for_the_inputs() -> None:
    model = parsed("a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) y = Cast <to = 10> (a)", made="float16")
    before = model.SerializeToString()
    assert infer(model)["x"] == (("N", 3, "H", "W"), "float32")
    found = infer(model, {"x": (2, 3, 8, 6)})
    assert found["a"] == ((2, 3, 4, 3), "float32")
    assert found["y"] == ((2, 3, 4, 3), "float16")
    assert model.SerializeToString() == before


def test_values_are_followed_through_shape_arithmetic() -> None:
    model = parsed("""
        s = Shape (x) i = Constant <value = int64[1] {0}> () n = Gather (s, i) m = Constant <value = int64[1] {-1}> ()
        t = Concat <axis = 0> (n, m) y = Reshape (x, t)""")
    assert infer(model, {"x": (2, 3, 4, 5)})["y"] == ((2, 60), "float32")


def test_halves_as_pytorch_cuts_them() -> None:
    model = parsed("""
        s = Shape (x) q = Constant <value = int64[1] {1}> () n = Gather (s, q) one = Constant <value = int64[1] {1}> ()
        two = Constant <value = int64[1] {2}> () zero = Constant <value = int64[1] {0}> ()
        p = Add (n, one) h = Div (p, two) y = Slice (x, zero, h, q)""")
    assert infer(model, {"x": (1, 6, 4, 5)})["y"] == ((1, 3, 4, 5), "float32")


def test_declared_shapes_serve_for_unknown_operators() -> None:
    model = parsed("a = com.microsoft.Odd (x) y = Relu (a)")
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 8]))
    assert infer(model)["a"] == ((1, 8), "float32")
    assert infer(model)["y"] == ((1, 8), "float32")


def test_a_contradiction_leaves_what_is_declared() -> None:
    model = parsed("y = Add (x, w)", "float[1, 3] x, float[1, 4] w")
    assert infer(model)["x"] == ((1, 3), "float32")


def test_an_endless_constant_is_not_followed() -> None:
    model = parsed("""
        n = Constant <value = int64[1] {1152921504606846976}> () c = ConstantOfShape (n)
        d = Concat <axis = 0> (c, c) y = Reshape (x, d)""")
    start = time.monotonic()
    infer(model, {"x": (1, 3, 4, 4)})
    assert time.monotonic() - start < 2
