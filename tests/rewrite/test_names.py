from __future__ import annotations

from onnx import helper, numpy_helper

from onnxvis.rewrite.names import Names
from tests.rewrite.running import from_text

HELD = """
g (float[3] x, bool c) => (float[3] y) <float[3] w = {1, 2, 3}>
{
    h = Neg(x)
    y = If(c) <
        then_branch = one () => (float[3] t) { inner = Exp(h) t = Neg(inner) },
        else_branch = two () => (float[3] e) <float[3] own = {1, 2, 3}> { e = Add(h, own) }>
}
"""


def test_every_name_of_a_graph_and_of_its_branches_is_taken() -> None:
    graph = from_text(HELD).graph
    values = numpy_helper.from_array(numpy_helper.to_array(graph.initializer[0]), "s")
    indices = numpy_helper.from_array(numpy_helper.to_array(graph.initializer[0]).astype("int64"))
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))
    for name in ("x", "c", "y", "w", "h", "t", "inner", "e", "own", "s"):
        assert Names(graph).fresh(name) == f"{name}.2"


def test_a_name_given_out_is_taken() -> None:
    names = Names(from_text(HELD).graph)
    assert [names.fresh("new"), names.fresh("new"), names.fresh("new.2"), names.fresh("new")] == [
        "new",
        "new.2",
        "new.2.2",
        "new.3",
    ]
