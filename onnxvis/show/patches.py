"""The patches that excite channels most as pictures: a page a channel, an overview of many; and as data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from onnxvis.measure.patches import ChannelPatches, TensorPatches
from onnxvis.show.sheet import drawable, fitted, font
from onnxvis.show.text import clean, number
from onnxvis.version import __version__

__all__ = ["channel_page", "describe_patches", "field_of", "overview_page", "patch_grid"]

Array = np.ndarray[Any, np.dtype[np.uint8]]

_TILE, _SMALL = 128, 42
_GAP, _HEAD, _MARGIN, _LEAST, _READABLE = 3, 84, 14, 320, 250
_BLOCK_GAP, _LABEL, _COLUMNS = 16, 20, 8
_SEES, _NAME, _WIDEST = ", each value sees ", 180, 480
_TEXT, _FAINT, _GROUND, _NOTHING = (40, 44, 52), (100, 108, 120), (255, 255, 255), (233, 236, 241)


def field_of(channels: Iterable[ChannelPatches]) -> tuple[int, int]:
    """(height, width) that holds every patch: that of the largest, (1, 1) where there is none."""
    windows = [patch.window for channel in channels for patch in channel.patches]
    height = max((y1 - y0 for y0, _, y1, _ in windows), default=1)
    width = max((x1 - x0 for _, x0, _, x1 in windows), default=1)
    return height, width


def channel_page(
    channel: ChannelPatches,
    field: tuple[int, int],
    top: int,
    title: str,
    projections: Sequence[Array] | None = None,
    caption: str = "",
) -> Array:
    """One channel's patches, strongest first, row by row, under a title and the range of their values; uint8 RGB.

    `field` as from `field_of`: all patches are drawn to its scale. `top`: how many there is room for. `projections`:
    one picture (h, w, 3) uint8 a patch, of the size of its pixels; they stand to the right, under `caption`, in the
    same order. Where a title is too long, what stands in it before ', each value sees' is cut.
    """
    grids = [("strongest patches", patch_grid([patch.pixels for patch in channel.patches], channel, field, top, _TILE))]
    if projections is not None:
        grids.append((caption, patch_grid(projections, channel, field, top, _TILE)))
    height, width = grids[0][1].shape[:2]
    step = max(width, _READABLE) + _MARGIN
    wide = max(len(grids) * step + _MARGIN, _least_width(title, 13))
    page = Image.new("RGB", (wide, _HEAD + height + _MARGIN), _GROUND)
    draw = ImageDraw.Draw(page)
    values = [patch.value for patch in channel.patches]
    span = f"{number(values[0])} to {number(values[-1])}" if values else "never responds"
    draw.text((_MARGIN, 10), drawable(f"channel {channel.channel}: {span}"), _TEXT, font(18))
    draw.text((_MARGIN, 37), _fitted_title(title, 13, wide - 2 * _MARGIN), _FAINT, font(13))
    for place, (text, grid) in enumerate(grids):
        left = _MARGIN + place * step
        draw.text((left, 62), fitted(text, 13, step - _MARGIN), _TEXT, font(13))
        page.paste(Image.fromarray(grid), (left, _HEAD))
    return np.asarray(page)


def overview_page(blocks: Sequence[tuple[ChannelPatches, Array]], title: str) -> Array:
    """One small grid a channel, as from `patch_grid`, its number and strongest value below; uint8 RGB. One at least.

    The title is cut as in `channel_page`.
    """
    height, width = blocks[0][1].shape[:2]
    columns = min(len(blocks), _COLUMNS)
    rows = math.ceil(len(blocks) / columns)
    step_x, step_y = width + _BLOCK_GAP, height + _LABEL + _BLOCK_GAP
    wide = max(max(columns * step_x - _BLOCK_GAP, _LEAST) + 2 * _MARGIN, _least_width(title, 16))
    page = Image.new("RGB", (wide, 44 + rows * step_y), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, 12), _fitted_title(title, 16, wide - 2 * _MARGIN), _TEXT, font(16))
    for place, (channel, grid) in enumerate(blocks):
        left, top = _MARGIN + place % columns * step_x, 44 + place // columns * step_y
        page.paste(Image.fromarray(grid), (left, top))
        best = number(channel.patches[0].value, 3) if channel.patches else "never responds"
        draw.text((left, top + height + 3), str(channel.channel), _TEXT, font(13))
        draw.text((left + width, top + height + 4), drawable(best), _FAINT, font(12), anchor="ra")
    return np.asarray(page)


def _least_width(title: str, size: int) -> int:
    """Of a page that shows what a value sees in full, and something of the names before it; 0 for other titles."""
    _, sees, rest = title.rpartition(_SEES)
    if not sees:
        return 0
    length = font(size).getlength(drawable(clean(sees + rest, _WIDEST)))
    return min(math.ceil(length), _WIDEST) + _NAME + 2 * _MARGIN


def _fitted_title(title: str, size: int, width: int) -> str:
    """`title` on one line of `width` pixels: the names in it are cut, and what a value sees stays."""
    names, sees, rest = title.rpartition(_SEES)
    if not sees:
        return fitted(title, size, width)
    end = fitted(sees + rest, size, width - _NAME)
    return fitted(names, size, width - math.ceil(font(size).getlength(end))) + end


def patch_grid(
    pictures: Sequence[Array], channel: ChannelPatches, field: tuple[int, int], top: int, tile: int = _SMALL
) -> Array:
    """`pictures`, one a patch of `channel`, in a grid near a square with room for `top`; uint8 RGB.

    Each cell is `field`, enlarged by the largest whole factor that fits in `tile` pixels, or shrunk to them. A patch
    cut at the picture's edge leaves that side of its cell empty.
    """
    columns = math.ceil(math.sqrt(top))
    rows = math.ceil(top / columns)
    longest = max(field)
    scale = float(tile // longest) if longest <= tile else tile / longest
    height, width = (max(1, round(side * scale)) for side in field)
    page = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), _GROUND, np.uint8)
    cells = [_cell(pixels, patch.window, field, scale) for pixels, patch in zip(pictures, channel.patches, strict=True)]
    cells += [np.full((height, width, 3), _NOTHING, np.uint8)] * (top - len(cells))
    for place, cell in enumerate(cells):
        y, x = place // columns * (height + _GAP), place % columns * (width + _GAP)
        page[y : y + height, x : x + width] = cell
    return page


def _cell(pixels: Array, window: tuple[int, int, int, int], field: tuple[int, int], scale: float) -> Array:
    """One patch in its place in a cell of the field's size, scaled."""
    y0, x0, _, _ = window
    cell = np.full((*field, 3), _NOTHING, np.uint8)
    height, width = pixels.shape[:2]
    top = field[0] - height if y0 == 0 else 0
    left = field[1] - width if x0 == 0 else 0
    cell[top : top + height, left : left + width] = pixels
    if scale >= 1:
        return cell.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    size = max(1, round(field[1] * scale)), max(1, round(field[0] * scale))
    return np.asarray(cv2.resize(cell, size, interpolation=cv2.INTER_AREA), np.uint8)


def describe_patches(path: Path, found: Sequence[TensorPatches]) -> dict[str, Any]:
    """Where the patches stand, without their pixels, for JSON. Windows are [y0, x0, y1, x1] of the picture as fed."""
    return {
        "schema_version": 1,
        "onnxvis_version": __version__,
        "model": str(path),
        "tensors": [
            {
                "tensor": one.tensor,
                "receptive_field": None if one.receptive is None else list(one.receptive),
                "pictures": one.pictures,
                "notes": list(one.notes),
                "channels": [_described(channel) for channel in one.channels],
            }
            for one in found
        ],
    }


def _described(channel: ChannelPatches) -> dict[str, Any]:
    patches = [
        {"path": patch.path, "value": patch.value, "row": patch.row, "column": patch.column,
         "window": list(patch.window)}
        for patch in channel.patches
    ]  # fmt: skip
    return {"channel": channel.channel, "patches": patches}
