"""Numbers, shapes and untrusted names as text that fits on a page."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxvis.measure.channels import ChannelStatistics

__all__ = [
    "Dim",
    "channel_lines",
    "clean",
    "count",
    "ending",
    "number",
    "percent",
    "seconds",
    "shape",
    "shorten",
    "size",
]

Dim = int | str | None
"""One dimension of a shape: a number, a symbol such as 'N', or None where nothing is known."""

_MINUS = "−"


def clean(text: str, limit: int = 2000) -> str:
    """`text` without line breaks, control or direction marks (each becomes \\x…), cut in the middle at `limit`."""
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[: limit - 1 - half]}…{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def shorten(text: str, limit: int = 56) -> str:
    """`clean`, and cut in the middle to `limit` characters: a tensor's name tells most at its ends."""
    text = clean(text, 4 * limit)
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[: limit - 1 - half]}…{text[-half:]}"


def ending(text: str, limit: int) -> str:
    """The last parts of a dotted name that fit in `limit` characters: 'stage3' of 'darknet.backbone.stage3'."""
    if len(text) > limit:
        text = text[text.find(".", len(text) - limit - 1) + 1 :] or text
    return shorten(text, limit)


def number(value: float | None, digits: int = 4) -> str:
    """Four significant digits and a true minus sign; '–' for None and NaN."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}g}".replace("-", _MINUS).replace("e+0", "e").replace(f"e{_MINUS}0", f"e{_MINUS}")


def percent(share: float) -> str:
    """A share in 0–1 as per cent: '12.3 %', '< 0.1 %' where it is not quite zero."""
    if share <= 0 or math.isnan(share):
        return "0 %"
    return "< 0.1 %" if share < 0.001 else f"{100 * share:.3g} %"


def count(value: int | None) -> str:
    """A count as people say it: '940', '25.6 M', '1.82 G'; 'unknown' for None."""
    if value is None:
        return "unknown"
    return _scaled(value, 1000, ("", " k", " M", " G", " T"), 10_000)


def size(value: int) -> str:
    """Bytes as 'kB', 'MB' or 'GB' (powers of 1,000)."""
    return _scaled(value, 1000, (" B", " kB", " MB", " GB", " TB"), 1000)


def seconds(value: float) -> str:
    """A duration: '340 ms', '2.14 s', '3 min 05 s'."""
    if value < 1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 60 else f"{int(value) // 60} min {int(value) % 60:02d} s"


def shape(dims: tuple[Dim, ...] | None) -> str:
    """'1 × 3 × 224 × 224', eight dimensions at most; 'scalar' for none, 'unknown' for None, '?' for one not known."""
    if dims is None:
        return "unknown"
    known = ["?" if dim is None else shorten(str(dim), 24) for dim in dims[:8]]
    return " × ".join(known + ["…"] * (len(dims) > 8)) or "scalar"


def channel_lines(statistics: ChannelStatistics) -> str:
    """One line a channel: number, min, max, mean, std, share of zeros in per cent, and remarks. Plain text.

    The page shows this as it is and its script reads the same lines, so that the numbers stand on it once.
    """
    head = f"{'channel':>7}{'min':>12}{'max':>12}{'mean':>12}{'std':>12}{'zeros %':>9}  remarks"
    numbers = (statistics.min, statistics.max, statistics.mean, statistics.std, 100 * statistics.zero_fraction)
    columns = [range(len(statistics.min)), *(column.tolist() for column in numbers)]
    flat = tuple(itertools.chain.from_iterable(zip(*columns, strict=True)))
    # One formatting of all rows takes half the time of one for each.
    lines = [head, *("\n%7d%12.4g%12.4g%12.4g%12.4g%9.1f" * len(columns[0]) % flat).split("\n")[1:]]
    for index in statistics.dead.nonzero()[0].tolist():
        lines[1 + index] += "  constant"
    for index in (statistics.nan + statistics.inf).nonzero()[0].tolist():
        lines[1 + index] += f"  {statistics.nan[index]} NaN, {statistics.inf[index]} infinite"
    return "\n".join(lines)


def _scaled(value: int, base: int, units: tuple[str, ...], first: int) -> str:
    if abs(value) < first:
        return f"{value:,}{units[0]}"
    power = 0
    scaled = float(value)
    while abs(scaled) >= base * 0.9995 and power < len(units) - 1:
        scaled /= base
        power += 1
    return f"{scaled:.3g}{units[power]}"
