from __future__ import annotations

import numpy as np
import pytest

from onnxvis.graph.logits import before_softmax
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
