from __future__ import annotations

import pytest

from onnxvis.graph.neighbours import follower, reads_picture
from onnxvis.graph.view import GraphView
from tests.tiny import from_text

WEIGHTS = "float[3,3,1,1] w, float[3] b, float[3,1,1] k"


def view(body: str, outputs: str = "float[1,3,8,8] y") -> GraphView:
    return GraphView(from_text(f"g (float[1,3,8,8] x, float[1,3,8,8] x2) => ({outputs}) <{WEIGHTS}> {{ {body} }}"))


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("y = Conv (m, w)", ["y"]),
        ("n = BatchNormalization (m, b, b, b, b) r = Relu (n) y = Conv (r, w)", ["y"]),
        ("s = Sigmoid (m) r = Mul (m, s) y = Conv (r, w)", ["y"]),
        ("p = Add (m, k) c = Clip (p) r = Mul (m, c) t = Transpose (r) y = Conv (t, w)", ["y"]),
        ("g = GlobalAveragePool (m) e = Conv (g, w) s = Sigmoid (e) r = Mul (m, s) y = Conv (r, w)", ["y"]),
        ("a = Conv (m, w) c = Conv (m, w) y = Add (a, c)", ["a", "c"]),
        ("j = Add (m, x2) y = Conv (j, w)", []),
        ("y = GlobalAveragePool (m)", []),
        ("y = Relu (m)", []),
    ],
)
def test_the_next_convolutions(body: str, after: list[str]) -> None:
    found = follower(view(f"m = Conv (x, w) {body}"), "m")
    assert [node.outputs[0] for node in found] == after


def test_a_map_that_is_an_output_is_no_inner_one() -> None:
    graph = view("m = Conv (x, w) y = Conv (m, w)", "float[1,3,8,8] y, float[1,3,8,8] m")
    assert follower(graph, "m") == ()


def test_a_long_way_ends() -> None:
    steps = " ".join(f"t{i + 1} = Relu (t{i})" for i in range(99))
    assert follower(view(f"t0 = Conv (x, w) {steps} y = Conv (t99, w)"), "t0") == ()
    assert not reads_picture(view(f"t0 = Relu (x) {steps} y = Conv (t99, w)"), "t99", {})


@pytest.mark.parametrize(
    ("body", "picture"),
    [
        ("m = Identity (x)", True),
        ("c = Sub (x, k) n = Div (c, k) m = Transpose <perm = [0, 3, 1, 2]> (n)", True),
        ("c = BatchNormalization (x, b, b, b, b) m = Pad (c, k)", True),
        ("a = Split <axis = 1, num_outputs = 3> (x) m = Concat <axis = 1> (a, a, a)", True),
        ("m = Add (x, x2)", True),
        ("m = Conv (x, w)", False),
        ("c = Conv (x, w) m = Add (x, c)", False),
        ("m = GlobalAveragePool (x)", False),
        ("m = Identity (k)", False),
    ],
)
def test_pictures(body: str, picture: bool) -> None:
    graph = view(f"{body} y = Conv (m, w)")
    known: dict[str, bool] = {}
    assert reads_picture(graph, "m", known) is picture
    assert reads_picture(graph, "m", known) is picture
    assert reads_picture(graph, "x", known)
