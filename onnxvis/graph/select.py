"""Which tensors a user means: a tensor's name, a glob, a block, or the scope that names begin with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from onnxvis.errors import TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph.view import subgraphs

if TYPE_CHECKING:
    from onnxvis.graph.blocks import Block
    from onnxvis.graph.load import Model

__all__ = ["Selection", "select"]

_COMPARED_NAMES, _COMPARED_LENGTH = 5000, 200


@dataclass(frozen=True)
class Selection:
    """The tensors that were meant, in graph order, and for each word asked with, what it matched and how."""

    tensors: tuple[str, ...]
    matched: dict[str, str]


def select(model: Model, wanted: Iterable[str]) -> Selection:
    """Find the tensors for each word: exactly that tensor, else the output of the block of that name, else the
    tensor that a local function makes (`Block[call 3]/hidden`), else all tensors that match it as a glob (`*Relu*`),
    else all whose name lies in the scope (`layer1` for `/layer1/…`).

    Raises TensorNotFound with the nearest names for a word that matches nothing, or that names a tensor inside a
    branch of an If or the body of a Loop.
    """
    names = [tensor.name for tensor in model.view.intermediates]
    plain = [tensor.name for tensor in model.view.intermediates if not tensor.dtype.endswith("_type")]
    tree = [block for part in model.parts for block in part.walk()]
    blocks = {block.key: block for block in tree} | {block.name: block for block in tree}
    chosen: set[str] = set()
    matched: dict[str, str] = {}
    for word in wanted:
        found, how = _match(model, word, plain, blocks)
        chosen.update(found)
        matched[word] = how
    order = {name: place for place, name in enumerate([*_given(model), *names])}
    return Selection(tuple(sorted(chosen, key=order.__getitem__)), matched)


def _given(model: Model) -> list[str]:
    return [*(tensor.name for tensor in model.view.inputs), *model.view.initializers]


def _match(model: Model, word: str, names: list[str], blocks: dict[str, Block]) -> tuple[list[str], str]:
    if model.view.has(word):
        return [word], "the tensor itself"
    if word in blocks:
        return [
            blocks[word].output
        ], f"the output of {blocks[word].kind} {one_line(word)}: {one_line(blocks[word].output)}"
    inlined = next((name for name, was in model.function_names.items() if was == word), "")
    if inlined:
        return [inlined], f"what was that tensor inside a function: {one_line(inlined)}"
    found = [name for name in names if fnmatchcase(name, word)] if any(c in word for c in "*?[") else []
    if found:
        return found, f"{len(found)} tensors by pattern"
    scope = word.strip("/")
    if scope:
        found = [name for name in names if name.lstrip("/").startswith((f"{scope}/", f"{scope}."))]
    if found:
        return found, f"{len(found)} tensors in scope {one_line(scope)}"
    raise TensorNotFound(_complaint(model, word, [*names, *blocks]))


def _complaint(model: Model, word: str, names: list[str]) -> str:
    place = _subgraph_of(model, word)
    if place:
        return (
            f"{model.name}: tensor '{one_line(word)}' lives inside {place}; it has no value outside of it, "
            "so it cannot be an output of the model"
        )
    short = [name[:_COMPARED_LENGTH] for name in names[:_COMPARED_NAMES]]
    near = difflib.get_close_matches(word[:_COMPARED_LENGTH], short, n=3, cutoff=0.4)
    hint = f"; nearest: {', '.join(repr(one_line(name)) for name in near)}" if near else ""
    return f"{model.name} has no tensor '{one_line(word)}'{hint}. List them with: onnxvis layers {model.name}"


def _subgraph_of(model: Model, word: str) -> str:
    waiting = [(graph, node.label, node.op) for node in model.view.nodes for graph in subgraphs(node.proto)]
    while waiting:
        graph, label, op = waiting.pop()
        for node in graph.node:
            if word in node.output:
                return f"a branch or body of {op} node {label}"
            waiting += [(inner, label, op) for inner in subgraphs(node)]
    return ""
