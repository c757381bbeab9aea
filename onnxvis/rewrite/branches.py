"""Ifs whose condition is known before the run, replaced by the branch they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.graph.folding import fold_shape_arithmetic
from onnxvis.graph.protos import copied, keep
from onnxvis.graph.view import GraphView, subgraphs
from onnxvis.graph.weights import Weights
from onnxvis.rewrite.names import Names

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["without_constant_ifs"]


def without_constant_ifs(proto: ModelProto, folder: Path) -> ModelProto:
    """`proto` with each If of the main graph whose condition is stored, or follows from known shapes, replaced by the
    nodes of the branch it takes; Ifs inside of branches too. As it is where there is none.
    """
    while any(node.op_type == "If" for node in proto.graph.node):
        view = GraphView(proto)
        types = {tensor.name: (tensor.shape, tensor.dtype) for tensor in (*view.inputs, *view.intermediates)}
        known = _with_sizes(view, Weights(proto, folder))
        taken = _taken(fold_shape_arithmetic(known, types) or known, folder)
        if not taken:
            break
        proto = _inlined(proto, taken)
    return proto


def _with_sizes(view: GraphView, weights: Weights) -> ModelProto:
    """A copy of the model with constants for single sizes that are known, whatever the shape's other ones are."""
    from onnx import numpy_helper

    known = {}
    for node in view.nodes:
        maker = view.producer(node.inputs[0]) if node.op == "Gather" else None
        if maker is None or maker.op != "Shape" or maker.proto.attribute:
            continue
        shape, stored = view.shape(maker.inputs[0]), weights.stored_as(node.inputs[1])
        if shape is not None and stored:
            places = weights.read(stored)
            sizes = [shape[int(place)] for place in places.reshape(-1)]
            if all(isinstance(size, int) for size in sizes):
                known[node.outputs[0]] = np.array(sizes, np.int64).reshape(places.shape)
    copy = copied(view.model)
    keep(copy.graph.node, [node for node in copy.graph.node if not (node.output and node.output[0] in known)])
    copy.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in known.items())
    return copy


def _taken(proto: ModelProto, folder: Path) -> dict[str, GraphProto]:
    """{an If's first output: the branch it takes}."""
    weights = Weights(proto, folder)
    found = {}
    for node in proto.graph.node:
        if node.op_type == "If" and (stored := weights.stored_as(node.input[0])):
            wanted = "then_branch" if bool(weights.read(stored).reshape(-1)[0]) else "else_branch"
            found[node.output[0]] = next(item.g for item in node.attribute if item.name == wanted)
    return found


def _inlined(proto: ModelProto, taken: Mapping[str, GraphProto]) -> ModelProto:
    flat = copied(proto)
    fresh = Names(proto.graph)
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        branch = taken.get(node.output[0]) if node.op_type == "If" else None
        if branch is None:
            nodes.append(node)
            continue
        names = _inner_names(branch, node, fresh)
        _move_weights(branch, flat.graph, names)
        nodes += [_unnamed(_renamed(item, names)) for item in branch.node]
        nodes += [
            _identity(names.get(inner.name, inner.name), outer)
            for inner, outer in zip(branch.output, node.output, strict=True)
            if outer and names.get(inner.name) != outer
        ]
    keep(flat.graph.node, nodes)
    return flat


def _inner_names(branch: GraphProto, node: NodeProto, fresh: Names) -> dict[str, str]:
    """{name inside: name outside} for what the branch makes; what it makes for an output of the If takes its name."""
    made = dict.fromkeys(name for item in branch.node for name in item.output if name)
    names: dict[str, str] = {}
    for inner, outer in zip(branch.output, node.output, strict=True):
        if outer and inner.name in made:
            names.setdefault(inner.name, outer)
    place = node.name or node.output[0]
    return {name: names.get(name) or fresh.fresh(f"{place}/{name}") for name in (*made, *_stored(branch))}


def _stored(graph: GraphProto) -> list[str]:
    return [item.name for item in graph.initializer] + [item.values.name for item in graph.sparse_initializer]


def _move_weights(branch: GraphProto, graph: GraphProto, names: Mapping[str, str]) -> None:
    """Add the initializers of `branch` to `graph` under their new names."""
    for tensor in branch.initializer:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = names[tensor.name]
    for sparse in branch.sparse_initializer:
        graph.sparse_initializer.add().CopyFrom(sparse)
        graph.sparse_initializer[-1].values.name = names[sparse.values.name]


def _renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    changed = copied(node)
    changed.input[:] = [names.get(name, name) for name in node.input]
    changed.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(changed):
        _rename_inside(graph, names)
    return changed


def _rename_inside(graph: GraphProto, names: Mapping[str, str]) -> None:
    """Rename what a nested graph captures; what it makes under the same name is its own."""
    own = {value.name for value in graph.input} | set(_stored(graph))
    own |= {name for node in graph.node for name in node.output}
    outer = {name: new for name, new in names.items() if name not in own}
    for node in graph.node:
        node.CopyFrom(_renamed(node, outer))
    for value in graph.output:
        value.name = outer.get(value.name, value.name)


def _unnamed(node: NodeProto) -> NodeProto:
    """`node` without its name, which another branch may have given too."""
    node.ClearField("name")
    return node


def _identity(source: str, target: str) -> NodeProto:
    from onnx import helper

    return helper.make_node("Identity", [source], [target])
