"""Recipro-CAM of ResNet-18 at 28 × 28 positions: 784 runs of what comes after its second stage, without PyTorch.

Prints `map`, the seconds that it takes. `python -m benchmarks.programs.positions FOLDER THREADS`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.make_inputs import tamed
from onnxvis.graph.load import load
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.run.session import RunOptions
from tests.zoo import build, materialize

__all__ = ["main"]

_STAGE, _SIDE = 1, 28


def main(folder: Path, threads: int) -> None:
    """Measure on random weights, with the model's file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resnet18.onnx").write_bytes(tamed(materialize(build("resnet18"))).SerializeToString())
    model = load(folder / "resnet18.onnx")
    picture = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    start = time.perf_counter()
    found = explain(
        model, {model.inputs[0].name: picture}, ["reciprocam"], target="3", layers=[model.stages()[_STAGE].output],
        options=RunOptions("cpu", threads),
    )[0]  # fmt: skip
    if found.raw.shape != (_SIDE, _SIDE):
        raise ValueError(f"the layer has {found.raw.shape} positions")
    print(json.dumps({"map": time.perf_counter() - start}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
