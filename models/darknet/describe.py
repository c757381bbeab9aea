"""What the model file says about itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onnxvis.errors import UsageError

from ..describe import YoloHead, detector_metadata, labels_metadata, preprocess_metadata
from .decode import BOXES, SCORES
from .layers import Region, Yolo
from .names import outputs
from .plan import Plan

__all__ = ["metadata"]


def metadata(plan: Plan, labels: Sequence[str] | None = None, decoded: bool = False) -> dict[str, str]:
    """Preprocessing, labels where they are given, and the heads of a detector, of which `decoded` says that the graph
    also gives boxes and scores. Raises UsageError for labels that are not as many as the classes, and where boxes are
    asked of heads that there are none of or that differ in classes.

    A picture is RGB / 255: for a detector letterboxed (Darknet's own grey is 127, onnxvis' is 114), for a classifier
    its shorter side is resized to the input's and the centre cut out, as `classifier` in Darknet does.
    """
    heads = plan.heads
    classes = {head.what.classes for head in heads if isinstance(head.what, Yolo)}
    detector = bool(heads) or any(isinstance(layer.what, Region) for layer in plan.layers)
    if decoded and len(classes) != 1:
        why = "has heads of different numbers of classes" if classes else "has no [yolo] section"
        raise UsageError(f"{plan.name} {why}: there are no boxes to decode")
    said = preprocess_metadata(_preprocess(plan, detector))
    if labels is not None:
        count = next(iter(classes)) if len(classes) == 1 else plan.layers[-1].shape[0]
        if (classes or not detector) and len(labels) != count:
            raise UsageError(f"{len(labels)} labels do not go with the {count} classes of {plan.name}")
        said |= labels_metadata(labels)
    if len(classes) == 1:
        ends = [end for end in outputs(plan) if plan.layers[end.section] in heads]
        said |= detector_metadata(
            [_head(plan, end.section, end.name) for end in ends],
            next(iter(classes)),
            (BOXES, SCORES) if decoded else None,
        )
    return said


def _head(plan: Plan, number: int, name: str) -> YoloHead:
    layer = plan.layers[number]
    what = layer.what
    assert isinstance(what, Yolo)
    return YoloHead(name, plan.picture[2] // layer.shape[2], what.anchors, what.scale_xy, what.new_coords)


def _preprocess(plan: Plan, detector: bool) -> dict[str, Any]:
    _, height, width = plan.picture
    fit: dict[str, Any] = {"fit": "letterbox"} if detector else {"fit": "crop", "shorter": min(height, width)}
    return {
        "size": [height, width],
        **fit,
        "interpolation": "linear",
        "bgr": False,
        "divide": 255.0,
        "mean": [0.0],
        "std": [1.0],
    }
