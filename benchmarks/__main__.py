"""`python -m benchmarks`: makes the inputs, measures, prints the table and writes `benchmarks/results.md`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.experiment import Experiment, measure
from benchmarks.experiments import EXPERIMENTS
from benchmarks.inputs import Inputs
from benchmarks.machine import describe_machine
from benchmarks.processes import ProcessFailed, environment, run
from benchmarks.results import page
from benchmarks.table import Row, failed_row, row

__all__ = ["main"]

_RESULTS = Path(__file__).parent / "results.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0; with `--check` 1 where a limit is missed."""
    options = _parser().parse_args(arguments)
    names = options.only or list(EXPERIMENTS)
    with _work_folder(options.work, options.keep) as folder:
        inputs = _inputs(folder)
        machine = describe_machine()
        rows: list[Row] = []
        notes: dict[str, str] = {}
        for threads in options.threads:
            for name in names:
                scratch = folder / "scratch" / f"{name}-{threads}"
                scratch.mkdir(parents=True, exist_ok=True)
                experiment = EXPERIMENTS[name](inputs, scratch, threads)
                notes[name] = experiment.note
                rows += _rows(experiment, threads, options.rounds)
                if not options.keep:
                    shutil.rmtree(scratch)
    text = page(rows, notes, machine, options.rounds)
    print(text)
    options.output.write_text(text, encoding="utf-8")
    return int(options.check and any(item.met is False for item in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules["benchmarks"].__doc__)
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=list(EXPERIMENTS), help=", ".join(EXPERIMENTS))
    parser.add_argument("--rounds", metavar="N", type=_positive, default=5, help="that count (default: %(default)s)")
    parser.add_argument("--threads", metavar="N", type=_positive, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--work", metavar="DIR", type=Path, help="where inputs stand, or are made, to be used again")
    parser.add_argument("--keep", action="store_true", help="do not delete what was drawn, nor a temporary --work")
    parser.add_argument("--output", metavar="FILE", type=Path, default=_RESULTS, help="default: benchmarks/results.md")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is missed")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


@contextmanager
def _work_folder(chosen: Path | None, keep: bool) -> Iterator[Path]:
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="onnxvis-benchmarks-"))
    try:
        yield folder
    finally:
        if keep:
            _tell(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def _inputs(folder: Path) -> Inputs:
    """Made in a process of their own: this one must stay small, see `processes`."""
    inputs = Inputs(folder / "inputs")
    if not inputs.complete():
        _tell("making the inputs")
        run((sys.executable, "-m", "benchmarks.make_inputs", str(inputs.folder)), environment(1))
    return inputs


def _rows(experiment: Experiment, threads: int, rounds: int) -> list[Row]:
    try:
        samples = measure(experiment, threads, rounds, _tell)
    except ProcessFailed as error:
        _tell(f"{experiment.name}: {error}")
        return [failed_row(line, threads) for line in experiment.lines]
    return [row(line, threads, samples) for line in experiment.lines]


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
