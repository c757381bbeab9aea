"""Heatmaps as pictures: laid over what the model saw, one alone or several on a titled page, and as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from onnxvis.show.colormap import palette
from onnxvis.show.merge import overlay
from onnxvis.show.mosaic import upscale
from onnxvis.show.sheet import drawable, fitted, font

if TYPE_CHECKING:
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.measure.target import Target
    from onnxvis.run.labels import Labels
    from onnxvis.show.text import Dim

__all__ = ["describe_heatmap", "heatmap_arrays", "heatmap_page", "heatmap_picture", "target_label", "target_name"]

Array = np.ndarray[Any, np.dtype[Any]]

_ALPHA = 0.55
_LEAST_SIDE, _TILE = 448, 256
_GAP, _TITLE, _CAPTION = 12, 40, 38
_TEXT, _FAINT, _GROUND = (40, 44, 52), (100, 108, 120), (255, 255, 255)


def heatmap_picture(found: Heatmap, picture: Array | None, colormap: str = "turbo", least: int = _LEAST_SIDE) -> Array:
    """The map over `picture` (H, W, 3) uint8 RGB, which loses its colours; alone where there is none. uint8 RGB.

    Small ones are enlarged by a whole factor so that the longer side comes near `least` pixels.
    """
    height, width = found.map.shape
    factor = max(1, least // max(height, width))
    ground = np.zeros((height, width, 3), np.uint8) if picture is None else picture
    if ground.shape[:2] != (height, width):
        ground = np.asarray(cv2.resize(ground, (width, height), interpolation=cv2.INTER_AREA))
    alpha = 1.0 if picture is None else _ALPHA
    return overlay(upscale(ground, factor * max(height, width)), found.map, palette(colormap), alpha, gray=True)


def heatmap_page(maps: Sequence[tuple[Heatmap, str]], picture: Array | None, title: str, colormap: str) -> Array:
    """What the model saw and each map over it, the method and a line of text below each; (R, C, 3) uint8 RGB.

    Below a map that holds nothing stands that it is blank.
    """
    tiles = [] if picture is None else [(_tile(picture), "the picture", "as the model saw it")]
    tiles += [(_tile(heatmap_picture(found, picture, colormap)), _named(found), text) for found, text in maps]
    height, width = (max(tile.shape[axis] for tile, _, _ in tiles) for axis in (0, 1))
    columns = min(len(tiles), max(3, math.ceil(math.sqrt(len(tiles)))))
    step_x, step_y = width + _GAP, height + _CAPTION + _GAP
    rows = math.ceil(len(tiles) / columns)
    page = Image.new("RGB", (_GAP + columns * step_x, _TITLE + rows * step_y), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 10), fitted(title, 18, columns * step_x - _GAP), _TEXT, font(18))
    for place, (tile, name, text) in enumerate(tiles):
        left, top = _GAP + place % columns * step_x, _TITLE + place // columns * step_y
        page.paste(Image.fromarray(tile), (left, top))
        draw.text((left, top + height + 3), drawable(name), _TEXT, font(14))
        draw.text((left, top + height + 20), fitted(text, 12, width), _FAINT, font(12))
    return np.asarray(page)


def heatmap_arrays(maps: Sequence[Heatmap]) -> dict[str, Array]:
    """METHOD/map: (H, W) float32 in 0–1, and METHOD/raw, for each."""
    return {
        f"{found.method}/{kind}": values for found in maps for kind, values in (("map", found.map), ("raw", found.raw))
    }


def describe_heatmap(found: Heatmap, labels: Labels | None = None) -> dict[str, Any]:
    """A heatmap without its pixels, for JSON. `peak`: [row, column] of the map's maximum; None where it is blank."""
    peak = np.unravel_index(int(found.map.argmax()), found.map.shape) if found.map.any() else None
    return {
        "method": found.method,
        "definition": found.definition,
        "layer": found.layers[0] if found.layers else "",
        "layers": list(found.layers),
        "target": str(found.target),
        "label": target_label(found.target, labels),
        "peak": None if peak is None else [int(place) for place in peak],
        "notes": list(found.notes),
        "provider": found.provider,
    }


def target_label(target: Target, labels: Labels | None) -> str:
    """What is explained, in words: for a box its class, its score and its cell, 'star 0.93 at row 3, column 4'; else
    as `target_name`.
    """
    box = target.box
    if box is None:
        return target_name(target.index, target.shape, labels)
    named = labels.name(box.label) if labels is not None else str(box.label)
    what = f"class {box.label}" if named == str(box.label) else named
    return f"{what} {box.score:.2f} at row {box.row}, column {box.column}"


def target_name(index: Sequence[int], shape: Sequence[Dim], labels: Labels | None) -> str:
    """What is explained, in words: the class where it is one, else its place."""
    if not index:
        return "the whole output"
    if len(index) == 1 and all(size == 1 for size in shape[2:]):
        name = labels.name(index[0]) if labels is not None else ""
        return f"{index[0]} {name}" if name and name != str(index[0]) else f"class {index[0]}"
    return f"element {', '.join(map(str, index))}"


def _named(found: Heatmap) -> str:
    return found.method if found.map.any() else f"{found.method}: blank"


def _tile(picture: Array) -> Array:
    """A picture with its longer side brought to the tiles' size."""
    height, width = picture.shape[:2]
    factor = _TILE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
