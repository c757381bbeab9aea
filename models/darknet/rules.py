"""The nodes of each kind of layer: one small function a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .builder import Builder, Value
from .layers import (
    Activation,
    BatchNorm,
    Connected,
    Convolution,
    GlobalPool,
    Layer,
    Pool,
    Region,
    Reorg,
    Route,
    Same,
    Scale,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)

__all__ = ["RULES"]


def _convolution(b: Builder, layer: Layer, what: Convolution) -> Value:
    x = b.map(layer.inputs[0])

    def product(weights: list[str], output: str) -> str:
        return b.draft.node(
            "Conv", [x, *weights], output, kernel_shape=[what.size] * 2, strides=what.strides,
            pads=[what.padding] * 4, dilations=[what.dilation] * 2, group=what.groups,
        )  # fmt: skip

    return Value(b.normalise_and_activate(layer, what, "conv", product))


def _connected(b: Builder, layer: Layer, what: Connected) -> Value:
    x = b.flat(layer)

    def product(weights: list[str], output: str) -> str:
        return b.draft.node("Gemm", [x, *weights], output, transB=1)

    return Value(b.normalise_and_activate(layer, what, "fc", product), flat=True)


def _batchnorm(b: Builder, layer: Layer, _what: BatchNorm) -> Value:
    return Value(b.normalise(layer, b.map(layer.inputs[0]), b.weights.of(layer), b.name(layer)))


def _activation(b: Builder, layer: Layer, what: Activation) -> Value:
    value = b.value(layer.inputs[0])
    return Value(b.activate(layer, what.activation, value.tensor), value.flat)


def _shortcut(b: Builder, layer: Layer, what: Shortcut) -> Value:
    x = b.map(layer.inputs[0])
    linear = what.activation == "linear"
    for count, (number, step) in enumerate(zip(layer.inputs[1:], what.steps, strict=True), 1):
        last = linear and count == len(what.steps)
        own = f"add{count if len(what.steps) > 1 else ''}"
        fitted = _fitted(b, layer, number, step, f"from{count}")
        x = b.draft.node("Add", [x, fitted], b.name(layer, "" if last else own, last))
    return Value(b.activate(layer, what.activation, x, ""))


def _fitted(b: Builder, layer: Layer, number: int, step: int, name: str) -> str:
    """A layer's output cut or filled with zeros to the channels of another, every `step`-th pixel of it."""
    x, (channels, height, width) = b.map(number), layer.shape
    scope = f"{b.scopes[layer.number]}/{name}"
    own = b.plan.layers[number].shape[0]
    if step > 1 or own > channels:
        bounds = {
            "starts": [0, 0, 0], "ends": [channels, height * step, width * step], "axes": [1, 2, 3],
            "steps": [1, step, step],
        }  # fmt: skip
        kept = [b.draft.integers(f"{scope}/slice/{key}", numbers) for key, numbers in bounds.items()]
        x = b.draft.node("Slice", [x, *kept], f"{scope}/slice")
    if own < channels:
        pads = b.draft.integers(f"{scope}/pad/pads", [0, 0, 0, 0, 0, channels - own, 0, 0])
        x = b.draft.node("Pad", [x, pads], f"{scope}/pad")
    return x


def _route(b: Builder, layer: Layer, what: Route) -> Value:
    if len(layer.inputs) == what.groups == 1:
        return b.value(layer.inputs[0])
    alone = len(layer.inputs) == 1
    parts = []
    for index, number in enumerate(layer.inputs, 1):
        x = b.map(number)
        if what.groups > 1:
            output = b.name(layer, "" if alone else f"part{index}", last=alone)
            size = (b.plan.layers[number].shape[0]) // what.groups
            bounds = {"starts": [what.group * size], "ends": [(what.group + 1) * size], "axes": [1]}
            kept = [b.draft.integers(f"{b.scopes[layer.number]}/part{index}/{key}", n) for key, n in bounds.items()]
            x = b.draft.node("Slice", [x, *kept], output)
        parts.append(x)
    return Value(parts[0] if alone else b.draft.node("Concat", parts, b.name(layer), axis=1))


