"""Kernels as pages to look at: enlarged, with a title, what is drawn, and a bar that says what the colours mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from onnxvis.measure.statistics import summarise
from onnxvis.show.kernels import Tiles, filter_tiles
from onnxvis.show.plots import histogram_picture
from onnxvis.show.sheet import drawable, fitted, font, titled_sheet
from onnxvis.show.text import number, shorten

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LARGEST", "filter_page", "kernel_page"]

LARGEST = 4000
"""Pixels that a page has at most on a side, but where one filter alone has more."""

_MARGIN, _HEAD, _FOOT, _NARROWEST = 16, 84, 44, 560
_USUAL, _LEAST, _MOST = 900, 4, 24
_INK, _PALE = (40, 44, 52), (110, 114, 122)
_CAPTIONED = 256


def kernel_page(tiles: Tiles, title: str, note: str) -> tuple[NDArray[np.uint8], int]:
    """`tiles` enlarged on a white page (R, C, 3) uint8 RGB, and how many of them, the first ones, are on it.

    A weight is a square of 4 to 24 pixels, fewer where one filter alone would not fit on 4,000 pixels a side else; of
    more filters than fit, the first are drawn.
    `title` and `note` stand above, with what is drawn; texts may hold anything.
    """
    picture, shown = _enlarged(tiles)
    count = len(tiles.pixels)
    what = tiles.what if shown == count else f"{tiles.what}; the first {shown:,} of {count:,}"
    height, width = picture.shape[:2]
    foot = 0 if math.isnan(tiles.low) else _FOOT
    page = Image.new("RGB", (max(width, _NARROWEST) + 2 * _MARGIN, _HEAD + height + _MARGIN + foot), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for text, size, baseline, colour in ((title, 18, 28, _INK), (note, 13, 49, _INK), (what, 13, 70, _PALE)):
        line = fitted(text, size, page.width - 2 * _MARGIN)
        draw.text((_MARGIN, baseline), line, colour, font(size), anchor="ls")
    page.paste(Image.fromarray(picture), (_MARGIN, _HEAD))
    if foot:
        _bar(page, draw, tiles, _HEAD + height + 14)
    return np.asarray(page), shown


def filter_page(
    weights: NDArray[Any], title: str, note: str = "", *, bins: int = 50, colormap: str = "coolwarm"
) -> NDArray[np.uint8]:
    """One filter whole on a white page (R, C, 3) uint8 RGB: a tile an input channel, its histogram beneath.

    `weights` (C, *spatial) as in `draw_filter`, with its errors. Tiles carry 'channel k' below them up to 256
    channels; more are drawn as in `kernel_page`, row by row.
    """
    tiles = filter_tiles(weights, colormap=colormap)
    count = len(tiles.pixels)
    if count <= _CAPTIONED and tiles.colours is not None and max(tiles.pixels.shape[1:]) <= _USUAL // 4:
        upper = titled_sheet(tiles.pixels, tiles.colours, shorten(title, 80), tile=128 if count <= 64 else 72)
    else:
        upper, _ = kernel_page(tiles, title, note)
    colours = f"colours from {number(tiles.low)} to {number(tiles.high)}"
    chart = histogram_picture(
        "All weights of this filter", " · ".join(filter(None, (note, colours))), summarise(weights, bins)
    )
    width = max(upper.shape[1], chart.shape[1])
    page = np.full((upper.shape[0] + chart.shape[0], width, 3), 255, np.uint8)
    page[: upper.shape[0], : upper.shape[1]] = upper
    page[upper.shape[0] :, : chart.shape[1]] = chart
    return page


def _enlarged(tiles: Tiles) -> tuple[NDArray[np.uint8], int]:
    """The picture with each weight as a square of equal pixels, and how many tiles are on it."""
    room = LARGEST - 2 * _MARGIN - _HEAD - _FOOT
    least = max(1, min(_LEAST, room // max(tiles.pixels.shape[1:3])))
    shown = len(tiles.pixels)
    longest = tiles.longest()
    while longest > room // least and shown > 1:
        shown = max(1, int(shown * min(0.97, (room / least / longest) ** 2)))
        longest = tiles.longest(shown)
    factor = max(1, min(room // longest, _MOST, max(_LEAST, _USUAL // longest)))
    return tiles.on_white(shown, factor), shown


def _bar(page: Image.Image, draw: ImageDraw.ImageDraw, tiles: Tiles, top: int) -> None:
    """The colours from low to high with their values below."""
    assert tiles.colours is not None
    first, last, wide = 2, 254, 253
    colours = np.broadcast_to(tiles.colours[first : last + 1], (12, wide, 3))
    page.paste(Image.fromarray(np.ascontiguousarray(colours)), (_MARGIN, top))
    places = [(0, tiles.low, "ls"), (wide, tiles.high, "rs")]
    if tiles.low < 0 < tiles.high:
        places.append((wide // 2, 0.0, "ms"))
    for place, value, anchor in places:
        draw.text((_MARGIN + place, top + 26), drawable(number(value)), _INK, font(12), anchor=anchor)
