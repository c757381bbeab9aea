"""Leaving out what a graph's outputs do not need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxvis.graph.protos import keep
from onnxvis.graph.view import captured, subgraphs

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["prune"]


def prune(graph: GraphProto) -> None:
    """Remove from `graph` itself every node, weight and input that none of its outputs depends on.

    What stays keeps its order.
    """
    makers = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needed = {value.name for value in graph.output}
    waiting, kept = list(needed), set()
    while waiting:
        index = makers.get(waiting.pop())
        if index is None or index in kept:
            continue
        kept.add(index)
        node = graph.node[index]
        read = {*node.input, *(name for inner in subgraphs(node) for name in captured(inner))} - needed
        needed |= read
        waiting += read
    made = {name for index in kept for name in graph.node[index].output}
    keep(graph.node, [node for index, node in enumerate(graph.node) if index in kept])
    keep(graph.initializer, [item for item in graph.initializer if item.name in needed])
    keep(graph.sparse_initializer, [item for item in graph.sparse_initializer if item.values.name in needed])
    keep(graph.input, [item for item in graph.input if item.name in needed])
    keep(graph.value_info, [item for item in graph.value_info if item.name in made])
