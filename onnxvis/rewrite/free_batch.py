"""A graph that was exported for a batch of one, made to take any number of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.protos import copied, keep
from onnxvis.graph.shapes import infer, with_input_shapes
from onnxvis.graph.types import TensorType
from onnxvis.graph.weights import Weights
from onnxvis.rewrite.draft import Draft
from onnxvis.rewrite.names import Names

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["free_batch"]

Sizes = tuple[int, ...]
Types = Mapping[str, TensorType]

_ROUNDS = 64  # a transformer whose first guesses are all wrong needs two a block


def free_batch(proto: ModelProto, folder: Path, shapes: Mapping[str, Sizes], batched: Sequence[str]) -> ModelProto:
    """A new model whose inputs `batched` take any number of pictures along their first axis.

    `shapes` is {input: its shape as it is fed now}; the result is for other batches of the same sizes. A stored shape
    of a Reshape gets −1 where the batch is: at the axis that begins where the data's own batch does, as inference for
    this batch and for twice of it proves. A stored size of a Resize takes its first number from what it resizes, and
    what is stored for one picture and joined to the data by Concat is repeated. Whether the result computes the same
    remains to be tried: nodes may count on the batch in other ways. The model given is not changed.
    Raises RewriteError where the batch ends up spread over several axes, or the shapes never settle.
    """
    once = infer(proto, shapes)
    doubled = {name: (2 * shape[0], *shape[1:]) if name in batched else shape for name, shape in shapes.items()}
    freed = _following_batch(proto, folder, shapes, once, batched)
    _declare_free(freed, batched)
    stored = Weights(freed, folder)
    reshapes = [node for node in freed.graph.node if node.op_type == "Reshape" and stored.stored_as(node.input[1])]
    sources = {node.output[0]: node.input[0] for node in reshapes if _sizes(once, node.output[0])}
    # Most have the batch in front, so that one round that begins with that is often enough.
    guess: dict[str, Sizes | None] = {name: _with_free(_sizes(once, name), 0) for name in sources}
    for _ in range(_ROUNDS):
        made = _reshaped(freed, guess)
        twice = infer(made, doubled)
        better = {name: _wanted(source, name, once, twice) for name, source in sources.items()}
        if better == guess:
            return made
        guess = better
    raise RewriteError("the shapes of a larger batch never settle")


def _wanted(source: str, made: str, once: Types, twice: Types) -> Sizes | None:
    """The shape for any batch of a Reshape from `source` to `made`; None where it may stay, as no batch passes it."""
    before, after, out = (_sizes(types, name) for types, name in ((once, source), (twice, source), (once, made)))
    if before == after or len(before) != len(after):
        return None
    grown = [axis for axis, sizes in enumerate(zip(before, after, strict=True)) if len(set(sizes)) > 1]
    ahead = math.prod(before[: grown[0]])
    begins = next((axis for axis in range(len(out)) if math.prod(out[:axis]) == ahead), None)
    if len(grown) > 1 or begins is None or 0 in out:
        raise RewriteError(f"the batch of '{one_line(source)}' is no axis of its own in '{one_line(made)}'")
    return _with_free(out, begins)


def _with_free(shape: Sizes, axis: int) -> Sizes:
    return (*shape[:axis], -1, *shape[axis + 1 :])


def _sizes(types: Types, name: str) -> Sizes:
    """A shape whose sizes are all known; () for any other."""
    shape = types.get(name, (None, ""))[0] or ()
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else ()


def _declare_free(proto: ModelProto, batched: Sequence[str]) -> None:
    """Take from `proto` itself what it says of its batch."""
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name in batched and dims:
            dims[0].dim_param = "batch"
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    del proto.graph.value_info[:]


def _reshaped(proto: ModelProto, shapes: Mapping[str, Sizes | None]) -> ModelProto:
    """`proto` with these shapes in place of the stored ones, for Reshapes by what they make."""
    from onnx import numpy_helper

    made = copied(proto)
    names = Names(made.graph)
    for node in made.graph.node:
        shape = shapes.get(node.output[0]) if node.op_type == "Reshape" else None
        if shape is not None:
            node.input[1] = names.fresh(f"{node.output[0]}.shape")
            made.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), node.input[1]))
    return made


def _following_batch(
    proto: ModelProto, folder: Path, shapes: Mapping[str, Sizes], once: Types, batched: Sequence[str]
) -> ModelProto:
    """A copy in which the sizes of Resizes, and what Concats add to the data, follow the batch of the data."""
    draft = Draft(with_input_shapes(proto, shapes), folder, "batch")
    graph = draft.proto.graph
    varies = set(batched)
    nodes: list[NodeProto] = []
    for node in list(graph.node):
        before = len(graph.node)
        lead = next((name for name in node.input if name in varies), None)
        if lead is not None:
            varies.update(filter(None, node.output))
            if node.op_type == "Resize" and len(node.input) > 3:
                _free_resize(draft, node, once)
            elif node.op_type == "Concat":
                _free_concat(draft, node, once, lead, varies)
        nodes += [*graph.node[before:], node]
    keep(graph.node, nodes)
    return draft.proto


def _free_resize(draft: Draft, node: NodeProto, once: Types) -> None:
    sizes, before = draft.value(node.input[3]), _sizes(once, node.input[0])
    if sizes is not None and len(sizes) == len(before) and sizes[0] == before[0]:
        node.input[3] = _with_batch_of(draft, node.input[0], sizes[1:])


def _free_concat(draft: Draft, node: NodeProto, once: Types, lead: str, varies: set[str]) -> None:
    axis = next(item.i for item in node.attribute if item.name == "axis")
    for place, name in enumerate(node.input):
        sizes = _sizes(once, name)
        if name not in varies and len(sizes) > 1 and sizes[0] == 1 and axis % len(sizes):
            node.input[place] = draft.add("Expand", [name, _with_batch_of(draft, lead, sizes[1:])])


def _with_batch_of(draft: Draft, lead: str, rest: Iterable[int]) -> str:
    """A shape: the first size of tensor `lead`, then `rest`."""
    batch = draft.add("Gather", [draft.add("Shape", [lead]), draft.ints([0])])
    return draft.add("Concat", [batch, draft.ints(rest)], axis=0)
