"""Small networks for the tests, written as one line a section, and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import onnx
import onnxruntime

from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.plan import Plan, make_plan

__all__ = ["Array", "cfg", "plan_of", "run", "with_outputs"]

Array = npt.NDArray[Any]


def cfg(*sections: str, net: str = "width=16 height=16 channels=3") -> str:
    """`cfg("convolutional filters=8 size=3", "maxpool")` as the text of a cfg."""
    return "\n".join(
        f"[{section.split()[0]}]\n" + "\n".join(section.split()[1:]) for section in (f"net {net}", *sections)
    )


def plan_of(*sections: str, net: str = "width=16 height=16 channels=3") -> Plan:
    """The network of such sections, called x.cfg."""
    return make_plan(parse_cfg(cfg(*sections, net=net), "x.cfg"))


def with_outputs(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """A copy that also returns these."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    have = {port.name for port in copy.graph.output}
    for tensor in dict.fromkeys(tensors):
        if tensor not in have:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None))
    return copy


def run(model: onnx.ModelProto, pictures: Array) -> dict[str, Array]:
    """All outputs, as ONNX Runtime computes them without rewriting the graph."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pictures}), strict=True))
