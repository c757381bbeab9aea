"""Writes one array in any of the ways in which an ONNX file can hold it, by hand, as protobuf messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import FunctionProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

__all__ = ["FORMS", "Array", "Stored", "encoded", "random_array", "typed"]

Array = np.ndarray[Any, np.dtype[Any]]

_PACKED: dict[int, int] = {TensorProto.UINT4: 4, TensorProto.INT4: 4, TensorProto.FLOAT4E2M1: 4}
_PACKED |= {getattr(TensorProto, name): 2 for name in ("UINT2", "INT2") if hasattr(TensorProto, name)}
_SIX_BITS = {getattr(TensorProto, name) for name in ("FLOAT6E2M3", "FLOAT6E3M2") if hasattr(TensorProto, name)}
_FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}
_OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("local", 1)]


def random_array(data_type: int, shape: tuple[int, ...], seed: int) -> Array:
    """Any values of the type; floats with infinities, not-a-numbers and both zeros among them."""
    dtype, rng = helper.tensor_dtype_to_np_dtype(data_type), np.random.default_rng(seed)
    lowest = {"bool": 0, "uint4": 0, "int4": -8, "uint2": 0, "int2": -2}
    if dtype.name in lowest:
        count = 2 if dtype.name == "bool" else 2 ** _PACKED[data_type]
        low = lowest[dtype.name]
        return rng.integers(low, low + count, shape).astype(np.int8).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    if dtype.kind == "c":
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    if dtype.itemsize == 1:
        limit = 16 if data_type in _PACKED else 64 if data_type in _SIX_BITS else 256
        return rng.integers(0, limit, shape).astype(np.uint8).view(dtype)
    values = rng.standard_normal(shape)
    values[rng.random(shape) < 0.2] = 0
    odd = rng.random(shape) < 0.1
    values[odd] = rng.choice([np.nan, np.inf, -np.inf, -0.0, 1e-40], int(odd.sum()))
    return values.astype(dtype)


def encoded(array: Array, data_type: int) -> bytes:
    """The bytes of raw_data: little-endian, elements of 2 and 4 bits packed with the first in the lowest bits."""
    flat = np.ascontiguousarray(array).reshape(-1)
    if data_type in _SIX_BITS:
        bits = np.unpackbits(flat.view(np.uint8)[:, None], axis=1, bitorder="little")[:, :6]
        return np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    if data_type not in _PACKED:
        return flat.tobytes()
    each, codes = 8 // _PACKED[data_type], flat.view(np.uint8)
    padded = np.concatenate([codes, np.zeros(-len(codes) % each, np.uint8)]).reshape(-1, each)
    packed = np.zeros(len(padded), np.uint8)
    for place in range(each):
        packed |= (padded[:, place] & (2 ** _PACKED[data_type] - 1)) << (place * _PACKED[data_type])
    return packed.tobytes()


def typed(array: Array, data_type: int, name: str) -> TensorProto:
    """The tensor with its numbers in the field that protobuf has for the type; small types as bits in int32_data."""
    tensor = TensorProto(name=name, data_type=data_type, dims=array.shape)
    field = _FIELDS.get(data_type, "int32_data")
    flat = np.ascontiguousarray(array).reshape(-1)
    if field in ("float_data", "double_data"):
        flat = flat.view(np.float32 if field == "float_data" else np.float64)
    elif data_type in _PACKED:
        flat = np.frombuffer(encoded(array, data_type), np.uint8)
    elif array.dtype.kind not in "iu":
        flat = flat.view(f"u{array.dtype.itemsize}")
    getattr(tensor, field).extend(flat.tolist())
    return tensor


def _raw(array: Array, data_type: int, name: str) -> TensorProto:
    return TensorProto(name=name, data_type=data_type, dims=array.shape, raw_data=encoded(array, data_type))


@dataclass
class Stored:
    """A model file, and what a tensor of it must be listed as."""

    model: ModelProto
    name: str
    place: str
    storage: str


def _model(nodes: list[NodeProto], initializers: list[TensorProto], functions: list[FunctionProto]) -> ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    graph = helper.make_graph([*nodes, helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y], initializers)
    return helper.make_model(graph, opset_imports=_OPSETS, functions=functions, ir_version=10)


def _initializer(array: Array, data_type: int, _: Path) -> Stored:
    return Stored(_model([], [_raw(array, data_type, "w")], []), "w", "", "raw_data")


def _typed_field(array: Array, data_type: int, _: Path) -> Stored:
    storage = _FIELDS.get(data_type, "int32_data") if array.size else "raw_data"
    return Stored(_model([], [typed(array, data_type, "w")], []), "w", "", storage)


def _external(array: Array, data_type: int, folder: Path) -> Stored:
    data = encoded(array, data_type)
    (folder / "far.bin").write_bytes(b"\xaa" * 13 + data)
    tensor = TensorProto(name="w", data_type=data_type, dims=array.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "far.bin"), ("offset", "13"), ("length", str(len(data)))):
        tensor.external_data.add(key=key, value=value)
    return Stored(_model([], [tensor], []), "w", "", "external")


def _constant(array: Array, data_type: int, _: Path) -> Stored:
    node = helper.make_node("Constant", [], ["w"], value=_raw(array, data_type, "inner"))
    return Stored(_model([node], [], []), "w", "Constant w", "raw_data")


def _sparse(array: Array, data_type: int, *, flat: bool) -> SparseTensorProto:
    rows = np.ascontiguousarray(array).reshape(-1)
    kept = np.flatnonzero(rows.view(np.uint8).reshape(rows.size, -1).any(axis=1)) if rows.size else np.zeros(0, int)
    places = kept
    if not flat:
        strides = np.array([int(np.prod(array.shape[i + 1 :])) for i in range(array.ndim)], np.int64)
        places = kept[:, None] // strides % np.array(array.shape, np.int64)
    indices = TensorProto(data_type=TensorProto.INT64, dims=places.shape, raw_data=places.astype(np.int64).tobytes())
    return SparseTensorProto(values=_raw(rows[kept], data_type, "w"), indices=indices, dims=array.shape)


def _sparse_initializer(array: Array, data_type: int, _: Path) -> Stored:
    model = _model([], [], [])
    model.graph.sparse_initializer.append(_sparse(array, data_type, flat=True))
    return Stored(model, "w", "", "sparse")


def _sparse_coordinates(array: Array, data_type: int, _: Path) -> Stored:
    node = helper.make_node("Constant", [], ["w"], "k", sparse_value=_sparse(array, data_type, flat=False))
    return Stored(_model([node], [], []), "w", "Constant k", "sparse")


def _branch(array: Array, data_type: int, _: Path) -> Stored:
    out = helper.make_tensor_value_info("t", data_type, None)
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["t"])], "b", [], [out], [_raw(array, data_type, "w")]
    )
    flag = TensorProto(name="flag", data_type=TensorProto.BOOL, int32_data=[1])
    node = helper.make_node("If", ["flag"], ["chosen"], "choose", then_branch=inner, else_branch=inner)
    return Stored(_model([node], [flag], []), "w", "If choose else_branch", "raw_data")


def _function(array: Array, data_type: int, _: Path) -> Stored:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=typed(array, data_type, "")),
        helper.make_node("Identity", ["a"], ["b"]),
    ]
    function = helper.make_function("local", "F", ["a"], ["b"], nodes, _OPSETS[:1])
    call = helper.make_node("F", ["x"], ["z"], domain="local")
    storage = _FIELDS.get(data_type, "int32_data") if array.size else "raw_data"
    return Stored(_model([call], [], [function]), "w", "function F / Constant w", storage)


def _handed_on(array: Array, data_type: int, _: Path) -> Stored:
    nodes = [
        helper.make_node("Identity", ["w"], ["w1"]),
        helper.make_node("Transpose", ["w1"], ["w2"]),
        helper.make_node("Cast", ["w2"], ["w3"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w3"], ["z"]),
    ]
    return Stored(_model(nodes, [_raw(array, data_type, "w")], []), "w", "", "raw_data")


FORMS: dict[str, Callable[[Array, int, Path], Stored]] = {
    "initializer": _initializer,
    "typed field": _typed_field,
    "external": _external,
    "constant": _constant,
    "sparse initializer": _sparse_initializer,
    "sparse coordinates": _sparse_coordinates,
    "branch": _branch,
    "function": _function,
    "handed on": _handed_on,
}
