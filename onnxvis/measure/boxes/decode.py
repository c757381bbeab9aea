"""From a head's numbers to boxes in pixels and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxvis.files import one_line
from onnxvis.measure.boxes.heads import Head, Heads, as_grid

__all__ = ["Decoded", "decode", "out_of_range"]

Array = np.ndarray[Any, np.dtype[Any]]

_ROUNDING = 0.01


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a head says of each of its boxes, in float64: `corners` (boxes, rows, columns, 4) x0, y0, x1, y1 in pixels
    of the input; `scores` (boxes, rows, columns, classes), objectness times class. NaN and infinity stay.
    """

    head: Head
    corners: Array
    scores: Array


def decode(heads: Heads, head: Head, output: Array) -> Decoded:
    """The boxes of one head in `output`, of the first picture.

    Raw, as Darknet decodes them: centre = (s(x) · scale − (scale − 1) / 2 + cell) · stride, s the sigmoid; side =
    exp(w) · anchor, or (2 · s(w))² · anchor where `squared`; score = s(objectness) · s(class). YOLOv5's own heads are
    these with scale 2, squared. Decoded by the graph: centre and side in pixels, and scores.
    """
    numbers = as_grid(head, output[0].astype(np.float64))
    first = heads.first_class
    scores = numbers[..., first : first + heads.classes]
    if head.anchors:
        scores = _sigmoid(head, scores)
        centre, side = _raw_boxes(head, numbers)
        scores = scores * _sigmoid(head, numbers[..., 4:5])
    else:
        centre, side = numbers[..., 0:2], numbers[..., 2:4]
        scores = scores * numbers[..., 4:5] if heads.objectness else scores
    with np.errstate(over="ignore", invalid="ignore"):
        return Decoded(head, np.concatenate([centre - side / 2, centre + side / 2], axis=-1), scores)


def out_of_range(heads: Heads, outputs: Mapping[str, Array]) -> str:
    """Why the scores that the graph has decoded can be none: they leave 0–1. '' where they do not, or are raw."""
    for head in heads.heads:
        scores = as_grid(head, outputs[head.output][0])[..., 4 : heads.first_class + heads.classes]
        finite = scores[np.isfinite(scores)]
        if not head.anchors and finite.size and (finite.min() < -_ROUNDING or finite.max() > 1 + _ROUNDING):
            return (
                f"output '{one_line(head.output)}' has the shape of {heads.kind}, but what should be scores goes from "
                f"{finite.min():.4g} to {finite.max():.4g}"
            )
    return ""


def _raw_boxes(head: Head, numbers: Array) -> tuple[Array, Array]:
    """Centres and sides in pixels, (boxes, rows, columns, 2) each."""
    rows, columns = np.mgrid[0 : head.rows, 0 : head.columns]
    cells = np.stack([columns, rows], axis=-1)
    anchors = np.asarray(head.anchors, np.float64)[:, None, None, :]
    inside = _sigmoid(head, numbers[..., 0:2]) * head.scale_xy - (head.scale_xy - 1) / 2
    with np.errstate(over="ignore"):  # a side without end is dropped later, and told
        grown = (2 * _sigmoid(head, numbers[..., 2:4])) ** 2 if head.squared else np.exp(numbers[..., 2:4])
        return (inside + cells) * head.stride, grown * anchors


def _sigmoid(head: Head, values: Array) -> Array:
    """1 / (1 + exp(−v)) as (1 + tanh(v / 2)) / 2, which overflows nowhere; the values where they are behind it."""
    return values if head.activated else np.asarray((1 + np.tanh(values / 2)) / 2)
