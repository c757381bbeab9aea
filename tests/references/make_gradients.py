"""Writes the gradients that whole networks are held against: `python -m tests.references.make_gradients`.

They are PyTorch's, by autograd in float64. A network is trusted once it computes forward what ONNX Runtime computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from onnx import ModelProto

from tests.references.networks import REFERENCES, SEEDS, SIZES, Array, Sample, make_network, sample, weights_checksum
from tests.references.torch_graph import TorchGraph

__all__ = ["forward_gap", "make_gradients", "reference"]

_TOLERANCE = 1e-5


def make_gradients() -> dict[str, Any]:
    """What the file holds. Raises ValueError where PyTorch and ONNX Runtime disagree on a network."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name in SIZES:
        model = make_network(name)
        graph = TorchGraph(model)
        samples = [sample(model, seed) for seed in SEEDS]
        gap = forward_gap(model, graph, samples[0])
        if gap > _TOLERANCE:
            raise ValueError(f"{name}: PyTorch and ONNX Runtime differ by {gap:.2g} of the largest value")
        gradients = [reference(graph, drawn) for drawn in samples]
        found[f"{name}/weights"] = weights_checksum(model)
        found[f"{name}/drawn"] = [drawn.checksum for drawn in samples]
        found[f"{name}/gradients"] = [
            full.reshape(-1)[drawn.positions] for full, drawn in zip(gradients, samples, strict=True)
        ]
        found[f"{name}/largest"] = [np.abs(full).max() for full in gradients]
    return found


def forward_gap(model: ModelProto, graph: TorchGraph, drawn: Sample) -> float:
    """The largest difference between the outputs in PyTorch and in ONNX Runtime, over the output's largest value."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    ours = session.run(names, {"input": drawn.image})
    with torch.no_grad():
        theirs = graph.run({"input": torch.from_numpy(drawn.image).double()})
    return max(
        float(np.abs(value - theirs[name].numpy()).max() / np.abs(value).max())
        for name, value in zip(names, ours, strict=True)
    )


def reference(graph: TorchGraph, drawn: Sample, decisions: dict[str, Array] | None = None) -> Array:
    """The gradient by the image in float64."""
    seeds = {name: torch.from_numpy(seed) for name, seed in drawn.seeds.items()}
    given = {name: torch.from_numpy(value) for name, value in (decisions or {}).items()}
    return np.asarray(graph.gradient("input", torch.from_numpy(drawn.image), seeds, given))


if __name__ == "__main__":
    np.savez_compressed(REFERENCES, **make_gradients())
