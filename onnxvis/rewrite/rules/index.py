"""Operators that pick: each value of the output is one of the input's, which gets its gradient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from onnxvis.files import one_line
from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__ = ["places_along"]

Length = int | str
"""A number that is known, or the vector of one int64 that holds it when the graph runs."""

_LARGEST = np.iinfo(np.int64).max


@rule("Slice")
def slice_(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x[start:end:step]: dL/dx = dL/dy where x was taken, else 0. Runs without gaps are padded with zeros."""
    x, y = node.inputs[0], node.outputs[0]
    steps = tape.value(node.input(4))
    margins: dict[int, tuple[Length, Length]] = {}
    for number, axis in enumerate(_sliced_axes(node, tape)):
        if (node.input(4) and steps is None) or (steps is not None and steps[number] != 1):
            upstream = tape.scatter_sum(upstream, _sliced_places(node, number, axis, tape), axis, x)
        elif tape.shape(x)[axis] is None or tape.shape(x)[axis] != tape.shape(y)[axis]:
            begin = _slice_begin(node, number, axis, tape)
            margins[axis] = (begin, _minus(_minus(_size(x, axis, tape), begin, tape), _size(y, axis, tape), tape))
    return [_surrounded(upstream, margins, tape.rank(x), tape)]


def _sliced_axes(node: Node, tape: Tape) -> list[int]:
    """The axes that a Slice cuts, in the order of its starts."""
    x, starts, axes = node.inputs[0], node.inputs[1], node.input(3)
    if not axes:
        count = tape.shape(starts)[0]
        if not isinstance(count, int):
            raise NotDifferentiable(f"it names no axes, and how many starts '{one_line(starts)}' has is not known")
        return list(range(count))
    values = tape.value(axes)
    if values is None:
        raise NotDifferentiable(f"the axes that it cuts are computed, by '{one_line(axes)}'")
    return [int(axis) % tape.rank(x) for axis in values]


def _slice_begin(node: Node, number: int, axis: int, tape: Tape) -> Length:
    """Where a slice of step 1 begins, with starts below 0 and beyond the end brought inside."""
    x, starts = node.inputs[0], tape.value(node.inputs[1])
    size = tape.shape(x)[axis]
    if starts is not None and starts[number] == 0:
        return 0
    if starts is not None and isinstance(size, int):
        return slice(int(starts[number]), None).indices(size)[0]
    start, end = _entry(node.inputs[1], number, tape), tape.ints([_LARGEST])
    rest = tape.add("Slice", [places_along(x, axis, tape), start, end])
    return _minus(_size(x, axis, tape), tape.add("Shape", [rest]), tape)


def _sliced_places(node: Node, number: int, axis: int, tape: Tape) -> str:
    bounds = [_entry(name, number, tape) if name else tape.ints([1]) for name in (*node.inputs[1:3], node.input(4))]
    return tape.add("Slice", [places_along(node.inputs[0], axis, tape), *bounds[:2], tape.ints([0]), bounds[2]])


def _entry(name: str, number: int, tape: Tape) -> str:
    """One entry of a vector of integers, as a vector of int64."""
    values = tape.value(name)
    if values is not None:
        return tape.ints([int(values[number])])
    return _as_int64(tape.add("Gather", [name, tape.ints([number])]), name, tape)


def _as_int64(source: str, given: str, tape: Tape) -> str:
    """`source`, which has the type of the given tensor `given`."""
    return source if tape.dtype(given) == "int64" else tape.cast(source, "int64")


def places_along(name: str, axis: int, tape: Tape) -> str:
    """0, 1, … along a dimension of a given tensor, as a vector of int64."""
    size = tape.shape(name)[axis]
    limit = tape.constant(np.int64(size)) if isinstance(size, int) else tape.add("Squeeze", [tape.size_of(name, axis)])
    return tape.add("Range", [tape.constant(np.int64(0)), limit, tape.constant(np.int64(1))])


def _size(name: str, axis: int, tape: Tape) -> Length:
    size = tape.shape(name)[axis]
    return size if isinstance(size, int) else tape.size_of(name, axis)


def _vector(length: Length, tape: Tape) -> str:
    return tape.ints([length]) if isinstance(length, int) else length


def _minus(large: Length, small: Length, tape: Tape) -> Length:
    if small == 0:
        return large
    if isinstance(large, int) and isinstance(small, int):
        return large - small
    return tape.add("Sub", [_vector(large, tape), _vector(small, tape)])


def _surrounded(source: str, margins: Mapping[int, tuple[Length, Length]], rank: int, tape: Tape) -> str:
    """`source` with so many zeros before and after it along these axes."""
    lengths = [margins.get(axis, (0, 0))[side] for side in (0, 1) for axis in range(rank)]
    known = [length for length in lengths if isinstance(length, int)]
    if len(known) < len(lengths):
        return tape.add("Pad", [source, tape.add("Concat", [_vector(length, tape) for length in lengths], axis=0)])
    return tape.add("Pad", [source, tape.ints(known)]) if any(known) else source


