"""Renames the tensors and nodes of a model in place, consistently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto
__all__ = ["number", "rename"]


def rename(model: ModelProto, names: Mapping[str, str]) -> None:
    """Give each tensor that `names` maps its new name, wherever it is declared, written or read."""
    graph = model.graph
    for info in (*graph.input, *graph.output, *graph.value_info):
        info.name = names.get(info.name, info.name)
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]


def number(model: ModelProto) -> None:
    """Replace every tensor's name by a number, in order of appearance, and every node's by none at all."""
    graph = model.graph
    seen = [info.name for info in graph.input]
    for node in graph.node:
        seen += [*node.input, *node.output]
        node.name = ""
    rename(model, {name: str(i) for i, name in enumerate(dict.fromkeys(filter(None, seen)))})