def _upsample(b: Builder, layer: Layer, what: Upsample) -> Value:
    plain = what.scale == 1
    factors = np.array([1, 1, what.stride, what.stride], np.float32)
    scales = b.draft.weight(f"{b.scopes[layer.number]}/factors", factors)
    x = b.draft.node(
        "Resize", [b.map(layer.inputs[0]), "", scales], b.name(layer, "" if plain else "resize", plain), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    return Value(x if plain else b.draft.node("Mul", [x, b.draft.number(what.scale)], b.name(layer)))


def _pool(b: Builder, layer: Layer, what: Pool) -> Value:
    extra: dict[str, int] = {"count_include_pad": 0} if what.average else {}
    return Value(
        b.draft.node(
            "AveragePool" if what.average else "MaxPool", [b.map(layer.inputs[0])], b.name(layer),
            kernel_shape=[what.size] * 2, strides=what.strides, pads=what.pads, **extra,
        )
    )  # fmt: skip


def _global_pool(b: Builder, layer: Layer, _what: GlobalPool) -> Value:
    return Value(b.draft.node("GlobalAveragePool", [b.map(layer.inputs[0])], b.name(layer)))


def _softmax(b: Builder, layer: Layer, what: Softmax) -> Value:
    x, scope = b.flat(layer), b.scopes[layer.number]
    if what.temperature != 1:
        x = b.draft.node("Div", [x, b.draft.number(what.temperature)], f"{scope}/cooled")
    if what.groups == 1:
        return Value(b.draft.node("Softmax", [x], b.name(layer), axis=1), flat=True)
    split = b.draft.integers(f"{scope}/groups/shape", [0, what.groups, -1])
    x = b.draft.node("Softmax", [b.draft.node("Reshape", [x, split], f"{scope}/groups")], f"{scope}/softmax", axis=2)
    return Value(b.draft.node("Flatten", [x], b.name(layer), axis=1), flat=True)


def _reorg(b: Builder, layer: Layer, what: Reorg) -> Value:
    """Channel (u · stride + v) · N + n of the output is channel n of N, every stride-th pixel from row u, column v.

    [reorg3d] does that to its input. [reorg] first reads the input's values as if they were a map of stride² times
    fewer channels and as many times more pixels, and reads what comes out in the shape that it should have.
    """
    channels, height, width = layer.shape
    s = what.stride
    inner = (channels // s**4, height * s, width * s) if what.shuffled else (channels // s**2, height, width)
    scope = b.scopes[layer.number]
    cut = b.draft.integers(f"{scope}/cells/shape", [0, inner[0], inner[1], s, inner[2], s])
    joined = b.draft.integers(f"{scope}/shape", [0, channels, height, width])
    x = b.draft.node("Reshape", [b.map(layer.inputs[0]), cut], f"{scope}/cells")
    x = b.draft.node("Transpose", [x], f"{scope}/turned", perm=[0, 3, 5, 1, 2, 4])
    return Value(b.draft.node("Reshape", [x, joined], b.name(layer)))


def _scale(b: Builder, layer: Layer, what: Scale) -> Value:
    linear = what.activation == "linear"
    x = b.draft.node("Mul", [b.map(number) for number in layer.inputs], b.name(layer, "" if linear else "mul", linear))
    return Value(b.activate(layer, what.activation, x, ""))


def _same(b: Builder, layer: Layer, _what: Same | Yolo | Region) -> Value:
    return b.value(layer.inputs[0])


RULES: dict[type, Callable[[Builder, Layer, Any], Value]] = {
    Activation: _activation,
    BatchNorm: _batchnorm,
    Connected: _connected,
    Convolution: _convolution,
    GlobalPool: _global_pool,
    Pool: _pool,
    Region: _same,
    Reorg: _reorg,
    Route: _route,
    Same: _same,
    Scale: _scale,
    Shortcut: _shortcut,
    Softmax: _softmax,
    Upsample: _upsample,
    Yolo: _same,
}
"""Kind → the function that adds its nodes and says what it gives."""
