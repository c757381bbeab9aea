"""Reading protobuf's wire format without parsing it, so that large weights can be stepped over where they lie.

Format: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["LENGTH_DELIMITED", "Field", "UnexpectedWireFormat", "encode_bytes", "encode_varint", "fields"]

LENGTH_DELIMITED = 2
_FIXED_SIZES = {1: 8, 5: 4}


class UnexpectedWireFormat(Exception):
    """The bytes are not what this reader understands; the caller falls back to a full parse."""


class Field(NamedTuple):
    """One field of a message: its number, its wire type, and where it lies in the file.

    `start` is where the tag begins, `begin:end` is the payload; for a varint, `value` holds the number.
    """

    number: int
    wire_type: int
    start: int
    begin: int
    end: int
    value: int = 0


def fields(data: mmap.mmap | bytes, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message at data[begin:end], in file order. Raises UnexpectedWireFormat."""
    position = begin
    while position < end:
        start = position
        tag, position = _varint(data, position, end)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == LENGTH_DELIMITED:
            length, position = _varint(data, position, end)
            following = position + length
            field = Field(number, wire_type, start, position, following)
        elif wire_type == 0:
            value, following = _varint(data, position, end)
            field = Field(number, wire_type, start, position, following, value)
        elif wire_type in _FIXED_SIZES:
            following = position + _FIXED_SIZES[wire_type]
            field = Field(number, wire_type, start, position, following)
        else:
            raise UnexpectedWireFormat(f"wire type {wire_type} at byte {start}")
        if number == 0 or following > end:
            raise UnexpectedWireFormat(f"field {number} at byte {start} runs past its message")
        yield field
        position = following


def encode_varint(value: int) -> bytes:
    """A non-negative integer as a base-128 varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_bytes(number: int, payload: bytes) -> bytes:
    """A length-delimited field: tag, length, payload."""
    return encode_varint(number << 3 | LENGTH_DELIMITED) + encode_varint(len(payload)) + payload


def _varint(data: mmap.mmap | bytes, position: int, end: int) -> tuple[int, int]:
    result = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, position
        shift += 7
    raise UnexpectedWireFormat(f"a number at byte {position} has no end")
