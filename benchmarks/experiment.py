"""An experiment: two or more ways to the same end, run in turn in one go, and the lines of the table drawn from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.processes import Finished, ProcessFailed, environment, run

__all__ = ["Experiment", "Line", "Samples", "Side", "Unit", "measure"]

Unit = Literal["s", "MiB", "MB", "of 5", "×"]
Samples = dict[str, list[float]]


@dataclass(frozen=True)
class Side:
    """One way: `commands` run one after the other, as whole processes.

    It gives the figures `NAME.seconds` and `NAME.cpu` (their sums) and `NAME.peak` (the largest, bytes). Where `page`
    names a file that it writes: `NAME.bytes`, and `NAME.lacking`, how many of the texts `holds` that file does not
    hold. Where `prints`: a `NAME.KEY` for each entry of the JSON object that the last command prints. `writes` is
    removed before every round, so each begins from nothing, and must hold at least `files` files after it.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    writes: tuple[Path, ...] = ()
    files: int = 1
    page: Path | None = None
    holds: tuple[str, ...] = ()
    prints: bool = False


@dataclass(frozen=True)
class Line:
    """A line of the table: the figure `ours`, beside the figure `theirs` where there is one.

    `limit` is the most that ours / theirs may be, or where there is no `theirs` the most that ours may be, in `unit`.
    """

    title: str
    ours: str
    theirs: str | None = None
    limit: float | None = None
    unit: Unit = "s"


@dataclass(frozen=True)
class Experiment:
    """What is run, and what is told of it. `note` says in a sentence or two what each side does."""

    name: str
    note: str
    sides: tuple[Side, ...]
    lines: tuple[Line, ...]


def measure(experiment: Experiment, threads: int, rounds: int, tell: Callable[[str], None]) -> Samples:
    """One round that does not count, then `rounds` of them; in each, every side runs once, in order.

    Returns each figure's values, round by round. Raises ProcessFailed, at the first process that fails or does not
    write what it should.
    """
    samples: Samples = {}
    for number in range(rounds + 1):
        for side in experiment.sides:
            tell(f"{experiment.name}, {threads} threads, {side.name}: {f'round {number}' if number else 'warming up'}")
            figures = _run_side(side, threads)
            for key, value in figures.items() if number else ():
                samples.setdefault(f"{side.name}.{key}", []).append(value)
    return samples


def _run_side(side: Side, threads: int) -> dict[str, float]:
    for path in side.writes:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    variables = environment(threads)
    done: list[Finished] = [run(command, variables) for command in side.commands]
    _check_written(side)
    figures = {
        "seconds": sum(item.seconds for item in done),
        "cpu": sum(item.cpu for item in done),
        "peak": float(max(item.peak for item in done)),
    }
    if side.page is not None:
        figures["bytes"] = float(side.page.stat().st_size)
        text = side.page.read_text(encoding="utf-8")
        figures["lacking"] = float(sum(wanted not in text for wanted in side.holds))
    if side.prints:
        figures |= {key: float(value) for key, value in json.loads(done[-1].stdout).items()}
    return figures


def _check_written(side: Side) -> None:
    """A process that ends well without doing its work would look fast."""
    found = sum(1 if path.is_file() else sum(item.is_file() for item in path.rglob("*")) for path in side.writes)
    if side.writes and found < side.files:
        raise ProcessFailed(f"{side.name} wrote {found} files of {side.files}")
