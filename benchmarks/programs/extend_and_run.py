"""What people do to see inside a model: load it whole, add outputs, serialise it, and run that.

`python -m benchmarks.programs.extend_and_run MODEL INPUT.npy THREADS TENSOR ...`
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime

__all__ = ["main"]


def main(path: str, source: str, threads: int, tensors: Sequence[str]) -> None:
    """Compute all outputs and `tensors`, and let them go."""
    model = onnx.load(path)
    for name in tensors:
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {session.get_inputs()[0].name: np.load(source)})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
