"""Shapes and element types: ONNX's own, and how they are named here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import TypeProto

__all__ = ["Dim", "Shape", "TensorType", "dtype_name", "element_type", "type_of"]

Dim = int | str | None
Shape = tuple[Dim, ...]
TensorType = tuple[Shape | None, str]
"""Shape (None where even the rank is unknown) and dtype ('' where unknown)."""

_RENAMED = {"float": "float32", "double": "float64", "undefined": ""}


def dtype_name(data_type: int) -> str:
    """NumPy's name of an ONNX element type ('float32', 'bfloat16', 'float8e4m3fn', 'int4', …), '' where unknown."""
    from onnx import TensorProto

    name = TensorProto.DataType.Name(data_type).lower() if data_type in TensorProto.DataType.values() else ""
    return _RENAMED.get(name, name)


def element_type(dtype: str) -> int:
    """The ONNX element type of that name: the way back from `dtype_name`. Raises ValueError where there is none."""
    from onnx import TensorProto

    own = {ours: name for name, ours in _RENAMED.items()}
    return int(TensorProto.DataType.Value(own.get(dtype, dtype).upper()))


def type_of(value: TypeProto) -> TensorType:
    """The shape and dtype a TypeProto declares; sequences, optionals and maps are ('', with no shape) of their kind."""
    if not value.HasField("tensor_type"):
        return None, value.WhichOneof("value") or ""
    tensor = value.tensor_type
    if not tensor.HasField("shape"):
        return None, dtype_name(tensor.elem_type)
    dims: list[Dim] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value"):
            dims.append(dim.dim_value if dim.dim_value >= 0 else None)
        else:
            dims.append(dim.dim_param or None)
    return tuple(dims), dtype_name(tensor.elem_type)
