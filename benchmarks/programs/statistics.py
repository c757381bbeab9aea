"""Statistics and histograms of every weight of a model in one process: onnxvis beside NumPy, in turn.

Prints {"ours": seconds, "theirs": seconds}, each the median of a few passes after one that does not count.

`python -m benchmarks.programs.statistics MODEL`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from onnxvis.graph.load import load
from onnxvis.measure.statistics import summarise

__all__ = ["by_numpy", "main"]

_BINS = 50
_PASSES = 3

Array = np.ndarray[Any, np.dtype[Any]]


def by_numpy(array: Array) -> tuple[Any, ...]:
    """`numpy.histogram` and the moments, in the array's own precision: what takes NumPy least."""
    return (*np.histogram(array, _BINS), array.mean(), array.std(ddof=1), array.min(), array.max())


def main(path: Path) -> None:
    """Time both over all floating-point weights of more than one value."""
    weights = load(path).weights
    arrays = [weights.read(item.name) for item in weights.all()]
    arrays = [array for array in arrays if array.dtype.kind == "f" and array.size > 1]
    ways: dict[str, Callable[[Array], object]] = {"ours": lambda array: summarise(array, _BINS), "theirs": by_numpy}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_PASSES + 1):
        for name, way in ways.items():
            seconds = _timed(way, arrays)
            if number:
                taken[name].append(seconds)
    print(json.dumps({name: median(values) for name, values in taken.items()}))


def _timed(way: Callable[[Array], object], arrays: Sequence[Array]) -> float:
    start = time.perf_counter()
    for array in arrays:
        way(array)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]))
