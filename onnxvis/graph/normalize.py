"""One flat graph from a model with local functions, and where in them each of its new tensors was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from onnxvis.errors import ModelError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

__all__ = ["inline_functions", "origins"]

_Key = tuple[str, str, str]
_MAX_DEPTH = 60
_MAX_NODES = 1_000_000


def inline_functions(model: ModelProto) -> ModelProto:
    """`model` with every call of a local function replaced by the function's body; without functions, as it is.

    Raises ModelError when functions call each other in a circle or would expand beyond a million nodes.
    """
    if not model.functions:
        return model
    from onnx import inliner

    if _size(model.graph.node, _functions(model), {}, ()) > _MAX_NODES:
        raise ModelError(f"the model's local functions expand to more than {_MAX_NODES} nodes")
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise ModelError(f"the model's local functions cannot be inlined: {one_line(error)}") from error


def origins(model: ModelProto, flat: ModelProto) -> dict[str, str]:
    """{new tensor: where it was} for `flat`, what `inline_functions` made of `model`; {} for one without functions.

    Where it was reads like `Block[call 3]/Gelu[call 0]/hidden`: the chain of calls, then the tensor's name in the
    innermost function. The nodes of both are paired in order, which is the same; {} should it not be.
    """
    if not model.functions:
        return {}
    expanded = list(_expand(model.graph.node, _functions(model), ()))
    if [node.op_type for node in flat.graph.node] != [node.op_type for node, _ in expanded]:
        return {}
    known = {name for node in model.graph.node for name in node.output}
    return {
        new: "/".join((*calls, old))
        for node, (original, calls) in zip(flat.graph.node, expanded, strict=True)
        for new, old in zip(node.output, original.output, strict=False)
        if new and new not in known
    }


def _functions(model: ModelProto) -> dict[_Key, FunctionProto]:
    return {_key(function): function for function in model.functions}


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
