"""Elementwise nonlinearities: y = f(x), dL/dx = dL/dy · f'(x).

Masks are taken from the output where its sign tells that of the input: ONNX Runtime can then still fuse the activation
with the convolution before it.
"""

from __future__ import annotations

import math

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import Tape

__all__: list[str] = []

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # the operator's defaults


def _positive(name: str, tape: Tape) -> str:
    return tape.add("Greater", [name, tape.number(0, name)])


@rule("Relu")
def relu(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = [y > 0]."""
    return [tape.masked(upstream, _positive(node.outputs[0], tape), node.outputs[0])]


@rule("LeakyRelu")
def leaky_relu(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 where x > 0, else alpha."""
    alpha = node.number("alpha", 0.01)
    source = node.outputs[0] if alpha > 0 else node.inputs[0]
    above = tape.cast(_positive(source, tape), tape.dtype(source))
    if 0 <= alpha <= 1:
        slope = tape.add("Max", [above, tape.number(alpha, source)])
    else:
        scaled = tape.add("Mul", [above, tape.number(1 - alpha, source)])
        slope = tape.add("Add", [scaled, tape.number(alpha, source)])
    return [tape.add("Mul", [upstream, slope])]


@rule("PRelu")
def prelu(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """f' by x = 1 where x >= 0, else the slope; by the slope = min(x, 0)."""
    x, slope = node.inputs
    below = tape.add("Less", [x, tape.number(0, x)])
    by_x = tape.add("Where", [below, tape.add("Mul", [upstream, slope]), upstream])
    by_slope = None
    if tape.wants(slope):
        negative = tape.add("Min", [x, tape.number(0, x)])
        by_slope = tape.sum_to(tape.add("Mul", [upstream, negative]), slope, x)
    return [by_x, by_slope]


@rule("ThresholdedRelu")
def thresholded_relu(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = [x > alpha]."""
    x = node.inputs[0]
    above = tape.add("Greater", [x, tape.number(node.number("alpha", 1.0), x)])
    return [tape.masked(upstream, above, x)]


@rule("Clip")
def clip(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """f' by x = [low < x < high], by low = [x <= low < high], by high = [max(x, low) >= high]."""
    x, low, high = (*node.inputs, "", "")[:3]
    within = [tape.add(side, [x, bound]) for side, bound in (("Greater", low), ("Less", high)) if bound]
    if len(within) > 1:
        within = [tape.add("And", within)]
    by_x = tape.masked(upstream, within[0], x) if within else upstream
    by_low = by_high = None
    if tape.wants(low):
        held = tape.add("LessOrEqual", [x, low])
        if high:  # wins over low where it is less
            held = tape.add("And", [held, tape.add("Less", [low, high])])
        by_low = tape.sum_to(tape.masked(upstream, held, x), low, x)
    if tape.wants(high):
        held = tape.add("GreaterOrEqual", [tape.add("Max", [x, low]) if low else x, high])
        by_high = tape.sum_to(tape.masked(upstream, held, x), high, x)
    return [by_x, by_low, by_high]


@rule("Elu", "Celu", "Selu")
def elu(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = gamma where x > 0, else y + alpha (Elu), y / alpha + 1 (Celu), y + alpha gamma (Selu)."""
    x, y = node.inputs[0], node.outputs[0]
    alpha = node.number("alpha", _SELU_ALPHA if node.op == "Selu" else 1.0)
    gamma = node.number("gamma", _SELU_GAMMA) if node.op == "Selu" else 1.0
    if node.op == "Celu":
        below = tape.add("Add", [tape.add("Div", [y, tape.number(alpha, y)]), tape.number(1, y)])
    else:
        below = tape.add("Add", [y, tape.number(alpha * gamma, y)])
    slope = tape.add("Where", [_positive(x, tape), tape.number(gamma, y), below])
    return [tape.add("Mul", [upstream, slope])]


@rule("HardSigmoid")
def hard_sigmoid(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = alpha where 0 < y < 1."""
    y = node.outputs[0]
    inside = tape.add("And", [_positive(y, tape), tape.add("Less", [y, tape.number(1, y)])])
    scaled = tape.add("Mul", [upstream, tape.number(node.number("alpha", 0.2), y)])
    return [tape.masked(scaled, inside, y)]


@rule("HardSwish")
def hard_swish(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 0 where x <= -3, 1 where x >= 3, (2 x + 3) / 6 between."""
    x = node.inputs[0]
    middle = tape.add("Add", [tape.add("Mul", [x, tape.number(1 / 3, x)]), tape.number(0.5, x)])
    above = tape.add("GreaterOrEqual", [x, tape.number(3, x)])
    slope = tape.add("Where", [above, tape.number(1, x), middle])
    outside = tape.masked(slope, tape.add("Greater", [x, tape.number(-3, x)]), x)
    return [tape.add("Mul", [upstream, outside])]


@rule("Sigmoid")
def sigmoid(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = y (1 - y)."""
    y = node.outputs[0]
    return [tape.add("Mul", [upstream, tape.add("Mul", [y, tape.add("Sub", [tape.number(1, y), y])])])]


@rule("Tanh")
def tanh(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 - y²."""
    y = node.outputs[0]
    return [tape.add("Mul", [upstream, tape.add("Sub", [tape.number(1, y), tape.add("Mul", [y, y])])])]


@rule("Softplus")
def softplus(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = sigmoid(x)."""
    return [tape.add("Mul", [upstream, tape.add("Sigmoid", [node.inputs[0]])])]


@rule("Softsign")
def softsign(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / (1 + |x|)²."""
    x = node.inputs[0]
    below = tape.add("Add", [tape.add("Abs", [x]), tape.number(1, x)])
    return [tape.add("Div", [upstream, tape.add("Mul", [below, below])])]


@rule("Swish")
def swish(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x s, s = sigmoid(alpha x): f' = s + alpha y (1 - s)."""
    x, y = node.inputs[0], node.outputs[0]
    alpha = tape.number(node.number("alpha", 1.0), x)
    gate = tape.add("Sigmoid", [tape.add("Mul", [x, alpha])])
    rest = tape.add("Mul", [tape.add("Mul", [y, alpha]), tape.add("Sub", [tape.number(1, x), gate])])
    return [tape.add("Mul", [upstream, tape.add("Add", [gate, rest])])]


@rule("Mish")
def mish(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x t, t = tanh(softplus(x)): f' = t + x sigmoid(x) (1 - t²)."""
    x = node.inputs[0]
    t = tape.add("Tanh", [tape.add("Softplus", [x])])
    rest = tape.add("Sub", [tape.number(1, x), tape.add("Mul", [t, t])])
    gated = tape.add("Mul", [x, tape.add("Sigmoid", [x])])
    return [tape.add("Mul", [upstream, tape.add("Add", [t, tape.add("Mul", [gated, rest])])])]


@rule("Gelu")
def gelu(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x Φ(x): f' = Φ(x) + x φ(x), Φ the normal distribution or its approximation by tanh, φ its density."""
    x = node.inputs[0]
    slope = _tanh_gelu(x, tape) if node.text("approximate", "none") == "tanh" else _normal_gelu(x, tape)
    return [tape.add("Mul", [upstream, slope])]


def _normal_gelu(x: str, tape: Tape) -> str:
    scaled = tape.add("Erf", [tape.add("Mul", [x, tape.number(math.sqrt(0.5), x)])])
    below = tape.add("Mul", [tape.add("Add", [scaled, tape.number(1, x)]), tape.number(0.5, x)])
    squared = tape.add("Mul", [tape.add("Mul", [x, x]), tape.number(-0.5, x)])
    density = tape.add("Mul", [tape.add("Exp", [squared]), tape.number(1 / math.sqrt(2 * math.pi), x)])
    return tape.add("Add", [below, tape.add("Mul", [x, density])])


def _tanh_gelu(x: str, tape: Tape) -> str:
    """u = √(2/π) (x + 0.044715 x³), t = tanh u: (1 + t) / 2 + x (1 - t²) u' / 2."""
    root = math.sqrt(2 / math.pi)
    square = tape.add("Mul", [x, x])

    def polynomial(cubic: float) -> str:
        return tape.add("Add", [tape.add("Mul", [square, tape.number(root * cubic, x)]), tape.number(root, x)])

    t = tape.add("Tanh", [tape.add("Mul", [x, polynomial(0.044715)])])
    rest = tape.add("Sub", [tape.number(1, x), tape.add("Mul", [t, t])])
    bent = tape.add("Mul", [tape.add("Mul", [x, rest]), polynomial(3 * 0.044715)])
    both = tape.add("Add", [tape.add("Add", [t, bent]), tape.number(1, x)])
    return tape.add("Mul", [both, tape.number(0.5, x)])
