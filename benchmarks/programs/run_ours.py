"""The same through onnxvis: open a model as a skeleton and run it once, not rewritten.

`python -m benchmarks.programs.run_ours MODEL INPUT.npy THREADS`
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from onnxvis.graph.load import load
from onnxvis.measure.activations import run_deployed
from onnxvis.run.session import RunOptions

__all__ = ["main"]


def main(path: str, source: str, threads: int) -> None:
    """Compute all outputs and let them go."""
    model = load(Path(path))
    run_deployed(model, [{model.inputs[0].name: np.load(source)}], RunOptions("cpu", threads))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
