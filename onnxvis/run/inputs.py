"""From what a user names (pictures, folders, arrays) to what a model is fed, one input after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.run.arrays import read_npy, read_npz
from onnxvis.run.feeds import bind, complete_feeds
from onnxvis.run.picture_input import image_channels, image_input, image_layout
from onnxvis.run.pictures import MAX_PIXELS, Picture, read_picture
from onnxvis.run.preprocess import Preprocessing, apply

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["PreparedInput", "Skipped", "prepare_picture", "read_inputs"]

_ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class PreparedInput:
    """One run's worth of input.

    `feeds` go to the model by input name, exactly as they are. `picture` is (H, W, 3) uint8 RGB, the picture as the
    model sees it after fitting, None for arrays. `original_size` is (height, width) of the file's picture, upright.
    `notes` say what was done that a reader might not expect.
    """

    path: str
    feeds: dict[str, np.ndarray]
    picture: np.ndarray | None
    preprocessing: Preprocessing | None
    original_size: tuple[int, int] | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A file of a folder that was not read, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Reader:
    inputs: Sequence[Tensor]
    preprocessing: Preprocessing | None
    layout: str | None
    given: Mapping[str, np.ndarray]
    max_pixels: int
    multiple: int
    skipped: list[Skipped] = field(default_factory=list)


def read_inputs(
    arguments: Sequence[str | Path],
    model_inputs: Sequence[Tensor],
    preprocessing: Preprocessing | None,
    layout: str | None = None,
    *,
    given: Mapping[str, np.ndarray] | None = None,
    max_pixels: int = MAX_PIXELS,
    multiple: int = 1,
    skipped: list[Skipped] | None = None,
) -> Iterator[PreparedInput]:
    """Everything that `arguments` name, prepared one by one, so that a folder need not fit in memory.

    A picture goes to the model's picture input by `preprocessing` (which may be None where only arrays come). A folder
    stands for the files in it by name, without its subfolders and hidden files: what cannot be read is added to
    `skipped` and passed over. An .npy feeds the picture input, or the first, as it is; an .npz all inputs it names.
    Further inputs come from `given` (see `parse_feeds`) or are filled with a default that a note says.
    `layout` as for `image_layout`. At the picture's own size, sides are rounded down to a `multiple`.
    Raises InputError for an argument that cannot be read or does not fit, or a folder with nothing to read.
    """
    found = [] if skipped is None else skipped
    reader = _Reader(model_inputs, preprocessing, layout, given or {}, max_pixels, max(1, multiple), found)
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            yield from _folder(path, reader)
        else:
            yield _file(path, reader)


def prepare_picture(
    picture: Picture,
    path: str,
    model_inputs: Sequence[Tensor],
    preprocessing: Preprocessing,
    layout: str | None = None,
    *,
    given: Mapping[str, np.ndarray] | None = None,
    multiple: int = 1,
) -> PreparedInput:
    """A picture already read, prepared for a model: see `read_inputs`.

    A batch that the model fixes above 1 is filled with copies. Raises InputError where the model takes no pictures.
    """
    tensor, layout = _picture_input(model_inputs, layout, given or {})
    notes = list(picture.notes)
    settings = preprocessing
    if settings.size is None and multiple > 1:
        settings = _to_multiple(picture, settings, multiple, notes)
    fed, seen = apply(picture.pixels, settings, image_channels(tensor, layout), layout, tensor.dtype)
    fed = _batched(fed, tensor, notes, given or {}, model_inputs)
    feeds, defaults = complete_feeds(model_inputs, {**(given or {}), tensor.name: fed}, seen.shape[:2])
    return PreparedInput(path, feeds, seen, preprocessing, picture.size, (*notes, *defaults))


def _folder(folder: Path, reader: _Reader) -> Iterator[PreparedInput]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read the folder {one_line(folder)}: {error.strerror}") from error
    files = [folder / name for name in names if not (folder / name).is_dir()]
    read = 0
    for path in files:
        try:
            prepared = _file(path, reader)
        except InputError as error:
            reader.skipped.append(Skipped(str(path), str(error)))
            continue
        read += 1
        yield prepared
    if not read:
        first = f"; the first: {reader.skipped[-len(files)].reason}" if files else ""
        folders = f" and {len(names) - len(files)} folders, which are not entered" if len(names) > len(files) else ""
        raise InputError(f"nothing in {one_line(folder)} can be read ({len(files)} files{folders}){first}")


def _file(path: Path, reader: _Reader) -> PreparedInput:
    if path.suffix.lower() in _ARRAYS:
        return _array(path, reader)
    tensor, layout = _picture_input(reader.inputs, reader.layout, reader.given)
    if reader.preprocessing is None:
        raise InputError(f"{one_line(path)} is a picture, and nothing says how to prepare it")
    picture = read_picture(path, image_channels(tensor, layout), reader.max_pixels)
    return prepare_picture(
        picture, str(path), reader.inputs, reader.preprocessing, reader.layout,
        given=reader.given, multiple=reader.multiple,
    )  # fmt: skip


def _array(path: Path, reader: _Reader) -> PreparedInput:
    if not reader.inputs:
        raise InputError(f"the model has no inputs to feed {one_line(path)} to")
    notes: tuple[str, ...] = ()
    if path.suffix.lower() == ".npz":
        arrays, unused = read_npz(path, reader.inputs)
        if unused:
            notes = (f"not inputs of the model, and left out: {one_line(', '.join(unused))}",)
    else:
        free = [item for item in reader.inputs if item.name not in reader.given] or reader.inputs
        tensor = image_input(free) or free[0]
        arrays = {tensor.name: read_npy(path, tensor)}
    feeds, defaults = complete_feeds(reader.inputs, {**reader.given, **arrays}, _fed_size(arrays, reader))
    return PreparedInput(str(path), feeds, None, None, None, (*notes, *defaults))


def _fed_size(arrays: Mapping[str, np.ndarray], reader: _Reader) -> tuple[int, int] | None:
    """(height, width) of the array that stands for a picture, for defaults such as `im_shape`."""
    tensor = image_input(reader.inputs)
    layout = tensor and image_layout(tensor, reader.layout)
    if tensor is None or not layout or tensor.name not in arrays:
        return None
    shape = arrays[tensor.name].shape
    return shape[layout.index("H")], shape[layout.index("W")]


def _picture_input(inputs: Sequence[Tensor], layout: str | None, given: Mapping[str, np.ndarray]) -> tuple[Tensor, str]:
    """The input for the picture, of those that were not given something else."""
    tensor = image_input([item for item in inputs if item.name not in given])
    found = image_layout(tensor, layout) if tensor is not None else None
    if tensor is None or found is None:
        shown = ", ".join(f"{one_line(item.name, 40)} {item.dtype} {item.shape}" for item in inputs)
        raise InputError(f"no input of this model takes pictures ({shown or 'it has none'}); feed arrays from an .npz")
    return tensor, found


def _to_multiple(picture: Picture, settings: Preprocessing, multiple: int, notes: list[str]) -> Preprocessing:
    """The picture's own size (or that which its shorter side gives) rounded down to a multiple, at least one."""
    from onnxvis.run.fitting import place

    own = place(picture.size, None, settings.fit, settings.shorter).size
    size = max(multiple, own[0] // multiple * multiple), max(multiple, own[1] // multiple * multiple)
    if size != own:
        notes.append(
            f"{own[0]}x{own[1]} was resized to {size[0]}x{size[1]}, as the model asks for multiples of {multiple}"
        )
    return replace(settings, size=size, fit="stretch", shorter=None)


def _batched(
    fed: np.ndarray, tensor: Tensor, notes: list[str], given: Mapping[str, np.ndarray], inputs: Sequence[Tensor]
) -> np.ndarray:
    """(1, …) without its batch where the model has none, or repeated to the batch that the model or `given` fixes."""
    shape = tensor.shape or ()
    if len(shape) == 3:
        return np.asarray(fed[0])
    batch = shape[0] if isinstance(shape[0], int) else bind(inputs, given).get(shape[0] or "", 1)
    if batch <= 1:
        return fed
    notes.append(f"the model takes {batch} pictures at once: the same one was fed {batch} times")
    return fed.repeat(batch, axis=0)
