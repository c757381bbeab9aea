"""Copies share nothing with what they were made from."""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from onnxvis.graph.protos import copied, keep


def model() -> ModelProto:
    made = ModelProto()
    made.graph.node.extend(NodeProto(op_type=name, name=f"{name}!") for name in "abcd")
    return made


def test_a_copy_is_the_same_and_apart() -> None:
    original = model()
    copy = copied(original)
    assert copy == original
    assert isinstance(copy, ModelProto)
    copy.graph.node[0].op_type = "other"
    assert original.graph.node[0].op_type == "a"


def test_what_is_kept_of_a_field_of_itself() -> None:
    made = model()
    nodes = list(made.graph.node)
    keep(made.graph.node, [nodes[2], nodes[0]])
    assert [(node.op_type, node.name) for node in made.graph.node] == [("c", "c!"), ("a", "a!")]
    keep(made.graph.node, (node for node in made.graph.node if node.op_type == "a"))
    assert [node.op_type for node in made.graph.node] == ["a"]
    keep(made.graph.node, [])
    assert not made.graph.node
