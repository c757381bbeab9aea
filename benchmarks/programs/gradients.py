"""Forward and backward of five networks in one process: a gradient graph in ONNX Runtime beside PyTorch, in turn.

Prints, for each network, NETWORK.ours and NETWORK.theirs, the seconds of one pass (medians after some that do not
count), and NETWORK.build, what it takes to write the gradient graph; and `ratio`, the median of ours / theirs over the
networks. Raises ValueError where the two gradients are not the same.

`python -m benchmarks.programs.gradients FOLDER THREADS`
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.make_inputs import tamed
from onnxvis.graph.load import Model, load
from onnxvis.rewrite.gradient import Gradient, differentiate
from onnxvis.run.session import RunOptions, Session
from tests.references.torch_graph import TorchGraph
from tests.zoo import build, materialize

__all__ = ["NETWORKS", "main"]

NETWORKS = ("squeezenet1_1", "resnet18", "alexnet", "vgg16", "darknet53")

_PASSES, _WARM = 9, 2
_SHAPE = (1, 3, 224, 224)
_TOLERANCE = 1e-3

Feeds = dict[str, Any]


def main(folder: Path, threads: int) -> None:
    """Measure every network on random weights, with its file in `folder`."""
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, float] = {}
    for network in NETWORKS:
        figures |= {f"{network}.{name}": value for name, value in _measured(network, folder, threads).items()}
    ratios = [figures[f"{network}.ours"] / figures[f"{network}.theirs"] for network in NETWORKS]
    print(json.dumps({**figures, "ratio": median(ratios)}))


def _measured(network: str, folder: Path, threads: int) -> dict[str, float]:
    proto = tamed(materialize(build(network)))
    path = folder / f"{network}.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load(path)
    source, outputs = model.inputs[0].name, [tensor.name for tensor in model.outputs]
    start = time.perf_counter()
    found = differentiate(model, outputs, [source], values=outputs, only=True, shapes={source: _SHAPE})
    built = time.perf_counter() - start
    picture = np.random.default_rng(0).standard_normal(_SHAPE).astype(np.float32)
    peer = TorchGraph(proto, torch.float32)
    seeds = _seeds(peer, source, picture, outputs)
    ours, theirs = _in_turn(model, found, peer, {source: picture}, seeds, threads)
    return {"ours": ours, "theirs": theirs, "build": built}


def _seeds(peer: TorchGraph, source: str, picture: Any, outputs: list[str]) -> Feeds:
    """Random numbers in the shape of each output."""
    with torch.no_grad():
        values = peer.run({source: torch.from_numpy(picture)})
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal(tuple(values[name].shape)).astype(np.float32) for name in outputs}


def _in_turn(
    model: Model, found: Gradient, peer: TorchGraph, feeds: Feeds, seeds: Feeds, threads: int
) -> tuple[float, float]:
    """The median seconds of either side."""
    (source,) = feeds
    given = feeds | {found.seeds[name]: seed for name, seed in seeds.items()}
    picture, wanted = torch.from_numpy(feeds[source]), {name: torch.from_numpy(seed) for name, seed in seeds.items()}
    taken: tuple[list[float], list[float]] = ([], [])
    with Session(found.proto, model.folder, RunOptions("cpu", threads), model.name) as session:
        for _ in range(_PASSES + _WARM):
            start = time.perf_counter()
            ours = session.run(given)[found.gradients[source]]
            middle = time.perf_counter()
            theirs = peer.gradient(source, picture.clone(), wanted).numpy()
            taken[0].append(middle - start)
            taken[1].append(time.perf_counter() - middle)
    gap = float(np.median(np.abs(ours - theirs)) / np.abs(theirs).max())
    if not gap < _TOLERANCE:
        raise ValueError(f"{model.name}: the gradients differ by {gap:.2g} of the largest value")
    return median(taken[0][_WARM:]), median(taken[1][_WARM:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
