"""Projections of feature maps to pixels as pictures: colours around grey, beside what the model saw; and as data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from onnxvis.errors import UsageError
from onnxvis.show.colormap import palette
from onnxvis.show.mosaic import stretch
from onnxvis.show.sheet import drawable, fitted, font
from onnxvis.show.text import number, shape

if TYPE_CHECKING:
    from onnxvis.measure.ladder import Ladder
    from onnxvis.measure.projections import Projection

__all__ = [
    "blended",
    "describe_ladder",
    "describe_projection",
    "ladder_arrays",
    "ladder_page",
    "projection_arrays",
    "projection_name",
    "projection_page",
    "projection_picture",
    "step_pictures",
]

Array = np.ndarray[Any, np.dtype[Any]]
Tile = tuple[Array, str, str]
"""A picture (h, w, 3) uint8 RGB, and two lines of text below it."""

_ROBUST = 99.5
_TILE, _GAP, _BETWEEN, _TITLE, _CAPTION = 224, 20, 6, 44, 44
_TEXT, _FAINT, _GROUND, _RING = (40, 44, 52), (100, 108, 120), (255, 255, 255), (255, 255, 255)
_IN_ONE_COLUMN = 3
_SMALLEST_CROP, _FADED = 16, 0.01
_MOST_PIXELS = 40e6


def projection_picture(values: Array, *, bgr: bool = False) -> Array:
    """`values` (C, H, W), signed, as colours around grey: (H, W, 3) uint8 RGB, zero being 128 in every colour.

    128 + 127 · values / m, cut off at black and white, m the 99.5th percentile of the magnitudes that are not 0: a few
    large values do not make the rest fade. Of four channels the first three are drawn; of any other number but three,
    their sum in grey. `bgr`: the model is fed blue first. Values that are not finite count as 0.
    """
    finite = np.where(np.isfinite(values), values, 0.0)
    colours = finite[:3] if len(finite) in (3, 4) else np.repeat(finite.sum(axis=0, keepdims=True), 3, axis=0)
    shown = (colours[::-1] if bgr else colours) / _robust_maximum(colours)
    pixels: Array = np.rint(128 + 127 * np.clip(shown, -1, 1)).astype(np.uint8)
    return pixels.transpose(1, 2, 0).copy()


def blended(values: Array) -> Array:
    """A step of a ladder, (C, h, w), as one map (h, w) in 0–1: the sum over channels of |values|, over the 99.5th
    percentile of those sums that are not 0, cut off at 1.
    """
    total = np.abs(np.where(np.isfinite(values), values, 0.0)).sum(axis=0, dtype=np.float64)
    return np.asarray(np.minimum(total / _robust_maximum(total), 1))


def projection_page(
    found: Sequence[Projection],
    picture: Array | None,
    title: str,
    *,
    colormap: str = "magma",
    bgr: bool = False,
) -> Array:
    """A row for each of `found`, at least one, on a titled page: what the model saw, the channel's map with a ring at
    its largest value, and the projection; (R, C, 3) uint8 RGB.

    Of a projection from the strongest position, only the part of the picture that it reaches is shown.
    """
    columns = 1 if len(found) <= _IN_ONE_COLUMN else 2
    rows = [list(_row(one, picture, colormap, bgr)) for one in found]
    return _page([rows[start : start + columns] for start in range(0, len(rows), columns)], title)


def ladder_page(
    found: Ladder, picture: Array | None, title: str, *, first: int = 0, colormap: str = "magma", bgr: bool = False
) -> Array:
    """Every step, deepest first, the last in colour, on a titled page (R, C, 3) uint8 RGB.

    Steps are `blended`; with `first` each has a row of its own, of its first channels alone, signed around grey.
    Raises UsageError where so many channels would take more than 40 megapixels.
    """
    _check_page(found, first)
    tiles = list(_steps(found, first, colormap, bgr))
    if picture is not None:
        tiles[-1].append((picture, "the picture", "as the model saw it"))
    if first:
        return _page([[row] for row in tiles], title, cv2.INTER_NEAREST)
    flat = [tile for row in tiles for tile in row]
    columns = min(len(flat), max(3, math.ceil(math.sqrt(len(flat) * 1.5))))
    lines = [[[tile] for tile in flat[start : start + columns]] for start in range(0, len(flat), columns)]
    return _page(lines, title, cv2.INTER_NEAREST)


def step_pictures(found: Ladder, *, first: int = 0, colormap: str = "magma", bgr: bool = False) -> Iterator[Array]:
    """Each step as a picture of its own size, uint8 RGB: as on the page; with `first` its channels side by side."""
    for tiles in _steps(found, first, colormap, bgr):
        pictures = [tile[0] for tile in tiles]
        yield np.concatenate([pictures[0], *(np.pad(one, ((0, 0), (1, 0), (0, 0))) for one in pictures[1:])], axis=1)


def projection_name(channel: int | None) -> str:
    """'channel 17' or 'the whole layer'."""
    return "the whole layer" if channel is None else f"channel {channel}"


def projection_arrays(found: Iterable[Projection]) -> dict[str, Array]:
    """projection/CHANNEL/values (C, H, W) and /activation (h, w) for each; CHANNEL is 'whole' for the whole layer."""
    return {
        f"projection/{'whole' if one.channel is None else one.channel}/{kind}": values
        for one in found
        for kind, values in (("values", one.values), ("activation", one.activation))
    }


def ladder_arrays(found: Ladder) -> dict[str, Array]:
    """ladder/TENSOR: (C, h, w) for each step."""
    return {f"ladder/{step.tensor}": step.values for step in found.steps}


def describe_projection(found: Projection) -> dict[str, Any]:
    """A projection without its pixels, for JSON. `peak`: [row, column] of the largest value in the channel, `max`: that
    value, null where it is not finite; `size`: [C, H, W] of the projection.
    """
    row, column, value = found.peak
    return {
        "layer": found.tensor,
        "channel": found.channel,
        "variant": found.variant,
        "position": found.position,
        "peak": [row, column],
        "max": value if math.isfinite(value) else None,
        "size": list(found.values.shape),
        "notes": list(found.notes),
        "provider": found.provider,
    }


def describe_ladder(found: Ladder) -> dict[str, Any]:
    """A ladder without its maps, for JSON: `steps` with "tensor", "convolution" and "size" [C, h, w]."""
    steps: list[Mapping[str, Any]] = [
        {"tensor": step.tensor, "convolution": step.convolution, "size": list(step.values.shape)}
        for step in found.steps
    ]
    return {
        "layer": found.tensor,
        "channel": found.channel,
        "variant": found.variant,
        "position": found.position,
        "steps": steps,
        "notes": list(found.notes),
        "provider": found.provider,
    }


def _row(found: Projection, picture: Array | None, colormap: str, bgr: bool) -> Iterator[Tile]:
    """The tiles of one projection."""
    projected = projection_picture(found.values, bgr=bgr)
    part = _reached(found.values) if found.position == "strongest" else (slice(None), slice(None))
    row, column, value = found.peak
    if picture is not None:
        if picture.shape[:2] != projected.shape[:2]:
            picture = np.asarray(cv2.resize(picture, projected.shape[1::-1], interpolation=cv2.INTER_AREA))
        yield (
            picture[part],
            "the picture",
            "as the model saw it" if found.position == "all" else "the part that it reaches",
        )
    name = projection_name(found.channel)
    yield _ringed(found, colormap), name, f"max {number(value)} at row {row}, column {column}"
    yield (
        projected[part],
        "its projection",
        {"plain": "gradient", "guided": "guided", "deconvnet": "deconvnet"}[found.variant],
    )


def _ringed(found: Projection, colormap: str) -> Array:
    """The channel's map, enlarged with square pixels, with a ring at its largest value."""
    colours = palette(colormap)[stretch(found.activation[None], "channel").indices[0]]
    large = _sized(colours, cv2.INTER_NEAREST)
    row, column, value = found.peak
    if not math.isfinite(value) or not found.activation.any():
        return large
    scale = large.shape[0] / found.activation.shape[0]
    image = Image.fromarray(large)
    x, y, radius = (column + 0.5) * scale, (row + 0.5) * scale, min(max(7.0, scale * 0.8), _TILE / 8)
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), outline=_RING, width=2)
    return np.asarray(image)


