"""What the user meant: a tensor, a block, a glob, a scope; and what to say when it is nothing."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import helper

from onnxvis.errors import TensorNotFound
from onnxvis.graph.load import Model, load
from onnxvis.graph.select import select
from tests.zoo import build, save


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(save(build("resnet18"), tmp_path_factory.mktemp("resnet")))


def test_a_tensor(resnet: Model) -> None:
    chosen = select(resnet, ["/relu/Relu_output_0", "input", "fc.weight"])
    assert chosen.tensors == ("input", "fc.weight", "/relu/Relu_output_0")
    assert chosen.matched["input"] == "the tensor itself"


@pytest.mark.parametrize("word", ["layer1", "stage1"])
def test_a_block_by_either_address(resnet: Model, word: str) -> None:
    output = "/layer1/layer1.1/relu_1/Relu_output_0"
    chosen = select(resnet, [word])
    assert chosen.tensors == (output,)
    assert chosen.matched[word] == f"the output of stage {word}: {output}"


def test_a_glob(resnet: Model) -> None:
    chosen = select(resnet, ["*/Add_output_0"])
    assert len(chosen.tensors) == 8
    assert chosen.matched == {"*/Add_output_0": "8 tensors by pattern"}


def test_a_scope(resnet: Model) -> None:
    chosen = select(resnet, ["/layer2/layer2.0"])
    assert all(name.startswith("/layer2/layer2.0/") for name in chosen.tensors)
    assert len(chosen.tensors) == 9
    assert chosen.matched["/layer2/layer2.0"] == "9 tensors in scope layer2/layer2.0"


def test_several_words_in_graph_order(resnet: Model) -> None:
    chosen = select(resnet, ["layer3", "layer1", "*layer1.1/relu_1*", "layer1"])
    assert [name.split("/")[1] for name in chosen.tensors] == ["layer1", "layer3"]


def test_a_name_goes_before_another_block_s_key(tmp_path: Path) -> None:
    model = load(save(build("shufflenet_v2_x1_0"), tmp_path))
    by_name = {block.name: block for part in model.parts for block in part.walk()}
    assert select(model, ["stage2"]).tensors == (by_name["stage2"].output,)
    assert by_name["stage2"].key == "stage1"


@pytest.mark.parametrize("word", ["layer9", "nope", "", "*nope*", "[", "x" * 10_000, "/", "Relu_output\n"])
def test_nothing_matches(resnet: Model, word: str) -> None:
    with pytest.raises(TensorNotFound, match=r"has no tensor '.*List them with: onnxvis layers model\.onnx$") as caught:
        select(resnet, [word])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_the_nearest_names_are_said(resnet: Model) -> None:
    with pytest.raises(TensorNotFound, match=r"nearest: '/relu/Relu_output_0'"):
        select(resnet, ["relu/Relu_output_0"[:-1] + "1"])


def test_a_tensor_in_a_function_by_its_old_name(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 17, "here" : 1]>
        g (float[1] x) => (float[1] y) { t = here.Twice (x) y = here.Twice (t) }
        <domain: "here", opset_import: ["" : 17]> Twice (a) => (b) { hidden = Neg (a) b = Neg (hidden) }"""
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    model = load(path)
    flat = [node.output[0] for node in model.proto.graph.node]
    chosen = select(model, ["Twice[call 1]/hidden"])
    assert chosen.tensors == (flat[2],)
    assert flat[2] in chosen.matched["Twice[call 1]/hidden"]
    with pytest.raises(TensorNotFound):
        select(model, ["Twice[call 2]/hidden"])


def test_a_tensor_in_a_branch_is_refused_with_the_reason(tmp_path: Path) -> None:
    def branch(op: str, name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node(op, ["x"], [name])], op, [], [helper.make_tensor_value_info(name, 1, [1])]
        )

    outer = helper.make_graph(
        [helper.make_node("If", ["c"], ["e"], then_branch=branch("Abs", "deep"), else_branch=branch("Exp", "q"))],
        "else",
        [],
        [helper.make_tensor_value_info("e", 1, [1])],
    )
    node = helper.make_node("If", ["c"], ["y"], name="choose", then_branch=branch("Neg", "inner"), else_branch=outer)
    values = [helper.make_tensor_value_info("x", 1, [1]), helper.make_tensor_value_info("c", 9, [])]
    graph = helper.make_graph([node], "g", values, [helper.make_tensor_value_info("y", 1, [1])])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    model = load(path)
    for word in ("inner", "deep"):
        with pytest.raises(TensorNotFound, match=f"'{word}' lives inside a branch or body of If node choose"):
            select(model, [word])
