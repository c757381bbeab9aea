"""What a model file stores, form by form: tensors, sparse tensors, numbers in attributes, arrays of one value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from onnxvis.graph.bodies import Bodies, Body
from onnxvis.graph.external import reference

if TYPE_CHECKING:
    from onnx import AttributeProto, NodeProto, SparseTensorProto, TensorProto

__all__ = ["Fill", "Item", "Numbers", "Source", "Sparse", "stored_items"]

_MAX_RANK = 64
_PLAIN = ("value_float", "value_floats", "value_int", "value_ints", "value_string", "value_strings")


@dataclass(frozen=True, eq=False)
class Sparse:
    """A tensor of which only the values that are not zero are stored."""

    proto: SparseTensorProto


@dataclass(frozen=True, eq=False)
class Numbers:
    """Plain numbers in an attribute of a Constant node (value_float, value_ints, …)."""

    attribute: AttributeProto


@dataclass(frozen=True, eq=False)
class Fill:
    """A ConstantOfShape of a stored shape: one value (0.0 where there is none) in every place."""

    value: TensorProto | None
    shape: tuple[int, ...]


Source: TypeAlias = "TensorProto | Sparse | Numbers | Fill"


@dataclass(frozen=True, eq=False)
class Item:
    """Something stored: its name and where it is. `body` is where nodes read it by that name, None for attributes."""

    name: str
    place: str
    source: Source
    body: Body | None
    node: NodeProto | None


def stored_items(bodies: Bodies) -> Iterator[Item]:
    """All that a model stores, in file order: the main graph with what is inside its nodes, then the functions."""
    for body in (bodies.main, *bodies.functions.values()):
        yield from _in_body(body)


def _in_body(body: Body) -> Iterator[Item]:
    if body.graph is not None:
        for tensor in body.graph.initializer:
            yield Item(tensor.name, body.place, tensor, body, None)
        for sparse in body.graph.sparse_initializer:
            yield Item(sparse.values.name, body.place, Sparse(sparse), body, None)
    for index, node in enumerate(body.nodes):
        yield from _in_node(body, node)
        for child in body.children.get(index, ()):
            yield from _in_body(child)


def _in_node(body: Body, node: NodeProto) -> Iterator[Item]:
    here = body.where(node)
    made = node.output[0] if node.output else ""
    shape = _stored_shape(body, node) if node.op_type == "ConstantOfShape" else None
    if shape is not None:
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        yield Item(made, here, Fill(value, shape), body, node)
        return
    for attribute in node.attribute:
        if attribute.ref_attr_name:  # in a function: what the call gives, nothing that is stored here
            continue
        if node.op_type == "Constant":
            if (source := _constant(attribute)) is not None:
                yield Item(made, here, source, body, node)
            continue
        for tensor in [attribute.t] if attribute.HasField("t") else attribute.tensors:
            yield Item(f"{made}.{attribute.name}", here, tensor, None, node)
        for sparse in [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else attribute.sparse_tensors:
            yield Item(f"{made}.{attribute.name}", here, Sparse(sparse), None, node)


def _constant(attribute: AttributeProto) -> Source | None:
    if attribute.HasField("t"):
        return attribute.t
    if attribute.HasField("sparse_tensor"):
        return Sparse(attribute.sparse_tensor)
    return Numbers(attribute) if attribute.name in _PLAIN else None


def _stored_shape(body: Body, node: NodeProto) -> tuple[int, ...] | None:
    """The shape a ConstantOfShape is given, where it is an initializer or a constant, of this body or one around it."""
    from onnx import numpy_helper

    source = _visible(body, node.input[0]) if node.input else None
    if isinstance(source, Numbers):
        return tuple(source.attribute.ints)
    if source is None or isinstance(source, (Sparse, Fill)) or reference(source) is not None:
        return None
    if len(source.dims) != 1 or source.dims[0] > _MAX_RANK:
        return None
    try:
        return tuple(int(size) for size in numpy_helper.to_array(source))
    except (ValueError, TypeError, KeyError):
        return None


def _visible(body: Body | None, name: str) -> Source | None:
    while body is not None and name not in body.own:
        body = body.holder.body if body.holder else None
    if body is None:
        return None
    maker = body.makers.get(name)
    if maker is not None:
        return next(map(_constant, maker.attribute), None) if maker.op_type == "Constant" else None
    tensors = body.graph.initializer if body.graph is not None else ()
    return next((tensor for tensor in tensors if tensor.name == name), None)
