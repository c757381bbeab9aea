"""How many parameters a model stores and how many multiply-accumulates one input costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxvis.graph.ops import CONVOLUTIONS, MATRIX_PRODUCTS, QUANTIZED
from onnxvis.graph.types import Shape
from onnxvis.graph.view import GraphView, Node

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.weights import StoredTensor

__all__ = ["carries_values", "macs", "parameters"]

_NOT_LEARNT = frozenset({"batch norm mean", "batch norm variance", "scale", "zero point", "initial state"})
_INTEGER_ROLES = frozenset({"bias", "conv kernel", "fully connected weight", "attention weight", "embedding"})
_VAGUE = frozenset({"", "constant", "setting"})


def parameters(model: Model) -> int:
    """How many numbers the model learnt, counted as its framework counts them.

    Not counted: shapes, axes and flags, single numbers, the scales of a Resize and the like, a batch norm's running
    mean and variance, and the scales and zero points of quantisation.
    """
    counted = 0
    for stored in model.weights.all():
        if stored.shape and carries_values(model, stored) and model.weights.role(stored.name)[0] not in _NOT_LEARNT:
            counted += stored.count
    return counted


def carries_values(model: Model, stored: StoredTensor) -> bool:
    """Whether a stored tensor holds numbers to compute with, not a shape, an axis, an index, a flag or a setting.

    By its type and its role: bounds of a Clip and scales of a Resize are settings, scales and zero points of quantised
    tensors are values. A tensor of int32 or uint32 is a value where it is quantised, or a zero point; an array of one
    value repeated where something is learnt by that role.
    """
    if stored.dtype in ("int64", "uint64", "bool", "string", ""):
        return False
    role, op = model.weights.role(stored.name)
    if stored.dtype in ("int32", "uint32"):
        quantised = role in _INTEGER_ROLES and (op in CONVOLUTIONS | MATRIX_PRODUCTS or op in QUANTIZED)
        return quantised or role == "zero point" or model.weights.quantization(stored.name) is not None
    return role not in _VAGUE if stored.storage == "fill" else role != "setting"


def macs(view: GraphView) -> int | None:
    """Multiply-accumulates of convolutions and matrix products for one run; None where a shape is not known.

    A convolution costs output elements × (input channels / group) × kernel; a transposed one input elements × output
    channels / group × kernel; a matrix product output elements × inner size. Biases and all else are not counted.
    """
    total = 0
    for node in view.nodes:
        if node.op in CONVOLUTIONS | MATRIX_PRODUCTS and not view.data_path.isdisjoint(node.outputs):
            cost = _convolution(view, node) if node.op in CONVOLUTIONS else _product(view, node)
            if cost is None:
                return None
            total += cost
    return total


def _convolution(view: GraphView, node: Node) -> int | None:
    weight = _shape(view, node.inputs, 3 if node.op == "QLinearConv" else 1)
    counted = _shape(view, node.inputs if node.op == "ConvTranspose" else node.outputs, 0)
    return _multiply(counted, weight[1:] if weight else None)


def _product(view: GraphView, node: Node) -> int | None:
    left = _shape(view, node.inputs, 0)
    if not left:
        return None
    transposed = node.op in {"Gemm", "QGemm", "FusedGemm"} and node.integer("transA", 0)
    return _multiply(_shape(view, node.outputs, 0), (left[0 if transposed else -1],))


def _shape(view: GraphView, names: tuple[str, ...], place: int) -> Shape | None:
    return view.shape(names[place]) if place < len(names) else None


def _multiply(first: Shape | None, second: Shape | None) -> int | None:
    if first is None or second is None or not all(isinstance(size, int) for size in (*first, *second)):
        return None
    return math.prod(first) * math.prod(second)  # type: ignore[arg-type]  # the line above has seen only ints
