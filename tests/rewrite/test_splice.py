"""Pieces that stand for a whole model: as many bytes as were said, and the bytes that were meant."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from onnxvis.errors import ModelError
from onnxvis.graph.external import Reference, refer
from onnxvis.rewrite.splice import copy_range, length_of, spliced, write
from tests.rewrite.running import from_text

TEXT = "g (float[3] x) => (float[3] y) { c = Constant<value = float[3] {1, 2, 3}>() s = Add(x, c) y = Add(s, w) }"
W = np.array([4, 5, 6], np.float32)


def outside(folder: Path) -> ModelProto:
    """w lies between other bytes of w.bin."""
    (folder / "w.bin").write_bytes(b"before" + W.tobytes() + b"after")
    proto = from_text(TEXT)
    proto.graph.initializer.append(numpy_helper.from_array(W, "w"))
    refer(proto.graph.initializer[0], Reference("w.bin", 6, W.nbytes))
    return proto


def test_a_model_without_references_is_one_with_itself(tmp_path: Path) -> None:
    proto = from_text(TEXT)
    pieces = spliced(proto)
    assert all(isinstance(piece, bytes) for piece in pieces)
    assert b"".join(piece for piece in pieces if isinstance(piece, bytes)) == proto.SerializeToString()


def test_references_are_replaced_by_what_they_refer_to(tmp_path: Path) -> None:
    proto = outside(tmp_path)
    before = proto.SerializeToString()
    pieces = spliced(proto)
    assert [piece for piece in pieces if not isinstance(piece, bytes)] == [Reference("w.bin", 6, W.nbytes)]
    output = io.BytesIO()
    write(pieces, tmp_path, output)
    assert len(output.getvalue()) == length_of(pieces)
    assert proto.SerializeToString() == before
    expected = from_text(TEXT)
    expected.graph.initializer.append(numpy_helper.from_array(W, "w"))
    assert ModelProto.FromString(output.getvalue()) == expected


def test_a_range_is_copied_and_zeros_are_stepped_over(tmp_path: Path) -> None:
    data = bytes(1 << 20) + b"end"
    (tmp_path / "w.bin").write_bytes(b"x" + data)
    with open(tmp_path / "out", "w+b") as output:
        copy_range(tmp_path, Reference("w.bin", 1, len(data)), output)
        output.truncate()
        output.seek(0)
        assert output.read() == data


def test_bytes_that_are_gone_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"short")
    with pytest.raises(ModelError, match=r"w\.bin became shorter while it was read"):
        copy_range(tmp_path, Reference("w.bin", 0, 100), io.BytesIO())
