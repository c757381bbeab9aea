"""Reading what is stored, whatever its form, as one array: a view of the mapped file where it can be."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import ModelError
from onnxvis.graph.external import Reference, reference, stored_bytes
from onnxvis.graph.stored import Fill, Numbers, Source, Sparse
from onnxvis.graph.types import dtype_name
from onnxvis.graph.wire import LENGTH_DELIMITED, encode_varint

if TYPE_CHECKING:
    from onnx import TensorProto

__all__ = ["MAX_ELEMENTS", "Files", "described"]

Array = np.ndarray[Any, np.dtype[Any]]

MAX_ELEMENTS = 2**28
"""What a few bytes may claim to stand for (a sparse tensor, an array of one value): 1 GiB of float32, not more."""

_ALWAYS_DENSE, _THINNEST = 2**24, 4096
_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
_IN_OWN_FILE = {9: "raw_data", 4: "float_data", 10: "double_data"}
_PLAIN = {
    "value_float": ("f", "float32"),
    "value_floats": ("floats", "float32"),
    "value_int": ("i", "int64"),
    "value_ints": ("ints", "int64"),
    "value_string": ("s", "string"),
    "value_strings": ("strings", "string"),
}


def described(source: Source) -> tuple[tuple[int, ...], str]:
    """The shape and dtype of what is stored, without reading it."""
    if isinstance(source, Sparse):
        return tuple(source.proto.dims), dtype_name(source.proto.values.data_type)
    if isinstance(source, Numbers):
        field, dtype = _PLAIN[source.attribute.name]
        return ((len(getattr(source.attribute, field)),) if field.endswith("s") and len(field) > 1 else ()), dtype
    if isinstance(source, Fill):
        return source.shape, dtype_name(source.value.data_type) if source.value is not None else "float32"
    return tuple(source.dims), dtype_name(source.data_type)


class Files:
    """The files that a model's tensors lie in: the model's own, `own`, and those beside it, relative to `folder`."""

    def __init__(self, folder: Path, own: str = "") -> None:
        self._folder = folder
        self._own = own
        self._maps: dict[str, mmap.mmap] = {}

    def storage(self, source: Source) -> str:
        """How the numbers stand in the file: 'raw_data', 'float_data', …, 'external', 'sparse', 'fill', 'value_ints'.

        A large tensor that the skeleton refers to in the model's own file is told by the tag before its bytes.
        """
        if isinstance(source, Sparse):
            return "sparse"
        if isinstance(source, Numbers):
            return source.attribute.name
        if isinstance(source, Fill):
            return "fill"
        where = reference(source)
        if where is None:
            return next((name for name in _FIELDS if len(getattr(source, name))), "raw_data")
        return self._field_of(where) if where.location == self._own else "external"

    def read(self, source: Source) -> Array:
        """The array, read-only. Raises ModelError, ValueError, TypeError, KeyError or OSError where it cannot be."""
        if isinstance(source, Sparse):
            array = self._dense(source)
        elif isinstance(source, Numbers):
            array = _plain(source)
        elif isinstance(source, Fill):
            array = self._filled(source)
        else:
            where = reference(source)
            array = _inline(source) if where is None else self._external(source, where)
        array.flags.writeable = False
        return array

    def release(self) -> None:
        """Give back the memory of what was read from mapped files; arrays stay valid, and read from the file again."""
        for mapped in self._maps.values():
            if hasattr(mapped, "madvise"):  # not on Windows, which gives back by itself
                mapped.madvise(mmap.MADV_DONTNEED)

    def _field_of(self, where: Reference) -> str:
        length = encode_varint(where.length or 0)
        try:
            before = self._map(where.location)[max(0, where.offset - len(length) - 1) : where.offset].tobytes()
        except (OSError, ValueError):  # whoever reads it is told that the file is gone
            return "external"
        tag = before[:1]
        if len(before) == len(length) + 1 and before[1:] == length and tag[0] & 7 == LENGTH_DELIMITED:
            return _IN_OWN_FILE.get(tag[0] >> 3, "external")
        return "external"

    def _map(self, location: str) -> Array:
        if location not in self._maps:
            with open(self._folder / location, "rb") as stream:
                self._maps[location] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._maps[location], np.uint8)

    def _external(self, tensor: TensorProto, where: Reference) -> Array:
        from onnx import TensorProto as Proto
        from onnx import helper

        dtype, shape = helper.tensor_dtype_to_np_dtype(tensor.data_type), tuple(tensor.dims)
        data: Array = np.empty(0, np.uint8)
        if where.length:  # an empty file cannot be mapped
            data = self._map(where.location)[where.offset : where.offset + where.length]
        if math.prod(shape) * dtype.itemsize == stored_bytes(tensor):
            return data.view(dtype).reshape(shape)
        return _inline(Proto(dims=tensor.dims, data_type=tensor.data_type, raw_data=data.tobytes()))

    def _filled(self, source: Fill) -> Array:
        if any(size < 0 for size in source.shape) or math.prod(source.shape) > MAX_ELEMENTS:
            raise ModelError(f"one value in {math.prod(source.shape)} places; up to {MAX_ELEMENTS} are read")
        value = np.zeros(1, np.float32) if source.value is None else self.read(source.value)
        return np.broadcast_to(value.reshape(()), source.shape)

    def _dense(self, source: Sparse) -> Array:
        values, indices = self.read(source.proto.values), self.read(source.proto.indices)
        shape = tuple(source.proto.dims)
        count = math.prod(shape)
        limit = min(MAX_ELEMENTS, max(_ALWAYS_DENSE, _THINNEST * values.size))
        if any(size < 0 for size in shape) or count > limit:
            raise ModelError(f"{values.size} stored values stand for {count}; up to {limit} are read")
        flat = _positions(indices, values, shape)
        array = np.zeros(count, values.dtype)
        array[flat] = values
        return array.reshape(shape)


def _positions(indices: Array, values: Array, shape: tuple[int, ...]) -> Array:
    """Where in the flat array each stored value stands. ONNX allows flat positions and rows of coordinates."""
    fitting = {values.shape, (*values.shape, len(shape))}
    if values.ndim != 1 or indices.dtype != np.int64 or indices.shape not in fitting:
        raise ModelError(f"indices of shape {list(indices.shape)} do not fit {values.size} stored values")
    columns = indices[:, None] if indices.ndim == 1 else indices
    bounds = np.array([math.prod(shape)] if indices.ndim == 1 else shape, np.int64)
    if np.any(columns < 0) or np.any(columns >= bounds):
        raise ModelError(f"an index lies outside the shape {list(shape)}")
    if indices.ndim == 1:
        flat = indices
    else:
        flat = np.zeros(len(values), np.int64)
        for axis, size in enumerate(shape):
            flat = flat * size + columns[:, axis]
    if len(np.unique(flat)) < len(flat):
        raise ModelError("two values are stored for the same index")
    return flat


def _plain(source: Numbers) -> Array:
    field, dtype = _PLAIN[source.attribute.name]
    value = getattr(source.attribute, field)
    if dtype == "string":
        return np.array(value if isinstance(value, bytes) else list(value), dtype=object)
    return np.array(value, dtype)


def _inline(tensor: TensorProto) -> Array:
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))
