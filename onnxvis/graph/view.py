"""A read-only view of a graph: its tensors by name, who makes them, who reads them, which carry data."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph import shapes
from onnxvis.graph.ops import SHAPE_READERS
from onnxvis.graph.types import Shape, type_of

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["GraphView", "Node", "Tensor", "captured", "declared_ports", "subgraphs"]


@dataclass(frozen=True)
class Tensor:
    """A tensor's address and type. `shape` is None where even the rank is unknown; a free dimension is a str or None.

    `dtype` is NumPy's name ('float32', 'uint8', 'bfloat16', …), or '' where it is unknown.
    """

    name: str
    shape: Shape | None
    dtype: str


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. `inputs` keeps empty strings for optional inputs left out; `captures` are read by subgraphs."""

    index: int
    op: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    captures: tuple[str, ...]
    proto: NodeProto = field(repr=False)

    @property
    def label(self) -> str:
        """How messages name this node: its name where it has one, else what it makes."""
        return one_line(self.name or f"{self.op} making '{next(filter(None, self.outputs), '')}'")

    def attribute(self, name: str) -> AttributeProto | None:
        """The attribute of that name, or None."""
        return next((item for item in self.proto.attribute if item.name == name), None)

    def ints(self, name: str) -> tuple[int, ...]:
        """An attribute of integers, or () where it is absent."""
        item = self.attribute(name)
        return tuple(item.ints) if item is not None else ()

    def integer(self, name: str, default: int) -> int:
        """An integer attribute, or `default` where it is absent."""
        item = self.attribute(name)
        return item.i if item is not None else default

    def number(self, name: str, default: float) -> float:
        """A float attribute, or `default` where it is absent."""
        item = self.attribute(name)
        return item.f if item is not None else default

    def text(self, name: str, default: str) -> str:
        """A text attribute, or `default` where it is absent."""
        item = self.attribute(name)
        return item.s.decode("utf-8", "replace") if item is not None else default

    def input(self, place: int) -> str:
        """The tensor read at that place, '' for an optional one that is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


class GraphView:
    """The main graph of a model without local functions.

    Nodes come in an order in which each stands after what it reads. Raises ModelError for a graph that is no graph:
    a tensor made twice, a circle, a name that is not UTF-8.
    """

    def __init__(self, model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> None:
        graph = model.graph
        self.model = model
        nodes = [_node(index, proto) for index, proto in enumerate(graph.node)]
        _check_ports(graph)
        _check_text("an initializer", *(tensor.name for tensor in graph.initializer))
        self.initializers: dict[str, TensorProto] = {tensor.name: tensor for tensor in graph.initializer}
        self.initializers |= {sparse.values.name: sparse.values for sparse in graph.sparse_initializer}
        self._types = shapes.infer(model, input_shapes)
        self.inputs = tuple(self._declared(value) for value in graph.input if value.name not in self.initializers)
        self.outputs = tuple(self._declared(value) for value in graph.output)
        self._producers: dict[str, Node] = {}
        self.nodes = self._sorted(nodes)
        self._consumers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys((*node.inputs, *node.captures)):
                self._consumers.setdefault(name, []).append(node)

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name: input, initializer or intermediate. Raises TensorNotFound."""
        if not self.has(name):
            raise TensorNotFound(f"the graph has no tensor '{one_line(name)}'")
        shape, dtype = self._types.get(name, (None, ""))
        return Tensor(name, shape, dtype)

    def has(self, name: str) -> bool:
        """Whether the main graph holds a tensor of that name."""
        return bool(name) and (name in self._producers or name in self.initializers or name in self._input_names)

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor, None where it is unknown."""
        return self._types.get(name, (None, ""))[0]

    def producer(self, name: str) -> Node | None:
        """The node that makes a tensor; None for inputs and initializers."""
        return self._producers.get(name)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read a tensor, those whose subgraphs capture it included."""
        return tuple(self._consumers.get(name, ()))

    @property
    def intermediates(self) -> Iterator[Tensor]:
        """Every tensor that a node makes, in the order they are made."""
        return (self.tensor(name) for node in self.nodes for name in node.outputs if name)

    @cached_property
    def data_path(self) -> frozenset[str]:
        """The tensors that carry what came in: reached from an input without asking for a shape on the way."""
        reached = set(self._input_names)
        for node in self.nodes:
            if node.op not in SHAPE_READERS and any(name in reached for name in (*node.inputs, *node.captures)):
                reached.update(filter(None, node.outputs))
        return frozenset(reached)

    @cached_property
    def shape_arithmetic(self) -> frozenset[str]:
        """The tensors computed from shapes alone: they depend on an input, but only through Shape or Size."""
        reached: set[str] = set()
        for node in self.nodes:
            if node.op in SHAPE_READERS or any(name in reached for name in node.inputs):
                reached.update(name for name in node.outputs if name not in self.data_path)
        return frozenset(reached)

    @cached_property
    def _input_names(self) -> frozenset[str]:
        return frozenset(tensor.name for tensor in self.inputs)

    def _declared(self, value: ValueInfoProto) -> Tensor:
        shape, dtype = self._types.get(value.name, (None, ""))
        return Tensor(value.name, shape, dtype)

    def _sorted(self, nodes: list[Node]) -> tuple[Node, ...]:
        """Kahn's algorithm, keeping the file's order where it is already a valid one."""
        for node in nodes:
            for name in filter(None, node.outputs):
                if name in self._producers or name in self.initializers or name in self._input_names:
                    raise ModelError(f"tensor '{one_line(name)}' is made twice, the second time by node {node.label}")
                self._producers[name] = node
        waiting: dict[int, int] = {}
        readers: dict[int, list[Node]] = {}
        for node in nodes:
            makers = {maker.index for name in (*node.inputs, *node.captures) if (maker := self._producers.get(name))}
            waiting[node.index] = len(makers)
            for index in makers:
                readers.setdefault(index, []).append(node)
        ready = deque(node for node in nodes if not waiting[node.index])
        order: list[Node] = []
        while ready:
            node = ready.popleft()
            order.append(node)
            for reader in readers.get(node.index, ()):
                waiting[reader.index] -= 1
                if not waiting[reader.index]:
                    ready.append(reader)
        if len(order) < len(nodes):
            stuck = next(node for node in nodes if waiting[node.index])
            raise ModelError(f"the graph runs in a circle through node {stuck.label}, so it has no order to run in")
        return self._stable(nodes, order)

    def _stable(self, nodes: list[Node], order: list[Node]) -> tuple[Node, ...]:
        seen: set[int] = set()
        for node in nodes:
            for name in (*node.inputs, *node.captures):
                maker = self._producers.get(name)
                if maker is not None and maker.index not in seen:
                    return tuple(order)
            seen.add(node.index)
        return tuple(nodes)


