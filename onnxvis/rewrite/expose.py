"""Intermediate tensors as extra outputs of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.load import Model
from onnxvis.graph.protos import copied
from onnxvis.graph.types import element_type
from onnxvis.graph.view import Tensor
from onnxvis.rewrite.names import Names
from onnxvis.rewrite.prune import prune

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["WIDER", "Exposed", "expose"]

WIDER = {
    "bfloat16": "float32", "float8e4m3fn": "float32", "float8e4m3fnuz": "float32", "float8e5m2": "float32",
    "float8e5m2fnuz": "float32", "float8e8m0": "float32", "float4e2m1": "float32",
    "int4": "int8", "int2": "int8", "uint4": "uint8", "uint2": "uint8",
}  # fmt: skip
"""Element types that NumPy has no number for, and the one that holds every value of theirs exactly."""

_NOT_TENSORS = {"sequence_type": "a sequence", "optional_type": "an optional", "map_type": "a map"}
_SPARSE = "sparse_tensor_type"


@dataclass(frozen=True)
class Exposed:
    """A model with more outputs. `outputs` is {tensor asked for: the output that carries it}.

    The two names differ where a tensor had to pass through a Cast; `casts` then says from which type to which.
    """

    proto: ModelProto
    outputs: dict[str, str]
    casts: dict[str, tuple[str, str]]


def expose(model: Model, tensors: Iterable[str], *, only: bool = False) -> Exposed:
    """A new model that also returns `tensors`, after its own outputs, which stay first and in order.

    With `only` it returns nothing else, and every node, weight and input that they do not need is left out. Types are
    declared where they are known and left to the runtime where not. bfloat16, 8-bit floats and 4-bit numbers are cast
    to a type that NumPy has. The model given is not changed; weights stay references into its file.
    Raises TensorNotFound; RewriteError for what is no tensor (a sequence, an optional), or where nothing would be left.
    """
    wanted = list(dict.fromkeys(tensors))
    if only and not wanted:
        raise RewriteError("no tensor was named, so nothing would be left of the model")
    found = [model.view.tensor(name) for name in wanted]
    for tensor in found:
        if tensor.dtype in _NOT_TENSORS or tensor.dtype == _SPARSE:
            kind = _NOT_TENSORS.get(tensor.dtype, "a sparse tensor")
            raise RewriteError(f"'{one_line(tensor.name)}' is {kind}, not a tensor, so it cannot be shown")
    proto = copied(model.proto)
    if only:
        del proto.graph.output[:]
    present = {value.name for value in proto.graph.output}
    names = Names(proto.graph)
    outputs: dict[str, str] = {}
    casts: dict[str, tuple[str, str]] = {}
    for tensor in found:
        wider = WIDER.get(tensor.dtype)
        outputs[tensor.name] = names.fresh(f"{tensor.name}.{wider}") if wider else tensor.name
        if wider:
            casts[tensor.name] = (tensor.dtype, wider)
            _add_cast(proto, tensor.name, outputs[tensor.name], wider)
        if outputs[tensor.name] not in present:
            proto.graph.output.append(_value_info(model, outputs[tensor.name], tensor, wider))
    if only:
        prune(proto.graph)
    return Exposed(proto, outputs, casts)


def _value_info(model: Model, name: str, tensor: Tensor, wider: str | None) -> ValueInfoProto:
    from onnx import ValueInfoProto as Value
    from onnx import helper

    dtype = wider or tensor.dtype
    if not dtype:
        return Value(name=name)
    shape = tensor.shape
    if shape is not None and model.assumed_shapes:
        shape = (None,) * len(shape)  # sizes were computed for the shapes assumed; whoever feeds others gets others
    return helper.make_tensor_value_info(name, element_type(dtype), shape)


def _add_cast(proto: ModelProto, source: str, target: str, dtype: str) -> None:
    from onnx import helper

    proto.graph.node.append(helper.make_node("Cast", [source], [target], name=target, to=element_type(dtype)))
