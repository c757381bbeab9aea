"""Which stored tensors a user means: a tensor's name, a glob, a role, or the scope that names begin with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from onnxvis.errors import TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph import cost

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["choose_weights"]

_COMPARED_NAMES, _COMPARED_LENGTH = 5000, 200


def choose_weights(model: Model, words: Iterable[str]) -> tuple[str, ...]:
    """The names of the stored tensors that each word means, in file order: exactly that tensor, whatever it carries;
    else all weights of that role (`conv kernel`); else all that match it as a glob (`*weight`); else all whose name
    lies in the scope (`layer1` for `/layer1/…` and `layer1.…`).

    Raises TensorNotFound with the nearest names for a word that matches nothing.
    """
    every = model.weights.all()
    stored = [item.name for item in every]
    known = frozenset(stored)
    weights = [item.name for item in every if item.count and cost.carries_values(model, item)]
    roles = {name: model.weights.role(name)[0] for name in weights}
    chosen: set[str] = set()
    for word in words:
        found = [word] if word in known else _matches(word, weights, roles)
        if not found:
            raise TensorNotFound(_complaint(model.name, word, stored, sorted(set(roles.values()) - {""})))
        chosen.update(found)
    return tuple(name for name in stored if name in chosen)


def _matches(word: str, weights: Sequence[str], roles: dict[str, str]) -> list[str]:
    if not word:
        return []
    found = [name for name in weights if roles[name] == word]
    if not found and any(c in word for c in "*?["):
        found = [name for name in weights if fnmatchcase(name, word)]
    scope = word.strip("/")
    if not found and scope:
        found = [name for name in weights if name.lstrip("/").startswith((f"{scope}/", f"{scope}."))]
    return found


def _complaint(model: str, word: str, names: Sequence[str], roles: Sequence[str]) -> str:
    short = [name[:_COMPARED_LENGTH] for name in [*roles, *names][:_COMPARED_NAMES]]
    near = difflib.get_close_matches(word[:_COMPARED_LENGTH], short, n=3, cutoff=0.4)
    hint = f"; nearest: {', '.join(repr(one_line(name)) for name in near)}" if near else ""
    return f"{model} stores no weight '{one_line(word)}'{hint}. List them with: onnxvis weights {model}"
