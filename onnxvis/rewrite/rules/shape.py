"""Operators that move values about and change none: the gradient is moved back, and summed where values were repeated.

Where they move the codes of a quantised tensor, the gradient is one of float32 and moves the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxvis.files import one_line
from onnxvis.graph.types import Dim
from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []

_COARSE = ("float8e", "float6e", "float4e")
"""What the names of types begin with that hold only a handful of values."""


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx is dL/dy in the shape of x."""
    return [tape.reshape_like(upstream, node.inputs[0])]


@rule("Transpose")
def transpose(node: Node, upstream: str, tape: Tape) -> list[str]:
    """Dimension perm[i] of dL/dx is dimension i of dL/dy."""
    order = node.ints("perm")
    if not order:
        return [tape.add("Transpose", [upstream])]
    return [tape.add("Transpose", [upstream], perm=[order.index(axis) for axis in range(len(order))])]


@rule("Expand")
def expand(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx is the sum of dL/dy over the dimensions along which x was repeated."""
    return [tape.sum_to(upstream, node.inputs[0], node.outputs[0])]


@rule("Tile")
def tile(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx[i] = Σ_r dL/dy[r · size + i] along each axis."""
    x, repeats = node.inputs
    counts = tape.value(repeats)
    if counts is None:
        return [_folded_at_run_time(x, repeats, upstream, tape)]
    sizes: list[Dim] = []
    axes = []
    for count, size in zip(counts.tolist(), tape.shape(x), strict=True):
        if count != 1:
            axes.append(len(sizes))
            sizes.append(count)
        sizes.append(size)
    if not axes:
        return [upstream]
    known = [size if isinstance(size, int) else -1 for size in sizes]
    if 0 in known or known.count(-1) > 1:
        return [_folded_at_run_time(x, repeats, upstream, tape)]
    return [tape.reduce_sum(tape.add("Reshape", [upstream, tape.ints(known)]), axes, keepdims=False)]


def _folded_at_run_time(x: str, repeats: str, upstream: str, tape: Tape) -> str:
    """Each axis of `upstream` parted into its repeats and the size of x, and summed over the repeats."""
    columns = [tape.unsqueeze(name, [1]) for name in (repeats, tape.shape_of(x))]
    parted = tape.add("Reshape", [tape.add("Concat", columns, axis=1), tape.ints([-1])])
    summed = range(0, 2 * tape.rank(x), 2)
    return tape.reduce_sum(tape.add("Reshape", [upstream, parted], allowzero=1), summed, keepdims=False)


@rule("Identity", "Dropout")
def identity(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy; y = x for Dropout too, outside training."""
    training = node.input(2)
    if not training:
        return [upstream]
    flag = tape.value(training)
    if flag is None:
        raise NotDifferentiable(f"whether it drops values is known in the run alone, by '{one_line(training)}'")
    if flag.any() and not _is_zero(node.input(1), tape):
        raise NotDifferentiable(
            "its training_mode is set, so it drops values at random; export the model for inference"
        )
    return [upstream]


def _is_zero(name: str, tape: Tape) -> bool:
    value = tape.value(name)
    return value is not None and not value.any()


@rule("Cast", "CastLike")
def cast(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy, in the type of x; 0 by the tensor whose type is taken."""
    source, target = (tape.dtype(name) for name in (node.inputs[0], node.outputs[0]))
    for dtype in (source, target):
        if dtype.startswith(_COARSE):
            raise NotDifferentiable(f"it casts {source} to {target}, and {dtype} holds too few values for a gradient")
    by_x = tape.cast(upstream, source if source.startswith(("float", "bfloat")) else "float32")
    return [by_x, *(tape.zeros_like(name) for name in node.inputs[1:] if tape.wants(name))]


@rule("Concat")
def concat(node: Node, upstream: str, tape: Tape) -> Sequence[str | None]:
    """Each operand gets its part of dL/dy."""
    axis = node.integer("axis", 0)
    if len(node.inputs) == 1:
        return [upstream]
    sizes = [tape.shape(name)[axis] for name in node.inputs]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) == len(sizes):
        parts = tape.ints(known)
    else:
        parts = tape.add("Concat", [tape.size_of(name, axis) for name in node.inputs], axis=0)
    return tape.add_many("Split", [upstream, parts], len(sizes), axis=axis)


@rule("Split", every_output=True)
def split(node: Node, _upstream: str, tape: Tape) -> list[str]:
    """dL/dx is the gradients of the parts in a row, zeros for a part that has none."""
    parts = [tape.upstream(name) or tape.zeros_like(name) for name in node.outputs]
    if len(parts) == 1:
        return parts
    return [tape.add("Concat", parts, axis=node.integer("axis", 0))]


@rule("DepthToSpace")
def depth_to_space(node: Node, upstream: str, tape: Tape) -> list[str]:
    """SpaceToDepth, with its channels put back in order where mode is CRD."""
    block = node.integer("blocksize", 0)
    deep = tape.add("SpaceToDepth", [upstream], blocksize=block)
    if node.text("mode", "DCR") == "DCR":
        return [deep]
    channels = tape.shape(node.inputs[0])[1]
    if not isinstance(channels, int):
        raise NotDifferentiable("its mode is CRD and the number of its channels is not known; fix the input's shape")
    # SpaceToDepth puts offset k of channel c at k · C + c, where CRD has it at c · block² + k.
    count = channels // block**2
    order = [offset * count + channel for channel in range(count) for offset in range(block**2)]
    return [tape.add("Gather", [deep, tape.ints(order)], axis=1)]


@rule("SpaceToDepth")
def space_to_depth(node: Node, upstream: str, tape: Tape) -> list[str]:
    """DepthToSpace of the same mode."""
    mode = node.text("mode", "DCR")
    return [tape.add("DepthToSpace", [upstream], blocksize=node.integer("blocksize", 0), mode=mode)]
