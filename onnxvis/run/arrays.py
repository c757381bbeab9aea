"""Reading .npy and .npz files that are fed to a model as they are: every header is checked before its data is read."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.run.pictures import open_regular

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["MAX_BYTES", "check_fits", "dimensions", "read_npy", "read_npz"]

MAX_BYTES = 4 << 30
_DAMAGED = (ValueError, EOFError, OSError, KeyError, SyntaxError, zipfile.BadZipFile, zlib.error, RuntimeError)


def read_npy(path: Path, tensor: Tensor) -> np.ndarray:
    """The array in an .npy file, of exactly the dtype and shape that `tensor` takes.

    Never unpickles. Raises InputError naming the input, what it takes and what the file holds.
    """
    with open_regular(path) as stream:
        return _read(stream, one_line(path), tensor)


def read_npz(path: Path, inputs: Sequence[Tensor]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The arrays of an .npz file by input name, each checked as by `read_npy`, and the names that are no input.

    A file with one array under NumPy's own name `arr_0` serves a model with one input. Raises InputError.
    """
    name, by_name = one_line(path), {tensor.name: tensor for tensor in inputs}
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            members = {member.removesuffix(".npy"): member for member in archive.namelist()}
            if set(members) == {"arr_0"} and len(inputs) == 1:
                members = {inputs[0].name: members["arr_0"]}
            arrays: dict[str, np.ndarray] = {}
            for key in by_name.keys() & members.keys():
                with archive.open(members[key]) as member:
                    arrays[key] = _read(member, f"{name} ({one_line(key)})", by_name[key])
    except _DAMAGED as error:
        raise InputError(f"{name} is not an .npz archive, or is damaged: {one_line(error)}") from error
    if not arrays:
        found, wanted = _listed(members), _listed(by_name)
        raise InputError(
            f"{name} holds {found}, but the model's inputs are {wanted}: save the arrays under those names"
        )
    return arrays, tuple(sorted(members.keys() - by_name.keys()))


def check_fits(shape: tuple[int, ...], dtype: np.dtype[Any], tensor: Tensor, where: str) -> None:
    """Raise InputError unless an array of this shape and dtype can be fed to `tensor`, saying how to mend it."""
    if dtype.newbyteorder("=") != _dtype(tensor):
        advice = f"convert it with array.astype('{tensor.dtype}')"
        raise InputError(f"input {one_line(tensor.name)!r} takes {tensor.dtype}; {where} holds {dtype}: {advice}")
    if tensor.shape is None:
        return
    wanted = dimensions(tensor)
    if len(shape) == len(wanted) and all(want in (None, have) for want, have in zip(wanted, shape, strict=True)):
        return
    mended = (1, *shape)
    batch = len(mended) == len(wanted) and all(want in (None, have) for want, have in zip(wanted, mended, strict=True))
    advice = "add the batch dimension with array[None]" if batch else "reshape or resize it"
    takes = f"({', '.join('any' if side is None else str(side) for side in wanted)})"
    raise InputError(f"input {one_line(tensor.name)!r} takes shape {takes}; {where} holds {shape}: {advice}")


def dimensions(tensor: Tensor) -> tuple[int | None, ...]:
    """The shape with None for free dimensions: names, and the −1 and 0 that some exporters write."""
    return tuple(side if isinstance(side, int) and side > 0 else None for side in tensor.shape or ())


def _read(stream: IO[bytes], where: str, tensor: Tensor) -> np.ndarray:
    try:
        shape, fortran, dtype = _header(stream)
    except Exception as error:  # NumPy's parser lets Python's own through: TokenError, SyntaxError, RecursionError, ….
        raise InputError(f"{where} is not an .npy array of plain numbers, or is damaged: {one_line(error)}") from error
    check_fits(shape, dtype, tensor, where)
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise InputError(f"{where} declares {size:,} bytes; arrays up to {MAX_BYTES:,} are fed")
    data = bytearray(size)
    got = _fill(stream, memoryview(data))
    if got < size:
        raise InputError(f"{where} is cut short: {got:,} of {size:,} bytes")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).reshape(shape)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, Fortran order, dtype) from an .npy header, whose declared shape is not believed yet."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} is for arrays of records")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shape, fortran, dtype = read(stream)
    if dtype.kind not in "biufc" or any(side < 0 for side in shape):
        raise ValueError(f"{dtype} of shape {shape}")
    return shape, fortran, dtype


def _fill(stream: IO[bytes], into: memoryview) -> int:
    """Read until `into` is full or the stream ends, in pieces of 1 MiB: how many bytes came."""
    got = 0
    while got < len(into):
        piece = stream.read(min(1 << 20, len(into) - got))
        if not piece:
            break
        into[got : got + len(piece)] = piece
        got += len(piece)
    return got


def _dtype(tensor: Tensor) -> np.dtype[Any]:
    try:
        return np.dtype(tensor.dtype or "V")
    except TypeError as error:
        raise InputError(f"input {one_line(tensor.name)!r} takes {tensor.dtype}, which NumPy does not have") from error


def _listed(names: Mapping[str, object]) -> str:
    shown = [one_line(name, 40) for name in list(names)[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "nothing"
