"""Charts as files of their own: one weight's histogram as SVG and as PNG, and all weights over depth as SVG.

SVG files are valid XML 1.0 without scripts, on a white ground, whatever stands in the names; a PNG is drawn on the
same plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from onnxvis.show.chart import Tick, histogram
from onnxvis.show.depth import DepthChart
from onnxvis.show.png import encode_indexed
from onnxvis.show.sheet import drawable, fitted, font
from onnxvis.show.text import count, number, percent, shorten

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onnxvis.measure.statistics import TensorStatistics

__all__ = ["depth_svg", "histogram_picture", "histogram_png", "histogram_svg"]

_WIDTH, _HEIGHT = 560, 320
_LEFT, _TOP, _WIDE, _HIGH = 64, 76, 480, 176
_FLOOR = _TOP + _HIGH
_NAME, _NOTE, _ANCHORS, _MARGIN = 62, 110, {"start": 0, "middle": 1, "end": 2}, 2
_INK, _PALE, _PAPER, _BAND, _BAR, _MEAN = 0, 120, 200, 201, 202, 203
"""Palette indices: 0 to 200 are grays from ink to paper, so that smoothed letters stay between them."""


@dataclass(frozen=True)
class _Text:
    """A line of text with its baseline at `y` and its 'start', 'middle' or 'end' at `x`."""

    x: int
    y: int
    text: str
    size: int
    anchor: str = "start"


@dataclass(frozen=True)
class _Plan:
    """Where everything of a histogram stands. `mean`, `band`: places of the mean and of mean ± std, where they are."""

    texts: tuple[_Text, ...]
    ticks: tuple[int, ...]
    mean: int | None
    band: tuple[int, int] | None


def histogram_svg(title: str, note: str, statistics: TensorStatistics) -> str:
    """One histogram as an SVG file: bars with min, 0 and max below, a line at the mean, a band over mean ± std.

    `title` is a name from a model, `note` a line below it (role, shape, type); both may hold anything.
    """
    plan = _plan(title, note, statistics)
    bars = histogram(statistics.counts, _HIGH)
    parts = [_svg_text(item) for item in plan.texts]
    if plan.band:
        left, right = plan.band
        parts.append(f'<rect x="{left}" y="{_TOP}" width="{right - left}" height="{_HIGH}" fill="#e6ecf5"/>')
    parts.append(
        f'<svg x="{_LEFT}" y="{_TOP}" width="{_WIDE}" height="{_HIGH}" viewBox="{bars.view_box}" '
        f'preserveAspectRatio="none"><path d="{bars.path}" fill="#4a72b0"/></svg>'
    )
    ticks = "".join(f"M{place}.5 {_FLOOR}v5" for place in plan.ticks)
    parts.append(f'<path d="M{_LEFT - 5} {_TOP}.5h5v{_HIGH}h{_WIDE}M{_LEFT - 5} {_FLOOR}.5h5{ticks}" {_THIN}/>')
    if plan.mean is not None:
        parts.append(f'<path d="M{plan.mean}.5 {_TOP}v{_HIGH}" stroke="#f05a28" stroke-dasharray="4 3"/>')
    return _document(_WIDTH, _HEIGHT, title, parts)


def histogram_png(title: str, note: str, statistics: TensorStatistics) -> bytes:
    """The chart of `histogram_svg` as an indexed PNG of 560 × 320 pixels."""
    return encode_indexed(_drawn(title, note, statistics), _colours())


def histogram_picture(title: str, note: str, statistics: TensorStatistics) -> NDArray[np.uint8]:
    """The pixels of `histogram_png`: (320, 560, 3) uint8 RGB."""
    return _colours()[_drawn(title, note, statistics)]


def depth_svg(charts: Sequence[DepthChart], title: str) -> str:
    """All charts below each other as one SVG file; each weight's numbers are the tooltip of its column."""
    left, top = 96, 84
    parts = [
        _svg_text(_Text(16, 30, shorten(title, 90), 18)),
        _svg_text(_Text(16, 54, "Line: mean. Band: mean ± standard deviation. Thin lines: minimum and maximum.", 12)),
    ]
    y = top
    for chart in charts:
        layers = f"{len(chart.points)} weights, in order of depth" if len(chart.points) > 1 else "one weight"
        parts.append(_svg_text(_Text(left, y, f"{shorten(chart.title) or 'other'}: {layers}", 14)))
        parts += [_svg_text(_Text(left - 8, y + 14 + tick.at, tick.label, 11, "end")) for tick in chart.ticks]
        parts.append(f'<svg x="{left}" y="{y + 10}" width="{chart.width}" height="{chart.height}">')
        parts.append(f"{_depth_lines(chart)}</svg>")
        if chart.notes:
            more = f" and {len(chart.notes) - 2} more" if len(chart.notes) > 2 else ""
            note = f"{'; '.join(chart.notes[:2])}{more}"
            parts.append(_svg_text(_Text(left, y + 28 + chart.height, shorten(note, 130), 11)))
        y += chart.height + 60
    width = left + max((chart.width for chart in charts), default=_WIDE) + 24
    return _document(width, y, title, parts)


