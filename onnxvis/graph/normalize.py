"""One flat graph from a model with local functions, and where in them each of its new tensors was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from onnxvis.errors import ModelError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnx import FunctionProto, ModelProto, NodeProto

__all__ = ["FunctionKey", "inline_functions", "origins", "sources"]

FunctionKey = tuple[str, str, str]
"""A function's domain, name and overload."""

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
    known = {name for node in model.graph.node for name in node.output}
    return {new: "/".join((*call.names, old)) for new, old, call in _renamed(model, flat) if new not in known}


def sources(model: ModelProto, flat: ModelProto) -> dict[str, tuple[FunctionKey, str]]:
    """{tensor of `flat`: (function, the tensor's name in it)} for what `inline_functions` took out of functions."""
    return {new: (call.function, old) for new, old, call in _renamed(model, flat) if call.function is not None}


class _Call(NamedTuple):
    """The chain of calls that a node stands under, and the function it is part of (None: the main graph)."""

    names: tuple[str, ...]
    function: FunctionKey | None


def _renamed(model: ModelProto, flat: ModelProto) -> Iterator[tuple[str, str, _Call]]:
    """(new name, old name, where) of every tensor that a node of `flat` makes."""
    if not model.functions:
        return
    expanded = list(_expand(model.graph.node, _functions(model), _Call((), None)))
    if [node.op_type for node in flat.graph.node] != [node.op_type for node, _ in expanded]:
        return
    for node, (original, call) in zip(flat.graph.node, expanded, strict=True):
        for new, old in zip(node.output, original.output, strict=False):
            if new:
                yield new, old, call


def _functions(model: ModelProto) -> dict[FunctionKey, FunctionProto]:
    return {_key(function): function for function in model.functions}


def _key(item: FunctionProto | NodeProto) -> FunctionKey:
    name = item.op_type if hasattr(item, "op_type") else item.name
    return (item.domain, name, getattr(item, "overload", ""))


def _size(
    nodes: Iterable[NodeProto],
    functions: dict[FunctionKey, FunctionProto],
    sizes: dict[FunctionKey, int],
    calls: tuple[str, ...],
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
    nodes: Iterable[NodeProto], functions: dict[FunctionKey, FunctionProto], call: _Call
) -> Iterator[tuple[NodeProto, _Call]]:
    for position, node in enumerate(nodes):
        function = functions.get(_key(node))
        if function is None:
            yield node, call
        else:
            inner = _Call((*call.names, f"{node.op_type}[call {position}]"), _key(node))
            yield from _expand(function.node, functions, inner)
