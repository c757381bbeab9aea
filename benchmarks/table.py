"""From samples to the table: medians, ratios, whether a limit is met, and the Markdown that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.experiment import Line, Samples, Unit

__all__ = ["HEADER", "Row", "cells", "failed_row", "markdown", "row"]

HEADER = (
    "what",
    "threads",
    "ours",
    "theirs",
    "ratio",
    "lowest–highest",
    "limit",
    "verdict",
    "CPU ratio",
    "peak, ours",
    "peak, theirs",
)

_SCALE: dict[Unit, float] = {"s": 1.0, "MiB": 2.0**20, "MB": 1e6, "of 5": 1.0, "×": 1.0}


@dataclass(frozen=True)
class Row:
    """One line of the table, measured: medians in `unit`, None where a process did not end well.

    `spread` is the lowest and highest ratio of one round. `relative` says that `limit` is for the ratio, else it is for
    ours. `met` is None where there is no limit. `cpu` is the ratio of processor times, which other work on the machine
    disturbs less; it and the peaks, in MiB, are there where wall times of whole processes are compared.
    """

    title: str
    threads: int
    unit: Unit
    relative: bool
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    limit: float | None = None
    met: bool | None = None
    cpu: float | None = None
    peaks: tuple[float | None, float | None] = (None, None)


def row(line: Line, threads: int, samples: Samples) -> Row:
    """The medians of `line`'s figures and their ratio. Raises KeyError where `samples` lacks a figure it names."""
    scale = _SCALE[line.unit]
    ours = [value / scale for value in samples[line.ours]]
    theirs = [value / scale for value in samples[line.theirs]] if line.theirs else []
    middle = median(ours)
    ratio = middle / median(theirs) if theirs else None
    rounds = [a / b for a, b in zip(ours, theirs, strict=True)] if theirs else []
    judged = middle if ratio is None else ratio
    return Row(
        line.title,
        threads,
        line.unit,
        line.theirs is not None,
        middle,
        median(theirs) if theirs else None,
        ratio,
        (min(rounds), max(rounds)) if rounds else None,
        line.limit,
        None if line.limit is None else judged <= line.limit,
        _cpu_ratio(line, samples),
        (_peak(line.ours, samples), _peak(line.theirs, samples)),
    )


def failed_row(line: Line, threads: int) -> Row:
    """A line whose experiment did not end well: counts as a missed limit where it has one."""
    met = None if line.limit is None else False
    return Row(line.title, threads, line.unit, line.theirs is not None, limit=line.limit, met=met)


def _cpu_ratio(line: Line, samples: Samples) -> float | None:
    """Of the two whole processes whose wall times `line` compares; None for other figures."""
    sides = [figure.removesuffix(".seconds") for figure in (line.ours, line.theirs) if figure]
    figures = [f"{side}.cpu" for side in sides]
    if len(figures) < 2 or not all(name in samples for name in figures):
        return None
    ours, theirs = (median(samples[name]) for name in figures)
    return ours / theirs if theirs else None


def _peak(figure: str | None, samples: Samples) -> float | None:
    """The median peak of the whole process that gave `figure`, where the figure is that process's own time."""
    side, _, key = (figure or "").rpartition(".")
    return median(samples[f"{side}.peak"]) / 2**20 if key == "seconds" else None


def cells(item: Row) -> tuple[str, ...]:
    """The row as text, in HEADER's order."""
    limit = "" if item.limit is None else f"{item.limit:g}" if item.relative else f"{item.limit:g} {item.unit}"
    verdict = {None: "", True: "met", False: "**missed**"}[item.met]
    return (
        item.title,
        str(item.threads),
        _amount(item.ours, item.unit),
        _amount(item.theirs, item.unit),
        "" if item.ratio is None else f"{item.ratio:.3f}",
        "" if item.spread is None else f"{item.spread[0]:.3f}–{item.spread[1]:.3f}",
        limit,
        "**failed**" if item.ours is None else verdict,
        "" if item.cpu is None else f"{item.cpu:.3f}",
        *(_amount(peak, "MiB") for peak in item.peaks),
    )


def _amount(value: float | None, unit: Unit) -> str:
    if value is None:
        return ""
    return (
        f"{value:.0f} {unit}"
        if unit in {"MiB", "of 5"}
        else f"{value:.3f} {unit}"
        if value < 1
        else f"{value:.2f} {unit}"
    )


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table whose columns also line up as plain text; numbers stand to the right."""
    grid = [HEADER, *([cell.replace("|", "\\|") for cell in cells(item)] for item in rows)]
    widths = [max(3, *(len(line[i]) for line in grid)) for i in range(len(HEADER))]
    left = {0, HEADER.index("verdict")}
    lines = []
    for line in grid:
        padded = (
            cell.ljust(w) if i in left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        lines.append(f"| {' | '.join(padded)} |")
    rule = (f":{'-' * (w - 1)}" if i in left else f"{'-' * (w - 1)}:" for i, w in enumerate(widths))
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)
