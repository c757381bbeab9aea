"""The view of a graph: order, names, who reads what, and what is no graph."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.graph.view import GraphView, Tensor
from tests.zoo import build


def parsed(body: str, inputs: str = "float[2, 3] x", outputs: str = "float[] y") -> ModelProto:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
    )
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def shuffled(model: ModelProto, seed: int) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    random.Random(seed).shuffle(nodes)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


@pytest.mark.parametrize("seed", range(5))
def test_nodes_come_after_what_they_read(seed: int) -> None:
    view = GraphView(shuffled(build("googlenet"), seed))
    made = {tensor.name for tensor in view.inputs} | set(view.initializers)
    for node in view.nodes:
        assert made.issuperset(filter(None, node.inputs))
        made.update(node.outputs)
    assert len(view.nodes) == len(build("googlenet").graph.node)


def test_the_file_s_order_is_kept_where_it_is_one() -> None:
    model = build("resnet18")
    assert [node.proto.output[0] for node in GraphView(model).nodes] == [node.output[0] for node in model.graph.node]


def test_tensors_and_their_neighbours() -> None:
    view = GraphView(parsed("a = Relu (x) b = Neg (a) y = Add (a, b)"))
    assert view.tensor("a") == Tensor("a", (2, 3), "float32")
    maker = view.producer("a")
    assert maker is not None
    assert (maker.op, maker.inputs, maker.name, maker.label) == ("Relu", ("x",), "", "Relu making 'a'")
    assert view.producer("x") is None
    assert [node.op for node in view.consumers("a")] == ["Neg", "Add"]
    assert view.consumers("y") == ()
    assert [tensor.name for tensor in view.intermediates] == ["a", "b", "y"]
    assert view.has("x")
    assert not view.has("")
    with pytest.raises(TensorNotFound, match="no tensor 'q'"):
        view.tensor("q")


def test_a_node_that_reads_a_tensor_twice_is_one_reader() -> None:
    assert len(GraphView(parsed("y = Add (x, x)")).consumers("x")) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("a = Add (x, b) b = Relu (a) y = Neg (b)", "runs in a circle through node Add making 'a'"),
        ("a = Add (x, a) y = Neg (a)", "runs in a circle"),
        ("y = Relu (x) y = Neg (x)", "tensor 'y' is made twice, the second time by node Neg making 'y'"),
        ("x = Relu (x) y = Neg (x)", "tensor 'x' is made twice"),
    ],
)
def test_what_is_no_graph(body: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        GraphView(parsed(body))


def test_an_initializer_that_is_made_again() -> None:
    model = parsed("w = Relu (x) y = Add (x, w)")
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]))
    with pytest.raises(ModelError, match="tensor 'w' is made twice"):
        GraphView(model)


@pytest.mark.parametrize("word", [b"tensor", b"label", b"Relu", b"input", b"result", b"weight", b"alpha"])
def test_names_that_are_not_utf8(word: bytes) -> None:
    model = parsed(
        "[label] tensor = Relu (input) a = Elu <alpha = 2.0> (tensor) result = Add (a, weight)",
        "float[1] input",
        "float[] result",
    )
    model.graph.initializer.append(helper.make_tensor("weight", TensorProto.FLOAT, [1], [1.0]))
    data = model.SerializeToString()
    assert word in data
    broken = ModelProto()
    try:
        broken.ParseFromString(data.replace(word, word[:-2] + b"\xff\xfe"))
    except DecodeError:
        pytest.skip("this protobuf refuses the bytes itself")
    with pytest.raises(ModelError, match="not UTF-8"):
        GraphView(broken)


def branches(*, captured: str = "a") -> ModelProto:
    then = helper.make_graph(
        [helper.make_node("Relu", [captured], ["inner"]), helper.make_node("Add", ["inner", "own"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
        [helper.make_tensor("own", TensorProto.FLOAT, [1], [1.0])],
    )
    other = helper.make_graph(
        [helper.make_node("If", ["c"], ["e"], then_branch=then, else_branch=then)],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    model = parsed("a = Neg (x) y = Identity (x)", "float[2, 3] x, bool[1] c")
    del model.graph.node[1:]
    model.graph.node.append(helper.make_node("If", ["c"], ["y"], name="choose", then_branch=then, else_branch=other))
    return model


def test_branches_read_what_they_capture() -> None:
    view = GraphView(branches())
    node = view.nodes[-1]
    assert (set(node.captures), node.inputs) == ({"a", "c"}, ("c",))
    assert view.consumers("a") == (node,)
    assert "y" in view.data_path
    assert not view.has("inner")


def test_captures_count_in_the_order() -> None:
    view = GraphView(shuffled(branches(), 1))
    assert [node.op for node in view.nodes] == ["Neg", "If"]


def test_old_initializers_listed_as_inputs_are_none() -> None:
    model = parsed("y = Add (x, w)", "float[2, 3] x, float[3] w")
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))
    view = GraphView(model)
    assert [tensor.name for tensor in view.inputs] == ["x"]
    assert view.tensor("w") == Tensor("w", (3,), "float32")


def test_sparse_initializers() -> None:
    model = parsed("y = Add (x, s)")
    values = numpy_helper.from_array(np.array([5.0], np.float32), "s")
    indices = numpy_helper.from_array(np.array([2], np.int64), "")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    view = GraphView(model)
    assert view.tensor("s") == Tensor("s", (3,), "float32")
    assert view.producer("s") is None


def test_data_path_and_shape_arithmetic() -> None:
    view = GraphView(
        parsed("""
        s = Shape (x) i = Constant <value = int64[1] {0}> () d = Gather (s, i) m = Constant <value = int64[1] {-1}> ()
        t = Concat <axis = 0> (d, m) f = Flatten (x) y = Reshape (f, t) w = Neg (m)""")
    )
    assert view.data_path == {"x", "f", "y"}
    assert view.shape_arithmetic == {"s", "d", "t"}


def test_optional_inputs_stay_in_their_places() -> None:
    view = GraphView(parsed("high = Constant <value = float {6}> () y = Clip (x, , high)"))
    assert view.nodes[-1].inputs == ("x", "", "high")
    assert [node.op for node in view.consumers("high")] == ["Clip"]


def test_attributes() -> None:
    view = GraphView(parsed("y = Transpose <perm = [1, 0]> (x)"))
    node = view.nodes[0]
    assert node.ints("perm") == (1, 0)
    assert node.ints("pads") == ()
    assert node.integer("axis", 7) == 7
    assert node.attribute("perm") is not None
