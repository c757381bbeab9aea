"""The curves of a training as a picture: loss and accuracy over steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from onnxvis.show.chart import nice_values
from onnxvis.show.sheet import drawable, font

__all__ = ["LEGEND", "curves_picture"]

LEGEND = ("training", "held out")

Lines = tuple[Sequence[float], Sequence[float]]

_PANEL, _LEFT, _TOP, _WIDE, _HIGH = 500, 72, 76, 396, 232
_HEIGHT, _FINER, _DOT = 360, 2, 6
_INK, _PALE, _TRAIN, _HELD_OUT = (40, 44, 52), (214, 218, 226), (74, 114, 176), (240, 90, 40)


def curves_picture(steps: Sequence[int], losses: Lines, accuracies: Lines) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Loss and accuracy (in 0–1) over `steps`, beside each other, each with a line for the training and one for the
    held-out pictures and a dot at each step: (360, 1000, 3) uint8 RGB. One step at least, rising.
    """
    # Pillow's lines have steps: drawn twice as large, they are smoothed by shrinking.
    page = Image.new("RGB", (2 * _PANEL * _FINER, _HEIGHT * _FINER), "white")
    draw = ImageDraw.Draw(page)
    shares = [100 * value for value in accuracies[0]], [100 * value for value in accuracies[1]]
    _draw_panel(draw, 0, "Loss (cross-entropy)", steps, losses, max(*losses[0], *losses[1], 1e-6) * 1.05)
    _draw_panel(draw, _PANEL, "Accuracy, %", steps, shares, 100.0)
    return np.asarray(page.reduce(_FINER))


def _draw_panel(draw: Any, left: int, title: str, steps: Sequence[int], lines: Lines, top: float) -> None:
    """One chart, its left edge at `left`, both axes from 0: to the last step and to `top`."""

    def place(step: float, value: float) -> tuple[float, float]:
        return (left + _LEFT + _WIDE * step / steps[-1]) * _FINER, (_TOP + _HIGH * (1 - value / top)) * _FINER

    def write(x: float, y: float, text: str, anchor: str, size: int = 13) -> None:
        draw.text((x, y), drawable(text), _INK, font(size * _FINER), anchor=anchor)

    write(left * _FINER + 16 * _FINER, 24 * _FINER, title, "ls", 17)
    for value, text in nice_values(0.0, top, 5):
        draw.line((place(0, value), place(steps[-1], value)), _PALE, _FINER)
        write(place(0, value)[0] - 8 * _FINER, place(0, value)[1], text, "rm")
    for value, text in nice_values(0.0, float(steps[-1]), 4):
        write(place(value, 0)[0], place(value, 0)[1] + 8 * _FINER, text, "mt")
    write(place(steps[-1] / 2, 0)[0], (_HEIGHT - 10) * _FINER, "step", "ms")
    for number, (name, colour, values) in enumerate(zip(LEGEND, (_TRAIN, _HELD_OUT), lines, strict=True)):
        x, y = (left + _LEFT + 110 * number) * _FINER, 52 * _FINER
        draw.line((x, y, x + 22 * _FINER, y), colour, 2 * _FINER)
        write(x + 28 * _FINER, y, name, "lm")
        points = [place(step, value) for step, value in zip(steps, values, strict=True)]
        draw.line(points, colour, 2 * _FINER, joint="curve")
        for right, down in points:
            draw.ellipse((right - _DOT, down - _DOT, right + _DOT, down + _DOT), colour)
