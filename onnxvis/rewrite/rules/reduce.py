"""Reductions: y = f(x) over some axes or all, which are left with size 1 or dropped.

Rules compute with y and dL/dy in the shape that broadcasts to that of x. Where an operator is told to reduce over no
axes, its f is that of single elements, and the formulas hold as they stand.
"""

from __future__ import annotations

import math
from typing import Any

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import Tape

__all__: list[str] = []


@rule("ReduceSum")
def reduce_sum(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy, repeated."""
    return [tape.expand_like(_kept(node, upstream, tape), node.inputs[0])]


@rule("ReduceMean")
def reduce_mean(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy / n, repeated, for n elements to a mean."""
    share = tape.add("Div", [_kept(node, upstream, tape), _count(node, tape)])
    return [tape.expand_like(share, node.inputs[0])]


@rule("ReduceMax", "ReduceMin")
def reduce_extreme(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy / n at each of the n elements that equal y, else 0."""
    x = node.inputs[0]
    equal = tape.cast(tape.add("Equal", [x, _kept(node, node.outputs[0], tape)]), tape.dtype(x))
    share = tape.add("Div", [_kept(node, upstream, tape), _reduced("ReduceSum", equal, node, tape)])
    return [tape.add("Mul", [equal, share])]


@rule("ReduceProd")
def reduce_prod(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy · (product of the others).

    With p the product of what is not 0: p / x where nothing is 0; where one element is, p there and 0 elsewhere; 0
    where more are.
    """
    x = node.inputs[0]
    zero = tape.cast(tape.add("Equal", [x, tape.number(0, x)]), tape.dtype(x))
    zeros = _reduced("ReduceSum", zero, node, tape)
    factors = tape.add("Add", [x, zero])
    product = _reduced("ReduceProd", factors, node, tape)
    others = tape.add("Div", [tape.add("Mul", [_kept(node, upstream, tape), product]), factors])
    return [tape.masked(others, tape.add("Equal", [zeros, zero]), x)]


@rule("ReduceL1")
def reduce_l1(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy · sign(x)."""
    return [tape.add("Mul", [tape.add("Sign", [node.inputs[0]]), _kept(node, upstream, tape)])]


@rule("ReduceL2")
def reduce_l2(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy · x / y, and 0 where y is 0."""
    y = node.outputs[0]
    zero = tape.cast(tape.add("Equal", [y, tape.number(0, y)]), tape.dtype(y))
    share = tape.add("Div", [upstream, tape.add("Add", [y, zero])])
    return [tape.add("Mul", [node.inputs[0], _kept(node, share, tape)])]


@rule("ReduceSumSquare")
def reduce_sum_square(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = 2 x dL/dy."""
    x = node.inputs[0]
    doubled = tape.add("Mul", [upstream, tape.number(2, x)])
    return [tape.add("Mul", [x, _kept(node, doubled, tape)])]


@rule("ReduceLogSum")
def reduce_log_sum(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy / exp(y), repeated."""
    share = tape.add("Div", [upstream, tape.add("Exp", [node.outputs[0]])])
    return [tape.expand_like(_kept(node, share, tape), node.inputs[0])]


@rule("ReduceLogSumExp")
def reduce_log_sum_exp(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy · exp(x - y)."""
    share = tape.add("Exp", [tape.add("Sub", [node.inputs[0], _kept(node, node.outputs[0], tape)])])
    return [tape.add("Mul", [share, _kept(node, upstream, tape)])]


def _axes(node: Node, tape: Tape) -> tuple[int, ...] | None:
    """The axes that the node names, () where it names none, None where they are computed."""
    name = node.input(1)
    if not name:
        return node.ints("axes")
    stored = tape.value(name)
    return None if stored is None else tuple(map(int, stored.reshape(-1)))


def _kept(node: Node, reduced: str, tape: Tape) -> str:
    """`reduced`, of the shape of the node's output, in a shape that broadcasts to that of its input."""
    axes = _axes(node, tape)
    if node.integer("keepdims", 1) or axes == ():  # a single number broadcasts as it is
        return reduced
    if axes is not None:
        return tape.unsqueeze(reduced, axes)
    shape = tape.add("Shape", [_reduced("ReduceSum", node.inputs[0], node, tape)])
    return tape.add("Reshape", [reduced, shape])


def _reduced(op: str, source: str, node: Node, tape: Tape) -> str:
    """`source` reduced by `op` over the axes that the node reduces over, which are left with size 1."""
    attributes: dict[str, Any] = {"keepdims": 1}
    axes, name = node.ints("axes"), node.input(1)
    if op != "ReduceSum" and tape.opset < 18:
        return tape.add(op, [source], **attributes, **({"axes": axes} if axes else {}))
    if axes:
        name = tape.ints(axes)
    attributes["noop_with_empty_axes"] = node.integer("noop_with_empty_axes", 0)
    return tape.add(op, [source, name] if name else [source], **attributes)


def _count(node: Node, tape: Tape) -> str:
    """How many elements of the input one of the output is computed from, as a number of its type."""
    x, y = node.inputs[0], node.outputs[0]
    axes, shape = _axes(node, tape), tape.view.shape(x)
    if axes is not None and shape is not None:
        every = not axes and not node.integer("noop_with_empty_axes", 0)
        sizes = [size for size in (shape if every else (shape[axis] for axis in axes)) if isinstance(size, int)]
        if len(sizes) == (len(shape) if every else len(axes)):
            return tape.number(math.prod(sizes), x)
    # as floats: whole numbers divided by the size of an empty output would end the process
    sides = [tape.cast(tape.add("Size", [name]), tape.dtype(x)) for name in (x, y)]
    return tape.add("Div", sides)
