"""A model's serialised bytes with its weights put back in, without ever holding more than a piece of them.

The way back from `graph/skeleton.py`: the skeleton is walked as wire format, and each reference becomes `raw_data`, its
bytes copied from the file they lie in. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnxvis.errors import ModelError
from onnxvis.files import one_line
from onnxvis.graph.external import Reference, reference
from onnxvis.graph.wire import LENGTH_DELIMITED, encode_varint, fields

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Chunk", "copy_range", "length_of", "spliced", "write"]

Chunk = bytes | Reference
"""Bytes as they stand, or the bytes that lie there."""

_BUFFER = 1 << 20
_ZEROS = bytes(_BUFFER)
_RAW_DATA = 9
_EXTERNAL = b"\x70\x01"
"""`data_location: EXTERNAL` as it is serialised: what holds no such bytes holds no reference."""

# Which fields of which message hold messages in which a reference can lie; a tensor has none.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def spliced(proto: ModelProto) -> list[Chunk]:
    """The self-contained model as pieces to be written one after the other. References must state their length."""
    data = proto.SerializeToString()
    return _message(data, "model", 0, len(data))


def length_of(pieces: Iterable[Chunk]) -> int:
    """Number of bytes that the pieces make."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.length or 0 for piece in pieces)


def write(pieces: Iterable[Chunk], folder: Path, output: BinaryIO) -> None:
    """Write the pieces to a new file; references are relative to `folder`. Raises ModelError as `copy_range`."""
    for piece in pieces:
        if isinstance(piece, bytes):
            output.write(piece)
        else:
            copy_range(folder, piece, output)
    output.truncate()


def copy_range(folder: Path, found: Reference, output: BinaryIO) -> None:
    """Copy the bytes a reference means, 1 MiB at a time; runs of zeros become holes, so a sparse file stays sparse.

    The caller truncates the file at the end, in case it ends in a hole. Raises ModelError where bytes are missing.
    """
    left = found.length or 0
    with open(folder / found.location, "rb") as stream:
        stream.seek(found.offset)
        while left:
            piece = stream.read(min(_BUFFER, left))
            if not piece:
                raise ModelError(f"{one_line(found.location)} became shorter while it was read; try again")
            left -= len(piece)
            if piece == _ZEROS:
                output.seek(len(piece), os.SEEK_CUR)
            else:
                output.write(piece)


def _message(data: bytes, message: str, begin: int, end: int) -> list[Chunk]:
    if message == "tensor":
        return _tensor(data[begin:end])
    children = _CHILDREN[message]
    pieces: list[Chunk] = []
    for field in fields(data, begin, end):
        child = children.get(field.number) if field.wire_type == LENGTH_DELIMITED else None
        if child and data.find(_EXTERNAL, field.begin, field.end) >= 0:
            inner = _message(data, child, field.begin, field.end)
            pieces += [_header(field.number, length_of(inner)), *inner]
        else:
            pieces.append(data[field.start : field.end])
    return pieces


def _tensor(data: bytes) -> list[Chunk]:
    from onnx import TensorProto

    tensor = TensorProto.FromString(data)
    found = reference(tensor)
    if found is None:
        return [data]
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    return [tensor.SerializeToString(), _header(_RAW_DATA, found.length or 0), found]


def _header(number: int, length: int) -> bytes:
    return encode_varint(number << 3 | LENGTH_DELIMITED) + encode_varint(length)
