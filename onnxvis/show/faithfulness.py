"""How good heatmaps are: the ranking as text, CSV and data, and the curves above the maps as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw

from onnxvis.show.chart import nice_values
from onnxvis.show.colormap import palette
from onnxvis.show.merge import overlay
from onnxvis.show.sheet import drawable, fitted, font
from onnxvis.show.text import number

if TYPE_CHECKING:
    from onnxvis.measure.faithfulness.curves import Curve
    from onnxvis.measure.faithfulness.judge import Judgement
    from onnxvis.measure.faithfulness.rank import Row

__all__ = ["describe_judgement", "describe_row", "faithfulness_picture", "ranking_csv", "ranking_table"]

Array = np.ndarray[Any, np.dtype[Any]]
Colour = tuple[int, int, int]

_COLUMNS = ("method", "insertion", "deletion", "difference", "pointing", "similarity", "seconds")
_INK, _FAINT, _PALE, _GRAY = (40, 44, 52), (100, 108, 120), (214, 218, 226), (150, 154, 162)
_COLOURS: tuple[Colour, ...] = (
    (31, 97, 180), (214, 80, 32), (38, 138, 74), (150, 64, 164), (176, 128, 8), (0, 146, 160), (200, 40, 96),
    (110, 90, 60), (90, 100, 220), (96, 140, 24),
)  # fmt: skip
_WIDTH, _GAP, _FINER = 1000, 14, 2
_PANEL, _LEFT, _PLOT, _TOP, _UNDER = 374, 52, 306, 76, 52
_HIGH, _LINE = 232, 19
_TILE, _CAPTION, _ALPHA = 150, 38, 0.55


def ranking_table(rows: Sequence[Row]) -> list[str]:
    """A heading, then a line for each row; columns about which nothing is known are left out."""
    shown = [_cells(row) for row in rows]
    kept = [name for name in _COLUMNS if any(cells[name] for cells in shown)]
    lines = [kept, *([cells[name] or "–" for name in kept] for cells in shown)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def ranking_csv(rows: Sequence[Row]) -> bytes:
    """The ranking with a heading, full numbers, and empty cells where nothing is known; UTF-8."""
    text = io.StringIO()
    names = [name for name in describe_row(rows[0]) if name != "curves"]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(describe_row(row) for row in rows)
    return text.getvalue().encode()


def describe_row(row: Row) -> dict[str, Any]:
    """A row for JSON; "curves": the mean scores at 0, 1/28, …, 1 of the pixels."""
    return {
        "method": row.method,
        "control": row.control,
        "pictures": row.pictures,
        "insertion": row.insertion.area,
        "deletion": row.deletion.area,
        "difference": row.difference,
        "hits": row.hits if row.asked else None,
        "asked": row.asked,
        "similarity": row.similarity,
        "depends_on_weights": row.depends,
        "seconds": row.seconds,
        "curves": {"insertion": [*row.insertion.scores], "deletion": [*row.deletion.scores]},
    }


def describe_judgement(one: Judgement) -> dict[str, Any]:
    """What was found of one map, for JSON. "similarity": step by step, [] where no weights were shuffled."""
    return {
        "method": one.method,
        "control": one.control,
        "score": one.curves.kind,
        "insertion": one.curves.insertion.area,
        "deletion": one.curves.deletion.area,
        "pointing": one.pointing,
        "similarity": [
            {"layers": step.layers, "down_to": step.down_to, "value": step.value}
            for step in (one.survival.steps if one.survival is not None else ())
        ],
        "seconds": one.seconds,
        "notes": [*one.notes],
    }


def faithfulness_picture(
    rows: Sequence[Row], maps: Mapping[str, Array], picture: Array | None, title: str, colormap: str = "turbo"
) -> Array:
    """The curves of `rows`, a line for each method and grey ones for the controls, above `picture` (H, W, 3) uint8 RGB
    and `maps` {method: (H, W) in 0–1} over it. (R, 1000, 3) uint8 RGB.
    """
    high = max(_HIGH, _LINE * len(rows) - _LINE)
    chart = _charts(rows, _colours(rows), title, high)
    tiles = [] if picture is None else [(_tile(picture), "the picture", "as the model saw it")]
    for row in rows:
        said = f"ins {row.insertion.area:.3f}, del {row.deletion.area:.3f}"
        if row.asked:
            said += f", points {row.hits}/{row.asked}"
        tiles.append((_tile(_over(maps[row.method], picture, colormap)), row.method, said))
    height = max(tile.shape[0] for tile, _, _ in tiles)
    columns = (_WIDTH - _GAP) // (_TILE + _GAP)
    count = -(-len(tiles) // columns)
    page = Image.new("RGB", (_WIDTH, chart.shape[0] + count * (height + _CAPTION + _GAP)), "white")
    page.paste(Image.fromarray(chart), (0, 0))
    draw = ImageDraw.Draw(page)
    for place, (tile, name, said) in enumerate(tiles):
        left = _GAP + place % columns * (_TILE + _GAP)
        top = chart.shape[0] + place // columns * (height + _CAPTION + _GAP)
        page.paste(Image.fromarray(tile), (left, top))
        draw.text((left, top + height + 4), fitted(name, 14, _TILE), _INK, font(14))
        draw.text((left, top + height + 22), fitted(said, 11, _TILE), _FAINT, font(11))
    return np.asarray(page)


def _cells(row: Row) -> dict[str, str]:
    return {
        "method": f"({row.method})" if row.control else row.method,
        "insertion": f"{row.insertion.area:z.3f}",
        "deletion": f"{row.deletion.area:z.3f}",
        "difference": f"{row.difference:z.3f}",
        "pointing": f"{row.hits}/{row.asked}" if row.asked else "",
        "similarity": f"{row.similarity:z.2f}" if row.similarity is not None else "",
        "seconds": number(row.seconds, 2) if row.seconds is not None else "",
    }


def _colours(rows: Sequence[Row]) -> dict[str, tuple[Colour, int]]:
    """{method: (its colour, the width of its line)}; colours begin again with thinner lines, controls are grey."""
    methods = [row.method for row in rows if not row.control]
    found = {name: (_COLOURS[at % len(_COLOURS)], 1 if at >= len(_COLOURS) else 2) for at, name in enumerate(methods)}
    controls = sorted(row.method for row in rows if row.control)
    return found | {name: (_GRAY if at else _FAINT, 2) for at, name in enumerate(controls)}


def _charts(rows: Sequence[Row], colours: Mapping[str, tuple[Colour, int]], title: str, high: int) -> Array:
    # Pillow's lines have steps: drawn twice as large, they are smoothed by shrinking.
    page = Image.new("RGB", (_WIDTH * _FINER, (_TOP + high + _UNDER) * _FINER), "white")
    draw = ImageDraw.Draw(page)
    _write(draw, _GAP, 26, fitted(title, 18, _WIDTH - 2 * _GAP), "ls", 18)
    pictures = rows[0].pictures
    over = "" if pictures == 1 else f", mean of {pictures} pictures"
    scores = [score for row in rows for curve in (row.insertion, row.deletion) for score in curve.scores]
    low, most = min(0.0, *scores), max(*scores, 1e-6)
    span = low, 1.0 if 0.7 < most <= 1 else most + 0.04 * (most - low)
    _panel(draw, 0, f"Insertion{over}", [(row.insertion, *colours[row.method]) for row in rows], span, high)
    _panel(draw, _PANEL, f"Deletion{over}", [(row.deletion, *colours[row.method]) for row in rows], span, high)
    left = 2 * _PANEL + 10
    _write(draw, left + 178, _TOP - 14, "insertion", "rs", 11, _FAINT)
    _write(draw, left + 230, _TOP - 14, "deletion", "rs", 11, _FAINT)
    for place, row in enumerate(rows):
        colour, width = colours[row.method]
        y = _TOP + _LINE * place
        draw.line(_scaled((left, y), (left + 18, y)), colour, width * _FINER)
        _write(draw, left + 24, y, fitted(row.method, 12, 122), "lm", 12)
        _write(draw, left + 178, y, f"{row.insertion.area:z.3f}", "rm", 12)
        _write(draw, left + 230, y, f"{row.deletion.area:z.3f}", "rm", 12)
    return np.asarray(page.reduce(_FINER))


def _panel(
    draw: Any, left: int, title: str, lines: Sequence[tuple[Curve, Colour, int]], span: tuple[float, float], high: int
) -> None:
    """One chart, its left edge at `left`: share of pixels to the right, score upwards within `span`."""
    low, top = span

    def place(share: float, score: float) -> tuple[float, float]:
        return left + _LEFT + _PLOT * share, _TOP + high * (1 - (score - low) / (top - low))

    _write(draw, left + _LEFT, _TOP - 14, title, "ls", 14)
    for score, text in nice_values(low, top, 5):
        draw.line(_scaled(place(0, score), place(1, score)), _PALE, _FINER)
        _write(draw, place(0, score)[0] - 7, place(0, score)[1], text, "rm", 12)
    for share in (0, 0.25, 0.5, 0.75, 1):
        _write(draw, place(share, low)[0], _TOP + high + 7, f"{share:.0%}", "mt", 12)
    _write(draw, left + _LEFT + _PLOT / 2, _TOP + high + 25, "pixels moved", "mt", 12, _FAINT)
    for curve, colour, width in reversed(lines):  # the best on top
        points = [place(share, score) for share, score in zip(curve.fractions, curve.scores, strict=True)]
        for one, other in pairwise(points):
            draw.line(_scaled(one, other), colour, width * _FINER)


def _scaled(*points: tuple[float, float]) -> list[tuple[float, float]]:
    return [(x * _FINER, y * _FINER) for x, y in points]


def _write(draw: Any, x: float, y: float, text: str, anchor: str, size: int, colour: Colour = _INK) -> None:
    draw.text((x * _FINER, y * _FINER), drawable(text), colour, font(size * _FINER), anchor=anchor)


def _over(values: Array, picture: Array | None, colormap: str) -> Array:
    """A map over the picture, which loses its colours; alone where there is none."""
    height, width = values.shape
    ground = np.zeros((height, width, 3), np.uint8) if picture is None else picture
    if ground.shape[:2] != (height, width):
        ground = np.asarray(cv2.resize(ground, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return overlay(ground, values, palette(colormap), 1.0 if picture is None else _ALPHA, gray=True)


def _tile(picture: Array) -> Array:
    height, width = picture.shape[:2]
    factor = _TILE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
