"""Arithmetic of several operands: dL/da = dL/dy · dy/da, summed over the dimensions along which a was repeated."""

from __future__ import annotations

from collections.abc import Sequence

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import Tape

__all__: list[str] = []


def _summed(node: Node, operand: str, gradient: str, tape: Tape) -> str:
    """`gradient`, of the shape of the node's output, in that of `operand`."""
    return tape.sum_to(gradient, operand, node.outputs[0])


@rule("Add", "Sum")
def add(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = Σ a: dy/da = 1."""
    return [_summed(node, name, upstream, tape) if tape.wants(name) else None for name in node.inputs]


@rule("Mean")
def mean(node: Node, upstream: str, tape: Tape) -> Sequence[str | None]:
    """y = Σ a / n: dy/da = 1 / n."""
    count = len(node.inputs)
    share = upstream if count == 1 else tape.add("Mul", [upstream, tape.number(1 / count, node.outputs[0])])
    return add(node, share, tape)


@rule("Sub")
def sub(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = a - b: dy/da = 1, dy/db = -1."""
    a, b = node.inputs
    by_a = _summed(node, a, upstream, tape) if tape.wants(a) else None
    by_b = tape.add("Neg", [_summed(node, b, upstream, tape)]) if tape.wants(b) else None
    return [by_a, by_b]


@rule("Mul")
def mul(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = a b: dy/da = b, dy/db = a."""
    pairs = zip(node.inputs, reversed(node.inputs), strict=True)
    return [
        _summed(node, name, tape.add("Mul", [upstream, other]), tape) if tape.wants(name) else None
        for name, other in pairs
    ]


@rule("Div")
def div(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = a / b: dy/da = 1 / b, dy/db = -y / b."""
    a, b = node.inputs
    quotient = tape.add("Div", [upstream, b])
    by_a = _summed(node, a, quotient, tape) if tape.wants(a) else None
    by_b = None
    if tape.wants(b):
        by_b = tape.add("Neg", [_summed(node, b, tape.add("Mul", [quotient, node.outputs[0]]), tape)])
    return [by_a, by_b]


@rule("Mod")
def mod(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = a - q b with a whole q: dy/da = 1, dy/db = -q."""
    a, b = node.inputs
    by_a = _summed(node, a, upstream, tape) if tape.wants(a) else None
    by_b = None
    if tape.wants(b):
        negated = tape.add("Round", [tape.add("Div", [tape.add("Sub", [node.outputs[0], a]), b])])
        by_b = _summed(node, b, tape.add("Mul", [upstream, negated]), tape)
    return [by_a, by_b]


@rule("Min", "Max")
def extreme(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """dy/da = 1 / n where a = y, n the number of operands equal to y there, else 0: those that tie share alike."""
    y = node.outputs[0]
    if len(node.inputs) == 1:
        return [upstream]
    holds = {name: tape.cast(tape.add("Equal", [name, y]), tape.dtype(y)) for name in dict.fromkeys(node.inputs)}
    share = tape.add("Div", [upstream, tape.add("Sum", [holds[name] for name in node.inputs])])
    return [
        _summed(node, name, tape.add("Mul", [share, holds[name]]), tape) if tape.wants(name) else None
        for name in node.inputs
    ]


@rule("Where")
def where(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = a where c holds, else b: dy/da = [c], dy/db = [not c]."""
    condition, a, b = node.inputs
    y = node.outputs[0]
    by_a = _summed(node, a, tape.masked(upstream, condition, y), tape) if tape.wants(a) else None
    by_b = None
    if tape.wants(b):
        by_b = _summed(node, b, tape.masked(upstream, tape.add("Not", [condition]), y), tape)
    return [None, by_a, by_b]


@rule("Pow")
def power(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = xᵉ: dy/dx = e xᵉ⁻¹, which is 0 for e = 0, also where x is 0; dy/de = y ln x, 0 where x is 0.

    Where x is negative, dy/de is not a number.
    """
    x, exponent = node.inputs
    by_x = _summed(node, x, _power_by_base(node, upstream, tape), tape) if tape.wants(x) else None
    by_exponent = None
    if tape.wants(exponent):
        by_exponent = tape.add("Mul", [upstream, tape.add("Mul", [node.outputs[0], _logarithm(x, tape)])])
        if tape.dtype(exponent) != tape.dtype(x):
            by_exponent = tape.cast(by_exponent, tape.dtype(exponent))
        by_exponent = _summed(node, exponent, by_exponent, tape)
    return [by_x, by_exponent]


def _power_by_base(node: Node, upstream: str, tape: Tape) -> str:
    """dL/dy · e xᵉ⁻¹."""
    x, exponent = node.inputs
    stored = tape.value(exponent)
    if stored is not None and stored.size == 1:
        return _power_by_base_of_one(node, upstream, float(stored.reshape(())), tape)
    e = exponent if tape.dtype(exponent) == tape.dtype(x) else tape.cast(exponent, tape.dtype(x))
    # For e = 0 the power is taken of e, not of e - 1: 0 · x⁰ is 0 for every x, 0 · x⁻¹ is not.
    less = tape.cast(tape.add("Not", [tape.add("Equal", [e, tape.number(0, x)])]), tape.dtype(x))
    slope = tape.add("Mul", [e, tape.add("Pow", [x, tape.add("Sub", [e, less])])])
    return tape.add("Mul", [upstream, slope])


def _power_by_base_of_one(node: Node, upstream: str, exponent: float, tape: Tape) -> str:
    x, y = node.inputs[0], node.outputs[0]
    if exponent == 0:
        return tape.zeros_like(y)
    if exponent == 1:
        return upstream
    scaled = tape.add("Mul", [upstream, tape.number(exponent, x)])
    if exponent == 0.5:
        return tape.add("Div", [scaled, y])
    lower = x if exponent == 2 else tape.add("Pow", [x, tape.number(exponent - 1, x)])
    return tape.add("Mul", [scaled, lower])


def _logarithm(x: str, tape: Tape) -> str:
    """ln x, and 0 where x is 0."""
    zero = tape.cast(tape.add("Equal", [x, tape.number(0, x)]), tape.dtype(x))
    return tape.add("Log", [tape.add("Add", [x, zero])])
