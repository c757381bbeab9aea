"""Ifs of known condition go, and what is left computes what ONNX Runtime computes of the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import GraphProto, ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxvis.graph.view import subgraphs
from onnxvis.rewrite.branches import without_constant_ifs
from tests.rewrite.differences import run
from tests.rewrite.running import from_text
from tests.rewrite.slopes import agree, as_model
from tests.tiny import Array

X = np.array([[-1.5, 0.25, 2]], np.float32)


def ifs(graph: GraphProto) -> int:
    inner = [held for node in graph.node for held in subgraphs(node)]
    return sum(node.op_type == "If" for node in graph.node) + sum(map(ifs, inner))


def same(proto: ModelProto, left: int = 0, **feeds: Array) -> ModelProto:
    """Assert that the flat graph holds `left` Ifs and computes the same; returns it."""
    before = proto.SerializeToString()
    flat = without_constant_ifs(proto, Path.cwd())
    assert proto.SerializeToString() == before
    assert ifs(flat.graph) == left
    onnx.checker.check_model(flat)
    given = run(flat, {"x": X, **feeds})
    for name, expected in run(proto, {"x": X, **feeds}).items():
        np.testing.assert_array_equal(given[name], expected, strict=True)
    return flat


STORED = """
g (float[1, 3] x) => (float[1, 3] y, float[1, 3] more) <float[3] w = {1, 2, 3}>
{
    flag = Constant<value = bool {CONDITION}>()
    h = Neg(x)
    y, more = If(flag) <
        then_branch = one () => (float[1, 3] t, float[1, 3] s) { inner = Add(h, w) t = Exp(inner) s = Tanh(t) },
        else_branch = two () => (float[1, 3] e, float[1, 3] s) { e = Mul(h, w) s = Relu(e) }>
}
"""


@pytest.mark.parametrize("condition", [0, 1])
def test_a_stored_condition_takes_its_branch(condition: int) -> None:
    proto = from_text(STORED.replace("CONDITION", str(condition)))
    flat = same(proto)
    agree(as_model(proto), {"x": X}, ["y", "more"], ["x", "h"])
    assert {"Exp", "Relu"} & {node.op_type for node in flat.graph.node} == ({"Exp"} if condition else {"Relu"})


@pytest.mark.parametrize("condition", [False, True])
def test_an_initializer_of_one_element_is_a_stored_condition(condition: bool) -> None:
    proto = from_text(STORED.replace("flag = Constant<value = bool {CONDITION}>()", ""))
    proto.graph.initializer.append(numpy_helper.from_array(np.array([condition]), "flag"))
    same(proto)


SHAPES = """
g (float[SIZES] x) => (float[SIZES] y)
{
    shape = Shape(x)
    place = Constant<value = int64 {1}>()
    size = Gather(shape, place)
    three = Constant<value = int64 {3}>()
    same = Equal(size, three)
    y = If(same) <
        then_branch = one () => (float[SIZES] t) { t = Exp(x) },
        else_branch = two () => (float[SIZES] e) { e = Neg(x) }>
}
"""


def test_a_condition_that_follows_from_known_shapes_takes_its_branch() -> None:
    same(from_text(SHAPES.replace("SIZES", "1, 3")))
    same(from_text(SHAPES.replace("SIZES", "1, 2")), x=X[:, :2])


def test_a_condition_on_a_size_that_is_known_beside_a_free_one_takes_its_branch() -> None:
    same(from_text(SHAPES.replace("SIZES", "n, 3")))


def test_a_condition_on_a_free_size_stays() -> None:
    same(from_text(SHAPES.replace("SIZES", "1, n")), left=1)
    same(from_text(SHAPES.replace("SIZES", "1, n")), left=1, x=X[:, :2])


def test_a_condition_that_is_fed_stays_and_one_before_it_goes() -> None:
    body = """
    g (float[1, 3] x, bool flag) => (float[1, 3] y)
    {
        yes = Constant<value = bool {1}>()
        a = If(yes) <
            then_branch = one () => (float[1, 3] t) { t = Exp(x) },
            else_branch = two () => (float[1, 3] e) { e = Neg(x) }>
        y = If(flag) <
            then_branch = three () => (float[1, 3] t) { t = Tanh(a) },
            else_branch = four () => (float[1, 3] e) { e = Neg(a) }>
    }
    """
    for flag in (True, False):
        same(from_text(body), left=1, flag=np.array(flag))


NESTED = """
g (float[1, 3] x) => (float[1, 3] y) <float[3] w = {1, 2, 3}>
{
    yes = Constant<value = bool {1}>()
    no = Constant<value = bool {0}>()
    y = If(yes) <
        then_branch = one () => (float[1, 3] t) {
            a = Add(x, w)
            b = If(no) <
                then_branch = two () => (float[1, 3] u) { u = Neg(a) },
                else_branch = three () => (float[1, 3] v) {
                    c = Exp(a)
                    inner = Constant<value = bool {1}>()
                    v = If(inner) <
                        then_branch = four () => (float[1, 3] r) { r = Mul(c, a) },
                        else_branch = five () => (float[1, 3] s) { s = Identity(x) }>
                }>
            t = Tanh(b)
        },
        else_branch = six () => (float[1, 3] e) { e = Identity(x) }>
}
"""


def test_ifs_inside_of_branches_go_too() -> None:
    same(from_text(NESTED))
    agree(as_model(from_text(NESTED)), {"x": X}, ["y"], ["x"])


def test_names_inside_may_be_those_of_another_branch_or_of_tensors_made_later() -> None:
    body = """
    g (float[1, 3] x) => (float[1, 3] z)
    {
        yes = Constant<value = bool {1}>()
        y = If(yes) <
            then_branch = one () => (float[1, 3] t) <float[3] k = {1, 2, 3}> { a = Exp(x) t = Mul(a, k) },
            else_branch = two () => (float[1, 3] t) { t = Neg(x) }>
        v = If(yes) <
            then_branch = one () => (float[1, 3] t) <float[3] k = {4, 5, 6}> { a = Tanh(y) t = Mul(a, k) },
            else_branch = two () => (float[1, 3] t) { t = Neg(x) }>
        w = Add(y, v)
        z = Neg(w)
    }
    """
    same(from_text(body))
    shadowing = from_text(body.replace("w = Add(y, v)", "a = Add(y, v)").replace("z = Neg(w)", "z = Neg(a)"))
    flat = without_constant_ifs(shadowing, Path.cwd())
    onnx.checker.check_model(flat)
    np.testing.assert_array_equal(run(flat, {"x": X})["z"], run(from_text(body), {"x": X})["z"])


@pytest.mark.parametrize("returned", ["x", "h", "w", "k", "d"])
def test_a_branch_may_return_what_it_did_not_make(returned: str) -> None:
    """An input, a tensor and a weight from outside, a weight and a constant of its own."""
    body = f"""
    g (float[1, 3] x) => (float[1, 3] y) <float[1, 3] w = {{1, 2, 3}}>
    {{
        h = Neg(x)
        yes = Constant<value = bool {{1}}>()
        v = If(yes) <
            then_branch = one () => (float[1, 3] {returned}) <float[1, 3] k = {{4, 5, 6}}>
            {{ d = Constant<value = float[1, 3] {{7, 8, 9}}>() }},
            else_branch = two () => (float[1, 3] e) {{ e = Identity(x) }}>
        y = Exp(v)
    }}
    """
    proto = from_text(body)
    flat = without_constant_ifs(proto, Path.cwd())
    assert ifs(flat.graph) == 0
    values = {"x": X, "h": -X, "w": [[1, 2, 3]], "k": [[4, 5, 6]], "d": [[7, 8, 9]]}
    expected = np.exp(np.array(values[returned], np.float32))
    np.testing.assert_allclose(run(flat, {"x": X})["y"], expected, rtol=1e-6)


def test_a_branch_may_return_one_tensor_twice_and_read_what_it_returns() -> None:
    body = """
    g (float[1, 3] x) => (float[1, 3] y, float[1, 3] v, float[1, 3] w)
    {
        yes = Constant<value = bool {1}>()
        y, v, w = If(yes) <
            then_branch = one () => (float[1, 3] a, float[1, 3] a, float[1, 3] b) { a = Exp(x) b = Neg(a) },
            else_branch = two () => (float[1, 3] e, float[1, 3] e, float[1, 3] e) { e = Identity(x) }>
    }
    """
    flat = without_constant_ifs(from_text(body), Path.cwd())
    onnx.checker.check_model(flat)
    given = run(flat, {"x": X})
    for name, expected in {"y": np.exp(X), "v": np.exp(X), "w": -np.exp(X)}.items():
        np.testing.assert_allclose(given[name], expected, rtol=1e-6)


def test_what_a_loop_inside_of_a_branch_captures_is_renamed_with_it() -> None:
    body = """
    g (float[1, 3] x, int64 count) => (float[1, 3] y)
    {
        yes = Constant<value = bool {1}>()
        y = If(yes) <
            then_branch = one () => (float[1, 3] t) {
                a = Exp(x)
                go = Constant<value = bool {1}>()
                t = Loop(count, go, x) <
                    body = turn (int64 i, bool on, float[1, 3] before) => (bool still, float[1, 3] after)
                    { still = Identity(on) after = Add(before, a) }>
            },
            else_branch = two () => (float[1, 3] e) { e = Identity(x) }>
    }
    """
    flat = without_constant_ifs(from_text(body), Path.cwd())
    given = run(flat, {"x": X, "count": np.array(3)})["y"]
    np.testing.assert_allclose(given, X + 3 * np.exp(X), rtol=1e-6)


@pytest.mark.parametrize("flag", [True, False])
def test_an_if_that_stays_inside_may_return_what_its_branch_made(flag: bool) -> None:
    """ONNX allows that, ONNX Runtime does not."""
    body = """
    g (float[1, 3] x, bool flag) => (float[1, 3] y)
    {
        yes = Constant<value = bool {1}>()
        y = If(yes) <
            then_branch = one () => (float[1, 3] t) {
                a = Exp(x)
                u = If(flag) <
                    then_branch = two () => (float[1, 3] a) { unread = Neg(a) },
                    else_branch = three () => (float[1, 3] e) { a = Neg(x) e = Neg(a) }>
                t = Tanh(u)
            },
            else_branch = four () => (float[1, 3] e) { e = Identity(x) }>
    }
    """
    flat = without_constant_ifs(from_text(body), Path.cwd())
    assert ifs(flat.graph) == 1
    found = ReferenceEvaluator(flat).run(["y"], {"x": X, "flag": np.array(flag)})
    np.testing.assert_allclose(np.asarray(next(iter(found))), np.tanh(np.exp(X) if flag else X), rtol=1e-6)


def test_what_a_body_calls_by_a_name_of_its_branch_stays_its_own() -> None:
    body = """
    g (float[1, 3] x, int64 count) => (float[1, 3] y)
    {
        yes = Constant<value = bool {1}>()
        y = If(yes) <
            then_branch = one () => (float[1, 3] t) {
                a = Exp(x)
                go = Constant<value = bool {1}>()
                u = Loop(count, go, x) <
                    body = turn (int64 i, bool on, float[1, 3] a) => (bool still, float[1, 3] after)
                    { still = Identity(on) after = Add(a, x) }>
                t = Add(u, a)
            },
            else_branch = two () => (float[1, 3] e) { e = Identity(x) }>
    }
    """
    flat = without_constant_ifs(from_text(body), Path.cwd())
    found = ReferenceEvaluator(flat).run(["y"], {"x": X, "count": np.array(2)})
    np.testing.assert_allclose(np.asarray(next(iter(found))), 3 * X + np.exp(X), rtol=1e-6)


def test_sparse_weights_of_a_branch_come_along() -> None:
    proto = from_text(STORED.replace("CONDITION", "1"))
    branch = next(item.g for item in proto.graph.node[2].attribute if item.name == "then_branch")
    branch.node[0].input[1] = "sparse"
    values = numpy_helper.from_array(np.array([5], np.float32), "sparse")
    branch.sparse_initializer.append(helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1])), [3]))
    flat = without_constant_ifs(proto, Path.cwd())
    given = run(flat, {"x": X})["y"]
    np.testing.assert_allclose(given, np.exp(-X + np.array([0, 5, 0])), rtol=1e-6)


def test_a_graph_without_ifs_is_left_as_it_is() -> None:
    proto = from_text("g (float[1, 3] x) => (float[1, 3] y) { y = Exp(x) }")
    assert without_constant_ifs(proto, Path.cwd()) is proto


def test_nodes_of_two_branches_may_have_one_name() -> None:
    proto = from_text("""
    g (float[1, 3] x) => (float[1, 3] y, float[1, 3] z) <bool yes = {1}>
    {
        y = If(yes) <then_branch = one () => (float[1, 3] t) { t = Exp(x) },
                     else_branch = two () => (float[1, 3] e) { e = Neg(x) }>
        z = If(yes) <then_branch = one () => (float[1, 3] t) { t = Tanh(x) },
                     else_branch = two () => (float[1, 3] e) { e = Neg(x) }>
    }
    """)
    for node in proto.graph.node:
        for graph in subgraphs(node):
            graph.node[0].name = "the same"
    same(proto)
