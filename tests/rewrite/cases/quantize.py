"""Quantised tensors: how codes stand for numbers, and what moves them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from tests.rewrite.differences import Case, apart, model_of
from tests.tiny import Array

__all__ = ["CASES", "MOVED", "RANGES", "MovedCase", "QuantizedCase"]

RANGES = {
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
    "uint16": (0, 65535),
    "int4": (-8, 7),
    "uint4": (0, 15),
}
_SHAPE = (2, 3, 4)


@dataclass(frozen=True)
class QuantizedCase:
    """y = DequantizeLinear(QuantizeLinear(x)); a scale, and maybe a zero point, for the tensor, an axis or a block."""

    name: str
    model: ModelProto
    x: Array
    dtype: str
    scale: Array
    zero_point: Array
    axis: int
    block: int

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class MovedCase:
    """A graph with quantised tensors, and the case of the same graph on floats: each pair of QuantizeLinear and
    DequantizeLinear is there the Clip to what the codes can hold.
    """

    model: ModelProto
    floats: Case

    def __str__(self) -> str:
        return self.floats.name


def _case(
    name: str,
    scale: Any,
    zero_point: Any = None,
    dtype: str = "uint8",
    free: Sequence[int | str] = (),
    opset: int = 21,
    computed: bool = False,
    **attributes: Any,
) -> QuantizedCase:
    """With `computed`, what the model stores is not what the nodes read: scale and zero point are made in the graph."""
    x = apart(_SHAPE)
    weights: dict[str, Array] = {"scale": np.asarray(scale, np.float32)}
    if zero_point is not None:
        stored = np.asarray(zero_point)
        weights["zero"] = stored.astype(getattr(ml_dtypes, dtype) if dtype.endswith("int4") else dtype)
    read = [f"{key}.read" if computed else key for key in weights]
    shared = {key: value for key, value in attributes.items() if key != "output_dtype"}
    nodes = [helper.make_node("Identity", [key], [f"{key}.read"]) for key in weights if computed]
    nodes.append(helper.make_node("QuantizeLinear", ["x", *read], ["codes"], **attributes))
    nodes.append(helper.make_node("DequantizeLinear", ["codes", *read], ["y"], **shared))
    model = model_of(nodes, {"x": free or _SHAPE}, weights, opset=opset)
    zeros = np.broadcast_to(np.asarray(zero_point or 0) if np.ndim(zero_point) == 0 else zero_point, np.shape(scale))
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    return QuantizedCase(name, model, x, dtype, weights["scale"], zeros, axis, block)


def _moved(name: str, between: Sequence[NodeProto], ends: str, outputs: Sequence[str] = ()) -> MovedCase:
    """w · x in codes, moved by the nodes `between` from `codes` to `ends`, as numbers again, y, times v."""
    weights: dict[str, Array] = {"w": np.array([1.5, -0.5, 0.8, 1.1], np.float32), "v": np.array(-1.7, np.float32)}
    limits: dict[str, Array] = {"low": np.array(-0.8, np.float32), "high": np.array((255 - 80) * 0.01, np.float32)}
    steps: dict[str, Array] = {"scale": np.array(0.01, np.float32), "zero": np.array(80, np.uint8)}
    sizes: dict[str, Array] = {"flat": np.array([0, -1]), "halves": np.array([1, 3]), "twice": np.array([1, 2, 1])}
    before = helper.make_node("Mul", ["x", "w"], ["scaled"])
    after = helper.make_node("Mul", ["moved", "v"], ["y"])
    quantise = helper.make_node("QuantizeLinear", ["scaled", "scale", "zero"], ["codes"])
    dequantise = helper.make_node("DequantizeLinear", [ends, "scale", "zero"], ["moved"])
    clip = helper.make_node("Clip", ["scaled", "low", "high"], ["codes"])
    keep = helper.make_node("Identity", [ends], ["moved"])
    declared: dict[str, Sequence[int | str]] = {"x": ("n", 3, "w")}
    model = model_of([before, quantise, *between, dequantise, after], declared, {**weights, **steps, **sizes})
    floats = model_of([before, clip, *between, keep, after], declared, {**weights, **limits, **sizes})
    return MovedCase(model, Case("QuantizeLinear", name, floats, {"x": apart(_SHAPE, 0.17)}, linear=True))


def _node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, outputs, **attributes)


_CHANNELS = ([0.004, 0.01, 0.02], [0, 128, 200])
_BLOCKS = (
    np.linspace(0.003, 0.012, 12).reshape(2, 3, 2),
    np.arange(0, 240, 20).reshape(2, 3, 2),
)

CASES = [
    _case("one scale", 0.005),
    _case("one scale, a vector", [0.005], [20]),
    _case("one scale, operator set 10", 0.005, 0, opset=10),
    _case("one scale, free sizes", 0.005, 20, free=("n", "c", "w")),
    _case("int8", 0.004, 30, "int8"),
    _case("int8 without a zero point", 0.004, None, "int8", output_dtype=TensorProto.INT8),
    _case("int16", 0.00003, -100, "int16"),
    _case("uint16", 0.00001, 3000, "uint16"),
    _case("int4", 0.1, 2, "int4"),
    _case("uint4", 0.1, 6, "uint4"),
    _case("computed", 0.005, 100, computed=True),
    _case("a scale a channel", *_CHANNELS),
    _case("a scale a channel, free sizes", *_CHANNELS, free=("n", "c", "w")),
    _case("a scale a channel, no zero points", _CHANNELS[0], None, "int8", output_dtype=TensorProto.INT8),
    _case("a scale a channel, computed", *_CHANNELS, computed=True),
    _case("a scale a channel, operator set 13", *_CHANNELS, opset=13),
    _case("a scale a place of the last axis", [0.003, 0.006, 0.002, 0.1], [1, 0, 128, 255], axis=-1),
    _case("a scale a block", *_BLOCKS, axis=2, block_size=2),
    _case("a scale a block, negative axis, free sizes", *_BLOCKS, free=("n", "c", "w"), axis=-1, block_size=2),
    _case("a scale a block, the last not whole", *_BLOCKS, axis=2, block_size=3, opset=25),
    _case("a scale a block, int4", _BLOCKS[0] * 10, _BLOCKS[1] // 40, "int4", axis=2, block_size=2),
]

MOVED = [
    _moved("not at all", [], "codes"),
    _moved("reshaped", [_node("Reshape", ["codes", "flat"], ["r"])], "r"),
    _moved("flattened", [_node("Flatten", ["codes"], ["f"])], "f"),
    _moved("transposed", [_node("Transpose", ["codes"], ["t"], perm=[2, 0, 1])], "t"),
    _moved("repeated", [_node("Tile", ["codes", "twice"], ["t"])], "t"),
    _moved("joined", [_node("Concat", ["codes", "codes"], ["c"], axis=-1)], "c"),
    _moved("parted, one part unread", [_node("Split", ["codes", "halves"], ["a", "b"], axis=2)], "b"),
    _moved(
        "parted, transposed and joined",
        [
            _node("Split", ["codes", "halves"], ["a", "b"], axis=2),
            _node("Concat", ["b", "a"], ["c"], axis=2),
            _node("Transpose", ["c"], ["t"], perm=[0, 2, 1]),
        ],
        "t",
    ),
]
