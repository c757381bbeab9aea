"""A model's graph as differentiation needs it: flat, recent enough, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.folding import fold_shape_arithmetic
from onnxvis.graph.load import Model
from onnxvis.graph.protos import copied, keep
from onnxvis.graph.shapes import with_input_shapes
from onnxvis.rewrite.branches import without_constant_ifs
from onnxvis.rewrite.raise_opset import FIRST, RAISED, raised
from onnxvis.rewrite.widen import widened

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["LEAST_OPSET", "Prepared", "prepare"]

LEAST_OPSET = RAISED
"""The first operator set with ScatterElements and ScatterND that add up."""

_LEAST_IR = 8


@dataclass(frozen=True)
class Prepared:
    """`names` is {tensor of the model: the tensor that stands for it here}, for those that differ. `notes`: what was
    changed that a reader of gradients should know.
    """

    proto: ModelProto
    names: dict[str, str]
    notes: tuple[str, ...]


def prepare(model: Model, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Prepared:
    """`model` without local functions and constant Ifs, with operator set 16 or later, computing in float32.

    Tensors keep their names. `shapes` are declared for the inputs. Raises RewriteError where the operator set cannot be
    raised.
    """
    recent = with_input_shapes(_recent(model), shapes or {})
    _forget_symbols(recent)
    recent = fold_shape_arithmetic(recent, {}) or recent  # axes that are computed of constants are known to rules then
    wide = widened(without_constant_ifs(recent, model.folder))
    notes = ("half-precision numbers are computed in float32: their gradients would underflow",) if wide.changed else ()
    return Prepared(wide.proto, wide.names, notes)


def _recent(model: Model) -> ModelProto:
    proto = copied(model.proto)
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer} | {item.values.name for item in graph.sparse_initializer}
    # Old files list weights among the inputs, where they could be fed; new ones that are added here are not.
    keep(graph.input, [value for value in graph.input if value.name not in stored])
    proto.ir_version = max(proto.ir_version, _LEAST_IR)
    if model.opset >= LEAST_OPSET:
        return proto
    if model.opset < FIRST:
        proto = _converted(proto, model)
    return raised(proto)


def _forget_symbols(proto: ModelProto) -> None:
    """Take the names of free dimensions away from all but the inputs; what follows from those is inferred.

    Files give one name to sizes that differ (`dim` for the anchors of every scale), and name sizes that the inputs do
    not have after them. Rules rely on such names, and so does ONNX Runtime where it lets nodes share a buffer.
    """
    for value in (*proto.graph.output, *proto.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")


def _converted(proto: ModelProto, model: Model) -> ModelProto:
    """`proto` with operator set `FIRST`, by ONNX."""
    from onnx import version_converter

    try:
        return version_converter.convert_version(proto, FIRST)
    except Exception as error:
        raise RewriteError(
            f"{model.name} uses operator set {model.opset}; gradients need {LEAST_OPSET} or later, and ONNX cannot "
            f"convert it: {one_line(error, 300)}. Export the model again with a later operator set"
        ) from error
