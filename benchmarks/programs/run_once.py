"""Plain ONNX Runtime: open a model by its path and run it once.

`python -m benchmarks.programs.run_once MODEL INPUT.npy THREADS`
"""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

__all__ = ["main"]


def main(model: str, source: str, threads: int) -> None:
    """Compute all outputs and let them go."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: np.load(source)})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
