"""What an operator sees of a stored tensor, against ONNX Runtime running the same nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper, numpy_helper, parser

from onnxvis.errors import ModelError
from onnxvis.graph.chains import Chains
from onnxvis.graph.load import load

Array = np.ndarray[Any, np.dtype[Any]]
RNG = np.random.default_rng(0)
FLOATS = RNG.standard_normal((4, 6, 2, 8)).astype(np.float32)
CODES = RNG.integers(-128, 128, (4, 6, 2, 8)).astype(np.int8)
SCALES = RNG.random(6).astype(np.float32) + np.float32(0.1)
ZEROS = RNG.integers(-9, 9, 6).astype(np.int8)

# Nodes that make `seen` of the stored tensors, and the opset.
CHAINS = {
    "a = Identity (f) seen = Transpose <perm = [2, 0, 3, 1]> (a)": 21,
    "seen = Transpose (f)": 21,
    "a = Cast <to = 10> (f) seen = Cast <to = 1> (a)": 21,
    "seen = Cast <to = 16> (f)": 21,
    "seen = Reshape (f, sizes)": 21,
    "seen = Reshape <allowzero = 1> (f, sizes)": 21,
    "seen = Flatten <axis = 2> (f)": 21,
    "a = Unsqueeze (f, axes) seen = Squeeze (a, axes)": 21,
    "a = Unsqueeze <axes = [0, 2]> (f) seen = Squeeze <axes = [2]> (a)": 11,
    "a = Unsqueeze (f, axes) seen = Squeeze (a)": 21,
    "seen = DequantizeLinear <axis = 1> (q, s, z)": 21,
    "seen = DequantizeLinear <axis = -3> (q, s)": 21,
    "seen = DequantizeLinear (q, one)": 21,
    "a = QuantizeLinear <axis = 1> (f, s, z) seen = DequantizeLinear <axis = 1> (a, s, z)": 21,
    "seen = QuantizeLinear (f, one)": 21,
    "a = QuantizeLinear <axis = 1, output_dtype = 3> (f, s) seen = Transpose <perm = [1, 0, 2, 3]> (a)": 21,
    "a = Transpose <perm = [1, 0, 3, 2]> (q) b = DequantizeLinear <axis = 0> (a, s, z) seen = Cast <to = 10> (b)": 21,
}


def model_of(body: str, opset: int) -> ModelProto:
    text = (
        f'<ir_version: 10, opset_import: ["" : {opset}]> g (float[1] x) => (float[1] y) {{ {body} y = Identity (x) }}'
    )
    model = parser.parse_model(text)
    zero_is_zero = "allowzero" in body
    tensors = {
        "f": np.empty((0, 3, 0), np.float32) if zero_is_zero else FLOATS, "q": CODES, "s": SCALES, "z": ZEROS,
        "one": np.float32(0.25), "sizes": np.array([3, 0, 0] if zero_is_zero else [0, -1, 16], np.int64),
        "axes": np.array([0, 2], np.int64),
    }  # fmt: skip
    for name, value in tensors.items():
        if any(name in node.input for node in model.graph.node):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


def ran(model: ModelProto) -> Array:
    whole = ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.append(helper.make_empty_tensor_value_info("seen"))
    whole.graph.node.append(helper.make_node("Cast", ["seen"], ["plain"], to=1))
    whole.graph.output.append(helper.make_empty_tensor_value_info("plain"))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    del whole.graph.output[-2]
    session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["plain"], {"x": np.zeros(1, np.float32)})[0])


@pytest.mark.parametrize("body", CHAINS)
def test_the_runtime_sees_the_same(body: str, tmp_path: Path) -> None:
    proto = model_of(body, CHAINS[body])
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    chains = Chains(load(tmp_path / "m.onnx"))
    found = chains.value("seen")
    expected = ran(proto)
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.astype(np.float32), expected)
    assert chains.source("seen") == proto.graph.node[0].input[0]


def test_nothing_is_copied_on_the_way(tmp_path: Path) -> None:
    proto = model_of("a = Cast <to = 1> (f) b = Reshape (a, sizes) seen = Transpose <perm = [2, 1, 0]> (b)", 21)
    large = numpy_helper.from_array(np.arange(96_000, dtype=np.float32).reshape(100, 60, 16), "f")
    next(tensor for tensor in proto.graph.initializer if tensor.name == "f").CopyFrom(large)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = load(tmp_path / "m.onnx")
    assert np.shares_memory(Chains(model).value("seen"), model.read("f"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("seen = Relu (f)", "tensor 'seen' is not stored"),
        ("seen = Identity (x)", "tensor 'x' is not stored"),
        ("seen = Transpose <perm = [0, 0, 1, 2]> (f)", "does not fit its inputs"),
        ("seen = DequantizeLinear <axis = 0> (q, s)", "does not fit its inputs"),
        ("seen = Cast <to = 999> (f)", "does not fit its inputs"),
        ("seen = Reshape (f, axes)", "does not fit its inputs"),
        ("seen = DequantizeLinear (q)", "does not fit its inputs"),
    ],
)
def test_what_cannot_be_followed_is_refused(body: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model_of(body, 21).SerializeToString())
    with pytest.raises(ModelError, match=reason):
        Chains(load(tmp_path / "m.onnx")).value("seen")


def test_a_long_chain_ends(tmp_path: Path) -> None:
    steps = " ".join(f"t{i + 1} = Identity (t{i})" for i in range(50))
    (tmp_path / "m.onnx").write_bytes(
        model_of(f"t0 = Identity (f) {steps} seen = Identity (t50)", 21).SerializeToString()
    )
    chains = Chains(load(tmp_path / "m.onnx"))
    assert chains.source("seen") == ""
    with pytest.raises(ModelError):
        chains.value("seen")


def test_constants_of_functions_under_their_name_in_the_file(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
    g (float[2] x) => (float[2] y) <float[2] w = {7, 8}> { t = here.F (x) u = here.F (t) y = Add (u, w) }
    <domain: "here", opset_import: ["" : 17]>
    F (a) => (b) { w = Constant <value = float[2] {1, 2}> () v = Identity (w) b = Mul (a, v) }"""
    (tmp_path / "m.onnx").write_bytes(parser.parse_model(text).SerializeToString())
    model = load(tmp_path / "m.onnx")
    chains = Chains(model)
    factors = [node.inputs[1] for node in model.view.nodes if node.op == "Mul"]
    assert len(set(factors)) == 2
    assert [chains.source(name) for name in factors] == ["w (function F / Constant w)"] * 2
    assert [chains.value(name).tolist() for name in factors] == [[1, 2]] * 2
    assert chains.source("w") == "w"
    assert chains.value("w").tolist() == [7, 8]
