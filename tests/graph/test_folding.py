"""Arithmetic on shapes, against what ONNX Runtime computes."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnxruntime
import pytest

from onnxvis.graph import shapes

PADDLE = """
<ir_version: 8, opset_import: ["" : 11]>
agraph (float[N, 8, H, W] x) => (float[M, K] y) {
  pooled = GlobalAveragePool(x)
  long = Shape(pooled)
  all = Cast<to: int = 6>(long)
  zero = Constant<value: tensor = int64[1] {0}>()
  one = Constant<value: tensor = int64[1] {1}>()
  batch = Slice(all, zero, one)
  rest = Constant<value: tensor = int32[1] {-1}>()
  target = Concat<axis: int = 0>(batch, rest)
  wide = Cast<to: int = 7>(target)
  y = Reshape(pooled, wide)
}
"""
OLD_UNSQUEEZE = """
<ir_version: 8, opset_import: ["" : 11]>
agraph (float[N, 6, H, W] x) => (float[A, B, C] y) {
  size = Shape(x)
  which = Constant<value: tensor = int64 {0}>()
  batch = Gather(size, which)
  listed = Unsqueeze<axes: ints = [0]>(batch)
  rest = Constant<value: tensor = int64[2] {-1, 6}>()
  target = Concat<axis: int = 0>(listed, rest)
  turned = Transpose<perm: ints = [0, 2, 3, 1]>(x)
  y = Reshape(turned, target)
}
"""


@pytest.mark.parametrize("text", [PADDLE, OLD_UNSQUEEZE])
def test_shapes_equal_what_runs(text: str) -> None:
    model = onnx.parser.parse_model(text)
    channels = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    x = np.zeros((2, channels, 5, 7), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = shapes.infer(model, {"x": x.shape})["y"][0]
    assert found == session.run(None, {"x": x})[0].shape


def test_the_model_is_not_changed() -> None:
    model = onnx.parser.parse_model(PADDLE)
    before = model.SerializeToString()
    shapes.infer(model, {"x": (1, 8, 4, 4)})
    assert model.SerializeToString() == before


def test_a_huge_constant_is_not_made() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (float[1, 3, 100000, 100000] x) => (float[M] y) {
      size = Shape(x)
      y = ConstantOfShape(size)
    }
    """
    found = shapes.infer(onnx.parser.parse_model(text))
    assert found["y"][1] == "float32"
