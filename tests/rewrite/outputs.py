"""Models that also return what they compute on the way."""

from __future__ import annotations

from onnx import ModelProto, helper

__all__ = ["with_outputs"]


def with_outputs(proto: ModelProto, *names: str) -> ModelProto:
    """A copy that also returns these tensors; those that it returns already stay."""
    exposed = ModelProto()
    exposed.CopyFrom(proto)
    present = {value.name for value in proto.graph.output}
    exposed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in present)
    return exposed
