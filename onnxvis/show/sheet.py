"""One titled page of feature maps, a caption under each."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onnxvis.show.mosaic import upscale
from onnxvis.show.text import shorten

__all__ = ["drawable", "fitted", "font", "titled_sheet"]

Array = np.ndarray[Any, np.dtype[np.uint8]]

_TILE, _GAP, _CAPTION, _TITLE = 128, 12, 20, 40
_TEXT, _GROUND = (40, 44, 52), (255, 255, 255)
_INSTEAD = {"×": "x", "−": "-", "–": "-", "µ": "u"}


def titled_sheet(indices: Array, palette: Array, title: str, columns: int = 0, tile: int = 0) -> Array:
    """`indices` (K, H, W) uint8 on a white page (R, C, 3) uint8 RGB: title on top, 'channel k' under each map.

    Colours are those of `palette` (256, 3) uint8. Maps are enlarged with nearest pixels to `tile` pixels (128 where it
    is 0). `columns` 0 makes the page about square.
    """
    title = drawable(title)
    maps = [palette[upscale(pixels, tile or _TILE)] for pixels in indices]
    height, width = maps[0].shape[:2]
    columns = min(columns or math.ceil(math.sqrt(len(maps))), len(maps))
    rows = math.ceil(len(maps) / columns)
    step_x, step_y = max(width, 88) + _GAP, height + _CAPTION + _GAP
    wide = max(columns * step_x, math.ceil(font(18).getlength(title)) + _GAP)
    page = Image.new("RGB", (wide + _GAP, _TITLE + rows * step_y), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 10), title, _TEXT, font(18))
    for channel, pixels in enumerate(maps):
        left, top = _GAP + channel % columns * step_x, _TITLE + channel // columns * step_y
        page.paste(Image.fromarray(pixels), (left, top))
        draw.text((left, top + height + 3), f"channel {channel}", _TEXT, font(13))
    return np.asarray(page)


def drawable(text: str) -> str:
    """`text` with what Pillow's own font cannot draw replaced: a likeness for signs such as '×', '?' for the rest."""
    return "".join(character if _has(character) else _INSTEAD.get(character, "?") for character in text)


def fitted(text: str, size: int, width: int) -> str:
    """`text` as `drawable`, on one line, cut in the middle to `width` pixels or to its eight outermost characters."""
    limit = 400
    while True:
        line = drawable(shorten(text, limit))
        length = font(size).getlength(line)
        if length <= width or limit == 8:
            return line
        limit = max(8, min(limit - 1, int(len(line) * width / length)))


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font."""
    return ImageFont.load_default(size)


@cache
def _has(character: str) -> bool:
    return character == " " or bytes(font(13).getmask(character)) != bytes(font(13).getmask("\uffff"))
