"""What a stored tensor is for: a convolution's kernel, a bias, a batch norm's mean, …"""

from __future__ import annotations

from onnxvis.graph.ops import CONVOLUTIONS, MATRIX_PRODUCTS
from onnxvis.graph.view import GraphView, Node

__all__ = ["Role", "find_role"]

Role = tuple[str, str]
"""(role, operator that uses it); ('', '') for a tensor that the main graph does not read."""

_BY_PLACE: dict[str, tuple[str, ...]] = {
    "BatchNormalization": ("", "batch norm weight", "batch norm bias", "batch norm mean", "batch norm variance"),
    "InstanceNormalization": ("", "norm weight", "norm bias"),
    "GroupNormalization": ("", "norm weight", "norm bias"),
    "LayerNormalization": ("", "norm weight", "norm bias"),
    "QuantizeLinear": ("", "scale", "zero point"),
    "QLinearConv": ("", "scale", "zero point", "conv kernel", "scale", "zero point", "scale", "zero point", "bias"),
    "PRelu": ("", "PRelu slope"),
    "LSTM": ("", "recurrent input weight", "recurrent weight", "bias"),
    "GRU": ("", "recurrent input weight", "recurrent weight", "bias"),
    "RNN": ("", "recurrent input weight", "recurrent weight", "bias"),
    "Gather": ("embedding",),
    "Clip": ("", "setting", "setting"),
    "Pad": ("", "setting", "setting", "setting"),
    "Resize": ("", "setting", "setting", "setting"),
    "Upsample": ("", "setting"),
}
_HANDED_ON = frozenset(
    {"Identity", "Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear"}
)
_MAX_STEPS = 8


def find_role(view: GraphView, name: str) -> Role:
    """The role of a stored tensor, followed through Casts, Transposes and DequantizeLinear to where it is used."""
    for _ in range(_MAX_STEPS):
        reader = next(iter(view.consumers(name)), None)
        if reader is None:
            return "", ""
        place = next((i for i, item in enumerate(reader.inputs) if item == name), None)
        if reader.op == "DequantizeLinear" and place:
            return ("scale", "zero point")[place - 1], reader.op
        if reader.op not in _HANDED_ON or place != 0:
            return _direct(reader, place), reader.op
        name = reader.outputs[0]
    return "", ""


def _direct(reader: Node, place: int | None) -> str:
    if place is None:
        return "used in a branch"
    if reader.op in CONVOLUTIONS and reader.op != "QLinearConv":
        return ("", "conv kernel", "bias")[place] if place < 3 else ""
    if reader.op in MATRIX_PRODUCTS:
        return "bias" if place == 2 else "fully connected weight"
    places = _BY_PLACE.get(reader.op, ())
    if place < len(places):
        return places[place]
    return {"Add": "bias", "Mul": "factor", "Sub": "offset", "Div": "divisor"}.get(reader.op, "constant")
