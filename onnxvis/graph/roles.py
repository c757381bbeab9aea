"""What a stored tensor is for: a convolution's kernel, a bias, a batch norm's mean, …"""

from __future__ import annotations

from onnxvis.graph.bodies import Bodies, Use
from onnxvis.graph.constants import described
from onnxvis.graph.ops import REDUCTIONS
from onnxvis.graph.stored import Item

__all__ = ["Role", "role_of"]

Role = tuple[str, str]
"""(role, operator that uses it); ('', '') for a tensor that nothing reads."""

_SCALED = ("scale", "zero point")
_NORM = ("", "norm weight", "norm bias")
_CONV = ("", "conv kernel", "bias")
_DENSE = ("fully connected weight", "fully connected weight")
_RECURRENT = ("", "recurrent input weight", "recurrent weight", "bias", "setting", "initial state", "initial state")
_ONE_OF_TWO = ("", *_SCALED, *_SCALED)

_BY_PLACE: dict[str, tuple[str, ...]] = {
    "Conv": _CONV,
    "ConvTranspose": _CONV,
    "FusedConv": _CONV,
    "NhwcConv": _CONV,
    "NhwcFusedConv": _CONV,
    "DeformConv": ("", "conv kernel", "", "bias"),
    "ConvInteger": ("", "conv kernel", "zero point", "zero point"),
    "QLinearConv": ("", *_SCALED, "conv kernel", *_SCALED, *_SCALED, "bias"),
    "MatMul": _DENSE,
    "FusedMatMul": _DENSE,
    "Einsum": _DENSE,
    "Gemm": (*_DENSE, "bias"),
    "FusedGemm": (*_DENSE, "bias"),
    "GemmFloat8": (*_DENSE, "bias", "scale", "scale", "scale"),
    "MatMulInteger": (*_DENSE, "zero point", "zero point"),
    "MatMulIntegerToFloat": (*_DENSE, "scale", "scale", "zero point", "zero point", "bias"),
    "DynamicQuantizeMatMul": ("", "fully connected weight", *_SCALED, "bias"),
    "MatMulNBits": ("", "fully connected weight", *_SCALED, "setting", "bias"),
    "QLinearMatMul": (_DENSE[0], *_SCALED, _DENSE[0], *_SCALED, *_SCALED),
    "QGemm": (_DENSE[0], *_SCALED, _DENSE[0], *_SCALED, "bias", *_SCALED),
    "Attention": ("", "attention weight", "bias"),
    "PackedAttention": ("", "attention weight", "bias"),
    "QAttention": ("", "attention weight", "bias", "scale", "scale", "setting", "zero point", "zero point"),
    "MultiHeadAttention": ("", "", "", "bias"),
    "BatchNormalization": ("", "batch norm weight", "batch norm bias", "batch norm mean", "batch norm variance"),
    "InstanceNormalization": _NORM,
    "GroupNormalization": _NORM,
    "GroupNorm": _NORM,
    "LayerNormalization": _NORM,
    "RMSNormalization": _NORM,
    "SimplifiedLayerNormalization": _NORM,
    "SkipLayerNormalization": ("", "", "norm weight", "norm bias", "bias"),
    "SkipSimplifiedLayerNormalization": ("", "", "norm weight", "bias"),
    "EmbedLayerNormalization": ("", "", "embedding", "embedding", "embedding", "norm weight", "norm bias"),
    "QuantizeLinear": ("", *_SCALED),
    "DequantizeLinear": ("", *_SCALED),
    "PRelu": ("", "PRelu slope"),
    "LSTM": (*_RECURRENT, "peephole weight"),
    "GRU": _RECURRENT[:6],
    "RNN": _RECURRENT[:6],
    "Gather": ("embedding", "setting"),
    "GatherBlockQuantized": ("embedding", "setting", *_SCALED),
    "BiasGelu": ("", "bias"),
    "FastGelu": ("", "bias"),
    "BiasAdd": ("", "bias"),
    "BiasSplitGelu": ("", "bias"),
    "Add": ("bias", "bias"),
    "Sub": ("offset", "offset"),
    "Mul": ("scale factor", "scale factor"),
    "Div": ("divisor", "divisor"),
    "QLinearAdd": ("bias", *_SCALED, "bias", *_SCALED, *_SCALED),
    "QLinearMul": ("scale factor", *_SCALED, "scale factor", *_SCALED, *_SCALED),
    "QLinearSigmoid": _ONE_OF_TWO,
    "QLinearLeakyRelu": _ONE_OF_TWO,
    "QLinearSoftmax": _ONE_OF_TWO,
    "QLinearAveragePool": _ONE_OF_TWO,
    "QLinearGlobalAveragePool": _ONE_OF_TWO,
    "QLinearReduceMean": _ONE_OF_TWO,
    "QLinearConcat": _SCALED,  # then triples of input, scale and zero point
    "RoiAlign": ("", "setting", "setting"),
    "If": ("setting",),
    "Loop": ("setting", "setting"),
    "Where": ("setting",),
    "Range": ("setting", "setting", "setting"),
    "ConstantOfShape": ("setting",),
    "NonMaxSuppression": ("", "", "setting", "setting", "setting"),
}
_SETTINGS_AFTER_FIRST = REDUCTIONS - {"QLinearReduceMean"} | {
    "Reshape", "Slice", "Expand", "Tile", "TopK", "Split", "SplitToSequence", "Squeeze", "Unsqueeze", "Clip", "Pad",
    "Resize", "Upsample", "Dropout", "Pow", "OneHot", "CumSum", "Trilu", "ReduceProd", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp", "DFT", "STFT", "Attention", "GatherND", "GatherElements", "CenterCropPad",
    "BitShift", "MaxUnpool", "GridSample", "Compress", "Hardmax", "Col2Im",
}  # fmt: skip
_HANDED_ON = frozenset({
    "Identity", "Cast", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "QuantizeLinear",
    "DequantizeLinear",
})  # fmt: skip
_PUT_TOGETHER = _HANDED_ON | {"Concat"}  # as PyTorch reorders the gates of an LSTM; elsewhere data may be joined
_CELLS = frozenset({"LSTM", "GRU", "RNN"})
_WHOLE_NUMBERS = frozenset({"int32", "int64", "uint32", "uint64", "bool"})
_VAGUE = ("", "constant")


