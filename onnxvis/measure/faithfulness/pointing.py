"""The pointing game: whether the maximum of a heatmap lies on what is known to be the subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.run.fitting import Placement, fit_picture, place

if TYPE_CHECKING:
    from onnxvis.run.inputs import PreparedInput

__all__ = ["Box", "peak", "points_at", "region_of_box", "region_of_mask"]

Array = np.ndarray[Any, np.dtype[Any]]

Box = tuple[float, float, float, float]
"""(x0, y0, x1, y1), x to the right, y down; x1 and y1 exclusive."""


def points_at(heatmap: Array, region: Array, tolerance: float = 0.0) -> bool:
    """The pointing game (Zhang et al., 2016, arXiv:1608.00507): whether the maximum of `heatmap` (H, W) is in `region`
    (H, W) bool, or at most `tolerance` pixels from one of its pixels, centre to centre. (Zhang et al. allow 15.)

    False where the map has no maximum, the same value being everywhere.
    """
    at = peak(heatmap)
    if at is None:
        return False
    rows, columns = np.nonzero(region)
    return bool(((rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= tolerance**2).any())


def peak(heatmap: Array) -> tuple[int, int] | None:
    """(row, column) of the maximum, the first of several; None where all values are the same."""
    if heatmap.min() == heatmap.max():
        return None
    row, column = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    return int(row), int(column)


def region_of_box(box: Box, item: PreparedInput, size: tuple[int, int]) -> Array:
    """The pixels, of `size` (height, width) as fed, whose centres lie in a box in pixels of the picture's file.

    Of an array that is fed as it is, the box is in pixels of that. (H, W) bool. Raises InputError where no pixel does.
    """
    x0, y0, x1, y1 = box
    rows, columns = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    if (placed := _placement(item, size)) is not None and item.original_size is not None:
        rows = (rows - placed.top) * item.original_size[0] / placed.resized[0]
        columns = (columns - placed.left) * item.original_size[1] / placed.resized[1]
    region = ((rows >= y0) & (rows < y1))[:, None] & ((columns >= x0) & (columns < x1))[None]
    return _not_empty(region, item, f"the box {x0:g},{y0:g},{x1:g},{y1:g}")


def region_of_mask(mask: Array, item: PreparedInput, size: tuple[int, int], name: object) -> Array:
    """A mask (H, W) bool, of the size of the picture's file or of what is fed, as the pixels of what is fed.

    `name` is its file's, for messages. Raises InputError for another size, and where no pixel is left.
    """
    placed = _placement(item, size)
    if mask.shape == item.original_size and placed is not None:
        # What lies around a letterboxed picture is grey 114, which is below 128.
        mask = fit_picture(mask[..., None].astype(np.uint8) * 255, placed, "nearest")[..., 0] >= 128
    elif mask.shape != size:
        own = item.original_size or size
        raise InputError(
            f"the mask {one_line(name)} has {mask.shape[0]}×{mask.shape[1]} pixels (height × width), but "
            f"{one_line(item.path)} has {own[0]}×{own[1]}; give a mask of the picture's size"
        )
    return _not_empty(mask, item, f"the mask {one_line(name)}")


def _not_empty(region: Array, item: PreparedInput, what: str) -> Array:
    if not region.any():
        raise InputError(f"{what} has no pixel in {one_line(item.path)} as it is fed, so nothing could point at it")
    return region


def _placement(item: PreparedInput, size: tuple[int, int]) -> Placement | None:
    """Where the file's picture lies in what is fed; None for arrays."""
    how, original = item.preprocessing, item.original_size
    if how is None or original is None:
        return None
    placed = place(original, how.size, how.fit, how.shorter)
    # At its own size a picture may have been stretched a little, to sides that the model can take.
    return placed if placed.size == size else Placement(size, 0, 0, size)
