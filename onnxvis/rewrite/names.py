"""Names for what is added to a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from onnxvis.graph.view import subgraphs

if TYPE_CHECKING:
    from onnx import GraphProto

__all__ = ["Names"]


class Names:
    """The names that tensors have in a graph, its branches and bodies included."""

    def __init__(self, graph: GraphProto) -> None:
        self._taken = set(_names(graph))

    def fresh(self, name: str) -> str:
        """`name`, or with a number behind it where that is taken; taken from now on."""
        candidate, number = name, 1
        while candidate in self._taken:
            number += 1
            candidate = f"{name}.{number}"
        self._taken.add(candidate)
        return candidate


def _names(graph: GraphProto) -> Iterator[str]:
    yield from (value.name for value in (*graph.input, *graph.output))
    yield from (tensor.name for tensor in graph.initializer)
    yield from (item.values.name for item in graph.sparse_initializer)
    for node in graph.node:
        yield from node.output
        for inner in subgraphs(node):
            yield from _names(inner)
