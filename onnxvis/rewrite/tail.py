"""The part of a graph that comes after a layer: from the layer's values to a result, without computing the layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.folding import fold_shape_arithmetic
from onnxvis.graph.load import Model
from onnxvis.graph.protos import copied, keep
from onnxvis.graph.types import element_type
from onnxvis.rewrite.expose import expose
from onnxvis.rewrite.prune import prune

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto, ValueInfoProto

    from onnxvis.graph.view import GraphView, Node

__all__ = ["Tail", "tail"]


@dataclass(frozen=True)
class Tail:
    """A model from a layer on. `inputs`: the layer first, then the tensors from before it that the rest reads too, as
    over a skip connection. `output`: what carries the tensor that was asked for.
    """

    proto: ModelProto
    inputs: tuple[str, ...]
    output: str


def tail(model: Model, layer: str, tensor: str) -> Tail:
    """A new model that takes the value of `layer` and returns `tensor`; nothing before the layer is left in it.

    What does not depend on the layer but on the model's inputs becomes an input, unless it is arithmetic on shapes that
    are known, which becomes a constant; what depends on neither stays as it is, weights as references into the file.
    The model given is not changed. Raises TensorNotFound; RewriteError where `tensor` does not depend on `layer`.
    """
    exposed = expose(model, [tensor])
    view = model.view
    after = _reached([view.tensor(layer).name], view)
    if tensor not in after or tensor == layer:
        raise RewriteError(f"'{one_line(tensor)}' does not depend on '{one_line(layer)}'")
    fed = _reached((item.name for item in view.inputs), view)
    kept, read = _rest(view, layer, tensor, after, fed)
    known = _known_shapes(model, read)
    inputs = (layer, *(name for name in read if name not in known))
    proto = copied(exposed.proto)
    graph = proto.graph
    output = exposed.outputs[tensor]
    keep(graph.node, [node for node in graph.node if kept & set(node.output) or output in node.output])
    keep(graph.output, [value for value in graph.output if value.name == output])
    old = [value for value in graph.input if value.name in view.initializers and value.name not in inputs]
    keep(graph.input, [*(_value_info(view, name) for name in inputs), *old])
    graph.initializer.extend(known.values())
    prune(graph)
    return Tail(proto, inputs, output)


def _reached(names: Iterable[str], view: GraphView) -> set[str]:
    """Everything that depends on `names`, in whatever way, themselves included."""
    reached = set(names)
    for node in view.nodes:
        if any(name in reached for name in (*node.inputs, *node.captures)):
            reached.update(filter(None, node.outputs))
    return reached


def _rest(view: GraphView, layer: str, tensor: str, after: set[str], fed: set[str]) -> tuple[set[str], list[str]]:
    """The tensors that have to be made for `tensor`, and those from before the layer that they read, in order."""
    kept: set[str] = set()
    read: dict[str, None] = {}
    waiting: list[tuple[str, Node | None]] = [(tensor, view.producer(tensor))]
    while waiting:
        name, node = waiting.pop()
        if name in kept or name == layer:
            continue
        if name in fed and name not in after:
            read[name] = None
        elif node is not None:
            kept.add(name)
            waiting += [(item, view.producer(item)) for item in (*node.inputs, *node.captures) if item]
    place = {item.name: at for at, item in enumerate((*view.inputs, *view.intermediates))}
    return kept, sorted(read, key=place.__getitem__)


def _known_shapes(model: Model, names: list[str]) -> dict[str, TensorProto]:
    """{name: its value} for those of `names` that are computed from shapes that are known."""
    view = model.view
    if not any(name in view.shape_arithmetic for name in names):
        return {}
    types = {item.name: (item.shape, item.dtype) for item in (*view.inputs, *view.intermediates)}
    folded = fold_shape_arithmetic(model.proto, types)
    if folded is None:
        return {}
    return {item.name: copied(item) for item in folded.graph.initializer if item.name in names}


def _value_info(view: GraphView, name: str) -> ValueInfoProto:
    from onnx import helper

    found = view.tensor(name)
    if not found.dtype:
        raise RewriteError(f"the type of '{one_line(name)}' is not known, so no graph can begin with it")
    return helper.make_tensor_value_info(name, element_type(found.dtype), found.shape)
