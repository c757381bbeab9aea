"""Pad: y holds x, and around it zeros or values of x."""

from __future__ import annotations

from collections.abc import Iterator

from onnxvis.files import one_line
from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.index import places_along
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []


@rule("Pad")
def pad(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """dL/dx = dL/dy without the border; what the border took from x goes back to where it was taken from."""
    if node.text("mode", "constant") == "constant":
        return _constant(node, upstream, tape)
    x = node.inputs[0]
    for axis, pads in _padded_axes(node, tape):
        places = tape.add("Pad", [places_along(x, axis, tape), pads], mode=node.text("mode", ""))
        upstream = tape.scatter_sum(upstream, places, axis, x)
    return [upstream]


def _constant(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """By x: the border cut off, which a Pad by the negative does. By the constant: the sum over the border."""
    pads, fill, axes = node.input(1), node.input(2), node.input(3)
    known = tape.value(pads)
    negative = tape.add("Neg", [pads]) if known is None else tape.ints(-int(length) for length in known)
    by_x = tape.add("Pad", [upstream, negative, *(["", axes] if axes else [])])
    if not tape.wants(fill):
        return [by_x]
    total, inner = (tape.add("ReduceSum", [gradient], keepdims=0) for gradient in (upstream, by_x))
    return [by_x, None, tape.reshape_like(tape.add("Sub", [total, inner]), fill)]


def _padded_axes(node: Node, tape: Tape) -> Iterator[tuple[int, str]]:
    """Each axis that a Pad may change, with the two lengths that are added there."""
    x, pads, axes = node.inputs[0], node.inputs[1], node.input(3)
    named, known = tape.value(axes), tape.value(pads)
    if axes and named is None:
        raise NotDifferentiable(f"the axes that it pads are computed, by '{one_line(axes)}'")
    numbers = range(tape.rank(x)) if named is None else [int(axis) % tape.rank(x) for axis in named]
    for place, axis in enumerate(numbers):
        ends = [place, place + len(numbers)]
        if known is None:
            yield axis, tape.add("Gather", [pads, tape.ints(ends)])
        elif known[ends].any():
            yield axis, tape.ints(int(length) for length in known[ends])