_THIN = 'fill="none" stroke="#787c84"'


def _depth_lines(chart: DepthChart) -> str:
    grid = "".join(f"M0 {tick.at}.5h{chart.width}" for tick in chart.ticks)
    columns = "".join(
        f'<rect x="{point.left}" y="0" width="{point.width}" height="{chart.height}" fill-opacity="0">'
        f"<title>{escape(point.label)}</title></rect>"
        for point in chart.points
    )
    return (
        f'<path d="{grid}" fill="none" stroke="#e2e5ea"/>'
        f'<path d="{chart.band_path}" fill="#4a72b0" fill-opacity="0.25"/>'
        f'<path d="{chart.min_path}{chart.max_path}" fill="none" stroke="#8796b0"/>'
        f'<path d="{chart.mean_path}" fill="none" stroke="#1f4e9c" stroke-width="2"/>'
        f'<path d="{chart.marker_path}" fill="#c0392b"/>{columns}'
    )


def _plan(title: str, note: str, statistics: TensorStatistics) -> _Plan:
    low, high = float(statistics.edges[0]), float(statistics.edges[-1])
    some = math.isfinite(statistics.mean)
    ticks = _ticks(statistics, low, high) if some else []
    texts = [
        _Text(16, 26, shorten(title, _NAME), 15),
        _Text(16, 46, shorten(note, 84), 12),
        _Text(_LEFT, _TOP - 8, "values in a bin", 11),
        _Text(_LEFT - 9, _TOP + 5, count(int(statistics.counts.max(initial=0))), 11, "end"),
        _Text(_LEFT - 9, _FLOOR + 4, "0", 11, "end"),
        _Text(16, 296, shorten(_summary(statistics), _NOTE), 12),
    ]
    texts += [_Text(tick.at, _FLOOR + 19, tick.label, 11, anchor) for tick, anchor in ticks if tick.label]
    odd = [f"{found:,} {what}" for found, what in ((statistics.nan, "NaN"), (statistics.inf, "infinite")) if found]
    if odd:
        texts.append(_Text(16, 313, f"{' and '.join(odd)} of {statistics.count:,} left out", 12))
    if not some:
        texts.append(_Text(_LEFT + _WIDE // 2, _TOP + _HIGH // 2, "no finite value", 15, "middle"))
        return _Plan(tuple(texts), (), None, None)
    spread = statistics.std if math.isfinite(statistics.std) else 0.0
    band = (_place(statistics.mean - spread, low, high), _place(statistics.mean + spread, low, high))
    places = tuple(tick.at for tick, _ in ticks)
    return _Plan(tuple(texts), places, _place(statistics.mean, low, high), band if band[0] < band[1] else None)


def _summary(statistics: TensorStatistics) -> str:
    some = math.isfinite(statistics.mean)
    spread = f" ± {number(statistics.std)} (std)" if math.isfinite(statistics.std) else ""
    mean = f"mean {number(statistics.mean)}{spread} · zeros {percent(statistics.zero_fraction)} · " if some else ""
    return f"{mean}{statistics.count:,} value{'s' * (statistics.count != 1)}"


def _ticks(statistics: TensorStatistics, low: float, high: float) -> list[tuple[Tick, str]]:
    """min, 0 and max with their anchors; 0 loses its text near an end, and a constant has one tick only."""
    if statistics.min == statistics.max:
        return [(Tick(_place(statistics.min, low, high), number(statistics.min)), "middle")]
    ends = [(Tick(_LEFT, number(low)), "start"), (Tick(_LEFT + _WIDE, number(high)), "end")]
    if not low < 0 < high:
        return ends
    zero = _place(0.0, low, high)
    near = min(zero - _LEFT, _LEFT + _WIDE - zero) < _TOO_NEAR
    return [ends[0], (Tick(zero, "" if near else "0"), "middle"), ends[1]]


_TOO_NEAR = 76


def _place(value: float, low: float, high: float) -> int:
    """The pixel of a value on the horizontal axis, held within it; its middle where it spans nothing."""
    # Halves never overflow, whatever the values are.
    span = high / 2 - low / 2
    share = (value / 2 - low / 2) / span if span else 0.5
    return _LEFT + round(_WIDE * min(1.0, max(0.0, share)))


def _drawn(title: str, note: str, statistics: TensorStatistics) -> NDArray[np.uint8]:
    """The chart as indices (320, 560)."""
    plan = _plan(title, note, statistics)
    page = np.full((_HEIGHT, _WIDTH), _PAPER, np.uint8)
    plot = page[_TOP:_FLOOR, _LEFT : _LEFT + _WIDE]
    if plan.band:
        plot[:, plan.band[0] - _LEFT : plan.band[1] - _LEFT] = _BAND
    heights = _columns(statistics.counts)
    plot[np.arange(_HIGH)[:, None] >= _HIGH - heights] = _BAR
    page[_TOP : _FLOOR + 1, _LEFT] = page[_FLOOR, _LEFT : _LEFT + _WIDE] = _PALE
    page[(_TOP, _FLOOR), _LEFT - 5 : _LEFT] = _PALE
    for place in plan.ticks:
        page[_FLOOR : _FLOOR + 6, min(place, _LEFT + _WIDE - 1)] = _PALE
    if plan.mean is not None:
        line = page[_TOP:_FLOOR, min(plan.mean, _LEFT + _WIDE - 1)]
        line[np.arange(_HIGH) % 7 < 4] = _MEAN
    for item in plan.texts:
        _write(page, item)
    return page


def _write(page: NDArray[np.uint8], item: _Text) -> None:
    room = _WIDTH - item.x - 8
    text = fitted(item.text, item.size, room) if len(item.text) * item.size > room else drawable(item.text)
    letters = _letters(text, item.size)
    left = item.x - (letters.shape[1] - _MARGIN) * _ANCHORS[item.anchor] // 2
    top = item.y - item.size
    part = page[top : top + letters.shape[0], left : left + letters.shape[1]]
    np.minimum(part, letters[:, : part.shape[1]], out=part)


def _letters(text: str, size: int) -> NDArray[np.uint8]:
    """A line of text as grays from ink to paper, its baseline in row `size`."""
    end = np.full((size + size // 2, _MARGIN), _PAPER, np.uint8)
    return np.concatenate([*(_letter(character, size) for character in text), end], axis=1)


@cache
def _letter(character: str, size: int) -> NDArray[np.uint8]:
    """One character, kept: drawing whole lines for each chart would take most of its time."""
    width = math.floor(font(size).getlength(character) + 0.7)
    picture = Image.new("L", (width, size + size // 2), _PAPER)
    ImageDraw.Draw(picture).text((0, size), character, _INK, font(size), anchor="ls")
    return np.asarray(picture)


def _columns(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The height of each pixel column's bar, at least 1 where a bin holds a value: (480,)."""
    highest = int(counts.max(initial=0))
    if not highest:
        return np.zeros(_WIDE, np.int64)
    share = counts / highest
    heights = np.where(counts > 0, np.maximum(1, np.floor(share * _HIGH)), 0).astype(np.int64)
    if len(counts) <= _WIDE:
        return heights[np.arange(_WIDE) * len(counts) // _WIDE]
    columns = np.zeros(_WIDE, np.int64)
    np.maximum.at(columns, np.arange(len(counts)) * _WIDE // len(counts), heights)
    return columns


@cache
def _colours() -> NDArray[np.uint8]:
    table = np.zeros((256, 3), np.uint8)
    table[: _PAPER + 1] = np.rint(np.linspace((40, 44, 52), (255, 255, 255), _PAPER + 1))
    table[_BAND], table[_BAR], table[_MEAN] = (230, 236, 245), (74, 114, 176), (240, 90, 40)
    return table


def _svg_text(item: _Text) -> str:
    anchor = "" if item.anchor == "start" else f' text-anchor="{item.anchor}"'
    return f'<text x="{item.x}" y="{item.y}" font-size="{item.size}"{anchor}>{escape(item.text)}</text>'


def _document(width: int, height: int, title: str, parts: Sequence[Any]) -> str:
    """A whole SVG file. Texts are cleaned by `shorten`, which leaves nothing that XML 1.0 forbids."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" fill="#282c34">'
        f"<title>{escape(shorten(title, 400))}</title>"
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )
