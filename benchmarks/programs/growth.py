"""How the time of a report grows with a model: one size, twice and four times it, less what the smallest report takes.

Prints {"single", "double", "fourfold", "fixed"} in seconds, medians of a few reports of each, in turn, in one process.

`python -m benchmarks.programs.growth pixels|parameters|layers FOLDER THREADS`
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxvis.cli.main import main as onnxvis

__all__ = ["CHAINS", "Chain", "chain", "main"]

_PASSES = 3
_BUDGET = "900"  # MB: nothing is left out of the page, which would hide its growth

Chain = tuple[int, int, tuple[int, int], tuple[int, int]]
"""(layers, channels, (height, width) of a map, (height, width) of a kernel)."""

_SMALLEST: Chain = (1, 1, (8, 8), (1, 1))

CHAINS: dict[str, list[Chain]] = {
    "pixels": [(8, 32, size, (3, 3)) for size in ((128, 128), (128, 256), (256, 256))],
    "parameters": [(8, 256, (8, 8), kernel) for kernel in ((3, 3), (3, 6), (6, 6))],
    "layers": [(layers, 32, (32, 32), (3, 3)) for layers in (16, 32, 64)],
}


def chain(shape: Chain) -> onnx.ModelProto:
    """Convolutions and ReLUs one after another, all of the same size, with random weights that keep it."""
    layers, channels, (height, width), (rows, columns) = shape
    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "input"
    for layer in range(layers):
        size = (channels, channels, rows, columns)
        scale = np.float32((2 / (channels * rows * columns)) ** 0.5)
        weights.append(numpy_helper.from_array(rng.standard_normal(size, np.float32) * scale, f"layer{layer}.weight"))
        pads = [(rows - 1) // 2, (columns - 1) // 2, rows // 2, columns // 2]
        convolved, activated = f"/layer{layer}/conv/Conv_output_0", f"/layer{layer}/relu/Relu_output_0"
        nodes.append(helper.make_node("Conv", [name, weights[-1].name], [convolved], f"/layer{layer}/Conv", pads=pads))
        nodes.append(helper.make_node("Relu", [convolved], [activated], f"/layer{layer}/Relu"))
        name = activated
    maps = [1, channels, height, width]
    ends = [helper.make_tensor_value_info(item, TensorProto.FLOAT, maps) for item in ("input", name)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(what: str, folder: Path, threads: int) -> None:
    """Time the three reports and the smallest one."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = dict(zip(("fixed", "single", "double", "fourfold"), (_SMALLEST, *CHAINS[what]), strict=True))
    commands = {name: _prepare(shape, folder / name, threads) for name, shape in shapes.items()}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(_PASSES + 1):
        for name, command in commands.items():
            seconds = _timed(command)
            if number:
                taken[name].append(seconds)
    middle = {name: median(values) for name, values in taken.items()}
    fixed = middle["fixed"]
    print(json.dumps({name: value if name == "fixed" else value - fixed for name, value in middle.items()}))


def _prepare(shape: Chain, stem: Path, threads: int) -> list[str]:
    model, source, page = (stem.with_suffix(suffix) for suffix in (".onnx", ".npy", ".html"))
    model.write_bytes(chain(shape).SerializeToString())
    _, channels, size, _ = shape
    np.save(source, np.random.default_rng(1).random((1, channels, *size), np.float32))
    settings = ["--heatmaps", "none", "--budget", _BUDGET, "--threads", str(threads), "--provider", "cpu", "--quiet"]
    return ["report", str(model), str(source), "-o", str(page), *settings]


def _timed(command: Sequence[str]) -> float:
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = onnxvis(command)
    if code:
        raise SystemExit(code)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
