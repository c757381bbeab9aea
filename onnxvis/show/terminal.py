"""Weights as plain text: a table for a terminal of any width, and one filter of a convolution whole."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.statistics import TensorStatistics, summarise
from onnxvis.show.text import clean, shorten

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onnxvis.graph.kernels import Kernel
    from onnxvis.measure.weights import WeightNumbers, WeightTable

__all__ = ["filter_lines", "sparkline", "summary_line", "table_lines"]

_BARS = "▁▂▃▄▅▆▇█"
_BARS_WIDE = 12
_GAP = "  "
_LEAST_NAME, _MOST_NAME = 16, 400
_NUMBERS = 60  # columns that the numbers alone take; names get a third of what is left
_FEW_VALUES, _FEW_COLUMNS = 1024, 16


@dataclass(frozen=True)
class _Column:
    """`keep`: columns of the lowest are the first to go where there is no room; `left`: text, not numbers."""

    title: str
    keep: int
    left: bool
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(_width, (self.title, *self.cells)))


def table_lines(weights: Sequence[WeightNumbers], width: int | None = None, encoding: str = "utf-8") -> list[str]:
    """A line a weight under a line of titles, names first.

    Within `width` columns, names are cut in the middle and the columns that say least are left out; None: nothing is
    cut. Histograms are drawn where `encoding` has the characters, and every other character that it lacks is replaced.
    """
    if not weights:
        return []
    columns = [column for column in _columns(weights, _can(encoding, _BARS)) if any(column.cells)]
    names = [clean(item.name, _MOST_NAME) for item in weights]
    longest = max(map(_width, ["name", *names]))
    room = longest
    if width is not None:
        least = min(longest, max(_LEAST_NAME, (width - _NUMBERS) // 3))
        while len(columns) > 1 and width - _taken(columns) < least:
            columns.remove(min(columns, key=lambda column: column.keep))
        room = max(_LEAST_NAME, min(longest, width - _taken(columns)))
    widths = [column.width for column in columns]
    rows = [("name", *(column.title for column in columns))]
    rows += [(_cut(name, room), *cells) for name, *cells in zip(names, *(c.cells for c in columns), strict=True)]
    lines = []
    for name, *cells in rows:
        padded = [_pad(cell, size, column.left) for cell, size, column in zip(cells, widths, columns, strict=True)]
        lines.append(_encoded(_GAP.join([_pad(name, room, True), *padded]).rstrip(), encoding))
    return lines


def summary_line(table: WeightTable, parameters: int | None = None) -> str:
    """How many weights there are, of how many numbers, and what is not among them.

    `parameters`: how many of the numbers the model learnt, where the table holds all its weights.
    """
    total = sum(item.statistics.count for item in table.weights)
    parts = [f"{len(table.weights):,} weight{'s' * (len(table.weights) != 1)} of {total:,} numbers"]
    if parameters is not None:
        parts[0] += f", {parameters:,} parameters"
    if table.left_out:
        parts.append(f"left out: {table.left_out:,} tensors of shapes, axes, indices, settings or text")
    if table.unread:
        parts.append(f"not read: {len(table.unread):,}")
    bad = sum(1 for item in table.weights if item.statistics.nan or item.statistics.inf)
    if bad:
        parts.append(f"NaN or infinity in {bad:,}")
    if any(item.quantization for item in table.weights):
        parts.append("q: quantised, the numbers are in real units")
    return "; ".join(parts)


def filter_lines(
    kernel: Kernel, number: int, weights: NDArray[Any], bins: int = 50, encoding: str = "utf-8"
) -> list[str]:
    """Filter `number` of `kernel` whole, `weights` (C/g, *spatial) in real units: what it is, its numbers and
    histogram, a line for each input channel, and the weights themselves where there are few."""
    bars = _can(encoding, _BARS)
    whole = summarise(weights, bins)
    drawn = sparkline(whole.counts, bins) if bars else " ".join(map(str, whole.counts.tolist()))
    lines = [
        f"{shorten(kernel.weight, 200)}: filter {number} of {kernel.shape[0]}",
        f"  {kernel.label}: {_node_of(kernel)}",
        f"  shape {_shape(weights.shape)}, {weights.size:,} weights",
        f"  {_numbers(whole)}",
        f"  histogram {_value(float(whole.edges[0]))} to {_value(float(whole.edges[-1]))}, {bins} bins: {drawn}",
    ]
    if math.prod(weights.shape[1:]) == 1:
        lines += ["  its weight for each input channel:", *_matrix(weights.reshape(1, -1)[0])]
        return [_encoded(line, encoding) for line in lines]
    few = weights.size <= _FEW_VALUES and weights.shape[-1] <= _FEW_COLUMNS
    for channel, values in enumerate(weights):
        found = summarise(values, bins)
        drawn = f"{_GAP}{sparkline(found.counts, _BARS_WIDE)}" if bars else ""
        lines.append(f"  input channel {channel:<4} {_numbers(found)}{drawn}")
        lines += _matrix(values) if few else []
    return [_encoded(line, encoding) for line in lines]


def _node_of(kernel: Kernel) -> str:
    """The node and what it makes; a node without a name is called by that alone."""
    unnamed = kernel.node.startswith(f"{kernel.op} making ")
    node = "" if unnamed else f" {shorten(kernel.node, 120)},"
    return f"{clean(kernel.op, 60)}{node} makes {shorten(kernel.output, 200)}"


def sparkline(counts: NDArray[np.int64] | Sequence[int], width: int = _BARS_WIDE) -> str:
    """A histogram as at most `width` bars, neighbouring bins joined; no bar where there is no count."""
    values = np.asarray(counts, np.int64)
    groups = [int(part.sum()) for part in np.array_split(values, min(width, values.size) or 1) if part.size]
    highest = max(groups, default=0)
    return "".join(_BARS[value * (len(_BARS) - 1) // highest] if value else " " for value in groups)


def _columns(weights: Sequence[WeightNumbers], bars: bool) -> list[_Column]:
    found = [item.statistics for item in weights]

    def texts(title: str, keep: int, cells: list[str]) -> _Column:
        return _Column(title, keep, True, tuple(cells))

    def numbers(title: str, keep: int, cells: list[str]) -> _Column:
        return _Column(title, keep, False, tuple(cells))

    return [
        texts("role", 4, [shorten(item.role, 24) for item in weights]),
        texts("shape", 7, [_shape(item.shape) for item in weights]),
        texts("dtype", 3, [f"{item.dtype}{' q' * bool(item.quantization)}" for item in weights]),
        texts(
            "stored in", 1, [shorten(f"{item.storage}{', ' * bool(item.place)}{item.place}", 32) for item in weights]
        ),
        numbers("mean", 9, [_value(item.mean) for item in found]),
        numbers("std", 10, [_value(item.std) for item in found]),
        numbers("min", 8, [_value(item.min) for item in found]),
        numbers("max", 8, [_value(item.max) for item in found]),
        numbers("zeros", 6, [_percent(item.zero_fraction) for item in found]),
        texts("histogram", 2, [sparkline(item.counts) if bars else "" for item in found]),
        texts("remarks", 11, [_remarks(item) for item in found]),
    ]


def _remarks(found: TensorStatistics) -> str:
    return ", ".join([f"{found.nan:,} NaN"] * bool(found.nan) + [f"{found.inf:,} Inf"] * bool(found.inf))


def _numbers(found: TensorStatistics) -> str:
    text = f"mean {_value(found.mean):>9}  std {_value(found.std):>9}  min {_value(found.min):>9}"
    text += f"  max {_value(found.max):>9}  zeros {_percent(found.zero_fraction)}"
    return text + f"  {found.nan} NaN" * bool(found.nan) + f"  {found.inf} Inf" * bool(found.inf)


def _matrix(values: NDArray[Any]) -> list[str]:
    """The numbers of `values` (*spatial) as indented rows of at most 8, or of a whole row of a kernel."""
    wide = values.shape[-1] if values.ndim > 1 else 8
    lines = []
    for plane in values.reshape(-1, *values.shape[-2:]) if values.ndim > 2 else [values]:
        flat = [_value(float(value)) for value in plane.reshape(-1)]
        lines += [
            "    " + "".join(f"{value:>11}" for value in flat[start : start + wide])
            for start in range(0, len(flat), wide)
        ]
    return lines


def _value(value: float) -> str:
    if math.isnan(value):
        return "-"
    if 1000 <= abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _percent(share: float) -> str:
    return "<0.1%" if 0 < share < 0.001 else f"{100 * share:.3g}%"


def _shape(dims: Sequence[int]) -> str:
    return "×".join(map(str, dims)) or "scalar"


def _taken(columns: Sequence[_Column]) -> int:
    return sum(len(_GAP) + column.width for column in columns)


def _width(text: str) -> int:
    """Columns of a terminal: East Asian characters and most pictographs take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _cut(text: str, room: int) -> str:
    limit = room
    while _width(text) > room:
        text = shorten(text, limit)
        limit -= 1
    return text


def _pad(text: str, width: int, left: bool) -> str:
    spaces = " " * (width - _width(text))
    return text + spaces if left else spaces + text


def _can(encoding: str, characters: str) -> bool:
    try:
        characters.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def _encoded(line: str, encoding: str) -> str:
    """`line` with the signs that are ours in ASCII where `encoding` lacks them; names stay as they are."""
    for sign, plain in (("×", "x"), ("…", "~")):
        line = line if _can(encoding, sign) else line.replace(sign, plain)
    return line
