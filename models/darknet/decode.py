"""Boxes and scores from the raw heads of YOLOv3 and later, computed in the graph."""

from __future__ import annotations

import numpy as np

from .draft import Draft
from .layers import Layer, Yolo
from .names import outputs
from .plan import Plan

__all__ = ["BOXES", "SCORES", "add_decoding"]

BOXES, SCORES = "boxes", "scores"


def add_decoding(draft: Draft, plan: Plan) -> None:
    """Add the outputs `boxes` (batch, N, 4), corners x0, y0, x1, y1 in pixels of the input, and `scores`
    (batch, N, classes), objectness · class.

    Heads come in the order of the cfg; in a head anchor by anchor, in an anchor row by row. Of each cell
        centre = (sigmoid(xy) · s − (s − 1) / 2 + cell) · stride,   side = exp(wh) · anchor,
    s the head's scale_x_y; with new_coords the values are sigmoids already and side = (2 · wh)² · anchor.
    """
    boxes, scores, cells = [], [], 0
    heads = [end for end in outputs(plan) if isinstance(plan.layers[end.section].what, Yolo)]
    for end in heads:
        layer = plan.layers[end.section]
        box, score = _head(draft, end.name, layer, plan.picture[2] // layer.shape[2])
        boxes.append(box)
        scores.append(score)
        cells += len(_yolo(layer).anchors) * layer.shape[1] * layer.shape[2]
    classes = _yolo(plan.layers[heads[0].section]).classes
    for name, parts, channels in ((BOXES, boxes, 4), (SCORES, scores, classes)):
        draft.node("Concat", parts, name, axis=1)
        draft.port(name, (cells, channels))


def _head(draft: Draft, raw: str, layer: Layer, stride: int) -> tuple[str, str]:
    """Tensors (batch, anchors · cells, 4) and (batch, anchors · cells, classes) of one head."""
    what = _yolo(layer)
    scope = f"decode/{raw}"
    shape = draft.integers(f"{scope}/values/shape", [0, len(what.anchors), 5 + what.classes, *layer.shape[1:]])
    values = draft.node("Reshape", [raw, shape], f"{scope}/values")
    lengths = draft.integers(f"{scope}/lengths", [2, 2, 1, what.classes])
    names = [f"{scope}/{part}" for part in ("xy", "wh", "objectness", "classes")]
    draft.split(values, lengths, names, axis=2)
    xy, wh, objectness, classes = names
    centre, half = _centre(draft, xy, layer, stride), _half(draft, wh, what)
    corners = [
        draft.node("Sub", [centre, half], f"{scope}/upper_left"),
        draft.node("Add", [centre, half], f"{scope}/lower_right"),
    ]
    box = draft.node("Concat", corners, f"{scope}/corners", axis=2)
    if not what.new_coords:
        objectness, classes = (draft.node("Sigmoid", [x], f"{x}/sigmoid") for x in (objectness, classes))
    score = draft.node("Mul", [objectness, classes], f"{scope}/score")
    return _listed(draft, box, 4), _listed(draft, score, what.classes)


def _centre(draft: Draft, xy: str, layer: Layer, stride: int) -> str:
    what = _yolo(layer)
    _, height, width = layer.shape
    rows, columns = np.mgrid[:height, :width]
    corner = (np.stack([columns, rows])[None, None] - (what.scale_xy - 1) / 2) * stride
    x = xy if what.new_coords else draft.node("Sigmoid", [xy], f"{xy}/sigmoid")
    scaled = draft.node("Mul", [x, draft.number(what.scale_xy * stride)], f"{xy}/scaled")
    return draft.node("Add", [scaled, draft.weight(f"{xy}/cells", corner.astype(np.float32))], f"{xy}/centre")


def _half(draft: Draft, wh: str, what: Yolo) -> str:
    """Half the width and height."""
    factor = 2 if what.new_coords else 0.5
    halves = draft.weight(
        f"{wh}/anchors", np.array(what.anchors, np.float32)[None, :, :, None, None] * np.float32(factor)
    )
    grown = draft.node(*(("Mul", [wh, wh], f"{wh}/square") if what.new_coords else ("Exp", [wh], f"{wh}/exp")))
    return draft.node("Mul", [grown, halves], f"{wh}/half")


def _listed(draft: Draft, x: str, channels: int) -> str:
    """(batch, anchors, channels, H, W) → (batch, anchors · cells, channels)."""
    turned = draft.node("Transpose", [x], f"{x}/turned", perm=[0, 1, 3, 4, 2])
    return draft.node("Reshape", [turned, draft.integers(f"{x}/shape", [0, -1, channels])], f"{x}/listed")


def _yolo(layer: Layer) -> Yolo:
    assert isinstance(layer.what, Yolo)
    return layer.what
