from __future__ import annotations

from onnxvis.graph.view import GraphView
from onnxvis.run.footprint import live_bytes
from tests.tiny import from_text

PICTURE = 3 * 8 * 8 * 4


def need(body: str, opset: int = 17) -> int:
    return live_bytes(GraphView(from_text(body, opset)))


def test_a_chain_holds_two_tensors_and_the_input() -> None:
    """While c is made, b is still there; a went with b. The picture, which the caller owns, never goes."""
    assert need("g (float[1, 3, 8, 8] x) => (y) { a = Relu (x)  b = Neg (a)  c = Abs (b)  y = Exp (c) }") == 3 * PICTURE


def test_a_skip_connection_is_held_until_it_is_read() -> None:
    held = "g (float[1, 3, 8, 8] x) => (y) { s = Relu (x)  a = Neg (s)  b = Abs (a)  y = Add (b, s) }"
    assert need(held) == 4 * PICTURE


def test_an_output_is_held_to_the_end() -> None:
    kept = "g (float[1, 3, 8, 8] x) => (a, y) { a = Relu (x)  b = Neg (a)  c = Abs (b)  y = Exp (c) }"
    assert need(kept) == 4 * PICTURE


def test_sizes_are_those_of_the_type() -> None:
    assert need("g (float16[1, 3, 8, 8] x) => (y) { y = Relu (x) }") == PICTURE
    assert need("g (string[1, 3, 8, 8] x) => (y) { y = Identity (x) }") == 2 * PICTURE  # of no size of its own


def test_weights_are_not_counted() -> None:
    body = "g (float[1, 3, 8, 8] x) => (y) <float[1] w = {1}, int64[4] n = {9, 9, 99, 99}> "
    assert need(body + "{ e = Expand (w, n)  m = ReduceMean <keepdims = 0> (e)  y = Add (x, m) }") == 2 * PICTURE


def test_a_tensor_of_unknown_size_counts_as_the_largest() -> None:
    body = "g (float[1, 3, 8, 8] x, float[2] z) => (y) { a = NonZero (x)  b = Cast <to = 1> (a)  y = Relu (b) }"
    assert need(body) == PICTURE + 2 * 4 + 3 * PICTURE - PICTURE
