from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import InputError
from onnxvis.graph.view import Tensor
from onnxvis.run.arrays import read_npy, read_npz

X = Tensor("x", ("N", 3, -1, None), "float32")
ARRAY = np.random.default_rng(1).normal(size=(2, 3, 4, 5)).astype(np.float32)


def save(path: Path, array: Any, **options: Any) -> Path:
    np.save(path, array, **options)
    return path


@pytest.mark.parametrize("spelling", ["C", "F", "big-endian", "version 2"])
def test_arrays_come_as_they_are(tmp_path: Path, spelling: str) -> None:
    array = {"F": np.asfortranarray(ARRAY), "big-endian": ARRAY.astype(">f4")}.get(spelling, ARRAY)
    path = tmp_path / "a.npy"
    with open(path, "wb") as stream:
        np.lib.format.write_array(stream, array, version=(2, 0) if spelling == "version 2" else None)
    read = read_npy(path, X)
    np.testing.assert_array_equal(read, ARRAY)
    assert read.dtype == np.float32
    assert read.dtype.isnative
    assert read.flags.c_contiguous
    assert read.flags.writeable


def test_scalars_and_unknown_shapes(tmp_path: Path) -> None:
    assert read_npy(save(tmp_path / "a.npy", np.int64(7)), Tensor("s", (), "int64")) == 7
    assert read_npy(save(tmp_path / "a.npy", ARRAY), Tensor("x", None, "float32")).shape == (2, 3, 4, 5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ARRAY.astype(np.float64), r"input 'x' takes float32; .*a\.npy holds float64: .*astype\('float32'\)"),
        (ARRAY[0], r"input 'x' takes shape \(any, 3, any, any\); .*holds \(3, 4, 5\): add the batch dimension"),
        (ARRAY[:, :2], r"holds \(2, 2, 4, 5\): reshape or resize it"),
        (np.zeros((2, 2), np.float32), r"holds \(2, 2\): reshape"),
        (np.array(["a"]), "plain numbers, or is damaged: <U1"),
        (np.zeros(2, [("a", "f4")]), r"a\.npy"),
    ],
)
def test_what_does_not_fit_is_told_how_to(tmp_path: Path, array: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_npy(save(tmp_path / "a.npy", array), X)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="object"):
        read_npy(path, X)


def test_a_header_that_claims_more_than_there_is(tmp_path: Path) -> None:
    for shape, message in (((10**6, 3, 1000, 1000), "declares"), ((1, 3, 100, 100), "cut short: 8 of 120,000 bytes")):
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        (tmp_path / "a.npy").write_bytes(stream.getvalue() + b"\0" * 8)
        with pytest.raises(InputError, match=message):
            read_npy(tmp_path / "a.npy", X)


def test_types_that_numpy_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes float8e9, which NumPy does not have"):
        read_npy(save(tmp_path / "a.npy", ARRAY), Tensor("x", None, "float8e9"))


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    size = np.ones((1, 2), np.int64)
    inputs = [X, Tensor("im_shape", (1, 2), "int64"), Tensor("other", (1,), "float32")]
    np.savez(path, x=ARRAY, im_shape=size, more=size)
    arrays, unused = read_npz(path, inputs)
    assert arrays.keys() == {"x", "im_shape"}
    np.testing.assert_array_equal(arrays["x"], ARRAY)
    assert unused == ("more",)
    np.savez_compressed(path, ARRAY)
    np.testing.assert_array_equal(read_npz(path, [X])[0]["x"], ARRAY)
    with pytest.raises(InputError, match=r"a\.npz holds arr_0, but the model's inputs are x, im_shape, other"):
        read_npz(path, inputs)
    np.savez(path, x=ARRAY.astype(np.float16))
    with pytest.raises(InputError, match=r"a\.npz \(x\) holds float16"):
        read_npz(path, inputs)


def test_an_npz_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for data in (b"", b"PK\x05\x06", b"x" * 100):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.npz is not an \.npz archive, or is damaged"):
            read_npz(path, [X])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\0\x04\0{'a'")
    with pytest.raises(InputError, match=r"a\.npz"):
        read_npz(path, [X])


def _npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, ARRAY)
    return stream.getvalue()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_files_give_an_array_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    damaged = bytearray(_npy()[:400])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzzed.npy"
    path.write_bytes(bytes(damaged))
    with pytest.raises(InputError):
        read_npy(path, X)
