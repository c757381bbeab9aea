"""Darknet's activation functions as ONNX nodes (src/activations.h of Darknet has their formulas)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .draft import Draft

__all__ = ["ACTIVATIONS", "activate"]

_Rule = Callable[["Draft", str, str], str]


def activate(draft: Draft, name: str, x: str, output: str) -> str:
    """Add the nodes that make tensor `output` from tensor `x`; returns `output`. `name` is one of ACTIVATIONS."""
    return ACTIVATIONS[name](draft, x, output)


def _single(operator: str, **attributes: float) -> _Rule:
    return lambda draft, x, output: draft.node(operator, [x], output, **attributes)


def _clip(low: float, high: float) -> _Rule:
    def rule(draft: Draft, x: str, output: str) -> str:
        return draft.node("Clip", [x, draft.number(low), draft.number(high)], output)

    return rule


def _swish(draft: Draft, x: str, output: str) -> str:
    """x · sigmoid(x)."""
    return draft.node("Mul", [x, draft.node("Sigmoid", [x], f"{output}/sigmoid")], output)


def _mish(draft: Draft, x: str, output: str) -> str:
    """x · tanh(log(1 + e^x))."""
    soft = draft.node("Softplus", [x], f"{output}/softplus")
    return draft.node("Mul", [x, draft.node("Tanh", [soft], f"{output}/tanh")], output)


def _hard_mish(draft: Draft, x: str, output: str) -> str:
    """relu(x) + c + c² / 2, c = x cut to [-2, 0]."""
    cut = _clip(-2, 0)(draft, x, f"{output}/clip")
    half = draft.node("Mul", [cut, draft.number(0.5)], f"{output}/half")
    square = draft.node("Mul", [cut, half], f"{output}/square")
    curve = draft.node("Add", [cut, square], f"{output}/curve")
    return draft.node("Add", [draft.node("Relu", [x], f"{output}/relu"), curve], output)


def _gelu(draft: Draft, x: str, output: str) -> str:
    """x/2 · (1 + tanh(0.797885 x + 0.035677 x³))."""
    square = draft.node("Mul", [x, x], f"{output}/square")
    bend = draft.node("Mul", [square, draft.number(0.035677)], f"{output}/bend")
    slope = draft.node("Add", [bend, draft.number(0.797885)], f"{output}/slope")
    tanh = draft.node("Tanh", [draft.node("Mul", [x, slope], f"{output}/inner")], f"{output}/tanh")
    gate = draft.node("Add", [tanh, draft.number(1)], f"{output}/gate")
    return draft.node("Mul", [draft.node("Mul", [x, draft.number(0.5)], f"{output}/half"), gate], output)


def _loggy(draft: Draft, x: str, output: str) -> str:
    """2 · sigmoid(x) − 1."""
    double = draft.node("Mul", [draft.node("Sigmoid", [x], f"{output}/sigmoid"), draft.number(2)], f"{output}/double")
    return draft.node("Sub", [double, draft.number(1)], output)


def _ramp(draft: Draft, x: str, output: str) -> str:
    """relu(x) + x / 10."""
    tenth = draft.node("Mul", [x, draft.number(0.1)], f"{output}/tenth")
    return draft.node("Add", [draft.node("Relu", [x], f"{output}/relu"), tenth], output)


def _lhtan(draft: Draft, x: str, output: str) -> str:
    """c + (x − c) / 1000, c = x cut to [0, 1]."""
    cut = _clip(0, 1)(draft, x, f"{output}/clip")
    rest = draft.node("Sub", [x, cut], f"{output}/rest")
    return draft.node("Add", [cut, draft.node("Mul", [rest, draft.number(0.001)], f"{output}/slope")], output)


def _plse(draft: Draft, x: str, output: str) -> str:
    """c / 8 + 1/2 + (x − c) / 100, c = x cut to [-4, 4]."""
    cut = _clip(-4, 4)(draft, x, f"{output}/clip")
    rest = draft.node("Sub", [x, cut], f"{output}/rest")
    outer = draft.node("Mul", [rest, draft.number(0.01)], f"{output}/outer")
    inner = draft.node("Mul", [cut, draft.number(0.125)], f"{output}/inner")
    line = draft.node("Add", [inner, draft.number(0.5)], f"{output}/line")
    return draft.node("Add", [line, outer], output)


ACTIVATIONS: dict[str, _Rule] = {
    "linear": lambda _draft, x, _output: x,
    "leaky": _single("LeakyRelu", alpha=0.1),
    "relu": _single("Relu"),
    "mish": _mish,
    "swish": _swish,
    "logistic": _single("Sigmoid"),
    "elu": _single("Elu", alpha=1.0),
    "selu": _single("Selu", alpha=1.6732, gamma=1.0507),
    "tanh": _single("Tanh"),
    "relu6": _clip(0, 6),
    "hardtan": _clip(-1, 1),
    "hard_mish": _hard_mish,
    "gelu": _gelu,
    "loggy": _loggy,
    "relie": _single("LeakyRelu", alpha=0.01),
    "ramp": _ramp,
    "lhtan": _lhtan,
    "plse": _plse,
}
"""Name in the cfg → how its nodes are added. `linear` adds none and gives `x` itself."""
