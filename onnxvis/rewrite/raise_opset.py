"""Graphs of operator sets 7 to 15 in the forms of operator set 16.

Done here, as ONNX's own version converter renames tensors in branches, where two of its names can meet, computes what
Upsample and the Resize of operator set 10 do otherwise when they interpolate, and refuses operators of ONNX Runtime.
Every operator of which those sets change more than the types is named below; their definitions:
https://github.com/onnx/onnx/blob/main/docs/Changelog.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph import shapes
from onnxvis.graph.protos import copied, keep
from onnxvis.graph.types import TensorType, element_type
from onnxvis.graph.view import subgraphs
from onnxvis.rewrite.names import Names

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["FIRST", "RAISED", "raised"]

FIRST, RAISED = 7, 16
"""The operator sets that `raised` reads, from the first on, and the one that it writes."""


def raised(proto: ModelProto) -> ModelProto:
    """A copy of `proto`, of an operator set from `FIRST` on, with operator set `RAISED`, computing the same.

    Tensors keep their names; what is added has names of its own. Raises RewriteError for a Scan of operator set 8.
    """
    changed = copied(proto)
    _raise_graph(changed.graph, _Given(proto))
    for item in changed.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = RAISED
    return changed


class _Given:
    """The model as it was, and names for what is added to it."""

    def __init__(self, proto: ModelProto) -> None:
        self._proto = proto
        self.opset = max(item.version for item in proto.opset_import if item.domain in ("", "ai.onnx"))
        self.names = Names(proto.graph)

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """Shape and type of the tensors outside branches and bodies."""
        return shapes.infer(self._proto)

    @cached_property
    def read(self) -> frozenset[str]:
        """The tensors that are read or returned."""
        return frozenset(_read(self._proto.graph))

    @cached_property
    def stored(self) -> dict[str, TensorProto]:
        """The tensors that stand in the model itself, outside branches and bodies."""
        graph = self._proto.graph
        found = {tensor.name: tensor for tensor in graph.initializer}
        constants = (node for node in graph.node if node.op_type == "Constant" and node.attribute[0].HasField("t"))
        found |= {node.output[0]: node.attribute[0].t for node in constants}
        return {name: tensor for name, tensor in found.items() if tensor.data_location != tensor.EXTERNAL}

    def node(self, op: str, inputs: Iterable[str], stem: str, output: str = "", **attributes: Any) -> NodeProto:
        """A node that makes `output`, or a new tensor where that is ''. It has no name: those of nodes may meet."""
        from onnx import helper

        return helper.make_node(op, list(inputs), [output or self.names.fresh(stem)], **attributes)

    def constant(self, value: Any, stem: str) -> NodeProto:
        """A Constant that makes an array."""
        from onnx import numpy_helper

        return self.node("Constant", [], stem, value=numpy_helper.from_array(value))

    def number(self, value: float, like: str, stem: str) -> NodeProto:
        """A Constant that makes a scalar of the type of tensor `like`; float32 where that is not known."""
        from onnx import helper

        kind = element_type(self.types.get(like, (None, ""))[1] or "float32")
        return self.node("Constant", [], stem, value=helper.make_tensor("", kind, [], [value]))


def _raise_graph(graph: GraphProto, given: _Given) -> None:
    nodes: list[NodeProto] = []
    for node in graph.node:
        for inner in subgraphs(node):
            _raise_graph(inner, given)
        until, change = _CHANGES.get(node.op_type, (0, None))
        if change is None or given.opset >= until or node.domain not in ("", "ai.onnx"):
            nodes.append(node)
        else:
            nodes += change(node, given)
    keep(graph.node, nodes)


def _attributes(node: NodeProto, *names: str) -> dict[str, Any]:
    """The values of those attributes, which are taken away from `node`."""
    from onnx import helper

    found = {item.name: helper.get_attribute_value(item) for item in node.attribute if item.name in names}
    keep(node.attribute, [item for item in node.attribute if item.name not in names])
    return found


def _set(node: NodeProto, name: str, value: Any) -> None:
    from onnx import helper

    _attributes(node, name)
    node.attribute.append(helper.make_attribute(name, value))


def _as_inputs(*names: str) -> Callable[[NodeProto, _Given], list[NodeProto]]:
    """A change by which attributes become the inputs after the first: whole numbers a vector, others a scalar."""

    def change(node: NodeProto, given: _Given) -> list[NodeProto]:
        found = _attributes(node, *names)
        made, inputs = [], [node.input[0]]
        for name in names:
            value, stem = found.get(name), f"{node.output[0]}/{name}"
            if value is None:
                inputs.append("")
                continue
            if isinstance(value, float):
                made.append(given.number(value, node.input[0], stem))
            else:
                made.append(given.constant(np.asarray(value, np.int64).reshape(-1), stem))
            inputs.append(made[-1].output[0])
        while not inputs[-1]:
            inputs.pop()
        node.input[:] = inputs
        return [*made, node]

    return change


def _softmax(node: NodeProto, given: _Given) -> list[NodeProto]:
    """Over all dimensions from `axis` on, not over that one alone."""
    axis = _attributes(node, "axis").get("axis", 1)
    _set(node, "axis", -1)
    x, y = node.input[0], node.output[0]
    shape = given.types.get(x, (None, ""))[0]
    if axis == -1 or (shape is not None and axis == len(shape) - 1):
        return [node]
    flat = given.node("Flatten", [x], f"{y}/flat", axis=axis)
    size = given.node("Shape", [x], f"{y}/shape")
    node.input[:], node.output[:] = flat.output, [given.names.fresh(f"{y}/result")]
    return [flat, node, size, given.node("Reshape", [node.output[0], size.output[0]], f"{y}/shaped", y)]


def _upsample(node: NodeProto, given: _Given) -> list[NodeProto]:
    """A Resize that lays corner on corner."""
    node.op_type = "Resize"
    scales = _attributes(node, "scales").get("scales")
    if scales is None:
        return _resize(node, given)
    made = given.constant(np.asarray(scales, np.float32), f"{node.output[0]}/scales")
    node.input.append(made.output[0])
    return [made, *_resize(node, given, made.attribute[0].t)]


def _resize(node: NodeProto, given: _Given, known: TensorProto | None = None) -> list[NodeProto]:
    """A Resize that lays corner on corner; its nearest place is the next one down where a picture grows, the next one
    up where it shrinks, so that where it may do both, two nodes do one each.
    """
    from onnx import numpy_helper

    x, scales = node.input
    node.input[:] = [x, "", scales]
    _set(node, "coordinate_transformation_mode", "asymmetric")
    if any(item.name == "mode" and item.s != b"nearest" for item in node.attribute):
        return [node]
    _set(node, "nearest_mode", "floor")
    known = known or given.stored.get(scales)
    if known is not None and (numpy_helper.to_array(known) >= 1).all():
        return [node]
    y = node.output[0]
    one = given.constant(np.ones(1, np.float32), f"{y}/one")
    down = given.node("Min", [scales, one.output[0]], f"{y}/down")
    up = given.node("Max", [scales, one.output[0]], f"{y}/up")
    shrunk = copied(node)
    shrunk.input[2], shrunk.name = down.output[0], given.names.fresh(f"{y}/shrunk")
    shrunk.output[:] = [shrunk.name]
    _set(shrunk, "nearest_mode", "ceil")
    node.input[:] = [shrunk.output[0], "", up.output[0]]
    return [one, down, up, shrunk, node]


def _batch_normalization(node: NodeProto, given: _Given) -> list[NodeProto]:
    """With spatial = 0, the mean and the rest have the shape of one whole element of the batch."""
    del node.output[1:]  # what only training makes
    if _attributes(node, "spatial").get("spatial", 1):
        return [node]
    x, scale, bias, mean, variance = node.input
    y = node.output[0]
    made = [given.number(_attributes(node, "epsilon").get("epsilon", 1e-5), x, f"{y}/epsilon")]

    def step(op: str, *inputs: str, output: str = "") -> str:
        made.append(given.node(op, inputs, f"{y}/{op}", output))
        return made[-1].output[0]

    factor = step("Div", scale, step("Sqrt", step("Add", variance, made[0].output[0])))
    step("Add", step("Mul", step("Sub", x, mean), factor), bias, output=y)
    return made


def _dropout(node: NodeProto, given: _Given) -> list[NodeProto]:
    """Only training needs its ratio; its mask was of the type of its input once."""
    _attributes(node, "ratio")
    if len(node.output) > 1 and node.output[1] not in given.read:
        del node.output[1:]
    return [node]


def _scatter(node: NodeProto, _: _Given) -> list[NodeProto]:
    node.op_type = "ScatterElements"
    return [node]


def _roi_align(node: NodeProto, _: _Given) -> list[NodeProto]:
    _set(node, "coordinate_transformation_mode", "output_half_pixel")
    return [node]


def _scan(node: NodeProto, _: _Given) -> list[NodeProto]:
    raise RewriteError(
        f"node {one_line(node.name or node.op_type)} is a Scan of operator set 8, which has no later form; export the "
        "model again with a later operator set"
    )


_CHANGES: dict[str, tuple[int, Callable[[NodeProto, _Given], list[NodeProto]]]] = {
    "BatchNormalization": (14, _batch_normalization),
    "Clip": (11, _as_inputs("min", "max")),
    "Dropout": (12, _dropout),
    "Hardmax": (13, _softmax),
    "LogSoftmax": (13, _softmax),
    "Pad": (11, _as_inputs("pads", "value")),
    "ReduceSum": (13, _as_inputs("axes")),
    "Resize": (11, _resize),
    "RoiAlign": (16, _roi_align),
    "Scan": (9, _scan),
    "Scatter": (16, _scatter),
    "Slice": (10, _as_inputs("starts", "ends", "axes")),
    "Softmax": (13, _softmax),
    "Split": (13, _as_inputs("split")),
    "Squeeze": (13, _as_inputs("axes")),
    "TopK": (10, _as_inputs("k")),
    "Unsqueeze": (13, _as_inputs("axes")),
    "Upsample": (16, _upsample),
}
"""{operator: (the operator set from which on it has the form of `RAISED`, what gives an older one that form)}"""


def _read(graph: GraphProto) -> Iterator[str]:
    """Every name that a node reads or a graph returns, in branches and bodies too."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in subgraphs(node):
            yield from _read(inner)
