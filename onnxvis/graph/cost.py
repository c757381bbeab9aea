"""How many parameters a model stores and how many multiply-accumulates one input costs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onnxvis.graph.ops import CONVOLUTIONS, MATRIX_PRODUCTS
from onnxvis.graph.shapes import Shape
from onnxvis.graph.view import GraphView, Node

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["macs", "parameters"]

_SHAPE_TYPES = frozenset({"int64", "int32", "bool", "string"})


def parameters(model: Model) -> int:
    """Elements of all stored tensors but those of types that only carry shapes, indices and flags."""
    return sum(stored.count for stored in model.weights.all() if stored.dtype not in _SHAPE_TYPES)


def macs(view: GraphView) -> int | None:
    """Multiply-accumulates of convolutions and matrix products for one run; None where a shape is not known.

    A convolution costs output elements × (input channels / group) × kernel; a transposed one input elements × output
    channels / group × kernel; a matrix product output elements × inner size. Biases and all else are not counted.
    """
    total = 0
    for node in view.nodes:
        if node.op in CONVOLUTIONS | MATRIX_PRODUCTS and node.outputs[0] in view.data_path:
            cost = _convolution(view, node) if node.op in CONVOLUTIONS else _product(view, node)
            if cost is None:
                return None
            total += cost
    return total


def _convolution(view: GraphView, node: Node) -> int | None:
    weight = view.shape(node.inputs[3 if node.op == "QLinearConv" else 1])
    counted = view.shape(node.inputs[0] if node.op == "ConvTranspose" else node.outputs[0])
    return _multiply(counted, weight[1:] if weight else None)


def _product(view: GraphView, node: Node) -> int | None:
    left = view.shape(node.inputs[0])
    if not left:
        return None
    transposed = node.op in {"Gemm", "QGemm", "FusedGemm"} and node.integer("transA", 0)
    return _multiply(view.shape(node.outputs[0]), (left[0 if transposed else -1],))


def _multiply(first: Shape | None, second: Shape | None) -> int | None:
    if first is None or second is None or not all(isinstance(size, int) for size in (*first, *second)):
        return None
    return math.prod(first) * math.prod(second)  # type: ignore[arg-type]  # the line above has seen only ints
