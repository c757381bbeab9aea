"""The tensor behind a model's output that an explanation should start from: class scores before they saturate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.graph.ops import ORDER_KEEPING
from onnxvis.graph.view import GraphView, Node

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["Element", "before_softmax", "origin"]

Index = tuple[int, ...]
_Place = tuple[str, Index]


@dataclass(frozen=True)
class Element:
    """One number: element `index`, the batch included, of `tensor`; `sigmoid`: a Sigmoid of it was asked for."""

    tensor: str
    index: Index
    sigmoid: bool = False


def before_softmax(view: GraphView, output: str) -> tuple[str, str]:
    """The tensor that a final Softmax or LogSoftmax reads, and that operator; (`output`, '') where there is none.

    Its elements stand in the order of those of `output`: on the way only the shape or the type may change. A Softmax
    saturates: its gradient vanishes just where a model is sure. So does a final QuantizeLinear, and what it reads is
    taken as well.
    """
    name, found = output, (output, "")
    while (node := view.producer(name)) is not None and node.domain in ("", "ai.onnx"):
        softmax = node.op in ("Softmax", "LogSoftmax") and not found[1].endswith("Softmax")
        if not softmax and (node.op not in ORDER_KEEPING or name != node.outputs[0]):
            break
        name = node.inputs[0]
        if softmax:
            found = name, node.op
        elif node.op == "QuantizeLinear":
            found = name, found[1] or node.op
    return found


def origin(model: Model, tensor: str, index: Index) -> Element:
    """Where element `index` of `tensor` was computed, before it was only carried about and passed a last Sigmoid.

    Followed back through Concat, Split, Slice, Transpose, what keeps the order, and one Sigmoid: as detectors put the
    grids of their heads together. What a Sigmoid saturates has little gradient or none just where the model is sure.
    """
    here, passed = (tensor, index), False
    found = Element(tensor, index)
    if not _is_inside(model, tensor, index):
        return found
    while (node := model.view.producer(here[0])) is not None and node.domain in ("", "ai.onnx"):
        sigmoid = node.op == "Sigmoid" and not passed
        before = (node.inputs[0], here[1]) if sigmoid else _before(model, node, *here)
        if before is None or before[0] not in model.view.data_path or not _is_inside(model, *before):
            break
        here, passed = before, passed or sigmoid
        if model.view.tensor(here[0]).dtype.startswith(("float", "bfloat")):
            found = Element(*here, passed)
    return found


def _before(model: Model, node: Node, name: str, index: Index) -> _Place | None:
    """The element of what `node` reads that it puts at `index` of its output `name`; None where it does more."""
    source = node.input(0)
    if node.op in ORDER_KEEPING and name == node.outputs[0]:
        ours, theirs = _sizes(model, name), _sizes(model, source)
        if ours is None or theirs is None or np.prod(ours) != np.prod(theirs):
            return None
        return source, _ints(np.unravel_index(int(np.ravel_multi_index(index, ours)), theirs))
    if node.op == "Transpose":
        turn = node.ints("perm") or tuple(range(len(index)))[::-1]
        return source, tuple(index[turn.index(axis)] for axis in range(len(index)))
    if node.op == "Concat":
        return _joined(model, node, index)
    if node.op == "Split":
        return _parted(model, node, name, index)
    return _sliced(model, node, index) if node.op == "Slice" else None


def _joined(model: Model, node: Node, index: Index) -> _Place | None:
    """The one of the inputs of a Concat, and where in it."""
    axis = node.integer("axis", 1) % len(index)
    place = index[axis]
    for name in node.inputs:
        sizes = _sizes(model, name)
        if sizes is None:
            return None
        if place < sizes[axis]:
            return name, (*index[:axis], place, *index[axis + 1 :])
        place -= sizes[axis]
    return None


def _parted(model: Model, node: Node, name: str, index: Index) -> _Place | None:
    """Where in the input of a Split."""
    axis = node.integer("axis", 0) % len(index)
    place = index[axis]
    for part in node.outputs[: node.outputs.index(name)]:
        sizes = _sizes(model, part)
        if sizes is None:
            return None
        place += sizes[axis]
    return node.inputs[0], (*index[:axis], place, *index[axis + 1 :])


def _sliced(model: Model, node: Node, index: Index) -> _Place | None:
    """Where in the input of a Slice, whose starts, axes and steps are stored."""
    sizes = _sizes(model, node.inputs[0])
    given = [node.ints(name) for name in ("starts", "axes")] + [()]
    if len(node.inputs) > 1:
        names = [node.input(place) for place in (1, 3, 4)]
        stored = [model.weights.stored_as(name) if name else "" for name in names]
        if any(name and not key for name, key in zip(names, stored, strict=True)):
            return None
        given = [_ints(model.read(key).reshape(-1)) if key else () for key in stored]
    starts, axes, steps = given[0], given[1] or tuple(range(len(given[0]))), given[2] or (1,) * len(given[0])
    if sizes is None:
        return None
    found = list(index)
    for start, axis, step in zip(starts, axes, steps, strict=True):
        size = sizes[axis]
        first = min(max(start + size if start < 0 else start, 0), size if step > 0 else size - 1)
        found[axis] = first + index[axis] * step
    return node.inputs[0], tuple(found)


def _is_inside(model: Model, name: str, index: Index) -> bool:
    """Whether a tensor has such an element; True where its shape is not known."""
    sizes = _sizes(model, name)
    return sizes is None or (
        len(sizes) == len(index) and all(0 <= place < size for place, size in zip(index, sizes, strict=True))
    )


def _sizes(model: Model, name: str) -> Index | None:
    """A tensor's shape where all of it is known."""
    shape = model.view.shape(name)
    if shape is None:
        return None
    known = tuple(size for size in shape if isinstance(size, int))
    return known if len(known) == len(shape) else None


def _ints(values: object) -> Index:
    return tuple(int(value) for value in np.atleast_1d(np.asarray(values)))
