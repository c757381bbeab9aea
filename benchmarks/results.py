"""The page that the benchmarks leave: how to run them, the machine, the table, and what each experiment does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.table import Row, markdown

__all__ = ["page"]

_HOW = """\
# Benchmarks

```sh
pip install -e '.[bench]'
python -m benchmarks            # all of them; a quiet machine, an hour
python -m benchmarks --help     # --only, --rounds, --threads, --work, --check
```

Whole processes where nothing else is said: from the start of Python to its end, imports and all. In each round every \
side runs once, one after the other; the table has the medians of {rounds} after one that does not count, the ratio of \
the medians, and the lowest and highest ratio of a single round. A limit beside a ratio is the most that it may be. \
The CPU ratio is that of processor times, all threads added up. \
Both sides get the same picture, the same weights (random ones, the same numbers in ONNX and in PyTorch) and the same \
number of threads. Peaks are the most resident memory of a whole process, files that it maps among them.
"""


def page(rows: Sequence[Row], notes: Mapping[str, str], machine: str, rounds: int) -> str:
    """The page in Markdown; `notes` is {experiment: what its sides do}, `machine` one line."""
    told = "\n".join(f"- **{name}**: {note}" for name, note in notes.items())
    many = f"{rounds} rounds" if rounds != 1 else "1 round"
    return f"{_HOW.format(rounds=many)}\nMachine: {machine}\n\n{markdown(rows)}\n\n## What is measured\n\n{told}\n"
