"""Which operators belong together, under the names of ONNX and of ONNX Runtime's own domain."""

from __future__ import annotations

__all__ = [
    "ACTIVATIONS",
    "CONVOLUTIONS",
    "ELEMENTWISE",
    "GLOBAL_POOLS",
    "JOINS",
    "LAYOUT_KEEPING",
    "MATRIX_PRODUCTS",
    "ORDER_KEEPING",
    "PASS_THROUGH",
    "POOLS",
    "QUANTIZED",
    "REDUCTIONS",
    "RESIZERS",
    "SHAPE_READERS",
    "SPATIAL",
]

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "QLinearConv", "ConvInteger", "FusedConv", "NhwcConv", "DeformConv"})
MATRIX_PRODUCTS = frozenset({"Gemm", "MatMul", "QLinearMatMul", "MatMulInteger", "QGemm", "FusedMatMul", "FusedGemm"})
POOLS = frozenset({"MaxPool", "AveragePool", "LpPool", "QLinearAveragePool"})
GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool"})
REDUCTIONS = frozenset(
    {"ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "ReduceL1", "ReduceL2", "QLinearReduceMean"}
)
QUANTIZED = frozenset({
    "DequantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulNBits",
    "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention",
})  # fmt: skip
"""Operators that only a quantised model has."""
RESIZERS = frozenset({"Resize", "Upsample"})
JOINS = frozenset({"Add", "Sum", "Concat", "QLinearAdd", "QLinearConcat"})
SHAPE_READERS = frozenset({"Shape", "Size"})

ACTIVATIONS = frozenset({
    "Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu", "Clip", "HardSigmoid", "HardSwish",
    "Swish", "Mish", "Softplus", "Softsign", "Sigmoid", "Tanh", "Erf", "FastGelu", "QuickGelu", "BiasGelu",
    "QLinearSigmoid", "QLinearLeakyRelu",
})  # fmt: skip

PASS_THROUGH = frozenset({"Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear"})
"""Operators whose output stands for the same thing as their input."""

_NORMALIZATIONS = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN"})
_ARITHMETIC = frozenset({
    "Add", "Sub", "Mul", "Div", "Sum", "Mean", "Min", "Max", "Pow", "Neg", "Abs", "Sqrt", "Exp", "Log", "Reciprocal",
    "Floor", "Ceil", "Round", "Where", "Not", "QLinearAdd", "QLinearMul",
})  # fmt: skip

ELEMENTWISE = ACTIVATIONS | PASS_THROUGH | _NORMALIZATIONS | _ARITHMETIC
"""Operators that keep every position where it is."""

SPATIAL = CONVOLUTIONS | POOLS | GLOBAL_POOLS | _NORMALIZATIONS | RESIZERS | {"DepthToSpace", "SpaceToDepth"}
"""Operators that ONNX defines on (batch, channel, height, width) alone."""

LAYOUT_KEEPING = ELEMENTWISE | {"Concat", "QLinearConcat", "Pad", "Slice", "Split", "Softmax", "Tile", "Expand"}
"""Operators that leave the order of the axes as it was."""

ORDER_KEEPING = frozenset({
    "Cast", "DequantizeLinear", "Dropout", "Flatten", "Identity", "QuantizeLinear", "Reshape", "Squeeze", "Unsqueeze",
})  # fmt: skip
"""Operators whose output holds the same elements in the same order, in whatever shape and type."""
