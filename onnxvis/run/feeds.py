"""The inputs that no picture goes to: given by name, or filled with a default that is said."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.run.arrays import MAX_BYTES, check_fits, dimensions, read_npy

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["bind", "complete_feeds", "parse_feeds"]

_SIZE_WORDS = (
    "im_shape", "img_shape", "image_shape", "im_size", "img_size", "image_size", "input_shape", "input_size",
    "orig_size", "orig_shape", "original_size", "target_size", "target_sizes", "orig_target_sizes",
)  # fmt: skip
_ONE_WORDS = ("scale_factor", "im_scale", "attention_mask", "pixel_mask", "padding_mask", "input_mask")
_TEXT_LIMIT = 1 << 20


def parse_feeds(texts: Sequence[str], inputs: Sequence[Tensor]) -> dict[str, np.ndarray]:
    """`--feed` arguments as arrays by input name: NAME=FILE.npy, NAME=1.5 or NAME=[1,2].

    A number fills the declared shape, free dimensions 1; a list must have it, leading ones left out or not.
    Raises UsageError for a name that is no input or a value that cannot be read, InputError for one that does not fit.
    """
    feeds: dict[str, np.ndarray] = {}
    for text in texts:
        fitting = [tensor for tensor in inputs if text.startswith(f"{tensor.name}=")]
        if not fitting:
            names = ", ".join(one_line(tensor.name, 40) for tensor in inputs)
            raise UsageError(f"--feed {one_line(text, 60)!r} names no input; write NAME=VALUE, NAME one of: {names}")
        tensor = max(fitting, key=lambda tensor: len(tensor.name))
        value = text[len(tensor.name) + 1 :]
        is_file = value.lower().endswith(".npy")
        feeds[tensor.name] = read_npy(Path(value), tensor) if is_file else _from_text(value, tensor)
    return feeds


def complete_feeds(
    inputs: Sequence[Tensor], fed: Mapping[str, np.ndarray], picture_size: tuple[int, int] | None = None
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """`fed` with a default for every input it leaves out, in the model's order, and a note for each default.

    Zeros of the declared shape. A free dimension is 1, or what a fed input has under the same name. By name: an
    image size (`im_shape`, `orig_size`, …; 2 or 3 numbers) is [[height, width]] of the picture as fed (and 1);
    `scale_factor` and masks (`attention_mask`, `pixel_mask`) are ones. Strings are empty.
    Raises InputError where NumPy has no such dtype or the declared shape is too large.
    """
    sides = bind(inputs, fed)
    feeds: dict[str, np.ndarray] = {}
    notes: list[str] = []
    for tensor in inputs:
        if tensor.name in fed:
            feeds[tensor.name] = fed[tensor.name]
            continue
        feeds[tensor.name] = _default(tensor, sides, picture_size)
        notes.append(_note(tensor, feeds[tensor.name]))
    return feeds, tuple(notes)


def bind(inputs: Sequence[Tensor], fed: Mapping[str, np.ndarray]) -> dict[str, int]:
    """{'batch': 1, 'height': 224, …}: what the named free dimensions are in the arrays that are fed."""
    sides: dict[str, int] = {}
    for tensor in inputs:
        if tensor.name in fed and tensor.shape is not None and len(tensor.shape) == fed[tensor.name].ndim:
            for side, length in zip(tensor.shape, fed[tensor.name].shape, strict=True):
                if isinstance(side, str):
                    sides.setdefault(side, length)
    return sides


def _default(tensor: Tensor, sides: Mapping[str, int], picture_size: tuple[int, int] | None) -> np.ndarray:
    shape = _shape(tensor, sides)
    if tensor.dtype in ("str", "string", "object"):
        return np.full(shape, "", dtype=object)
    array = np.zeros(shape, _numeric(tensor))
    name = tensor.name.rpartition("/")[2].partition(":")[0].lower()
    if name in _ONE_WORDS:
        array[...] = 1
    elif picture_size is not None and (name in _SIZE_WORDS or name == "im_info") and shape and shape[-1] in (2, 3):
        array[...] = np.asarray((*picture_size, 1))[: shape[-1]]
    return array


def _shape(tensor: Tensor, sides: Mapping[str, int]) -> tuple[int, ...]:
    """The declared shape with free dimensions as `sides` has them, else 1."""
    named = tensor.shape or ()
    shape = tuple(
        fixed if fixed is not None else sides.get(side, 1) if isinstance(side, str) else 1
        for side, fixed in zip(named, dimensions(tensor), strict=True)
    )
    if math.prod(shape) * 8 > MAX_BYTES:
        raise InputError(f"input {one_line(tensor.name)!r} of shape {shape} is too large to fill; give it with --feed")
    return shape


def _numeric(tensor: Tensor) -> np.dtype[np.generic]:
    try:
        dtype = np.dtype(tensor.dtype or "float32")
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biufc":
        raise InputError(f"input {one_line(tensor.name)!r} takes {tensor.dtype}, which cannot be given or filled here")
    return dtype


def _note(tensor: Tensor, array: np.ndarray) -> str:
    name, form = one_line(tensor.name, 60), "x".join(map(str, array.shape)) or "scalar"
    values = array.reshape(-1)
    if array.dtype == object:
        what = "empty text"
    elif values.size and (values == values[0]).all():
        what = f"{values[0]:g}"
    else:
        what = one_line(array.tolist(), 60)
    return f"input {name!r} ({tensor.dtype}, {form}) was filled with {what}; --feed {name}=… gives it another value"


def _from_text(text: str, tensor: Tensor) -> np.ndarray:
    name, dtype = one_line(tensor.name, 60), _numeric(tensor)
    try:
        if len(text) > _TEXT_LIMIT:
            raise ValueError("the text is too long; give an .npy file")
        given = np.asarray(json.loads(text))
        if given.dtype.kind not in "biuf" or (given.dtype.kind == "f" and dtype.kind in "iu"):
            raise ValueError(f"{tensor.dtype} is needed")
        with np.errstate(over="raise"):
            array = given.astype(dtype)
        if dtype.kind in "iu" and not np.array_equal(array, given):
            raise ValueError(f"it is outside the range of {tensor.dtype}")
    except (ValueError, RecursionError, FloatingPointError, OverflowError) as error:
        reason = one_line(error, 80)
        raise UsageError(
            f"--feed {name}={one_line(text, 40)}: not a number, a list of numbers or an .npy: {reason}"
        ) from error
    if array.ndim == 0:
        return np.full(_shape(tensor, {}), array)
    if tensor.shape is not None and array.ndim < len(tensor.shape):
        array = array.reshape((1,) * (len(tensor.shape) - array.ndim) + array.shape)
    check_fits(array.shape, array.dtype, tensor, "the list given with --feed")
    return array
