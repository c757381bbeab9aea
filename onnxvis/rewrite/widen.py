"""Half-precision graphs in float32, for gradients: those of half-precision numbers underflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxvis.graph import shapes
from onnxvis.graph.protos import copied
from onnxvis.graph.types import element_type
from onnxvis.graph.view import subgraphs
from onnxvis.rewrite.names import Names

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

__all__ = ["Widened", "widened"]

_HALF = frozenset({10, 16})  # FLOAT16 and BFLOAT16 in ONNX's TensorProto.DataType
_FLOAT = 1
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")


@dataclass(frozen=True)
class Widened:
    """`names` is {tensor: its float32 form} for inputs and outputs of the model, which keep their own types."""

    proto: ModelProto
    names: dict[str, str]
    changed: bool


def widened(proto: ModelProto) -> Widened:
    """`proto` computed in float32 where it computes in float16 or bfloat16; as it is where it does not.

    Inputs and outputs keep their types and names. Weights whose bytes are elsewhere stay references, and are cast when
    they are read.
    """
    if not _is_half(proto.graph):
        return Widened(proto, {}, False)
    wide = copied(proto)
    graph = wide.graph
    outputs = _half_outputs(proto)
    widening = _Widening(proto.graph)
    stored = {tensor.name for tensor in graph.initializer}
    ports = [value.name for value in graph.input if _of_half(value) and value.name not in stored]
    names = {name: widening.renamed(name) for name in ports}
    starts = [widening.cast(name, new, _FLOAT) for name, new in names.items()]
    made = {name for node in graph.node for name in node.output}
    names |= {name: widening.renamed(name) for name in outputs if name in made}
    ends = [widening.cast(names[name], name, kind) for name, kind in outputs.items() if name in made]
    kept = {value.name for value in graph.output}
    nodes = [*starts, *widening.widen_weights(graph, kept), *widening.nodes(graph), *ends]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return Widened(wide, names, True)


class _Widening:
    """What is called how in float32, and which names are taken."""

    def __init__(self, graph: GraphProto) -> None:
        self._names = Names(graph)
        self._replaced: dict[str, str] = {}

    def renamed(self, name: str) -> str:
        """A new name, under which every node finds the float32 form of that tensor from now on."""
        new = self._replaced[name] = self._names.fresh(f"{name}.float32")
        return new

    @staticmethod
    def cast(source: str, target: str, kind: int) -> NodeProto:
        """A node that makes `target` of `source`, of that element type."""
        from onnx import helper

        return helper.make_node("Cast", [source], [target], to=kind)

    def widen_weights(self, graph: GraphProto, kept: set[str]) -> list[NodeProto]:
        """Make the initializers of a graph float32 where their bytes are at hand and they are not among `kept`, which
        stay what they are; returns the casts of the others.
        """
        casts = []
        for sparse in graph.sparse_initializer:
            if sparse.values.data_type in _HALF:
                _widen_tensor(sparse.values)
        for tensor in graph.initializer:
            if tensor.data_type not in _HALF:
                continue
            if tensor.data_location == tensor.EXTERNAL or tensor.name in kept:
                casts.append(self.cast(tensor.name, self.renamed(tensor.name), _FLOAT))
            else:
                _widen_tensor(tensor)
        return casts

    def nodes(self, graph: GraphProto) -> list[NodeProto]:
        """Copies of a graph's nodes that read and make float32."""
        made = []
        for node in graph.node:
            large = next((item.t for item in node.attribute if _is_elsewhere(item.t)), None)
            if large is not None:  # a Constant, which has no other place for it
                made += [copied(node), self.cast(node.output[0], self.renamed(node.output[0]), _FLOAT)]
                continue
            wide = copied(node)
            wide.input[:] = [self._replaced.get(name, name) for name in node.input]
            wide.output[:] = [self._replaced.get(name, name) for name in node.output]
            self._widen_attributes(wide)
            made.append(wide)
        return made

    def _widen_attributes(self, node: NodeProto) -> None:
        for item in node.attribute:
            if item.HasField("t") and item.t.data_type in _HALF:
                _widen_tensor(item.t)
            if item.name in _TYPE_ATTRIBUTES and item.i in _HALF:
                item.i = _FLOAT
        for inner in subgraphs(node):
            self._widen_inside(inner)

    def _widen_inside(self, graph: GraphProto) -> None:
        outside = dict(self._replaced)
        nodes = [*self.widen_weights(graph, set()), *self.nodes(graph)]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)
        for value in (*graph.input, *graph.output):
            value.name = self._replaced.get(value.name, value.name)
            if _of_half(value):
                value.type.tensor_type.elem_type = _FLOAT
        self._replaced = outside


def _half_outputs(proto: ModelProto) -> dict[str, int]:
    """{output of half precision: its element type}, by inference where the model does not declare it."""
    declared = {value.name: int(value.type.tensor_type.elem_type) for value in proto.graph.output}
    if not all(declared.values()):
        types = shapes.infer(proto)
        found = {name: types.get(name, (None, ""))[1] for name, kind in declared.items() if not kind}
        declared |= {name: element_type(dtype) for name, dtype in found.items() if dtype and "_type" not in dtype}
    return {name: kind for name, kind in declared.items() if kind in _HALF}


def _is_half(graph: GraphProto) -> bool:
    """Whether numbers of half precision are anywhere in a graph, as far as it says so."""
    if any(tensor.data_type in _HALF for tensor in graph.initializer):
        return True
    if any(_of_half(value) for value in (*graph.input, *graph.output, *graph.value_info)):
        return True
    for node in graph.node:
        for item in node.attribute:
            if item.t.data_type in _HALF or (item.name in _TYPE_ATTRIBUTES and item.i in _HALF):
                return True
        if any(map(_is_half, subgraphs(node))):
            return True
    return False


def _of_half(value: ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type in _HALF


def _is_elsewhere(tensor: TensorProto) -> bool:
    return tensor.data_type in _HALF and tensor.data_location == tensor.EXTERNAL


def _widen_tensor(tensor: Any) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float32"), tensor.name))
