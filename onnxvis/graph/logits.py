"""The tensor behind a model's output that an explanation should start from: class scores before they saturate."""

from __future__ import annotations

from onnxvis.graph.ops import ORDER_KEEPING
from onnxvis.graph.view import GraphView

__all__ = ["before_softmax"]


def before_softmax(view: GraphView, output: str) -> tuple[str, str]:
    """The tensor that a final Softmax or LogSoftmax reads, and that operator; (`output`, '') where there is none.

    Its elements stand in the order of those of `output`: on the way only the shape or the type may change. A Softmax
    saturates: its gradient vanishes just where a model is sure. So does a final QuantizeLinear, and what it reads is
    taken as well.
    """
    name, found = output, (output, "")
    while (node := view.producer(name)) is not None and node.domain in ("", "ai.onnx"):
        softmax = node.op in ("Softmax", "LogSoftmax") and not found[1].endswith("Softmax")
        if not softmax and (node.op not in ORDER_KEEPING or name != node.outputs[0]):
            break
        name = node.inputs[0]
        if softmax:
            found = name, node.op
        elif node.op == "QuantizeLinear":
            found = name, found[1] or node.op
    return found
