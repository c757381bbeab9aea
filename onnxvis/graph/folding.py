"""Arithmetic on shapes carried out, where ONNX's own inference loses the thread (int32 casts, slices of shapes, …)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.graph.protos import copied, keep
from onnxvis.graph.types import TensorType

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["fold_shape_arithmetic"]

Array = np.ndarray[Any, np.dtype[Any]]

_MAX_ELEMENTS = 1024
_FOLDED = frozenset({
    "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Floor", "Gather", "Greater",
    "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice", "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze",
    "Where",
})  # fmt: skip


def fold_shape_arithmetic(model: ModelProto, types: Mapping[str, TensorType]) -> ModelProto | None:
    """A copy of `model` in which what is computed from shapes that `types` knows are constants; None if nothing is.

    Every value is computed by ONNX's reference evaluator, node by node; values of more than 1,024 elements are not.
    """
    constants = _constants(model)
    known: dict[str, Array] = {}
    for node in model.graph.node:
        value = _value(node, types, constants, known, model)
        if value is not None and value.size <= _MAX_ELEMENTS:
            known[node.output[0]] = value
    return _with_constants(model, known) if known else None


def _constants(model: ModelProto) -> dict[str, Array]:
    from onnx import numpy_helper

    small = [tensor for tensor in model.graph.initializer if _is_small(tensor.dims)]
    found = {tensor.name: tensor for tensor in small if tensor.data_location != tensor.EXTERNAL}
    for node in model.graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            tensor = node.attribute[0].t
            if _is_small(tensor.dims) and tensor.data_location != tensor.EXTERNAL:
                found[node.output[0]] = tensor
    values = {}
    for name, tensor in found.items():
        try:
            values[name] = np.asarray(numpy_helper.to_array(tensor))
        except Exception:  # noqa: S112  a tensor that cannot be read is simply not known here
            continue
    return values


def _is_small(dims: Any) -> bool:
    return all(size >= 0 for size in dims) and math.prod(dims) <= _MAX_ELEMENTS


def _value(
    node: NodeProto,
    types: Mapping[str, TensorType],
    constants: Mapping[str, Array],
    known: Mapping[str, Array],
    model: ModelProto,
) -> Array | None:
    if node.op_type in ("Shape", "Size") and len(node.input) == 1:
        return _shape_value(node, types)
    inputs = {name: known.get(name, constants.get(name)) for name in node.input if name}
    values = {name: value for name, value in inputs.items() if value is not None}
    if node.op_type not in _FOLDED or len(node.output) != 1 or not values or len(values) < len(inputs):
        return None
    if not any(name in known for name in values) and any(value.dtype.kind == "f" for value in values.values()):
        return None
    if node.op_type == "ConstantOfShape" and not _is_small(values[node.input[0]].tolist()):
        return None
    return _evaluated(node, values, model)


def _shape_value(node: NodeProto, types: Mapping[str, TensorType]) -> Array | None:
    shape = types.get(node.input[0], (None, ""))[0]
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    if node.op_type == "Size":
        return np.asarray(math.prod(shape), np.int64)  # type: ignore[arg-type]  # the line above has seen only ints
    ends = {item.name: item.i for item in node.attribute}
    return np.asarray(shape[ends.get("start", 0) : ends.get("end", len(shape))], np.int64)


def _evaluated(node: NodeProto, inputs: Mapping[str, Array], model: ModelProto) -> Array | None:
    from onnx import GraphProto, ValueInfoProto
    from onnx import ModelProto as Model
    from onnx.reference import ReferenceEvaluator

    try:
        # A whole model, as the evaluator ignores the operator set it is told for a bare node.
        ports = [ValueInfoProto(name=name) for name in inputs]
        graph = GraphProto(node=[node], input=ports, output=[ValueInfoProto(name=node.output[0])], name="one")
        alone = Model(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
        with np.errstate(all="ignore"):
            result = ReferenceEvaluator(alone).run(None, dict(inputs))
    except Exception:  # whatever cannot be computed stays unknown
        return None
    return np.asarray(result[0]) if isinstance(result, list) else None


def _with_constants(model: ModelProto, known: Mapping[str, Array]) -> ModelProto:
    from onnx import numpy_helper

    folded = copied(model)
    keep(folded.graph.node, [node for node in folded.graph.node if not (node.output and node.output[0] in known)])
    folded.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in known.items())
    return folded
