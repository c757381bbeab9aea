"""A model without its weights: every large in-file tensor becomes an external-data reference into the same file.

The rest, usually some 100 kB, is copied byte by byte and parsed as an ordinary ModelProto. Rewrites work on it, and
ONNX Runtime maps the weights from the untouched file.

Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass
from pathlib import Path

from onnxvis.graph.wire import LENGTH_DELIMITED, Field, UnexpectedWireFormat, encode_bytes, encode_varint, fields

__all__ = ["INLINE_LIMIT", "scan"]

INLINE_LIMIT = 4096
"""Tensors of at most this many bytes stay in the skeleton: shape inference and ONNX Runtime need their values."""

_MAX_DEPTH = 60
_TENSOR = "tensor"

# Which fields of which message hold messages in which a large tensor can lie.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: _TENSOR},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: _TENSOR, 6: "graph", 10: _TENSOR, 11: "graph"},
}

_DATA_TYPE, _FLOAT_DATA, _RAW_DATA, _DOUBLE_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 4, 9, 10, 13, 14
_DATA_FIELDS = {_FLOAT_DATA, 5, 6, 7, _RAW_DATA, _DOUBLE_DATA, 11}
_FLOAT, _INT32, _INT64, _STRING, _DOUBLE = 1, 6, 7, 8, 11
_KEPT_INLINE = {_INT32, _INT64, _STRING}


@dataclass(frozen=True)
class _Source:
    data: mmap.mmap
    location: bytes


def scan(path: Path) -> bytes:
    """The serialised skeleton of the model file at `path`, whose large tensors refer to the file by its bare name.

    Packed float_data and double_data lie in the file exactly as raw_data would, so they are referred to as well.
    int32, int64 and string tensors stay inline whatever their size.
    Raises UnexpectedWireFormat where the file is not understood: parse it whole instead; OSError; ValueError (empty).
    """
    try:
        location = path.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnexpectedWireFormat(f"the file's name is not UTF-8: {error}") from error
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        source = _Source(data, location)
        return _copy(source, "model", 0, len(data), 0)


def _copy(source: _Source, message: str, begin: int, end: int, depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise UnexpectedWireFormat(f"graphs nested more than {_MAX_DEPTH} deep")
    if message == _TENSOR:
        return _copy_tensor(source, begin, end)
    children = _CHILDREN[message]
    parts: list[bytes] = []
    for field in fields(source.data, begin, end):
        child = children.get(field.number)
        if child is None or field.wire_type != LENGTH_DELIMITED or field.end - field.begin <= INLINE_LIMIT:
            parts.append(source.data[field.start : field.end])
        else:
            parts.append(encode_bytes(field.number, _copy(source, child, field.begin, field.end, depth + 1)))
    return b"".join(parts)


def _copy_tensor(source: _Source, begin: int, end: int) -> bytes:
    found = list(fields(source.data, begin, end))
    data_type = next((field.value for field in found if field.number == _DATA_TYPE), 0)
    payload = _referable(found, data_type)
    if payload is None:
        return source.data[begin:end]
    kept = [source.data[field.start : field.end] for field in found if field is not payload]
    length = payload.end - payload.begin
    entries = ((b"location", source.location), (b"offset", b"%d" % payload.begin), (b"length", b"%d" % length))
    reference = [encode_bytes(_EXTERNAL_DATA, encode_bytes(1, key) + encode_bytes(2, value)) for key, value in entries]
    location_is_external = encode_varint(_DATA_LOCATION << 3) + encode_varint(1)
    return b"".join([*kept, *reference, location_is_external])


def _referable(found: list[Field], data_type: int) -> Field | None:
    """The one field that holds a large tensor's bytes as they would stand in an external file, or None."""
    holding = [field for field in found if field.number in _DATA_FIELDS]
    if len(holding) != 1 or data_type in _KEPT_INLINE or any(field.number == _EXTERNAL_DATA for field in found):
        return None
    field = holding[0]
    as_raw = field.number == _RAW_DATA or (field.number, data_type) in {(_FLOAT_DATA, _FLOAT), (_DOUBLE_DATA, _DOUBLE)}
    large = field.wire_type == LENGTH_DELIMITED and field.end - field.begin > INLINE_LIMIT
    return field if as_raw and large and sys.byteorder == "little" else None
