"""Optimisers' paths over a plane of the activation landscape: a still picture, and one that moves."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from onnxvis.show.chart import nice_values
from onnxvis.show.colormap import palette
from onnxvis.show.maximized import COLOURS
from onnxvis.show.sheet import drawable, fitted, font
from onnxvis.show.text import number, percent

if TYPE_CHECKING:
    from onnxvis.measure.maximize.paths import Landscape, Path

__all__ = ["describe_landscape", "encode_moving", "landscape_frames", "landscape_picture"]

Array = np.ndarray[Any, np.dtype[Any]]

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM, _FINER = 480, 24, 52, 216, 40, 2
_BAR, _BAR_HIGH = 16, 200
_TEXT, _FAINT, _GROUND, _EDGE = (40, 44, 52), (100, 108, 120), (255, 255, 255), (20, 22, 26)
_LEVELS = 12
_MOVING_MS, _LAST_MS = 90, 2500


def landscape_picture(found: Landscape, title: str, upto: int | None = None) -> Array:
    """The activation as colours with contour lines, and each path from its start (ring) to its end (dot), with a legend
    that has the activations reached; (572, 720, 3) uint8 RGB. `upto`: only the first so many points of each path.
    """
    return _frame(found, _ground(found, title), upto)


def landscape_frames(found: Landscape, title: str) -> list[Array]:
    """The same, from the start on, a frame a point of the paths."""
    ground = _ground(found, title)
    return [_frame(found, ground, upto) for upto in range(1, max(len(path.places) for path in found.paths) + 1)]


def encode_moving(frames: list[Array], kind: str) -> bytes:
    """The frames as an animation that starts again for ever: `kind` 'gif' or 'png' (animated PNG, lossless)."""
    pictures = [Image.fromarray(frame) for frame in frames]
    times = [_MOVING_MS] * (len(frames) - 1) + [_LAST_MS]
    if kind == "gif":
        # One palette for all frames, else colours flicker from frame to frame.
        shared = pictures[-1].quantize(256, dither=Image.Dither.NONE)
        pictures = [picture.quantize(palette=shared, dither=Image.Dither.NONE) for picture in pictures]
    stream = io.BytesIO()
    pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:], duration=times, loop=0)
    return stream.getvalue()


def describe_landscape(found: Landscape) -> dict[str, Any]:
    """The paths and what the plane shows of them, for JSON."""
    return {
        "objective": found.aim.label,
        "explained": list(found.explained),
        "optimizers": [
            {"name": path.optimizer, "value": path.value, "start": float(path.curve[0]), "steps": len(path.curve)}
            for path in found.paths
        ],
        "notes": list(found.notes),
    }


def _ground(found: Landscape, title: str) -> Image.Image:
    """All but the paths, at twice the size."""
    low, high = float(found.activation.min()), float(found.activation.max())
    high = high if high > low else low + 1
    smooth = _smooth((found.activation - low) / (high - low))
    colours = palette("viridis")[np.rint(255 * smooth).astype(np.intp)]
    bands = np.floor(smooth * _LEVELS)
    line = np.zeros(bands.shape, bool)
    line[1:] |= bands[1:] != bands[:-1]
    line[:, 1:] |= bands[:, 1:] != bands[:, :-1]
    colours = np.where(line[..., None], (0.6 * colours + 0.4 * 255).astype(np.uint8), colours)
    page = Image.new("RGB", ((_LEFT + _SIDE + _RIGHT) * _FINER, (_TOP + _SIDE + _BOTTOM) * _FINER), _GROUND)
    page.paste(Image.fromarray(colours), (_LEFT * _FINER, _TOP * _FINER))
    draw = ImageDraw.Draw(page)
    _write(draw, _LEFT, 22, fitted(title, 16, _SIDE + _RIGHT - 12), 16)
    shares = " and ".join(percent(share) for share in found.explained)
    _write(draw, _LEFT, _TOP + _SIDE + 18, f"plane of the paths' two principal components ({shares} of variance)", 12)
    _legend(draw, found)
    _bar(page, draw, low, high)
    return page


def _smooth(shares: Array) -> Array:
    """Values in 0–1 at a grid's points as the field's pixels, bicubic, row 0 on top: a plane's rows go up.

    The outermost points are the edges' middles. The grid is continued beyond them as it ran, or cubics would bend.
    """
    side, around = _SIDE * _FINER, 2
    continued = np.pad(shares, around, "reflect", reflect_type="odd").astype(np.float32)
    down, right = (np.linspace(around, around + size - 1, side, dtype=np.float32) for size in shares.shape)
    field = cv2.remap(continued, *np.meshgrid(right, down), cv2.INTER_CUBIC)
    return np.clip(field[::-1], 0, 1)


def _legend(draw: Any, found: Landscape) -> None:
    left = _LEFT + _SIDE + 18
    _write(draw, left, _TOP + 8, "optimiser, activation reached", 12, _FAINT)
    for place, path in enumerate(found.paths):
        y = _TOP + 32 + 22 * place
        line = (left * _FINER, y * _FINER, (left + 22) * _FINER, y * _FINER)
        draw.line(line, COLOURS[place % len(COLOURS)], 3 * _FINER)
        _write(draw, left + 30, y, f"{path.optimizer}  {number(path.value)}", 13)


def _bar(page: Image.Image, draw: Any, low: float, high: float) -> None:
    left, top = _LEFT + _SIDE + 18, _TOP + _SIDE - _BAR_HIGH
    shades = palette("viridis")[np.linspace(255, 0, _BAR_HIGH * _FINER).astype(np.intp)]
    page.paste(Image.fromarray(np.repeat(shades[:, None], _BAR * _FINER, axis=1)), (left * _FINER, top * _FINER))
    _write(draw, left, top - 14, "activation on the plane", 12, _FAINT)
    for value, text in nice_values(low, high, 4):
        _write(draw, left + _BAR + 8, top + _BAR_HIGH * (1 - (value - low) / (high - low)), text, 12)


def _frame(found: Landscape, ground: Image.Image, upto: int | None) -> Array:
    page = ground.copy()
    draw = ImageDraw.Draw(page)
    for place, path in enumerate(found.paths):
        _draw_path(draw, found, path, COLOURS[place % len(COLOURS)], upto)
    return np.asarray(page.reduce(_FINER))


def _draw_path(draw: Any, found: Landscape, path: Path, colour: tuple[int, int, int], upto: int | None) -> None:
    points = [_on_page(found, x, y) for x, y in path.places[:upto]]
    if len(points) > 1:
        draw.line(points, _EDGE, 5 * _FINER, joint="curve")
        draw.line(points, colour, 3 * _FINER, joint="curve")
    (x, y), radius = points[0], 5 * _FINER
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), None, _GROUND, 2 * _FINER)
    x, y = points[-1]
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour, _GROUND, _FINER)


def _on_page(found: Landscape, x: float, y: float) -> tuple[float, float]:
    """Where a place of the plane lies, in pixels of the enlarged page."""
    across = (x - found.across[0]) / (found.across[-1] - found.across[0])
    up = (y - found.up[0]) / (found.up[-1] - found.up[0])
    return (_LEFT + _SIDE * across) * _FINER, (_TOP + _SIDE * (1 - up)) * _FINER


def _write(draw: Any, x: float, y: float, text: str, size: int, colour: tuple[int, int, int] = _TEXT) -> None:
    draw.text((x * _FINER, y * _FINER), drawable(text), colour, font(size * _FINER), anchor="lm")
