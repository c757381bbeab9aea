"""One titled page of feature maps, a caption under each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onnxvis.show.mosaic import upscale

__all__ = ["titled_sheet"]

Array = np.ndarray[Any, np.dtype[np.uint8]]

_TILE, _GAP, _CAPTION, _TITLE = 128, 12, 20, 40
_TEXT, _GROUND = (40, 44, 52), (255, 255, 255)


def titled_sheet(indices: Array, palette: Array, title: str, columns: int = 0, tile: int = 0) -> Array:
    """`indices` (K, H, W) uint8 on a white page (R, C, 3) uint8 RGB: title on top, 'channel k' under each map.

    Colours are those of `palette` (256, 3) uint8. Maps are enlarged with nearest pixels to `tile` pixels (128 where it
    is 0). `columns` 0 makes the page about square.
    """
    maps = [palette[upscale(pixels, tile or _TILE)] for pixels in indices]
    height, width = maps[0].shape[:2]
    columns = min(columns or math.ceil(math.sqrt(len(maps))), len(maps))
    rows = math.ceil(len(maps) / columns)
    step_x, step_y = max(width, 88) + _GAP, height + _CAPTION + _GAP
    wide = max(columns * step_x, math.ceil(_font(18).getlength(title)) + _GAP)
    page = Image.new("RGB", (wide + _GAP, _TITLE + rows * step_y), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 10), title, _TEXT, _font(18))
    for channel, pixels in enumerate(maps):
        left, top = _GAP + channel % columns * step_x, _TITLE + channel // columns * step_y
        page.paste(Image.fromarray(pixels), (left, top))
        draw.text((left, top + height + 3), f"channel {channel}", _TEXT, _font(13))
    return np.asarray(page)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
