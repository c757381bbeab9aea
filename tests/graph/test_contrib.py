"""Shapes of ONNX Runtime's own operators, against what ONNX Runtime itself infers and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnxruntime
import pytest

from onnxvis.graph import shapes
from onnxvis.graph.load import load

HEAD = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
SCALES = "s = Constant<value: tensor = float {0.5}>() z = Constant<value: tensor = uint8 {3}>()"
BODIES = {
    "add": "y = com.microsoft.QLinearAdd(x, s, z, x, s, z, s, z)",
    "mul": "y = com.microsoft.QLinearMul(x, s, z, x, s, z, s, z)",
    "concat": "y = com.microsoft.QLinearConcat<axis: int = 1>(s, z, x, s, z, x, s, z)",
    "sigmoid": "y = com.microsoft.QLinearSigmoid(x, s, z, s, z)",
    "leaky": "y = com.microsoft.QLinearLeakyRelu<alpha: float = 0.1>(x, s, z, s, z)",
    "pool": (
        "y = com.microsoft.QLinearAveragePool<kernel_shape: ints = [3, 3], strides: ints = [2, 2], "
        "pads: ints = [1, 1, 1, 1]>(x, s, z, s, z)"
    ),
    "global": "y = com.microsoft.QLinearGlobalAveragePool(x, s, z, s, z)",
}


@pytest.mark.parametrize("name", BODIES)
def test_shape_and_type_equal_what_runs(name: str) -> None:
    model = onnx.parser.parse_model(
        f"{HEAD} g (uint8[2, 4, 9, 7] x) => (uint8[a, b, c, d] y) {{ {SCALES} {BODIES[name]} }}"
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, {"x": np.zeros((2, 4, 9, 7), np.uint8)})[0]
    assert shapes.infer(model)["y"] == (result.shape, str(result.dtype))


@pytest.mark.parametrize(
    "node", ["y = GroupNormalization<num_groups: int = 2>(x, k, k)", "y = MeanVarianceNormalization(x)"]
)
def test_standard_operators_that_keep_shape_and_type(node: str) -> None:
    head = '<ir_version: 10, opset_import: ["" : 21]>'
    constant = "k = Constant<value: tensor = float[4] {1, 1, 1, 1}>()"
    text = f"{head} g (float[N, 4, 9, 7] x) => (float[a, b, c, d] z) {{ {constant} {node} z = Relu(y) }}"
    found = shapes.infer(onnx.parser.parse_model(text))
    assert found["y"] == found["x"] == (("N", 4, 9, 7), "float32")


def test_a_product_that_ends_in_floats_is_left_alone() -> None:
    body = "w = Constant<value: tensor = uint8[2, 3] {1, 2, 3, 4, 5, 6}>() y = com.microsoft.QGemm(x, s, z, w, s, z)"
    model = onnx.parser.parse_model(f"{HEAD} g (uint8[5, 2] x) => (float[a, b] y) {{ {SCALES} {body} }}")
    assert shapes.infer(model)["y"][1] == "float32"


def test_stages_go_on_behind_them(tmp_path: Path) -> None:
    body = (
        "w = Constant<value: tensor = uint8[4, 4, 1, 1] {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1}>() "
        "a = QLinearConv(x, s, z, w, s, z, s, z) b = com.microsoft.QLinearAdd(a, s, z, x, s, z, s, z) "
        "c = QLinearConv<strides: ints = [2, 2]>(b, s, z, w, s, z, s, z) "
        "d = QLinearConv(c, s, z, w, s, z, s, z) y = com.microsoft.QLinearAdd(c, s, z, d, s, z, s, z)"
    )
    model = onnx.parser.parse_model(f"{HEAD} g (uint8[1, 4, 8, 8] x) => (uint8[1, 4, 4, 4] y) {{ {SCALES} {body} }}")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert [(part.name, part.output) for part in load(path).parts] == [("stem", "b"), ("backbone", "y")]