def role_of(bodies: Bodies, item: Item) -> Role:
    """The role of a stored tensor, followed through Casts, Transposes, DequantizeLinear and calls to where it is used.

    Of several readers the first decides that says more than 'constant'.
    """
    if item.body is None:
        return "setting", item.node.op_type if item.node is not None else ""
    vague: Role = ("", "")
    for use, trail in bodies.ends(item.body, item.name, _HANDED_ON):
        role = _direct(use)
        if role == "embedding" and not trail and described(item.source)[1] in _WHOLE_NUMBERS:
            role = "constant"  # a table of sizes or indices
        if role not in _VAGUE:
            return role, use.node.op_type
        vague = vague if vague[0] else (role or "constant", use.node.op_type)
    if vague[1] == "Concat":
        for use, _ in bodies.ends(item.body, item.name, _PUT_TOGETHER):
            if use.node.op_type in _CELLS:
                return _direct(use) or vague[0], use.node.op_type
    return vague


def _direct(use: Use) -> str:
    op, place = use.node.op_type, use.place
    if op == "QLinearConcat" and place > 1:
        return ("constant", *_SCALED)[(place - 2) % 3]
    places = _BY_PLACE.get(op, ())
    if op == "Attention" and use.node.domain != "com.microsoft":
        places = ()
    if place < len(places):
        return places[place]
    return "setting" if op in _SETTINGS_AFTER_FIRST and place else ""
