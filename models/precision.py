"""How well a detector does: average precision of its boxes, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

__all__ = ["average_precision", "box_iou", "mean_average_precision"]


def mean_average_precision(found: Sequence[Array], truth: Sequence[Array], overlap: float = 0.5) -> float:
    """The mean of `average_precision` over the classes that are there, in 0–1; NaN where there are none.

    For each picture, `found` has (M, 6): x0, y0, x1, y1, score, class; `truth` has (T, 5): x0, y0, x1, y1, class.
    """
    labels = np.unique(np.concatenate([boxes[:, 4] for boxes in truth])) if len(truth) else np.zeros(0)
    each = []
    for label in labels:
        ours = [boxes[boxes[:, 5] == label, :5] for boxes in found]
        theirs = [boxes[boxes[:, 4] == label, :4] for boxes in truth]
        each.append(average_precision(ours, theirs, overlap))
    return float(np.mean(each)) if each else float("nan")


def average_precision(found: Sequence[Array], truth: Sequence[Array], overlap: float = 0.5) -> float:
    """The area under the precision–recall curve of one class, precision being made to fall (PASCAL VOC 2010 and later).

    For each picture, `found` has (M, 5): x0, y0, x1, y1, score; `truth` has (T, 4). Strongest first, a box is right
    where the true box that it meets best, with an IoU of `overlap` or more, has not been found before.
    """
    total = sum(map(len, truth))
    pairs = [(box[4], picture, box) for picture, boxes in enumerate(found) for box in boxes]
    pairs.sort(key=lambda pair: -pair[0])
    taken = [np.zeros(len(boxes), bool) for boxes in truth]
    right = np.zeros(len(pairs), bool)
    for place, (_, picture, box) in enumerate(pairs):
        if len(truth[picture]):
            ious = box_iou(box[None, :4], truth[picture])[0]
            best = int(ious.argmax())
            right[place] = ious[best] >= overlap and not taken[picture][best]
            taken[picture][best] |= right[place]
    if not total or not len(pairs):
        return 0.0
    hits = right.cumsum()
    precision = np.maximum.accumulate((hits / np.arange(1, len(pairs) + 1))[::-1])[::-1]
    return float((precision * right).sum() / total)


def box_iou(one: Array, other: Array) -> Array:
    """Intersection over union of boxes (M, 4) and (N, 4), corners: (M, N) in 0–1."""
    sides = np.minimum(one[:, None, 2:], other[None, :, 2:]) - np.maximum(one[:, None, :2], other[None, :, :2])
    shared = sides.clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (one, other)]
    return np.asarray(shared / (areas[0][:, None] + areas[1][None] - shared))
