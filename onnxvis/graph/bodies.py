"""The graphs of a model file: the main one, those inside If, Loop and Scan, and the bodies of local functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["Bodies", "Body", "Call", "Use"]

_FIRST_SHARED = {"Loop": 2, "Scan": 0}  # from this input on, the node's inputs are its body's inputs
_MAX_STEPS, _MAX_ENDS = 8, 64
_Key = tuple[str, str, str]


class Use(NamedTuple):
    """A node that reads a tensor, the body it stands in, and as which of its inputs."""

    body: Body
    node: NodeProto
    place: int


class Call(NamedTuple):
    """A node that holds or calls a body, and the body that this node stands in."""

    body: Body
    node: NodeProto


class Body:
    """The nodes of one graph or function. `place` says where it is: '' for the main graph, 'function F', 'If a then'.

    `inputs` and `outputs` are names; `graph` is None for a function, `holder` the node that a subgraph belongs to.
    """

    def __init__(
        self, nodes: Iterable[NodeProto], place: str, graph: GraphProto | None = None, holder: Call | None = None
    ) -> None:
        self.nodes = tuple(nodes)
        self.place = place
        self.graph = graph
        self.holder = holder
        self.inputs = tuple(value.name for value in graph.input) if graph is not None else ()
        self.outputs = tuple(value.name for value in graph.output) if graph is not None else ()
        self.children: dict[int, tuple[Body, ...]] = {}
        self.calls: list[Call] = []
        for index, node in enumerate(self.nodes):
            inner = tuple(_inner(self, node))
            if inner:
                self.children[index] = inner

    def where(self, node: NodeProto) -> str:
        """How a node of this body is named in a tensor's place."""
        name = node.name or next(iter(node.output), "")
        return f"{self.place}{' / ' if self.place else ''}{node.op_type} {name}".rstrip()

    @cached_property
    def makers(self) -> dict[str, NodeProto]:
        """{tensor: the node of this body that makes it}."""
        return {name: node for node in self.nodes for name in node.output if name}

    @cached_property
    def own(self) -> frozenset[str]:
        """Every name this body defines: what it does not, it reads from the body around it."""
        names = {*self.inputs, *self.makers}
        if self.graph is not None:
            names.update(tensor.name for tensor in self.graph.initializer)
            names.update(sparse.values.name for sparse in self.graph.sparse_initializer)
        return frozenset(names)

    @cached_property
    def uses(self) -> dict[str, list[Use]]:
        """{tensor: who reads it, in order}, readers inside the subgraphs of this body's nodes included."""
        found: dict[str, list[Use]] = {}
        for index, node in enumerate(self.nodes):
            for place, name in enumerate(node.input):
                if name:
                    found.setdefault(name, []).append(Use(self, node, place))
            for child in self.children.get(index, ()):
                for name, uses in child.uses.items():
                    if name not in child.own:
                        found.setdefault(name, []).extend(uses)
        return found


class Bodies:
    """All bodies of a model file, and how a tensor goes from one into another."""

    def __init__(self, model: ModelProto) -> None:
        self.main = Body(model.graph.node, "", model.graph)
        self.functions: dict[_Key, Body] = {}
        for function in model.functions:
            body = Body(function.node, f"function {function.name}")
            body.inputs, body.outputs = tuple(function.input), tuple(function.output)
            self.functions[(function.domain, function.name, getattr(function, "overload", ""))] = body
        if self.functions:
            for body in self.all():
                for node in body.nodes:
                    if called := self._called(node):
                        called.calls.append(Call(body, node))

    def all(self) -> Iterator[Body]:
        """Every body: the main graph, the functions, and all inside them."""
        waiting = [self.main, *self.functions.values()]
        while waiting:
            body = waiting.pop()
            yield body
            waiting.extend(child for inner in body.children.values() for child in inner)

    def inward(self, use: Use) -> tuple[Body, str] | None:
        """Where what a node reads goes on: the input of the function it calls, or of the Loop's or Scan's body."""
        inner = self._called(use.node)
        if inner is None and use.place >= _FIRST_SHARED.get(use.node.op_type, len(use.node.input)):
            children = next((c for i, c in use.body.children.items() if use.body.nodes[i] is use.node), ())
            inner = next(iter(children), None)
        if inner is None or use.place >= len(inner.inputs):
            return None
        return inner, inner.inputs[use.place]

    def outward(self, body: Body, name: str) -> tuple[Body, str] | None:
        """Where what a function or an If's branch returns goes on: the output of the (first) node around it."""
        holder = body.holder if body.holder and body.holder.node.op_type == "If" else next(iter(body.calls), None)
        if holder is None or name not in body.outputs:
            return None
        place = body.outputs.index(name)
        outputs = holder.node.output
        return (holder.body, outputs[place]) if place < len(outputs) else None

    def ends(self, body: Body, name: str, through: frozenset[str]) -> Iterator[tuple[Use, tuple[NodeProto, ...]]]:
        """Who uses a tensor in the end, in order, and the nodes before: of the ops in `through`, by their first
        input (a Concat by any).

        Calls of functions, the bodies of loops and what branches return are followed, at most eight steps.
        """
        waiting: list[tuple[Body, str, tuple[NodeProto, ...], int]] = [(body, name, (), 0)]
        seen: set[tuple[int, str]] = set()
        for _ in range(_MAX_ENDS):
            if not waiting:
                return
            body, name, trail, steps = waiting.pop(0)
            if (id(body), name) in seen or steps > _MAX_STEPS:
                continue
            seen.add((id(body), name))
            onward: list[tuple[Body, str, tuple[NodeProto, ...], int]] = []
            for use in body.uses.get(name, ()):
                if (inner := self.inward(use)) is not None:
                    onward.append((*inner, trail, steps + 1))
                elif (
                    use.node.op_type in through and use.node.output and (not use.place or use.node.op_type == "Concat")
                ):
                    onward.append((use.body, use.node.output[0], (*trail, use.node), steps + 1))
                else:
                    yield use, trail
            if (outer := self.outward(body, name)) is not None:
                onward.append((*outer, trail, steps + 1))
            waiting = onward + waiting

    def behind(self, body: Body, name: str) -> tuple[Body, str] | None:
        """The tensor outside that an input of a function stands for, where the function is called only once."""
        if name not in body.inputs or len(body.calls) != 1:
            return None
        place, inputs = body.inputs.index(name), body.calls[0].node.input
        return (body.calls[0].body, inputs[place]) if place < len(inputs) and inputs[place] else None

    def _called(self, node: NodeProto) -> Body | None:
        if not self.functions:
            return None
        return self.functions.get((node.domain, node.op_type, getattr(node, "overload", "")))


def _inner(body: Body, node: NodeProto) -> Iterator[Body]:
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield Body(graph.node, f"{body.where(node)} {attribute.name}", graph, Call(body, node))
