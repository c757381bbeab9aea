"""Elementary functions of one variable: y = f(x), dL/dx = dL/dy · f'(x)."""

from __future__ import annotations

import math

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import Tape

__all__: list[str] = []


@rule("Neg")
def neg(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = -1."""
    return [tape.add(node.op, [upstream])]


@rule("Abs")
def absolute(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = sign x, 0 at 0."""
    return [tape.add("Mul", [upstream, tape.add("Sign", [node.inputs[0]])])]


@rule("Exp")
def exp(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = y."""
    return [tape.add("Mul", [upstream, node.outputs[0]])]


@rule("Log")
def log(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / x."""
    return [tape.add("Div", [upstream, node.inputs[0]])]


@rule("Sqrt")
def sqrt(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / (2 y)."""
    y = node.outputs[0]
    return [tape.add("Div", [upstream, tape.add("Add", [y, y])])]


@rule("Reciprocal")
def reciprocal(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = -y²."""
    y = node.outputs[0]
    return [tape.add("Neg", [tape.add("Mul", [tape.add("Mul", [upstream, y]), y])])]


@rule("Erf")
def erf(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 2 exp(-x²) / √π."""
    x = node.inputs[0]
    bell = tape.add("Exp", [tape.add("Neg", [tape.add("Mul", [x, x])])])
    return [tape.add("Mul", [upstream, tape.add("Mul", [bell, tape.number(2 / math.sqrt(math.pi), x)])])]


@rule("Sin")
def sin(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = cos x."""
    return [tape.add("Mul", [upstream, tape.add("Cos", [node.inputs[0]])])]


@rule("Cos")
def cos(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = -sin x."""
    return [tape.add("Neg", [tape.add("Mul", [upstream, tape.add("Sin", [node.inputs[0]])])])]


@rule("Tan")
def tan(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 + y²."""
    y = node.outputs[0]
    slope = tape.add("Add", [tape.add("Mul", [y, y]), tape.number(1, y)])
    return [tape.add("Mul", [upstream, slope])]


@rule("Asin")
def asin(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / √(1 - x²)."""
    return [tape.add("Div", [upstream, tape.add("Sqrt", [_one_less_square(node.inputs[0], tape)])])]


@rule("Acos")
def acos(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = -1 / √(1 - x²)."""
    root = tape.add("Sqrt", [_one_less_square(node.inputs[0], tape)])
    return [tape.add("Neg", [tape.add("Div", [upstream, root])])]


@rule("Atan")
def atan(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / (1 + x²)."""
    return [tape.add("Div", [upstream, _one_more_square(node.inputs[0], tape)])]


@rule("Sinh")
def sinh(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = cosh x."""
    return [tape.add("Mul", [upstream, tape.add("Cosh", [node.inputs[0]])])]


@rule("Cosh")
def cosh(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = sinh x."""
    return [tape.add("Mul", [upstream, tape.add("Sinh", [node.inputs[0]])])]


@rule("Asinh")
def asinh(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / √(x² + 1)."""
    return [tape.add("Div", [upstream, tape.add("Sqrt", [_one_more_square(node.inputs[0], tape)])])]


@rule("Acosh")
def acosh(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / √(x² - 1)."""
    below = tape.add("Neg", [_one_less_square(node.inputs[0], tape)])
    return [tape.add("Div", [upstream, tape.add("Sqrt", [below])])]


@rule("Atanh")
def atanh(node: Node, upstream: str, tape: Tape) -> list[str]:
    """f' = 1 / (1 - x²)."""
    return [tape.add("Div", [upstream, _one_less_square(node.inputs[0], tape)])]


def _one_more_square(x: str, tape: Tape) -> str:
    """1 + x²."""
    return tape.add("Add", [tape.add("Mul", [x, x]), tape.number(1, x)])


def _one_less_square(x: str, tape: Tape) -> str:
    """1 - x², as (1 - x) (1 + x): near x = 1 the square would lose the digits that matter."""
    one = tape.number(1, x)
    return tape.add("Mul", [tape.add("Sub", [one, x]), tape.add("Add", [one, x])])
