"""The rest of a graph, fed what the layer really holds, gives what the whole graph gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, checker, helper

from onnxvis.errors import RewriteError, TensorNotFound
from onnxvis.graph.external import references
from onnxvis.graph.load import Model, load
from onnxvis.rewrite.tail import tail
from onnxvis.run.session import RunOptions, Session
from tests.references.networks import make_network
from tests.rewrite.differences import run
from tests.rewrite.outputs import with_outputs
from tests.tiny import Array, from_text, oracle, tiny, write


def opened(proto: ModelProto) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def assert_same(proto: ModelProto, layer: str, tensor: str, feeds: dict[str, Array], inputs: int = 1) -> ModelProto:
    found = tail(opened(proto), layer, tensor)
    checker.check_model(found.proto)
    assert found.inputs[0] == layer
    assert len(found.inputs) == inputs
    assert [value.name for value in found.proto.graph.input] == list(found.inputs)
    whole = run(with_outputs(proto, *found.inputs, tensor), feeds)
    rest = run(found.proto, {name: whole[name] for name in found.inputs})
    np.testing.assert_allclose(rest[found.output], whole[tensor], rtol=1e-6, atol=1e-6)
    return found.proto


@pytest.mark.parametrize(
    ("name", "layer", "inputs"),
    [
        ("squeezenet1_1", "/features/features.6/Concat_output_0", 1),
        ("mobilenet_v2", "/features/features.13/Add_output_0", 1),
        ("mobilenet_v2", "/features/features.13/conv/conv.0/conv.0.2/Clip_output_0", 2),
        ("shufflenet_v2_x1_0", "/stage3/stage3.7/Reshape_1_output_0", 1),
        ("vit_tiny", "/patch_embed/proj/Conv_output_0", 1),
        pytest.param("resnet18", "/layer3/layer3.0/relu/Relu_output_0", 2, marks=pytest.mark.slow),
        pytest.param("densenet121", "/features/denseblock4/denselayer7/relu2/Relu_output_0", 8, marks=pytest.mark.slow),
        pytest.param("yolov3", "/backbone/stage5/blocks/blocks.3/Add_output_0", 3, marks=pytest.mark.slow),
    ],
)
def test_what_comes_after_a_layer_gives_what_the_whole_gives(name: str, layer: str, inputs: int) -> None:
    """A skip connection around the layer is one more input."""
    proto = make_network(name)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert_same(proto, layer, proto.graph.output[-1].name, {"input": x}, inputs)


def test_nothing_before_the_layer_is_left() -> None:
    proto = assert_same(tiny(), "stage2.y/relu", "logits", {"image": picture()})
    assert [node.op_type for node in proto.graph.node] == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert {item.name for item in proto.graph.initializer} == {"fc.weight", "fc.bias"}


def test_the_model_given_stays_as_it_is() -> None:
    proto = tiny()
    before = proto.SerializeToString()
    tail(opened(proto), "stage2.y/relu", "logits")
    assert proto.SerializeToString() == before


def test_a_layer_may_be_the_input_itself() -> None:
    assert_same(tiny(), "image", "logits", {"image": picture()})


def test_weights_stay_references_into_the_file(tmp_path: Path) -> None:
    model = load(write(make_network("squeezenet1_1"), tmp_path))
    layer, output = "/features/features.6/Concat_output_0", model.outputs[0].name
    found = tail(model, layer, output)
    assert len(found.proto.SerializeToString()) < 100_000
    assert any(True for _ in references(found.proto))
    x = np.random.default_rng(0).standard_normal((1, 3, 96, 96)).astype(np.float32)
    whole = oracle(model.path, [layer, output], {"input": x}, exact=True)
    with Session(found.proto, model.folder, RunOptions("cpu", 1, exact=True)) as session:
        rest = session.run({layer: whole[layer]})
    np.testing.assert_allclose(rest[output], whole[output], rtol=1e-6, atol=1e-6)


SHAPED = """
g (float[1, 3, 8, 8] image) => (float[1, 192] y) <int64[1] first = {0}, int64[1] rest = {-1}, float two = {2}>
{
    size = Shape (image)  batch = Gather (size, first)  flat = Concat <axis = 0> (batch, rest)
    scale = Add (two, two)
    r = Relu (image)  skip = Neg (image)  m = Mul (r, scale)  s = Add (m, skip)  y = Reshape (s, flat)
}
"""


def test_shapes_from_before_the_layer_become_constants() -> None:
    """`flat` is read behind the layer and computed of the picture's shape; `scale` depends on nothing and stays."""
    proto = assert_same(from_text(SHAPED), "r", "y", {"image": picture(8)}, 2)
    assert [value.name for value in proto.graph.input] == ["r", "skip"]
    assert "flat" in {item.name for item in proto.graph.initializer}
    assert {node.output[0] for node in proto.graph.node} == {"scale", "m", "s", "y"}


def test_what_a_branch_captures_is_an_input_too() -> None:
    proto = from_text(
        "g (float[1, 3, 8, 8] image) => (float[1, 3, 8, 8] y) { skip = Neg (image)  r = Relu (image)"
        "  m = ReduceMax <keepdims = 0> (r)"
        "  on = Cast <to = 9> (m)  y = If (on) <then_branch = t () => (float[1, 3, 8, 8] a) { a = Add (r, skip) },"
        "  else_branch = e () => (float[1, 3, 8, 8] b) { b = Identity (skip) }> }"
    )
    found = assert_same(proto, "r", "y", {"image": picture(8)}, 2)
    assert [value.name for value in found.graph.input] == ["r", "skip"]


def test_what_does_not_depend_on_the_layer_is_refused() -> None:
    for layer, tensor in (("stage2.y/relu", "stage1.y/relu"), ("logits", "logits")):
        with pytest.raises(RewriteError, match=f"'{tensor}' does not depend on '{layer}'"):
            tail(opened(tiny()), layer, tensor)
    with pytest.raises(TensorNotFound, match="stage9"):
        tail(opened(tiny()), "stage9", "logits")


def test_a_layer_of_no_known_type_is_refused() -> None:
    proto = from_text("g (float[1, 3, 8, 8] image) => (y) { r = Unheard.Of (image)  y = Relu (r) }")
    proto.opset_import.append(helper.make_opsetid("Unheard", 1))
    with pytest.raises(RewriteError, match="the type of 'r' is not known"):
        tail(opened(proto), "r", "y")


def picture(side: int = 32) -> Array:
    return np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)
