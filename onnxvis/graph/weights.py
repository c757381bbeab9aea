"""The tensors stored in a model: initializers, constants, and what hides in branches and functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph.external import reference, stored_bytes, tensors_of
from onnxvis.graph.types import dtype_name

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["StoredTensor", "Weights"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor stored in the file. `place` is '' for an initializer of the main graph, else the node that holds it."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    place: str
    storage: str

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Weights:
    """All stored tensors of a model, read as views into the mapped files they lie in."""

    def __init__(self, model: ModelProto, folder: Path) -> None:
        self._folder = folder
        self._model = model
        self._mapped: dict[str, Array] = {}

    @cached_property
    def _placed(self) -> dict[str, tuple[StoredTensor, TensorProto]]:
        found: dict[str, tuple[StoredTensor, TensorProto]] = {}
        for item in tensors_of(self._model):
            name = item.name if item.name not in found else f"{item.name} ({item.place})"
            tensor, dtype = item.tensor, dtype_name(item.tensor.data_type)
            found[name] = (StoredTensor(name, tuple(tensor.dims), dtype, item.place, _storage(tensor)), tensor)
        return found

    def all(self) -> tuple[StoredTensor, ...]:
        """Every stored tensor in file order; where names repeat in branches, the later ones carry their place."""
        return tuple(stored for stored, _ in self._placed.values())

    def read(self, name: str) -> Array:
        """A stored tensor as a read-only array of its own shape and dtype (bfloat16 and fp8 by ml_dtypes).

        Raises TensorNotFound; ModelError where the bytes do not fit the shape.
        """
        if name not in self._placed:
            raise TensorNotFound(f"the model stores no tensor '{one_line(name)}'")
        stored, tensor = self._placed[name]
        try:
            return self._external(tensor) if reference(tensor) else _inline(tensor)
        except (ValueError, TypeError, KeyError, OSError) as error:
            shape = list(stored.shape)
            raise ModelError(f"tensor '{one_line(name)}' of shape {shape} cannot be read: {one_line(error)}") from error

    def _external(self, tensor: TensorProto) -> Array:
        from onnx import TensorProto as Proto
        from onnx import helper

        where = reference(tensor)
        assert where is not None
        if where.location not in self._mapped:
            self._mapped[where.location] = np.memmap(self._folder / where.location, dtype=np.uint8, mode="r")
        data = self._mapped[where.location][where.offset : where.offset + (where.length or 0)]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        count = math.prod(tensor.dims)
        if count * dtype.itemsize == stored_bytes(tensor):
            return data.view(np.ndarray).view(dtype).reshape(tuple(tensor.dims))
        packed = Proto(dims=tensor.dims, data_type=tensor.data_type, raw_data=data.tobytes())
        return _inline(packed)


def _inline(tensor: TensorProto) -> Array:
    from onnx import numpy_helper

    array = np.asarray(numpy_helper.to_array(tensor))
    array.flags.writeable = False
    return array


def _storage(tensor: TensorProto) -> str:
    """The field of the file's message that holds the bytes."""
    if tensor.data_location == tensor.EXTERNAL:
        return "mapped"
    return next((name for name in _FIELDS if len(getattr(tensor, name))), "raw_data")


_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
