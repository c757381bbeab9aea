"""One flat graph from a model with local functions, and a map from its new names back to the functions' own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from onnxvis.errors import ModelError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

__all__ = ["inline_functions"]

_Key = tuple[str, str, str]
_MAX_DEPTH = 60
_MAX_NODES = 1_000_000


def inline_functions(model: ModelProto) -> tuple[ModelProto, dict[str, str]]:
    """`model` with every call of a local function replaced by the function's body, and {new tensor: where it was}.

    Where it was reads like `Block[call 3]/Gelu[call 0]/hidden`: the chain of calls, then the tensor's name in the
    innermost function. A model without functions is returned as it is, with an empty map.
    Raises ModelError when functions call each other in a circle or would expand beyond a million nodes.
    """
    if not model.functions:
        return model, {}
    from onnx import inliner

    functions = {_key(function): function for function in model.functions}
    if _size(model.graph.node, functions, {}, ()) > _MAX_NODES:
        raise ModelError(f"the model's local functions expand to more than {_MAX_NODES} nodes")
    expanded = list(_expand(model.graph.node, functions, ()))
    try:
        flat = inliner.inline_local_functions(model)
    except Exception as error:
        raise ModelError(f"the model's local functions cannot be inlined: {one_line(error)}") from error
    known = {name for node in model.graph.node for name in node.output}
    return flat, _origins(flat, expanded, known)


def _key(item: FunctionProto | NodeProto) -> _Key:
    name = item.op_type if hasattr(item, "op_type") else item.name
    return (item.domain, name, getattr(item, "overload", ""))


def _size(
    nodes: Iterable[NodeProto], functions: dict[_Key, FunctionProto], sizes: dict[_Key, int], calls: tuple[str, ...]
) -> int:
    """How many nodes `nodes` become. Each function is counted once, however often it is called."""
    if len(calls) > _MAX_DEPTH:
        raise ModelError(f"the model's local functions call each other in a circle: {one_line('/'.join(calls))}")
    total = 0
    for node in nodes:
        key = _key(node)
        if key in functions and key not in sizes:
            sizes[key] = _size(functions[key].node, functions, sizes, (*calls, node.op_type))
        total += sizes.get(key, 1)
    return total


def _expand(
    nodes: Iterable[NodeProto], functions: dict[_Key, FunctionProto], calls: tuple[str, ...]
) -> Iterator[tuple[NodeProto, tuple[str, ...]]]:
    for position, node in enumerate(nodes):
        function = functions.get(_key(node))
        if function is None:
            yield node, calls
        else:
            yield from _expand(function.node, functions, (*calls, f"{node.op_type}[call {position}]"))


def _origins(flat: ModelProto, expanded: list[tuple[NodeProto, tuple[str, ...]]], known: set[str]) -> dict[str, str]:
    """Pair the flat graph's nodes with the expanded ones, which come in the same order."""
    if [node.op_type for node in flat.graph.node] != [node.op_type for node, _ in expanded]:
        return {}
    return {
        new: "/".join((*calls, old))
        for node, (original, calls) in zip(flat.graph.node, expanded, strict=True)
        for new, old in zip(node.output, original.output, strict=False)
        if new and new not in known
    }
