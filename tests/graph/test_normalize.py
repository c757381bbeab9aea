"""Local functions are expanded once, and every new tensor can be traced back to where it was."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from onnx import FunctionProto, ModelProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from onnxvis.errors import ModelError
from onnxvis.graph.normalize import inline_functions, origins, sources

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def function(name: str, *nodes: NodeProto) -> FunctionProto:
    return helper.make_function("local", name, ["a"], ["b"], list(nodes), OPSETS)


def call(name: str, source: str, result: str) -> NodeProto:
    return helper.make_node(name, [source], [result], domain="local")


def model(functions: list[FunctionProto], *nodes: NodeProto) -> ModelProto:
    value = [helper.make_tensor_value_info(name, 1, [2]) for name in "xy"]
    graph = helper.make_graph(list(nodes), "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=OPSETS, functions=functions, ir_version=9)


SQUARE = function("Square", helper.make_node("Mul", ["a", "a"], ["b"]))
TWICE = function("Twice", call("Square", "a", "middle"), call("Square", "middle", "b"))


def test_without_functions_the_model_itself() -> None:
    plain = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    )
    assert inline_functions(plain) is plain
    assert origins(plain, plain) == {}


def test_nested_functions_and_the_map_of_names() -> None:
    original = model([SQUARE, TWICE], call("Twice", "x", "t"), helper.make_node("Neg", ["t"], ["y"]))
    before = original.SerializeToString()
    flat = inline_functions(original)
    names = origins(original, flat)
    assert original.SerializeToString() == before
    assert not flat.functions
    assert [node.op_type for node in flat.graph.node] == ["Mul", "Mul", "Neg"]
    middle = flat.graph.node[0].output[0]
    assert names[middle] == "Twice[call 0]/Square[call 0]/b"
    assert {"x", "t", "y"}.isdisjoint(names)
    x = np.array([2, 3], np.float32)
    result = ReferenceEvaluator(flat).run(None, {"x": x})
    assert isinstance(result, list)
    np.testing.assert_array_equal(result[0], -(x**4))


def test_two_calls_are_told_apart() -> None:
    inner = function("F", helper.make_node("Relu", ["a"], ["hidden"]), helper.make_node("Neg", ["hidden"], ["b"]))
    original = model([inner], call("F", "x", "t"), call("F", "t", "y"))
    flat = inline_functions(original)
    names = origins(original, flat)
    first, second = (node.output[0] for node in flat.graph.node if node.op_type == "Relu")
    assert first != second
    assert (names[first], names[second]) == ("F[call 0]/hidden", "F[call 1]/hidden")


def test_every_tensor_is_traced_to_its_function() -> None:
    original = model([SQUARE, TWICE], call("Twice", "x", "t"), helper.make_node("Neg", ["t"], ["y"]))
    flat = inline_functions(original)
    middle = flat.graph.node[0].output[0]
    square = ("local", "Square", "")
    assert sources(original, flat) == {middle: (square, "b"), "t": (square, "b")}
    assert sources(flat, flat) == {}


@pytest.mark.parametrize("through", [1, 2])
def test_a_circle_is_refused(through: int) -> None:
    names = ["F", "G"][:through]
    functions = [function(name, call(names[i - 1], "a", "b")) for i, name in enumerate(names)]
    with pytest.raises(ModelError, match="call each other in a circle"):
        inline_functions(model(functions, call("F", "x", "y")))


def test_an_exponential_expansion_is_refused_soon() -> None:
    functions = [SQUARE]
    for i in range(40):
        inner = "Square" if not i else f"F{i - 1}"
        functions.append(function(f"F{i}", call(inner, "a", "m"), call(inner, "m", "b")))
    start = time.monotonic()
    with pytest.raises(ModelError, match="expand to more than 1000000 nodes"):
        inline_functions(model(functions, call("F39", "x", "y")))
    assert time.monotonic() - start < 1
