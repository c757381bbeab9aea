"""The networks whose gradients by the input are held against PyTorch's, with weights and inputs drawn from seeds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, numpy_helper

from tests.zoo import build, materialize

__all__ = [
    "POSITIONS",
    "REFERENCES",
    "SEEDS",
    "SIZES",
    "Sample",
    "make_network",
    "sample",
    "weights_checksum",
]

Array = npt.NDArray[Any]

REFERENCES = Path(__file__).with_name("gradients.npz")
"""What `make_gradients` writes: `NETWORK/weights`, a checksum, and for each of SEEDS `NETWORK/drawn`, a checksum of its
sample, `NETWORK/gradients`, at the sample's positions, and `NETWORK/largest`, the largest magnitude anywhere."""

SEEDS = range(9)
POSITIONS = 400

SIZES = {
    "alexnet": 96,
    "convnext_tiny": 64,
    "densenet121": 96,
    "efficientnet_b0": 96,
    "googlenet": 96,
    "mobilenet_v2": 96,
    "mobilenet_v3_small": 96,
    "resnet18": 96,
    "shufflenet_v2_x1_0": 96,
    "squeezenet1_1": 96,
    "unet": 64,
    "unet_mixed": 96,
    "vgg16": 96,
    "vit_tiny": 224,
    "yolov3": 96,
}
"""{network of the zoo: height and width of its input}: small, so that float64 is quick and few units lie at a kink."""

_BATCH_NORM_GAIN = 0.9
_BATCH_NORM_GAINS = {"efficientnet_b0": 1.0}  # its squeeze and excitation halves already
_MATRIX_GAIN = 0.7  # He's is for ReLUs
_BRANCH_GAIN = 0.2
_BIAS_SHIFT = -0.1


@dataclass(frozen=True)
class Sample:
    """`image` (1, 3, H, W); `seeds` {output: the weights of its elements in what is differentiated}; `positions`, the
    places in the flattened gradient that are stored."""

    image: Array
    seeds: dict[str, Array]
    positions: Array

    @property
    def checksum(self) -> str:
        return _checksum([self.image, *self.seeds.values(), self.positions])


def make_network(name: str, size: int | None = None) -> ModelProto:
    """The network with random weights, at `size` or at its size here."""
    return _tamed(materialize(build(name, size=size or SIZES[name])), _BATCH_NORM_GAINS.get(name, _BATCH_NORM_GAIN))


def sample(model: ModelProto, seed: int) -> Sample:
    """What is drawn for a model of `make_network`. Maps are noise that gets stronger from left to right: pictures have
    flat places and busy ones too, and their gradients are not alike everywhere."""
    rng = np.random.Generator(np.random.PCG64(seed))

    def draw(value: Any) -> Array:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        noise = rng.standard_normal(shape, np.float32)
        return noise * np.linspace(0.05, 1, shape[-1], dtype=np.float32) if len(shape) == 4 else noise

    image = draw(model.graph.input[0])
    seeds = {output.name: draw(output) for output in model.graph.output}
    return Sample(image, seeds, rng.permutation(image.size)[:POSITIONS])


def weights_checksum(model: ModelProto) -> str:
    """Of all that the model stores, in order."""
    return _checksum(numpy_helper.to_array(tensor) for tensor in model.graph.initializer)


def _checksum(arrays: Iterable[Array]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _tamed(model: ModelProto, batch_norm_gain: float) -> ModelProto:
    """`model` itself with activations of about one size all the way, as in trained networks.

    Batch norms do not amplify on the average, residual branches are turned down, as `benchmarks.make_inputs` does, and
    a little more than half of the ReLUs are off.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = Counter(name for node in model.graph.node for name in node.input)

    def change(name: str, factor: float = 1, shift: float = 0) -> None:
        values = numpy_helper.to_array(tensors[name]) * np.float32(factor) + np.float32(shift)
        tensors[name].CopyFrom(numpy_helper.from_array(values, name))

    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            change(node.input[1], batch_norm_gain)
        elif node.op_type == "MatMul" and node.input[1] in tensors:
            change(node.input[1], _MATRIX_GAIN)
        elif node.op_type in {"LeakyRelu", "Relu"}:
            for name in makers[node.input[0]].input[2:3]:
                change(name, shift=_BIAS_SHIFT)
        branch = _branch(node, makers, readers) if node.op_type == "Add" else None
        for name in branch.input if branch is not None else ():
            if name in tensors and not name.endswith(("running_mean", "running_var")):
                change(name, _BRANCH_GAIN)
    return model


def _branch(add: NodeProto, makers: dict[str, NodeProto], readers: Counter[str]) -> NodeProto | None:
    """The last batch norm or matrix product of the branch that joins a path there; None where nothing joins."""
    if any(name not in makers for name in add.input):
        return None
    node = next((makers[name] for name in add.input if readers[name] == 1), None)
    while node is not None and node.op_type in {"Add", "LeakyRelu"}:
        node = next((makers[name] for name in node.input if name in makers), None)
    return node if node is not None and node.op_type in {"BatchNormalization", "MatMul"} else None