def _reached(values: Array) -> tuple[slice, slice]:
    """The square part of the picture, with a little around it, outside of which lie a hundredth of the magnitudes on
    each side: far from its middle a projection fades to nothing that shows.
    """
    magnitudes = np.abs(np.where(np.isfinite(values), values, 0)).sum(axis=0)
    if not magnitudes.any():
        return slice(None), slice(None)
    spans = []
    for axis in (1, 0):
        share = np.cumsum(magnitudes.sum(axis=axis)) / magnitudes.sum()
        spans.append(np.searchsorted(share, (_FADED, 1 - _FADED)).tolist())
    side = max(_SMALLEST_CROP, round(1.1 * (1 + max(last - first for first, last in spans))))
    starts = [
        max(0, min((first + last + 1 - side) // 2, length - side))
        for (first, last), length in zip(spans, magnitudes.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)


def _steps(found: Ladder, first: int, colormap: str, bgr: bool) -> Iterator[list[Tile]]:
    """The tiles of each step, not yet enlarged."""
    for step in found.steps[:-1]:
        name, size = f"into {step.convolution}", shape(step.values.shape)
        if not first:
            indices = np.rint(255 * blended(step.values)).astype(np.uint8)
            yield [(palette(colormap)[indices], name, size)]
            continue
        yield [
            (projection_picture(values[None]), "" if channel else name, f"channel {channel} of {size}")
            for channel, values in enumerate(step.values[:first])
        ]
    values = found.steps[-1].values
    yield [(projection_picture(values, bgr=bgr), "pixels", shape(values.shape))]


def _check_page(found: Ladder, first: int) -> None:
    """Before anything is drawn; a tile is at most a square."""
    widest = max((min(first, len(step.values)) for step in found.steps[:-1]), default=0)
    pixels = widest * (_TILE + _BETWEEN) * len(found.steps) * (_TILE + _CAPTION + _GAP // 2)
    if pixels > _MOST_PIXELS:
        raise UsageError(
            f"{len(found.steps)} steps of up to {widest} channels make a page of {pixels / 1e6:.0f} megapixels, above "
            f"{_MOST_PIXELS / 1e6:.0f}; give a smaller --first"
        )


def _page(lines: Sequence[Sequence[Sequence[Tile]]], title: str, enlarge: int = cv2.INTER_CUBIC) -> Array:
    """Lines of groups of tiles, groups further apart than the tiles in them, on a white page with a title."""
    drawn = [
        [[(_sized(pixels, enlarge), name, text) for pixels, name, text in group] for group in line] for line in lines
    ]
    height = max(tile[0].shape[0] for line in drawn for group in line for tile in group)
    wide = max(len(group) for line in drawn for group in line) * (_TILE + _BETWEEN) - _BETWEEN + _GAP
    page_width = _GAP + max(len(line) for line in drawn) * wide
    page = Image.new("RGB", (page_width, _TITLE + len(drawn) * (height + _CAPTION + _GAP // 2)), _GROUND)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, 12), fitted(title, 18, page_width - 2 * _GAP), _TEXT, font(18))
    for row, line in enumerate(drawn):
        top = _TITLE + row * (height + _CAPTION + _GAP // 2)
        for column, group in enumerate(line):
            for place, (pixels, name, text) in enumerate(group):
                left = _GAP + column * wide + place * (_TILE + _BETWEEN)
                page.paste(Image.fromarray(pixels), (left, top))
                draw.text((left, top + height + 3), fitted(name, 14, _TILE), _TEXT, font(14))
                draw.text((left, top + height + 21), drawable(text), _FAINT, font(12))
    return np.asarray(page)


def _sized(pixels: Array, enlarge: int = cv2.INTER_CUBIC) -> Array:
    """A picture with its longer side brought to the tiles' size; as it is where it has that already."""
    factor = _TILE / max(pixels.shape[:2])
    size = tuple(max(1, round(side * factor)) for side in pixels.shape[1::-1])
    how = cv2.INTER_AREA if factor < 1 else enlarge
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), size, interpolation=how), np.uint8)


def _robust_maximum(values: Array) -> float:
    """The 99.5th percentile of the magnitudes that are not 0; 1 where all are."""
    magnitudes = np.abs(values[values != 0])
    return float(np.percentile(magnitudes, _ROBUST)) if magnitudes.size else 1.0
