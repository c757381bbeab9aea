"""A Darknet network as an ONNX model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnxvis.errors import ModelError

from .builder import INPUT, Builder
from .decode import add_decoding
from .describe import metadata
from .draft import Draft
from .names import outputs
from .plan import Plan
from .rules import RULES
from .weights import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

__all__ = ["build"]


def build(plan: Plan, weights: Weights, labels: Sequence[str] | None = None, decoded: bool = False) -> onnx.ModelProto:
    """The network as an ONNX model of one float32 input `image` (batch, channels, height, width), the batch free.

    Outputs: each [yolo] or [region] section's raw head (`head13`, …), or `probabilities`, `logits` or `features` of the
    last layer of a classifier; `decoded` adds `boxes` and `scores` (see `decode`). Batch norm is kept. The model is
    checked with onnx.checker, shape inference included. Raises ModelError where that fails, UsageError as `metadata`.
    """
    import onnx

    said = metadata(plan, labels, decoded)
    draft = Draft(plan.name)
    draft.port(INPUT, plan.picture, is_input=True)
    ends = outputs(plan)
    builder = Builder(draft, plan, weights, ends)
    for layer in plan.layers:
        builder.keep(layer, RULES[type(layer.what)](builder, layer, layer.what))
    builder.name_outputs()
    for end in ends:
        draft.port(end.name, end.shape)
    if decoded:
        add_decoding(draft, plan)
    onnx.helper.set_model_props(draft.model, said)
    try:
        onnx.checker.check_model(draft.skeleton(), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{plan.name} gives a model that onnx.checker refuses: {reason}") from error
    return draft.model
