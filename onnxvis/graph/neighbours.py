"""What stands before and after a convolution, past whatever keeps positions and channels as they are."""

from __future__ import annotations

from onnxvis.graph.ops import CONVOLUTIONS, ELEMENTWISE, LAYOUT_KEEPING, RESIZERS
from onnxvis.graph.view import GraphView, Node

__all__ = ["follower", "reads_picture"]

_MAX_NODES = 24
_FROM_PICTURE = LAYOUT_KEEPING | RESIZERS | {
    "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather", "MeanVarianceNormalization", "LpNormalization",
}  # fmt: skip
_PASSED = ELEMENTWISE | {"Transpose"}
_SUMS = frozenset({"Add", "Sub", "Sum", "Mean", "Max", "Min", "QLinearAdd"})


def follower(view: GraphView, name: str) -> tuple[Node, ...]:
    """The convolutions that read a feature map, past norms, activations, transposes and products, not sums of maps.

    Empty where the map is also an output of the graph, or where there are more than two dozen nodes in between.
    """
    outputs = {tensor.name for tensor in view.outputs}
    waiting, seen, found = [name], {name}, dict[int, Node]()
    for _ in range(_MAX_NODES):
        if not waiting:
            return tuple(found.values())
        name = waiting.pop(0)
        if name in outputs:
            return ()
        for node in view.consumers(name):
            if node.op in CONVOLUTIONS and node.inputs[0] == name:
                found[node.index] = node
            elif node.op in _PASSED and not _joins(view, node) and node.outputs[0] not in seen:
                seen.add(node.outputs[0])
                waiting.append(node.outputs[0])
    return ()


def reads_picture(view: GraphView, name: str, known: dict[str, bool]) -> bool:
    """Whether a tensor is a model input, or made of inputs alone by what leaves a picture a picture.

    `known` remembers answers between calls.
    """
    waiting = [name]
    while waiting:
        name = waiting[-1]
        node = view.producer(name)
        if node is None or node.op not in _FROM_PICTURE:
            known[name] = node is None and name in view.data_path
            waiting.pop()
            continue
        made_of = [item for item in node.inputs if item in view.data_path]
        missing = [item for item in made_of if item not in known]
        if missing and len(waiting) <= _MAX_NODES:
            waiting.append(missing[0])
            continue
        known[name] = bool(made_of) and all(known.get(item, False) for item in made_of)
        waiting.pop()
    return known[name]


def _joins(view: GraphView, node: Node) -> bool:
    return node.op in _SUMS and sum(item in view.data_path for item in node.inputs) > 1
