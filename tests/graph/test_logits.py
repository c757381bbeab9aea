from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnxvis.graph.load import Model
from onnxvis.graph.logits import Element, before_softmax, origin
from onnxvis.graph.view import GraphView
from tests.rewrite.differences import run
from tests.tiny import from_text

CASES = {
    "Softmax": ("y = Softmax (z)", "Softmax"),
    "LogSoftmax": ("y = LogSoftmax (z)", "LogSoftmax"),
    "a shape behind it": ("p = Softmax (z)  q = Unsqueeze (p, two)  y = Squeeze (q, two)", "Softmax"),
    "a type behind it": ("p = Softmax (z)  q = Cast <to = 11> (p)  y = Cast <to = 1> (q)", "Softmax"),
    "Dropout behind it": ("p = Softmax (z)  y, mask = Dropout (p)", "Softmax"),
    "codes behind it": (
        "p = Softmax (z)  q = QuantizeLinear (p, step, zero)  y = DequantizeLinear (q, step, zero)",
        "Softmax",
    ),
    "codes before it": (
        "q = QuantizeLinear (z, step, zero)  p = DequantizeLinear (q, step, zero)  y = Softmax (p)",
        "Softmax",
    ),
    "codes alone": (
        "q = QuantizeLinear (z, step, zero)  y = DequantizeLinear (q, step, zero)",
        "QuantizeLinear",
    ),
    "its own domain": ("y = ai.onnx.Softmax (z)", "Softmax"),
    "Sigmoid": ("y = Sigmoid (z)", ""),
    "a product behind it": ("p = Softmax (z)  y = Mul (p, p)", ""),
    "another order behind it": ("p = Softmax (z)  y = Transpose (p)", ""),
    "a mask that is the output": ("p = Softmax (z)  q, y = Dropout (p)", ""),
    "nothing": ("y = Identity (z)", ""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_final_softmax_is_seen_through_what_keeps_the_order(case: str) -> None:
    body, op = CASES[case]
    view = GraphView(from_text(
        f"g (float[2, 3] x) => (y) <int64[1] two = {{2}}, float step = {{0.004}}, uint8 zero = {{0}}> "
        f"{{ z = Relu (x)  {body} }}"
    ))  # fmt: skip
    assert before_softmax(view, "y") == (("z", op) if op else ("y", ""))


def test_the_elements_stand_in_the_order_of_the_output() -> None:
    model = from_text(
        "g (float[2, 6] x) => (float[2, 3, 2] y) <int64[2] flat = {6, 2}, int64[3] back = {2, 3, 2}> "
        "{ z = Reshape (x, flat)  p = Softmax (z)  y = Reshape (p, back) }"
    )
    assert before_softmax(GraphView(model), "y") == ("z", "Softmax")
    x = np.arange(12, dtype=np.float32).reshape(2, 6) ** 1.5
    found = run(model, {"x": x})["y"]
    pairs = np.exp(x.reshape(2, 3, 2))
    np.testing.assert_allclose(found, pairs / pairs.sum(axis=2, keepdims=True), rtol=1e-5)


def test_only_the_last_softmax_is_left_out() -> None:
    body = "g (float[2, 3] x) => (float[2, 3] y) { p = Softmax (x)  y = Softmax (p) }"
    assert before_softmax(GraphView(from_text(body)), "y") == ("p", "Softmax")


def test_an_output_that_is_an_input_is_left() -> None:
    assert before_softmax(GraphView(from_text("g (float[2] x) => (float[2] x) { y = Relu (x) }")), "x") == ("x", "")


ORIGINS = {
    "Transpose": ("y = Transpose <perm = [2, 0, 1, 3]> (z)", "z"),
    "Transpose of all axes": ("y = Transpose (z)", "z"),
    "Reshape": ("y = Reshape (z, flat)", "z"),
    "Concat": ("y = Concat <axis = -2> (z, a, z)", "z"),
    "Split": ("p, y = Split <axis = 3> (z, parts)", "z"),
    "Split of equal parts": ("y, p = Split <axis = 1> (z)", "z"),
    "Slice": ("y = Slice (z, starts, ends, axes, steps)", "z"),
    "Slice of the first axes": ("y = Slice (z, first, last)", "z"),
    "Slice backwards": ("y = Slice (z, back, stop, axis, minus)", "z"),
    "Sigmoid": ("y = Sigmoid (z)", "z"),
    "all at once": (
        (
            "p, q = Split <axis = 3> (z, parts)  r = Sigmoid (q)  s = Reshape (r, lines)  "
            "t = Concat <axis = 1> (u, s)  y = Transpose <perm = [0, 2, 1]> (t)"
        ),
        "z",
    ),
    "the first Sigmoid of two": ("p = Sigmoid (z)  y = Sigmoid (p)", "p"),
    "a starting place that is computed": ("y = Slice (z, computed, last)", "y"),
    "arithmetic": ("y = Mul (z, z)", "y"),
    "codes": ("q = QuantizeLinear (z, step, zero)  y = DequantizeLinear (q, step, zero)", "z"),
}  # fmt: skip


@pytest.mark.parametrize("case", ORIGINS)
def test_every_element_comes_from_where_its_value_stood(case: str) -> None:
    """z holds 0.02 · (1 … 120), so that each value tells its place; `a` and `u` hold others."""
    body, source = ORIGINS[case]
    text = (
        "g (float[2, 4, 3, 5] x) => (y) <int64[2] flat = {6, 20}, int64[2] parts = {2, 3}, int64[3] lines = {2, 4, 9}, "
        "int64[2] starts = {-4, 1}, int64[2] ends = {9, 4}, int64[2] axes = {3, 1}, int64[2] steps = {2, 1}, "
        "int64[2] first = {1, 2}, int64[2] last = {2, 4}, int64[1] back = {-1}, int64[1] stop = {-9}, "
        "int64[1] axis = {-1}, int64[1] minus = {-2}, float step = {0.02}, uint8 zero = {0}, int64[2] none = {0, 0}> "
        "{ z = Relu (x)  a = Neg (x)  v = Neg (x)  w, w2 = Split <axis = 3> (v, parts)  u = Reshape (w2, lines)  "
        f"  e = Shape <start = 1, end = 3> (x)  computed = Mul (e, none)  {body} }}"
    )
    model = Model(Path("case.onnx"), from_text(text), Path.cwd())
    x = (np.arange(1, 121, dtype=np.float32) * np.float32(0.02)).reshape(2, 4, 3, 5)
    y = run(model.proto, {"x": x})["y"]
    seen = 0
    for index in np.ndindex(y.shape):
        found = origin(model, "y", index)
        if source == "z" and y[index] < 0:
            assert found.tensor in ("a", "v")
            continue
        assert (found.tensor, found.sigmoid) == (source, "Sigmoid" in body and source != "y")
        seen += 1
        if source == "y":
            assert found == Element("y", index)
        elif source == "z":
            value = float(np.maximum(x, 0)[found.index])
            assert y[index] == pytest.approx(1 / (1 + np.exp(-value)) if found.sigmoid else value, rel=1e-5)
    assert seen > 0


def test_elements_that_are_not_there_lead_nowhere() -> None:
    proto = from_text("g (float[2, 3] x) => (float[2, 3] y) { z = Relu (x)  y = Sigmoid (z) }")
    model = Model(Path("case.onnx"), proto, Path.cwd())
    for index in ((2, 0), (0, 0, 0), (0,)):
        assert origin(model, "y", index) == Element("y", index)
    assert origin(model, "x", (0, 0)) == Element("x", (0, 0))
