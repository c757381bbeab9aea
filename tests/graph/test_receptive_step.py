"""One node at a time: what is known of its inputs, and reasons where too little is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxvis.graph import receptive  # noqa: F401  registers the rules
from onnxvis.graph.load import Model, load
from onnxvis.graph.receptive_step import Step, from_end, propagate, rule
from onnxvis.graph.tracks import Axis, Track, Unknown

INPUT = Track(Axis.of_input(8), Axis.of_input(6), (-2, -1))


def parsed(body: str, folder: Path, inputs: str = "float[1, 3, 8, 6] x", opset: int = 17) -> Model:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[] y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return load(folder / "m.onnx")


def test_constants_lists_and_texts(tmp_path: Path) -> None:
    body = """c = Constant <value_ints = [1, 2]> () d = Constant <value = int64[1] {7}> () e = Neg (d)
        y = Odd <mode = "up", axes = [3]> (x, c, d, e)"""
    model = parsed(body, tmp_path)
    step = Step(model, model.view.nodes[-1], {"x": INPUT})
    assert [None if (value := step.constant(i)) is None else value.tolist() for i in range(5)] == [
        None, [1, 2], [7], None, None,
    ]  # fmt: skip
    assert step.listed("axes", 1) == [3]
    assert step.listed("other", 1) == [1, 2]
    assert step.listed("other", 3) is None
    assert (step.text("mode", "down"), step.text("none", "down")) == ("up", "down")
    assert step.rank() == 4
    assert step.shape("x") == (1, 3, 8, 6)
    with pytest.raises(Unknown, match="shape of 'y' is not known"):
        step.shape("y")


def test_only_one_input_may_depend_on_the_picture(tmp_path: Path) -> None:
    model = parsed("a = Neg (x) y = MaxPool <kernel_shape = [1, 1]> (x)", tmp_path)
    node = model.view.nodes[1]
    assert Step(model, node, {"x": INPUT}).only is INPUT
    with pytest.raises(Unknown, match="besides the first"):
        _ = Step(model, node, {"a": INPUT}).only


def test_where_rows_and_columns_must_lie(tmp_path: Path) -> None:
    model = parsed("y = MaxPool <kernel_shape = [1, 1]> (x)", tmp_path)
    node = model.view.nodes[0]
    assert Step(model, node, {"x": INPUT}).spatial() == (-2, -1)
    assert Step(model, node, {"x": INPUT.vector()}).spatial() is None
    with pytest.raises(Unknown, match="not its height and width"):
        Step(model, node, {"x": INPUT._replace(places=(-3, -2))}).spatial()


def test_propagate(tmp_path: Path) -> None:
    model = parsed("s = Shape (x) a, b = Split <axis = 1> (x) q = NonZero (x) y = Odd (q)", tmp_path, opset=13)
    shape, split, _, odd = model.view.nodes
    assert propagate(model, shape, {"x": INPUT}) == {}
    assert propagate(model, split, {}) == {}
    assert set(propagate(model, split, {"x": INPUT})) == {"a", "b"}
    with pytest.raises(Unknown, match="no rule for this operator"):
        propagate(model, odd, {"q": INPUT})


def test_two_rules_of_one_name() -> None:
    with pytest.raises(ValueError, match="two rules for Relu"):
        rule("Relu")(lambda step: step.only)


def test_axes_from_the_end() -> None:
    assert [from_end(axis, 4) for axis in range(-4, 4)] == [*range(-4, 0)] * 2
    assert np.arange(24).reshape(1, 2, 3, 4).shape[from_end(1, 4)] == 2
