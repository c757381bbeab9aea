"""The shape and the type of every tensor, as far as they can be known without running the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from onnxvis.graph.contrib import with_standard_operators
from onnxvis.graph.folding import fold_shape_arithmetic
from onnxvis.graph.ops import SHAPE_READERS
from onnxvis.graph.protos import copied
from onnxvis.graph.types import TensorType, dtype_name, type_of

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["infer", "with_input_shapes"]

_FOLDING_ROUNDS = 64  # ShuffleNet as PyTorch exports it needs one for each of its 13 pairs of slices


def infer(model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, TensorType]:
    """Shape and dtype by tensor name, from ONNX's own inference with known values followed through.

    `input_shapes` puts numbers where the model's inputs have free dimensions. What the model itself declares serves
    where the inference says nothing, as for operators of other domains.
    """
    from onnx import shape_inference

    # ONNX follows the values of a ConstantOfShape element by element: a size of 2⁶⁰ would never end.
    follow = not any(node.op_type == "ConstantOfShape" for node in model.graph.node)
    declared = _declared(model)
    concrete = with_standard_operators(with_input_shapes(model, input_shapes) if input_shapes else model)
    try:
        inferred = shape_inference.infer_shapes(concrete, data_prop=follow)
    except Exception:  # the inference is a help: on any complaint of its own the declared types remain
        return declared
    found = _declared(inferred)
    for _ in range(_FOLDING_ROUNDS):
        if not _is_open(concrete, found) or (folded := fold_shape_arithmetic(concrete, found)) is None:
            break
        concrete, before = folded, found
        found = _declared(shape_inference.infer_shapes(concrete, data_prop=follow))
        if found == before:
            break
    return {name: _better(found.get(name), declared.get(name)) for name in {**declared, **found}}


def _is_open(model: ModelProto, found: Mapping[str, TensorType]) -> bool:
    """Whether some tensor's shape is not known although the model computes with shapes."""
    if not any(node.op_type in SHAPE_READERS for node in model.graph.node):
        return False
    names = (name for node in model.graph.node for name in node.output if name)
    shapes = (found.get(name, (None, ""))[0] for name in names)
    return any(shape is None or not all(isinstance(size, int) for size in shape) for shape in shapes)


def _declared(model: ModelProto) -> dict[str, TensorType]:
    graph = model.graph
    values: list[ValueInfoProto] = [*graph.value_info, *graph.output, *graph.input]
    types = {value.name: type_of(value.type) for value in values}
    types |= {tensor.name: (tuple(tensor.dims), dtype_name(tensor.data_type)) for tensor in graph.initializer}
    types |= {
        sparse.values.name: (tuple(sparse.dims), dtype_name(sparse.values.data_type))
        for sparse in graph.sparse_initializer
    }
    return types


def with_input_shapes(model: ModelProto, input_shapes: Mapping[str, tuple[int, ...]]) -> ModelProto:
    """A copy of `model` that declares these shapes for its inputs, and for its outputs none where that is a change."""
    concrete = copied(model)
    changed = False
    for value in concrete.graph.input:
        wanted = input_shapes.get(value.name)
        if wanted is not None and type_of(value.type)[0] != wanted:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for size in wanted:
                shape.dim.add(dim_value=size)
            changed = True
    if changed:
        del concrete.graph.value_info[:]
        for value in concrete.graph.output:
            value.type.tensor_type.ClearField("shape")
    return concrete


def _better(found: TensorType | None, declared: TensorType | None) -> TensorType:
    if found is None or declared is None:
        return found or declared or (None, "")
    shape = declared[0] if found[0] is None else found[0]
    return shape, found[1] or declared[1]
