"""The bodies of a model, and where a tensor goes from one into another."""

from __future__ import annotations

import onnx
import pytest

from onnxvis.graph.bodies import Bodies, Body

TEXT = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
g (float[2] x, bool flag) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {3, 4}, int64 times = {3}> {
    a = If (flag) <
        then_branch = yes () => (float[2] t) <float[2] inner = {5, 6}> { t = Mul (w, inner) },
        else_branch = no () => (float[2] e) { e = Identity (v) }>
    b = Loop (times, flag, w) <
        body = turn (int64 i, bool on, float[2] state) => (bool go, float[2] next) {
            go = Identity (on)
            next = Add (state, w)
        }>
    c = here.Outer (b, v)
    y = Add (a, c)
}
<domain: "here", opset_import: ["" : 17, "here" : 1]>
Outer (p, q) => (r) { s = here.Inner (q) r = Sub (p, s) }
<domain: "here", opset_import: ["" : 17]>
Inner (m) => (n) { n = Neg (m) }
"""


@pytest.fixture(scope="module")
def bodies() -> Bodies:
    return Bodies(onnx.parser.parse_model(TEXT))


def at(bodies: Bodies, place: str) -> Body:
    return next(body for body in bodies.all() if body.place == place)


def ends(bodies: Bodies, name: str, through: frozenset[str] = frozenset()) -> list[tuple[str, str, int]]:
    return [(use.body.place, use.node.op_type, use.place) for use, _ in bodies.ends(bodies.main, name, through)]


def test_every_body_has_its_place(bodies: Bodies) -> None:
    places = {"", "function Outer", "function Inner", "If a then_branch", "If a else_branch", "Loop b body"}
    assert {body.place for body in bodies.all()} == places


def test_readers_in_branches_loops_and_functions(bodies: Bodies) -> None:
    body = "Loop b body"
    assert ends(bodies, "w") == [("If a then_branch", "Mul", 0), (body, "Add", 1), (body, "Add", 0)]
    assert ends(bodies, "times") == [("", "Loop", 0)]
    assert ends(bodies, "v") == [("If a else_branch", "Identity", 0), ("function Inner", "Neg", 0)]


def test_what_a_branch_returns_goes_on(bodies: Bodies) -> None:
    found = ends(bodies, "v", frozenset({"Identity", "Neg"}))
    assert found == [("", "Add", 0), ("function Outer", "Sub", 1)]


def test_a_name_of_its_own_hides_the_one_outside() -> None:
    text = """<ir_version: 9, opset_import: ["" : 17]>
    g (float[2] x, bool flag) => (float[2] y) <float[2] w = {1, 2}> {
        a = If (flag) <then_branch = yes () => (float[2] t) <float[2] w = {5, 6}> { t = Mul (x, w) },
                       else_branch = no () => (float[2] e) { e = Identity (x) }>
        y = Add (a, w)
    }"""
    assert ends(Bodies(onnx.parser.parse_model(text)), "w") == [("", "Add", 1)]


def test_arguments_of_the_only_call(bodies: Bodies) -> None:
    outer, inner = at(bodies, "function Outer"), at(bodies, "function Inner")
    assert bodies.behind(inner, "m") == (outer, "q")
    assert bodies.behind(outer, "q") == (bodies.main, "v")
    assert bodies.behind(outer, "r") is None
    assert bodies.behind(bodies.main, "x") is None


def test_a_function_that_calls_itself_ends() -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
    g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = here.F (w) }
    <domain: "here", opset_import: ["" : 17, "here" : 1]>
    F (a) => (b) { b = here.F (a) }"""
    assert ends(Bodies(onnx.parser.parse_model(text)), "w") == []


def test_a_wide_graph_is_not_walked_for_ever() -> None:
    lines = [f"a{i} = Identity (a{i - 1}) b{i} = Identity (a{i - 1})" for i in range(1, 200)]
    text = '<ir_version: 9, opset_import: ["" : 17]> g (float[2] x) => (float[2] a199) <float[2] a0 = {1, 2}> {'
    bodies = Bodies(onnx.parser.parse_model(text + "\n".join(lines) + "}"))
    assert ends(bodies, "a0", frozenset({"Identity"})) == []
