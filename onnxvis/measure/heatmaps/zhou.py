"""The first class activation map: for heads that are linear in the mean of a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph.ops import ORDER_KEEPING
from onnxvis.graph.target_layer import same_map
from onnxvis.measure.heatmaps.method import LayerMethod, method

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import GraphView, Node

__all__ = ["CAM", "linear_head_layer"]

Array = np.ndarray[Any, np.dtype[Any]]


@method("cam")
class CAM(LayerMethod):
    """CAM (Zhou et al., 2016, arXiv:1512.04150), for a global average pooling with one linear layer behind it.

    The weight of channel k for class c is that of the linear layer: as the head is linear, the sum over all positions
    of the gradient of the class by the channel.
    """

    rectified = False
    definition = "sum_k W[c, k] A_k, W of the one linear layer behind the global pooling (Zhou et al., 2016)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k W[c, k] A_k, W[c, k] = sum of g_k."""
        return np.asarray(np.einsum("k,kyx->yx", gradient.sum(axis=(1, 2)), activation))


def linear_head_layer(model: Model, target: str) -> str:
    """The layer whose global average is all that a linear head reads to make tensor `target`, as `same_map` names it.

    Heads: pooling, then Gemm, MatMul (and Add) or a 1 × 1 convolution; or a pooling of the classes' own maps, which a
    convolution makes. Raises UsageError with the reason for any other head.
    """
    view = model.view
    node = _maker(view, target)
    reason = "nothing is computed there"
    if node is not None and node.op == "Add" and (weighed := _weighed(view, node)) is not None:
        node = _maker(view, weighed)
    if node is not None and (node.op in ("Gemm", "MatMul") or _is_pointwise(view, node)):
        node = _maker(view, node.inputs[0])
    if node is not None:
        reason = f"before the class scores stands {node.op} node {node.label}"
        if node.inputs and _is_global_mean(model, node):
            return same_map(model, node.inputs[0])
    raise UsageError(
        f"cam needs a global average pooling and one linear layer before '{one_line(target)}', and {reason}; "
        "use gradcam, which is the same where cam is defined and works everywhere"
    )


def _maker(view: GraphView, name: str) -> Node | None:
    """The node that makes a tensor, past those that only change its shape or type."""
    node = view.producer(name)
    while node is not None and node.op in ORDER_KEEPING:
        node = view.producer(node.inputs[0])
    return node


def _weighed(view: GraphView, node: Node) -> str | None:
    """The operand of an Add that is a matrix product, where the other is stored."""
    for name, other in (node.inputs, node.inputs[::-1]):
        if other not in view.data_path and (maker := _maker(view, name)) is not None and maker.op == "MatMul":
            return name
    return None


def _is_pointwise(view: GraphView, node: Node) -> bool:
    """Whether `node` is a convolution of single positions, of maps that are single positions."""
    shape, reads = view.shape(node.inputs[1]) if node.op == "Conv" else None, view.shape(node.inputs[0])
    return bool(shape and reads and all(size == 1 for size in (*shape[2:], *reads[2:])))


def _is_global_mean(model: Model, node: Node) -> bool:
    """Whether `node` takes the mean over all positions of a feature map."""
    size = model.maps.chw(node.input(0))
    if size is None:
        return False
    if node.op == "AveragePool":
        return node.ints("kernel_shape") == size[1:] and not any(node.ints("pads"))
    if node.op == "ReduceMean":
        rows = model.maps.layouts[node.inputs[0]].index("H")
        return sorted(axis % 4 for axis in _axes(model, node)) == [rows, rows + 1]
    return node.op == "GlobalAveragePool"


def _axes(model: Model, node: Node) -> tuple[int, ...]:
    """The axes that a reduction names, () where it names none or they are computed."""
    stored = model.weights.stored_as(node.input(1)) if node.input(1) else ""
    return tuple(map(int, model.read(stored).reshape(-1))) if stored else node.ints("axes")
