"""Which axes of a rank-4 tensor are channels, height and width.

ONNX's own spatial operators are always (batch, channels, height, width). Graphs that came from TensorFlow wrap them in
Transposes, so that what stands between two of those is (batch, height, width, channels).
"""

from __future__ import annotations

import itertools

from onnxvis.graph.ops import LAYOUT_KEEPING, SPATIAL
from onnxvis.graph.types import Dim, Shape
from onnxvis.graph.view import GraphView, Node

__all__ = ["FeatureMaps", "fixed", "guess_layout"]

NCHW, NHWC = "NCHW", "NHWC"
_ORDERS = tuple("N" + "".join(order) for order in itertools.permutations("CHW"))
_PICTURE_CHANNELS = (1, 3, 4)
_CHANNEL_WORDS = ("channel", "channels", "chan", "num_channels", "c", "rgb")


class FeatureMaps:
    """The tensors of a graph that are pictures or feature maps, and how their axes lie.

    `layouts` is {tensor: 'NCHW' | 'NHWC'} for the tensors of rank 4 whose axes are known: from a spatial operator that
    makes or reads the tensor, and from there through everything that keeps the axes' order, forwards and backwards. A
    picture input that nothing settles is judged by its shape.
    """

    def __init__(self, view: GraphView) -> None:
        # other orders, as a swap of channels and columns makes, are only on their way from one map to the next
        self.layouts = {name: order for name, order in _find_layouts(view).items() if order in (NCHW, NHWC)}
        self._view = view

    def __contains__(self, name: str) -> bool:
        return name in self.layouts

    def chw(self, name: str) -> tuple[int, int, int] | None:
        """(channels, height, width) of a feature map whose sizes are known, else None."""
        layout, shape = self.layouts.get(name), self._view.shape(name)
        if layout is None or shape is None or len(shape) != 4:
            return None
        channels, height, width = shape[1:] if layout == NCHW else (shape[3], shape[1], shape[2])
        if isinstance(channels, int) and isinstance(height, int) and isinstance(width, int):
            return channels, height, width
        return None


def _find_layouts(view: GraphView) -> dict[str, str]:
    layouts: dict[str, str] = {}
    for node in view.nodes:
        _forward(view, node, layouts)
    for node in reversed(view.nodes):
        _backward(view, node, layouts)
    for tensor in view.inputs:
        if tensor.name not in layouts and (guessed := guess_layout(tensor.shape)):
            layouts[tensor.name] = guessed
    for node in view.nodes:
        _forward(view, node, layouts)
    return layouts


def guess_layout(shape: Shape | None, from_graph: str | None = None) -> str | None:
    """'NCHW' or 'NHWC' for a picture tensor of this shape of rank 4, None where it can be no picture.

    `from_graph` is the layout that the graph's operators tell; it is believed unless it contradicts the number of
    channels. By shape alone: where 1, 3 or 4 stands or the dimension is called channels; where that leaves both,
    channels first.
    """
    if shape is None or len(shape) != 4:
        return None
    possible = [layout for layout in (NCHW, NHWC) if _may_be_picture(shape, layout)]
    if from_graph in possible:
        return from_graph
    known = [layout for layout in possible if _tells_channels(shape[layout.index("C")])]
    return next(iter(known or possible), None)


def fixed(dimension: Dim) -> int | None:
    """The number, or None for a free dimension: a name, nothing, or the −1 and 0 that some exporters write."""
    return dimension if isinstance(dimension, int) and dimension > 0 else None


def _may_be_picture(shape: Shape, layout: str) -> bool:
    """Whether 1, 3, 4 or a free dimension stands at the channels, and sides longer than one pixel elsewhere.

    Of (N, 64, free, free) the last is rather the width of 64 maps than the channels of a picture 64 pixels high.
    """
    channels = shape[layout.index("C")]
    sides = [fixed(shape[layout.index(side)]) for side in "HW"]
    if layout == NHWC and not _tells_channels(channels) and sides.count(None) == 1:
        return False
    return fixed(channels) in (None, *_PICTURE_CHANNELS) and all(side is None or side > 1 for side in sides)


def _tells_channels(dimension: Dim) -> bool:
    return bool(fixed(dimension)) or (isinstance(dimension, str) and dimension.lower() in _CHANNEL_WORDS)


def _forward(view: GraphView, node: Node, layouts: dict[str, str]) -> None:
    if node.op in SPATIAL:
        own = NHWC if node.op == "NhwcConv" or node.integer("channels_last", 0) else NCHW
        _settle(view, node.inputs[:1], own, layouts)
        _settle(view, node.outputs[:1], own, layouts)
        return
    known = next((layouts[name] for name in node.inputs if name in layouts), None)
    if known is None:
        return
    if node.op == "Transpose":
        turned = _turned(node, known)
        if turned:
            _settle(view, node.outputs, turned, layouts)
    elif node.op in LAYOUT_KEEPING or (node.op.startswith("Reduce") and node.integer("keepdims", 1)):
        _settle(view, node.outputs, known, layouts)


def _backward(view: GraphView, node: Node, layouts: dict[str, str]) -> None:
    known = next((layouts[name] for name in node.outputs if name in layouts), None)
    if known is None:
        return
    if node.op == "Transpose":
        before = next((order for order in _ORDERS if _turned(node, order) == known), None)
        if before:
            _settle(view, node.inputs, before, layouts)
    elif node.op in LAYOUT_KEEPING:
        _settle(view, node.inputs, known, layouts)


def _settle(view: GraphView, names: tuple[str, ...], layout: str, layouts: dict[str, str]) -> None:
    for name in names:
        shape = view.shape(name)
        if name in view.data_path and (shape is None or len(shape) == 4):
            layouts.setdefault(name, layout)


def _turned(node: Node, order: str) -> str | None:
    """The order of the axes after a Transpose of a rank-4 tensor; None where the batch moves."""
    permutation = node.ints("perm")
    if len(permutation) != len(order) or permutation[0] != 0:
        return None
    return "".join(order[axis] for axis in permutation)
