"""Guided backpropagation and deconvnet: other ways through the units that hold back what is negative.

Guided backpropagation (Springenberg et al., 2015, arXiv:1412.6806): dL/dx = dL/dy · [x > 0] · [dL/dy > 0].
Deconvnet (Zeiler and Fergus, 2014, arXiv:1311.2901): dL/dx = dL/dy · [dL/dy > 0].
Both were defined for Relu; for other units of its kind they are an extension, which the tape notes.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import RULES, Rule, RuleFunction, rule
from onnxvis.rewrite.tape import Tape, Variant

__all__ = ["RELU_LIKE", "gated_units"]

RELU_LIKE = ("Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "HardSwish", "Swish", "Mish")
"""Operators that the rules of this file take over, and Clip where it holds back what is negative."""

_GATES = {"Sigmoid": "SiLU, as x · sigmoid(x)", "HardSigmoid": "HardSwish, as x · hardsigmoid(x)"}


@rule(*RELU_LIKE, variant="guided")
def guided(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = max(dL/dy, 0) · [x > 0]."""
    _told(node.op, "guided", tape)
    return [_guided(node.inputs[0], upstream, tape)]


@rule(*RELU_LIKE, variant="deconvnet")
def deconvnet(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = max(dL/dy, 0)."""
    _told(node.op, "deconvnet", tape)
    return [tape.add("Relu", [upstream])]


@rule("Clip", variant="guided")
def guided_clip(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """As `guided` where the lower bound is 0, else the derivative."""
    if not _holds_back_negative(node, tape):
        return [*RULES["", "Clip", "plain"].apply(node, upstream, tape)]
    return list(guided(node, upstream, tape))


@rule("Clip", variant="deconvnet")
def deconvnet_clip(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """As `deconvnet` where the lower bound is 0, else the derivative."""
    if not _holds_back_negative(node, tape):
        return [*RULES["", "Clip", "plain"].apply(node, upstream, tape)]
    return list(deconvnet(node, upstream, tape))


def gated_units(tape: Tape, nodes: Iterable[Node], variant: Variant) -> dict[int, Rule]:
    """{node's index: rule} for each product of a tensor with its own gate, x · sigmoid(x): units like Relu, spelt out.

    The gradient goes to x alone. Nothing for the plain variant.
    """
    if variant == "plain":
        return {}
    found = {}
    for node in nodes:
        gate = _gate(tape, node)
        if gate is not None:
            found[node.index] = Rule(_gated(gate, variant))
    return found


def _gate(tape: Tape, node: Node) -> Node | None:
    """The node that makes the gate, where `node` is x · gate(x)."""
    if node.op != "Mul" or node.domain or len(node.inputs) != 2:
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        maker = tape.view.producer(other)
        if maker is not None and maker.op in _GATES and not maker.domain and maker.inputs[0] == x:
            return maker
    return None


def _gated(gate: Node, variant: Variant) -> RuleFunction:
    x = gate.inputs[0]

    def apply(node: Node, upstream: str, tape: Tape) -> list[str | None]:
        _told(_GATES[gate.op], variant, tape)
        given = _guided(x, upstream, tape) if variant == "guided" else tape.add("Relu", [upstream])
        return [given if name == x else None for name in node.inputs]

    return apply


def _told(unit: str, variant: Variant, tape: Tape) -> None:
    """Say that the variant's rule took over a unit, where that is an extension."""
    tape.altered = True
    if unit != "Relu":
        tape.note(f"{variant} rule extended to {unit}")


def _guided(x: str, upstream: str, tape: Tape) -> str:
    return tape.masked(tape.add("Relu", [upstream]), tape.add("Greater", [x, tape.number(0, x)]), x)


def _holds_back_negative(node: Node, tape: Tape) -> bool:
    low = tape.value(node.inputs[1]) if len(node.inputs) > 1 else None
    return low is not None and low.size == 1 and float(low.reshape(())) == 0
