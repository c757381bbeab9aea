"""The layer that a heatmap is made of unless one is named: the last feature map before the head."""

from __future__ import annotations

from onnxvis.graph.flow import Flow
from onnxvis.graph.load import Model
from onnxvis.graph.ops import CONVOLUTIONS, ELEMENTWISE, POOLS
from onnxvis.graph.view import Node

__all__ = ["last_map", "map_at_scale", "same_map"]

_UNCHANGED = frozenset({"Identity", "Dropout", "Transpose"})
_POSITIONWISE = ELEMENTWISE | {"Flatten", "LogSoftmax", "Reshape", "Softmax", "Squeeze", "Transpose", "Unsqueeze"}


def last_map(model: Model, target: str) -> str | None:
    """The last feature map of more than one position that all data passes on its way to tensor `target`.

    For a classifier, what the global pooling reads. Where the target is a map itself (segmentation, detection), or not
    all data passes the deepest maps: what the deepest stage on the way to it hands on. None where there is no feature
    map but the patches that a transformer cuts its picture into.
    """
    flow = Flow(model.view, model.maps)
    if target not in flow.position:
        return None
    before = flow.ancestors([target])
    stages = [stage.output for stage in model.stages() if stage.output in before and _is_map(model, stage.output)]
    found = stages[-1] if stages else None
    if not _is_map_itself(model, flow, target):
        sources = [tensor.name for tensor in model.view.inputs if tensor.name in flow.position]
        passed = [name for name in flow.chokepoints(sources, [target]) if _is_map(model, name)]
        if passed and (found is None or flow.position[passed[-1]] >= flow.position[found]):
            found = passed[-1]
    return None if found is None or _is_patches(flow, found) else same_map(model, found)


def map_at_scale(model: Model, target: str, grid: tuple[int, int]) -> str | None:
    """The last feature map of `grid` (rows, columns) on the way to `target` that a head's own convolution reads.

    That convolution is the last one on the way whose result has this grid. Of a raw head it makes the output, and the
    map is what the neck hands to it; where branches for boxes and classes come together behind it, `target` should be
    a tensor of one branch, the classes' say, and the map is that branch's last. None where no map has this grid.
    """
    flow = Flow(model.view, model.maps)
    if target not in flow.position:
        return None
    for name in sorted(flow.ancestors([target]), key=flow.position.__getitem__, reverse=True):
        node, size = model.view.producer(name), model.maps.chw(name)
        if size is not None and size[1:] == grid and node is not None and node.op in CONVOLUTIONS:
            read = model.maps.chw(node.inputs[0])
            at_scale = read is not None and read[1:] == grid and _is_map(model, node.inputs[0])
            return same_map(model, node.inputs[0] if at_scale else name)
    return None


def same_map(model: Model, name: str) -> str:
    """The tensor in which the feature map `name` was made, before it was only handed on or turned: by Transpose,
    Dropout, Identity, or a pooling of single positions.
    """
    while (node := model.view.producer(name)) is not None and _hands_on(node) and _is_map(model, node.inputs[0]):
        name = node.inputs[0]
    return name


def _is_map_itself(model: Model, flow: Flow, name: str) -> bool:
    """Whether a tensor holds the values of a map position by position, in whatever shape."""
    while not _is_map(model, name):
        node, data = model.view.producer(name), flow.before(name)
        if node is None or node.op not in _POSITIONWISE or len(data) != 1:
            return False
        name = data[0]
    return True


def _hands_on(node: Node) -> bool:
    return node.op in _UNCHANGED or (node.op in POOLS and {*node.ints("kernel_shape"), *node.ints("strides")} == {1})


def _is_map(model: Model, name: str) -> bool:
    """Whether a tensor that a node makes is a feature map of floats with more than one position."""
    size = model.maps.chw(name)
    if size is None or size[1:] == (1, 1) or model.view.producer(name) is None:
        return False
    return model.view.tensor(name).dtype.startswith(("float", "bfloat"))


def _is_patches(flow: Flow, name: str) -> bool:
    """Whether a map only holds the picture's patches, embedded: one convolution, whose windows do not overlap."""
    makers = [flow.view.producer(item) for item in flow.ancestors([name])]
    convolutions = [node for node in makers if node is not None and node.op in CONVOLUTIONS]
    if len(convolutions) != 1:
        return False
    shape, strides = flow.view.shape(convolutions[0].input(1)), convolutions[0].ints("strides")
    return shape is not None and max(strides, default=1) > 1 and strides == shape[2:]
