"""The wire reader against protobuf's own serialiser."""

from __future__ import annotations

import mmap
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.graph.wire import LENGTH_DELIMITED, UnexpectedWireFormat, encode_bytes, encode_varint, fields


def mapped(data: bytes, folder: Path) -> mmap.mmap:
    path = folder / "data"
    path.write_bytes(data)
    with open(path, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def test_fields_are_protobuf_s(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu (x) }'
    )
    data = mapped(model.SerializeToString(), tmp_path)
    found = list(fields(data, 0, len(data)))
    assert [(field.number, field.wire_type) for field in found] == [(1, 0), (8, 2), (7, 2)] or {
        field.number for field in found
    } == {1, 7, 8}
    assert next(field.value for field in found if field.number == 1) == 8
    graph = next(field for field in found if field.number == 7)
    assert data[graph.begin : graph.end] == model.graph.SerializeToString()
    assert [field.start for field in found] == [0, *(field.end for field in found[:-1])]


@settings(deadline=None)
@given(number=st.integers(1, 2**29 - 1), payload=st.binary(max_size=300), value=st.integers(0, 2**64 - 1))
def test_what_is_encoded_is_read(
    number: int, payload: bytes, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    message = encode_bytes(number, payload) + encode_varint(number << 3) + encode_varint(value)
    data = mapped(message, tmp_path_factory.mktemp("wire"))
    first, second = fields(data, 0, len(data))
    assert (first.number, first.wire_type, data[first.begin : first.end]) == (number, LENGTH_DELIMITED, payload)
    assert (second.number, second.wire_type, second.value) == (number, 0, value)


@pytest.mark.parametrize(
    "broken",
    [b"\x0a\x05abc", b"\x80", b"\xff" * 12, b"\x0b\x00", b"\x00\x01", b"\x09\x01\x02", b"\x08"],
    ids=["payload past the end", "tag without end", "endless number", "group", "field 0", "short fixed", "no value"],
)
def test_broken_messages_are_refused(broken: bytes, tmp_path: Path) -> None:
    data = mapped(broken, tmp_path)
    with pytest.raises(UnexpectedWireFormat):
        list(fields(data, 0, len(data)))
