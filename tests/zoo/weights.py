"""Gives a network of the zoo real weights, or a file that stands for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from tests.zoo.core import WEIGHTS_FILE

__all__ = ["materialize", "save"]

_LEARNED = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "LayerNormalization", "Add", "Expand"}


def materialize(model: ModelProto, seed: int = 0) -> ModelProto:
    """A copy of the model with every weight random and inline.

    Weights are drawn in the order in which nodes read them, so the same seed gives the same network in every layout
    and naming. Their scale (He et al., 2015) keeps activations finite.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    drawn = 0
    for node in copy.graph.node:
        if node.op_type not in _LEARNED:
            continue
        for position, name in enumerate(node.input):
            if name in tensors:
                _fill(tensors.pop(name), node, position, np.random.default_rng([seed, drawn]))
                drawn += 1
    return copy


def _fill(tensor: TensorProto, node: NodeProto, position: int, rng: np.random.Generator) -> None:
    values = _draw(node.op_type, position, tuple(tensor.dims), rng).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _draw(op: str, position: int, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    if position == 1 and op in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
        fan_in = shape[0] if op in {"ConvTranspose", "MatMul"} else int(np.prod(shape[1:]))
        return rng.standard_normal(shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
    if (op.endswith("Normalization") and position == 1) or position == 4:
        return rng.random(shape, np.float32) + np.float32(0.5)
    return rng.standard_normal(shape, np.float32) * np.float32(0.1)


def save(model: ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write the model into `folder`, next to a sparse file of zeros for the weights that it only refers to."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    ends = [0]
    for tensor in model.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries:
            ends.append(int(entries["offset"]) + int(entries["length"]))
    if max(ends):
        with open(folder / WEIGHTS_FILE, "wb") as file:
            file.truncate(max(ends))
    return path
