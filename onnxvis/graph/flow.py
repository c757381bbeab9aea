"""How data flows through a graph: what reaches what, where all of it passes, which tensors are the same map."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce

from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.ops import ACTIVATIONS, CONVOLUTIONS, JOINS, PASS_THROUGH
from onnxvis.graph.view import GraphView, Node

__all__ = ["Flow"]

_SHUFFLING = frozenset({"Reshape", "Transpose", "Pad", "Squeeze", "Unsqueeze"})
_SCALING = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"})
_GATING = frozenset({"Mul", "Div"})
_NORMALIZING = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN"})


class Flow:
    """The data path of a graph as a network of tensors.

    `basis` names, for each tensor, the one it is an activation, normalisation, gating, scaling or rearrangement of:
    in conv → batch norm → relu all three have the conv's output as their basis. Every question here costs time
    proportional to the number of edges.
    """

    def __init__(self, view: GraphView, maps: FeatureMaps) -> None:
        self.view = view
        self.maps = maps
        names = [tensor.name for tensor in view.inputs]
        names += [name for node in view.nodes for name in node.outputs if name in view.data_path]
        self.position = {name: place for place, name in enumerate(names)}
        self.order = names
        self.basis: dict[str, str] = {}
        for name in names:
            self.basis[name] = self._basis(name)
        self.family: dict[str, list[str]] = {}
        for name in names:
            self.family.setdefault(self.basis[name], []).append(name)

    def before(self, name: str) -> list[str]:
        """The data tensors that the maker of `name` reads."""
        node = self.view.producer(name)
        if node is None:
            return []
        return [item for item in (*node.inputs, *node.captures) if item in self.position]

    def after(self, name: str) -> list[str]:
        """The data tensors made by the readers of `name`."""
        return [item for node in self.view.consumers(name) for item in node.outputs if item in self.position]

    def ancestors(self, names: Iterable[str], stop: set[str] | None = None) -> set[str]:
        """Everything that `names` depend on, themselves included; the walk does not enter `stop`."""
        return self._walk(names, self.before, stop or set())

    def descendants(self, names: Iterable[str], stop: set[str] | None = None) -> set[str]:
        """Everything that depends on `names`, themselves included; the walk does not enter `stop`."""
        return self._walk(names, self.after, stop or set())

    def chokepoints(self, sources: Iterable[str], sinks: Iterable[str]) -> list[str]:
        """The tensors that every path from any source to any sink passes, in order.

        In an order where each tensor stands after what it depends on, a tensor is one exactly when no edge between
        tensors on such paths jumps over it.
        """
        sources, sinks = set(sources), set(sinks)
        on_path = self.descendants(sources) & self.ancestors(sinks)
        ordered = sorted(on_path, key=self.position.__getitem__)
        furthest = max((self.position[name] for name in sources & on_path), default=-1)
        found = []
        for name in ordered:
            here = self.position[name]
            if furthest <= here:
                found.append(name)
            if name in sinks:
                furthest = len(self.order)
            furthest = max(furthest, *(self.position[item] for item in self.after(name) if item in on_path), here)
        return found

    def following(self, sinks: Iterable[str]) -> dict[str, str]:
        """For each tensor that reaches a sink, the next one that all data passes on its way from it to the sinks.

        '' where there is none. Following these from a tensor gives its `chokepoints`, for all tensors in one walk from
        the sinks: the next one is where all ways on meet, the nearest common node of the tree built so far.
        """
        ends = set(sinks)
        following: dict[str, str] = {}
        depth = {"": 0}

        def meet(one: str, other: str) -> str:
            while one != other:
                if depth[one] >= depth[other]:
                    one = following[one]
                else:
                    other = following[other]
            return one

        for name in reversed(self.order):
            ways = [item for item in self.after(name) if item in following] + [""] * (name in ends)
            if ways:
                following[name] = reduce(meet, ways)
                depth[name] = depth[following[name]] + 1
        return following

    def core(self, name: str) -> Node | None:
        """The node that made the basis of `name`: the convolution behind its activation, the join, …"""
        return self.view.producer(self.basis[name])

    def is_join(self, name: str) -> bool:
        """Whether branches of feature maps come together here."""
        node = self.core(name)
        if node is None or node.op not in JOINS:
            return False
        branches = [item for item in node.inputs if item in self.maps and item in self.position]
        return len(branches) >= 2

    def is_convolution(self, name: str) -> bool:
        """Whether the basis of `name` is made by a convolution."""
        node = self.core(name)
        return node is not None and node.op in CONVOLUTIONS

    def is_depthwise(self, name: str) -> bool:
        """Whether the basis of `name` is made by a depthwise convolution (one input channel a group, many groups)."""
        node = self.core(name)
        return node is not None and self._convolves_depthwise(node)

    def is_projection(self, name: str) -> bool:
        """Whether the basis of `name` is a dense convolution of a depthwise one's result."""
        return self._is_dense(name) and self.is_depthwise(self.before(self.basis[name])[0])

    def is_expansion(self, name: str) -> bool:
        """Whether the basis is a 1×1 convolution, not itself a projection, that only depthwise convolutions read."""
        if not self._is_dense(name) or self.is_projection(name) or not self._is_pointwise(name):
            return False
        family = set(self.family[self.basis[name]])
        readers = [node for item in family for node in self.view.consumers(item) if not family & set(node.outputs)]
        return bool(readers) and all(self._convolves_depthwise(node) for node in readers)

    def _is_dense(self, name: str) -> bool:
        node = self.core(name)
        data = self.before(self.basis[name])
        return node is not None and node.op in CONVOLUTIONS and bool(data) and not self._convolves_depthwise(node)

    def _is_pointwise(self, name: str) -> bool:
        node = self.core(name)
        shape = self._weight_shape(node) if node else None
        return shape is None or all(size == 1 for size in shape[2:])

    def _convolves_depthwise(self, node: Node) -> bool:
        if node.op not in CONVOLUTIONS or node.integer("group", 1) <= 1:
            return False
        shape = self._weight_shape(node)
        return shape is not None and len(shape) > 1 and shape[1] == 1

    def _weight_shape(self, node: Node) -> tuple[int | str | None, ...] | None:
        place = 3 if node.op == "QLinearConv" else 1
        return self.view.shape(node.inputs[place]) if len(node.inputs) > place else None

    def _basis(self, name: str) -> str:
        node = self.view.producer(name)
        data = self.before(name)
        if node is None or not data or (len(node.outputs) > 1 and name != node.outputs[0]):
            return name
        first = self.basis[data[0]]
        if node.op in ACTIVATIONS | PASS_THROUGH | _NORMALIZING:
            return first
        if node.op in _SHUFFLING:
            return first if self._same_channels(name, first) else name
        if node.op in _SCALING and len(data) == 1:
            return first
        if node.op in _GATING and len(data) == 2:
            return self._gated(data[0], data[1]) or name
        return name

    def _gated(self, first: str, second: str) -> str | None:
        """x · f(x) and x · gate(channel) stand for x."""
        if self.basis[first] == self.basis[second]:
            return self.basis[first]
        for name, gate in ((first, second), (second, first)):
            size, other = self.maps.chw(name), self.maps.chw(gate)
            if size and other and other[1:] == (1, 1) and size[1:] != (1, 1):
                return self.basis[name]
        return None

    def _same_channels(self, name: str, origin: str) -> bool:
        """A rearrangement counts as the same map while it is on its way (no map) or when the channels are back."""
        now, then = self.maps.chw(name), self.maps.chw(origin)
        return now is None or then is None or now[0] == then[0]

    @staticmethod
    def _walk(names: Iterable[str], step: Callable[[str], list[str]], stop: set[str]) -> set[str]:
        reached = {name for name in names if name not in stop}
        waiting = list(reached)
        while waiting:
            for item in step(waiting.pop()):
                if item not in reached and item not in stop:
                    reached.add(item)
                    waiting.append(item)
        return reached
