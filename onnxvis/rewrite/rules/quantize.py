"""Quantisation, straight-through: rounding passes the gradient as if it did nothing.

The gradient of codes is in steps, dL/dcode = dL/dx · scale, and is a tensor of float32. See Bengio et al. (2013),
arXiv:1308.3432, and Jacob et al. (2018), arXiv:1712.05877.
"""

from __future__ import annotations

import numpy as np

from onnxvis.files import one_line
from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []

_NOTE = "QuantizeLinear is passed straight through, and holds the gradient back where it saturates"


@rule("QuantizeLinear")
def quantize_linear(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dcode / scale where the type of the codes holds round(x / scale) + zero point, else 0."""
    x, scale = node.inputs[0], _spread(node, node.inputs[1], tape)
    low, high = _range(tape.dtype(node.outputs[0]))
    steps = tape.add("Round", [tape.add("Div", [x, scale])])
    zero_point = node.input(2)
    stored = tape.value(zero_point)
    if stored is not None and stored.size == 1:
        low, high = (bound - int(stored.reshape(())) for bound in (low, high))
    elif zero_point:
        steps = tape.add("Add", [steps, _spread(node, zero_point, tape)])
    held = tape.add("Clip", [steps, tape.number(low, x), tape.number(high, x)])
    tape.note(_NOTE)
    return [tape.masked(tape.add("Div", [upstream, scale]), tape.add("Equal", [steps, held]), x)]


@rule("DequantizeLinear")
def dequantize_linear(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dcode = dL/dx · scale."""
    return [tape.add("Mul", [upstream, _spread(node, node.inputs[1], tape)])]


def _range(dtype: str) -> tuple[int, int]:
    """The least and the largest value of an integer type."""
    sign, kind, bits = dtype.partition("int")
    if not kind:
        raise NotDifferentiable(f"its codes are {dtype}; only integers are passed straight through")
    count = 2 ** int(bits)
    return (0, count - 1) if sign == "u" else (-count // 2, count // 2 - 1)


def _spread(node: Node, name: str, tape: Tape) -> str:
    """A scale or a zero point as floats, of a shape that is broadcast to that of x."""
    x = node.inputs[0]
    if tape.wants(name):
        raise NotDifferentiable(f"its scale '{one_line(name)}' changes with what it is differentiated by")
    floats = name if tape.dtype(name).startswith("float") else tape.cast(name, "float32")
    if tape.rank(name) == 0:
        return floats
    axis, block = node.integer("axis", 1), node.integer("block_size", 0)
    if block:
        return tape.add("Gather", [floats, _blocks(x, axis, block, tape)], axis=axis)
    rank = tape.rank(x)
    return tape.add("Reshape", [floats, tape.ints(-1 if place == axis % rank else 1 for place in range(rank))])


def _blocks(x: str, axis: int, block: int, tape: Tape) -> str:
    """Which block each place along the axis lies in."""
    size = tape.shape(x)[axis]
    if isinstance(size, int):
        return tape.ints(place // block for place in range(size))
    zero, one, width = (tape.constant(np.array(value, np.int64)) for value in (0, 1, block))
    places = tape.add("Range", [zero, tape.add("Squeeze", [tape.size_of(x, axis)]), one])
    return tape.add("Div", [places, width])
