"""One node with what is known of its inputs, and the registry of rules that say what its outputs depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.graph.ops import SHAPE_READERS
from onnxvis.graph.tracks import Track, Unknown

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Node

__all__ = ["Step", "from_end", "propagate", "rule"]

Rule = Callable[["Step"], "Track | list[Track]"]
_RULES: dict[str, Rule] = {}


def propagate(model: Model, node: Node, tracks: dict[str, Track]) -> dict[str, Track]:
    """The tracks of what `node` makes. {} for what does not depend on the picture. Raises Unknown, the reason."""
    read = [tracks.get(name) for name in (*node.inputs, *node.captures)]
    if not any(read) or node.op in SHAPE_READERS:
        return {}
    if node.op not in _RULES:
        raise Unknown("there is no rule for this operator")
    try:
        made = _RULES[node.op](Step(model, node, tracks))
    except (IndexError, ValueError) as error:
        raise Unknown(f"the node is not as its operator should be ({error})") from error
    each = made if isinstance(made, list) else [made] * len(node.outputs)
    return {name: track for name, track in zip(node.outputs, each, strict=True) if name}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register a rule under the names of operators. Raises ValueError for a name used twice."""

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in _RULES:
                raise ValueError(f"two rules for {op}")
            _RULES[op] = function
        return function

    return register


class Step:
    """One node with what is known of its inputs."""

    def __init__(self, model: Model, node: Node, tracks: dict[str, Track]) -> None:
        self.model = model
        self.node = node
        self.tracks = [tracks.get(name) for name in node.inputs]

    @property
    def only(self) -> Track:
        """The first input's track. Raises Unknown where another input depends on the picture too."""
        if self.tracks[0] is None or any(self.tracks[1:]):
            raise Unknown("an input besides the first depends on the picture")
        return self.tracks[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape. Raises Unknown where it is not all numbers."""
        shape = self.model.view.shape(name)
        if shape is None:
            raise Unknown(f"the shape of '{name}' is not known")
        sizes = tuple(size for size in shape if isinstance(size, int))
        if len(sizes) < len(shape):
            raise Unknown(f"the shape of '{name}' is not known")
        return sizes

    def constant(self, place: int) -> np.ndarray[Any, np.dtype[Any]] | None:
        """The value of an input that is stored in the model, None where there is no such input or none is known."""
        name = self.node.inputs[place] if place < len(self.node.inputs) else ""
        maker = self.model.view.producer(name)
        if maker is None:
            return self.model.read(name) if name in self.model.view.initializers else None
        if maker.op != "Constant":
            return None
        for kind in ("value_ints", "value_floats"):
            if item := maker.attribute(kind):
                return np.array(item.ints or item.floats)
        return self.model.read(name) if maker.attribute("value") else None

    def listed(self, attribute: str, place: int) -> list[int] | None:
        """Integers from an attribute, or from the input that newer operator sets have in its place."""
        found = self.node.ints(attribute)
        if found:
            return list(found)
        value = self.constant(place)
        return None if value is None else [int(item) for item in np.atleast_1d(value)]

    def text(self, attribute: str, default: str) -> str:
        """A string attribute."""
        item = self.node.attribute(attribute)
        return item.s.decode() if item is not None else default

    def rank(self, place: int = 0) -> int:
        """The rank of an input; 4 where its shape is not known but its rows and columns are."""
        shape = self.model.view.shape(self.node.inputs[place])
        return 4 if shape is None else len(shape)

    def spatial(self) -> tuple[int, int] | None:
        """Where rows and columns must lie for an operator on feature maps; None for what has no positions left."""
        track = self.only
        last = self.node.op == "NhwcConv" or self.node.integer("channels_last", 0)
        expected = (-3, -2) if last else (-2, -1)
        if track.places == expected and self.rank() == 4:
            return expected
        if track.places == (None, None):
            return None
        raise Unknown("the picture's rows and columns are not its height and width")


def from_end(axis: int, rank: int) -> int:
    """An axis of a tensor of that rank, counted from the end (-1 the last)."""
    return axis if axis < 0 else axis - rank
