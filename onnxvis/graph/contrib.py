"""Operators that ONNX's shape inference passes over, read as others whose shapes they share.

It knows none of the domain com.microsoft, in which quantised models (QOperator format) and fused graphs are written,
and says nothing of a few standard ones. Definitions: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["with_standard_operators"]

_DOMAIN = "com.microsoft"
_KEPT_ATTRIBUTES = frozenset({
    "axis", "kernel_shape", "strides", "pads", "dilations", "group", "auto_pad", "ceil_mode", "transA", "transB",
})  # fmt: skip

# Operator → the standard one of the same shape, and which inputs it takes (None: every third, from the third on).
_STANDARD: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearConcat": ("Concat", None),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QGemm": ("Gemm", (0, 3)),
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "BiasGelu": ("Identity", (0,)),
    "FastGelu": ("Identity", (0,)),
    "Gelu": ("Identity", (0,)),
    "QuickGelu": ("Identity", (0,)),
}
_SAME_SHAPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})
"""Standard operators whose output has the shape and type of their input, and of which the inference says nothing."""


def with_standard_operators(model: ModelProto) -> ModelProto:
    """`model`, or where it uses such operators a copy with stand-ins: good for shapes, not for running."""
    if not any(_known(node) for node in model.graph.node):
        return model
    changed = type(model)()
    changed.CopyFrom(model)
    for node in changed.graph.node:
        if _known(node):
            _standardise(node)
    return changed


def _known(node: NodeProto) -> bool:
    if node.op_type == "QGemm" and not (len(node.input) > 7 and node.input[7]):
        return False  # its result is float32 then, and a stand-in would say it has the type of its input
    channels_last = any(item.name == "channels_last" and item.i for item in node.attribute)
    if node.domain in ("", "ai.onnx"):
        return node.op_type in _SAME_SHAPE
    return node.domain == _DOMAIN and node.op_type in _STANDARD and not channels_last


def _standardise(node: NodeProto) -> None:
    name, places = _STANDARD[node.op_type] if node.domain == _DOMAIN else ("Identity", (0,))
    inputs = list(node.input)
    kept = [item for item in node.attribute if item.name in _KEPT_ATTRIBUTES and name != "Identity"]
    attributes = [type(item).FromString(item.SerializeToString()) for item in kept]
    del node.input[:], node.attribute[:]
    node.op_type, node.domain = name, ""
    node.input.extend(inputs[2::3] if places is None else [inputs[i] for i in places if i < len(inputs)])
    node.attribute.extend(attributes)
