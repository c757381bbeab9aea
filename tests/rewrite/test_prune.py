from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import GraphProto, TensorProto, helper, numpy_helper

from onnxvis.rewrite.prune import prune
from tests.rewrite.running import from_text


def names(values: object) -> list[str]:
    return [value.name for value in values]  # type: ignore[attr-defined]


def made(graph: GraphProto) -> list[str]:
    return [name for node in graph.node for name in node.output]


FORKED = """
forked (float[3] x, float[3] z, float[3] q, bool c) => (float[3] y)
<float[3] w = {1, 2, 3}, float[3] unused = {4, 5, 6}, float[3] held = {7, 8, 9}, float[3] dead, float[3] a>
{
    a = Relu(x)
    dead = Mul(q, unused)
    b = Neg(z)
    picked = If(c) <
        then_branch = one () => (float[3] t) { inner = Add(a, held) t = Identity(inner) },
        else_branch = two () => (float[3] e) { e = Identity(b) }>
    y = Mul(picked, w)
    more = Exp(dead)
}
"""


def test_what_the_outputs_and_their_branches_need_stays_in_order() -> None:
    graph = from_text(FORKED).graph
    prune(graph)
    assert made(graph) == ["a", "b", "picked", "y"]
    assert names(graph.initializer) == ["w", "held"]
    assert names(graph.input) == ["x", "z", "c"]
    assert names(graph.value_info) == ["a"]


@pytest.mark.parametrize(("output", "nodes", "inputs", "weights"), [
    ("a", ["a"], ["x"], []),
    ("more", ["dead", "more"], ["q"], ["unused"]),
    ("q", [], ["q"], []),
    ("w", [], [], ["w"]),
])  # fmt: skip
def test_another_output_needs_other_things(
    output: str, nodes: list[str], inputs: list[str], weights: list[str]
) -> None:
    graph = from_text(FORKED).graph
    graph.output[0].name = output
    prune(graph)
    assert (made(graph), names(graph.input), names(graph.initializer)) == (nodes, inputs, weights)


def test_a_node_stays_whole_where_one_of_its_outputs_is_needed() -> None:
    graph = from_text("g (float[4] x) => (float[2] b) { a, b = Split<axis = 0, num_outputs = 2>(x) }", 18).graph
    prune(graph)
    assert made(graph) == ["a", "b"]


def test_outputs_left_out_make_no_node_needed() -> None:
    graph = from_text("g (float[1, 1, 4, 4] x) => (float[1, 1, 4, 4] y) { y = Neg(x) }").graph
    graph.node.append(helper.make_node("LSTM", ["x", "", ""], ["", "kept"], hidden_size=1))
    graph.node.append(helper.make_node("LSTM", ["x", "", ""], ["", ""], hidden_size=1))
    prune(graph)
    assert made(graph) == ["y"]


def test_sparse_weights_stay_with_what_reads_them() -> None:
    for reader, kept in (("s", 1), ("x", 0)):
        graph = from_text(f"g (float[3] x) => (float[3] y) {{ y = Add(x, {reader}) }}").graph
        values = numpy_helper.from_array(np.array([5], np.float32), "s")
        graph.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1])), [3]))
        prune(graph)
        assert len(graph.sparse_initializer) == kept


@given(st.data())
def test_exactly_the_ancestors_stay(data: st.DataObject) -> None:
    """Against a search from each node forward."""
    ports = [helper.make_tensor_value_info(f"x{place}", TensorProto.FLOAT, [1]) for place in range(3)]
    tensors, reads = names(ports), {}
    for number in range(data.draw(st.integers(1, 10))):
        reads[f"t{number}"] = [data.draw(st.sampled_from(tensors)) for _ in range(2)]
        tensors.append(f"t{number}")
    asked = data.draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=2, unique=True))
    nodes = [helper.make_node("Add", read, [name]) for name, read in reads.items()]
    order = data.draw(st.permutations(nodes))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in asked]
    graph = helper.make_graph(order, "g", ports, outputs)
    prune(graph)

    def leads(name: str) -> bool:
        return name in asked or any(name in read and leads(other) for other, read in reads.items())

    assert made(graph) == [node.output[0] for node in order if leads(node.output[0])]
    assert names(graph.input) == [name for name in ("x0", "x1", "x2") if leads(name)]
