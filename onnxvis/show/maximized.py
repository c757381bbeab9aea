"""The pictures that excite a model: several on a titled page, the way up as a chart, and both as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from onnxvis.measure.maximize.objective import short_label
from onnxvis.show.chart import nice_values
from onnxvis.show.mosaic import upscale
from onnxvis.show.sheet import drawable, fitted, font
from onnxvis.show.text import number

if TYPE_CHECKING:
    from onnxvis.measure.maximize.objective import Aim
    from onnxvis.measure.maximize.run import Maximized
    from onnxvis.run.labels import Labels

__all__ = [
    "COLOURS",
    "aim_name",
    "ascent_picture",
    "ascent_table",
    "describe_maximized",
    "maximized_arrays",
    "maximized_page",
    "whole_steps",
]

Array = np.ndarray[Any, np.dtype[Any]]

COLOURS = ((240, 90, 40), (74, 114, 176), (60, 150, 90), (150, 90, 170), (200, 150, 30), (90, 160, 180), (110, 80, 60))
"""The colours of lines, in turn."""

_TILE, _GAP, _TITLE, _CAPTION = 224, 12, 40, 38
_TEXT, _FAINT, _PALE, _GROUND = (40, 44, 52), (100, 108, 120), (214, 218, 226), (255, 255, 255)
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM, _FINER = 760, 380, 72, 170, 52, 44, 2
_LEGEND = 16


def aim_name(aim: Aim, labels: Labels | None) -> str:
    """What is excited, in words: the class where it is one, else the tensor, the channel and the position."""
    if aim.index is None:
        return aim.label
    name = labels.name(aim.index) if labels is not None else ""
    return f"{aim.index} {name}" if name and name != str(aim.index) else f"class {aim.index}"


def maximized_page(items: Sequence[tuple[Maximized, str]], title: str) -> Array:
    """The pictures with their names and activations below, (R, C, 3) uint8 RGB; small ones are enlarged by a whole
    factor.
    """
    tiles = [upscale(found.picture, _TILE) for found, _ in items]
    height, width = tiles[0].shape[:2]
    columns = math.ceil(math.sqrt(len(tiles) * 1.6 * height / width))
    columns = min(len(tiles), math.ceil(len(tiles) / math.ceil(len(tiles) / columns)))
    step_x, step_y = width + _GAP, height + _CAPTION + _GAP
    page = Image.new("RGB", (_GAP + columns * step_x, _TITLE + math.ceil(len(tiles) / columns) * step_y), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 10), fitted(title, 18, columns * step_x - _GAP), _TEXT, font(18))
    for place, (tile, (found, name)) in enumerate(zip(tiles, items, strict=True)):
        left, top = _GAP + place % columns * step_x, _TITLE + place // columns * step_y
        page.paste(Image.fromarray(tile), (left, top))
        draw.text((left, top + height + 3), _fitted_label(name, 14, width), _TEXT, font(14))
        draw.text((left, top + height + 20), drawable(f"activation {number(found.value)}"), _FAINT, font(12))
    return np.asarray(page)


def whole_steps(last: int) -> list[int]:
    """The steps that are written below a chart of steps 1 to `last`: round whole numbers."""
    return [int(step) for step, _ in nice_values(1.0, float(max(last, 2)), 5) if step.is_integer() and step <= last]


def _fitted_label(name: str, size: int, width: int) -> str:
    """`name` in `width` pixels, the channel behind its last colon kept."""
    lines = (drawable(short_label(name, limit)) for limit in range(60, 5, -1))
    return next((line for line in lines if font(size).getlength(line) <= width), fitted(name, size, width))


def ascent_picture(lines: Sequence[tuple[str, Array]], title: str) -> Array:
    """Each named curve (steps,) of activations as a line over the steps: (380, 760, 3) uint8 RGB. None is empty."""
    every = np.concatenate([values for _, values in lines])
    low, high = float(every.min()), float(every.max())
    low, high = (low, high) if low < high else (low - 1, high + 1)
    last = max(len(values) for _, values in lines)
    # Pillow's lines have steps: drawn twice as large, they are smoothed by shrinking.
    page = Image.new("RGB", (_WIDTH * _FINER, _HEIGHT * _FINER), _GROUND)
    draw = ImageDraw.Draw(page)

    def place(step: float, value: float) -> tuple[float, float]:
        across, up = (step - 1) / max(last - 1, 1), (value - low) / (high - low)
        wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
        return (_LEFT + wide * across) * _FINER, (_TOP + tall * (1 - up)) * _FINER

    def write(x: float, y: float, text: str, anchor: str, size: int = 13) -> None:
        draw.text((x, y), drawable(text), _TEXT, font(size * _FINER), anchor=anchor)

    write(16 * _FINER, 26 * _FINER, fitted(title, 17, _WIDTH - 32), "ls", 17)
    for value, text in nice_values(low, high, 5):
        draw.line((place(1, value), place(last, value)), _PALE, _FINER)
        write(place(1, value)[0] - 8 * _FINER, place(1, value)[1], text, "rm")
    for step in whole_steps(last):
        write(place(step, low)[0], place(step, low)[1] + 8 * _FINER, f"{step:,}", "mt")
    write(place((1 + last) / 2, low)[0], (_HEIGHT - 8) * _FINER, "step", "ms")
    for count, (name, values) in enumerate(lines):
        colour = COLOURS[count % len(COLOURS)]
        points = [place(step, float(value)) for step, value in enumerate(values, 1)]
        draw.line(points if len(points) > 1 else points * 2, colour, 2 * _FINER, joint="curve")
        if count < _LEGEND:
            x, y = (_WIDTH - _RIGHT + 14) * _FINER, (_TOP + 8 + 18 * count) * _FINER
            draw.line((x, y, x + 18 * _FINER, y), colour, 2 * _FINER)
            write(x + 24 * _FINER, y, _fitted_label(name, 13, _RIGHT - 44), "lm")
    return np.asarray(page.reduce(_FINER))


def ascent_table(lines: Sequence[tuple[str, Array]]) -> str:
    """The same as CSV: a row a step, a column a curve, empty after a curve's end."""
    names = ",".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name, _ in lines)
    rows = [f"step,{names}"]
    for step in range(max(len(values) for _, values in lines)):
        cells = (f"{values[step]:.9g}" if step < len(values) else "" for _, values in lines)
        rows.append(f"{step + 1},{','.join(cells)}")
    return "\n".join(rows) + "\n"


def maximized_arrays(items: Sequence[Maximized]) -> dict[str, Array]:
    """LABEL/picture: (H, W, 3) uint8 RGB; LABEL/fed: (C, H, W) float32; LABEL/curve: (steps,) float64, for each."""
    return {
        f"{found.aim.label}/{kind}": values
        for found in items
        for kind, values in (("picture", found.picture), ("fed", found.fed), ("curve", found.curve))
    }


def describe_maximized(found: Maximized, labels: Labels | None = None) -> dict[str, Any]:
    """What was found without its pixels, for JSON."""
    return {
        "objective": found.aim.label,
        "tensor": found.aim.tensor,
        "label": aim_name(found.aim, labels),
        "value": found.value,
        "start": float(found.curve[0]),
        "steps": len(found.curve),
        "size": [int(side) for side in found.picture.shape[:2]],
        "notes": list(found.notes),
        "provider": found.provider,
    }
