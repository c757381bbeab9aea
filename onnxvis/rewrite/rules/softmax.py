"""Softmax and its logarithm over one axis."""

from __future__ import annotations

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import Tape

__all__: list[str] = []


@rule("Softmax")
def softmax(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = y (dL/dy - sum(dL/dy · y))."""
    y = node.outputs[0]
    total = tape.reduce_sum(tape.add("Mul", [upstream, y]), [node.integer("axis", -1)])
    return [tape.add("Mul", [y, tape.add("Sub", [upstream, total])])]


@rule("LogSoftmax")
def log_softmax(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy - exp(y) sum(dL/dy)."""
    total = tape.reduce_sum(upstream, [node.integer("axis", -1)])
    share = tape.add("Mul", [tape.add("Exp", [node.outputs[0]]), total])
    return [tape.add("Sub", [upstream, share])]