def declared_ports(graph: GraphProto) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """A graph's inputs and outputs with the types that they declare; initializers listed as inputs are none.

    Raises ModelError for a name that is not UTF-8.
    """
    _check_ports(graph)
    stored = {tensor.name for tensor in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    inputs = tuple(Tensor(value.name, *type_of(value.type)) for value in graph.input if value.name not in stored)
    return inputs, tuple(Tensor(value.name, *type_of(value.type)) for value in graph.output)


def _check_ports(graph: GraphProto) -> None:
    _check_text("the graph", *(value.name for value in (*graph.input, *graph.output)))


def _node(index: int, proto: NodeProto) -> Node:
    attributes = (item.name for item in proto.attribute)
    _check_text(f"node {index}", *proto.input, *proto.output, proto.name, proto.op_type, proto.domain, *attributes)
    captures = tuple(dict.fromkeys(name for graph in subgraphs(proto) for name in captured(graph)))
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(index, proto.op_type, proto.name, proto.domain, inputs, outputs, captures, proto)


def _check_text(place: str, *names: str) -> None:
    # protobuf hands out as bytes what it cannot decode, whatever the type says
    broken = next((name for name in names if isinstance(name, bytes)), None)
    if broken is not None:
        raise ModelError(f"{place} has a name that is not UTF-8 ({one_line(broken)}); ONNX allows no other")


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds: the branches of an If, the body of a Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def captured(graph: GraphProto) -> list[str]:
    """Names a subgraph reads from outside itself, its own nested subgraphs included."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {sparse.values.name for sparse in graph.sparse_initializer}
    own |= {name for node in graph.node for name in node.output}
    read = [name for node in graph.node for name in node.input]
    read += [name for node in graph.node for inner in subgraphs(node) for name in captured(inner)]
    read += [value.name for value in graph.output]
    return [name for name in dict.fromkeys(read) if name and name not in own]