@rule("Gather")
def gather(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y[…, i, …] = x[…, places[i], …]: dL/dx[p] = sum of dL/dy[i] over the i with places[i] = p."""
    x, indices = node.inputs
    axis = node.integer("axis", 0) % tape.rank(x)
    one = tape.value(indices)
    if one is not None and one.size == 1:
        place, size = int(one.reshape(-1)[0]), _size(x, axis, tape)
        end: Length = -1 - place if place < 0 else _minus(size, place + 1, tape)
        begin: Length = place if place >= 0 else _minus(size, -place, tape)
        merged = _merged(upstream, node, axis, tape)
        return [_surrounded(merged, {axis: (begin, end)}, tape.rank(x), tape)]
    places = _as_int64(indices if tape.rank(indices) == 1 else _flat(indices, tape), indices, tape)
    return [tape.scatter_sum(_merged(upstream, node, axis, tape), places, axis, x)]


def _merged(upstream: str, node: Node, axis: int, tape: Tape) -> str:
    """The gradient of a Gather's output with the dimensions of its indices made one."""
    indices, y = node.inputs[1], node.outputs[0]
    count = tape.rank(indices)
    if count == 0:
        return tape.unsqueeze(upstream, [axis])
    if count == 1:
        return upstream
    shape = tape.shape(y)
    around = [size for size in (*shape[:axis], *shape[axis + count :]) if isinstance(size, int)]
    if len(around) == len(shape) - count:
        return tape.add("Reshape", [upstream, tape.ints([*around[:axis], -1, *around[axis:]])])
    before, after = tape.add("Shape", [y], end=axis), tape.add("Shape", [y], start=axis + count)
    return tape.add("Reshape", [upstream, tape.add("Concat", [before, tape.ints([-1]), after], axis=0)])


def _flat(name: str, tape: Tape) -> str:
    return tape.add("Reshape", [name, tape.ints([-1])])


@rule("GatherElements")
def gather_elements(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y[i, j] = x[places[i, j], j]: each dL/dy[i, j] is added to dL/dx at the place that it was taken from."""
    x, indices = node.inputs
    return [_added(tape.zeros_like(x), indices, upstream, node.integer("axis", 0), tape)]


def _added(target: str, places: str, updates: str, axis: int, tape: Tape) -> str:
    return tape.add("ScatterElements", [target, places, updates], axis=axis, reduction="add")


@rule("TopK")
def top_k(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x at the places of the k largest or smallest, which get dL/dy."""
    x, indices = node.inputs[0], node.outputs[1]
    return [_added(tape.zeros_like(x), indices, upstream, node.integer("axis", -1), tape)]


@rule("ScatterElements")
def scatter_elements(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = x with updates put, or added, at places: by x dL/dy, 0 where updates were put; by the updates dL/dy there."""
    _, indices, updates = node.inputs
    axis = node.integer("axis", 0)
    by_data, by_updates = upstream, None
    if _overwrites(node):
        by_data = tape.add("ScatterElements", [upstream, indices, tape.zeros_like(updates)], axis=axis)
    if tape.wants(updates):
        by_updates = tape.add("GatherElements", [upstream, indices], axis=axis)
    return [by_data, None, by_updates]


@rule("ScatterND")
def scatter_nd(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """As of ScatterElements, where each place is that of a slice of x."""
    _, indices, updates = node.inputs
    by_data, by_updates = upstream, None
    if _overwrites(node):
        by_data = tape.add("ScatterND", [upstream, indices, tape.zeros_like(updates)])
    if tape.wants(updates):
        by_updates = tape.add("GatherND", [upstream, indices])
    return [by_data, None, by_updates]


def _overwrites(node: Node) -> bool:
    """Whether updates are put in the place of what was there; False where they are added to it."""
    reduction = node.text("reduction", "none")
    if reduction not in ("none", "add"):
        raise NotDifferentiable(f"its reduction is '{reduction}'; there is a rule for none and add")
    return reduction == "none"


@rule("GatherND")
def gather_nd(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y[i] = x[places[i]], each place that of a slice of x, to which dL/dy[i] is added.

    ONNX Runtime's ScatterND loses sums where places repeat. So the slices are added as rows of a matrix.
    """
    x, indices = node.inputs
    depth = tape.shape(indices)[-1]
    if not isinstance(depth, int):
        raise NotDifferentiable(f"how long the places in '{one_line(indices)}' are is not known")
    counted = node.integer("batch_dims", 0) + depth
    rows = _flat(_row_places(node, counted, tape), tape)
    height = tape.add("ReduceProd", [tape.add("Shape", [x], end=counted)])
    width = tape.ints([1])
    if counted < tape.rank(x):
        width = tape.add("ReduceProd", [tape.add("Shape", [x], start=counted)])
    updates = tape.add("Reshape", [upstream, tape.add("Concat", [tape.ints([-1]), width], axis=0)])
    places = tape.add("Expand", [tape.unsqueeze(rows, [1]), tape.add("Shape", [updates])])
    zeros = tape.add("Reshape", [tape.zeros_like(x), tape.add("Concat", [height, width], axis=0)])
    return [tape.reshape_like(_added(zeros, places, updates, 0, tape), x)]


def _row_places(node: Node, counted: int, tape: Tape) -> str:
    """The places of a GatherND counted through the first `counted` dimensions n of x: (p₀ n₁ + p₁) n₂ + p₂ …"""
    x, indices = node.inputs
    batches = node.integer("batch_dims", 0)
    place = ""
    for axis in range(counted):
        if axis < batches:
            digit = places_along(x, axis, tape)
            others = range(1, tape.rank(indices) - 1 - axis)
            digit = tape.unsqueeze(digit, others) if others else digit
        else:
            digit = tape.add("Gather", [indices, tape.constant(np.int64(axis - batches))], axis=-1)
            digit = tape.add("Mod", [digit, tape.size_of(x, axis)])  # a place below 0 counts from the end
        place = tape.add("Add", [tape.add("Mul", [place, tape.size_of(x, axis)]), digit]) if place else digit
    return place
