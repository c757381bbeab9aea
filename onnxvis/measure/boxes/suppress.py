"""Non-maximum suppression: of boxes of one class that cover each other, the strongest stays."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

__all__ = ["suppress"]

Array = np.ndarray[Any, np.dtype[Any]]


def suppress(corners: Array, labels: Array, scores: Array, overlap: float) -> Array:
    """The numbers of the boxes that stay, strongest first, of `corners` (n, 4) x0, y0, x1, y1.

    Class by class: the strongest box stays, and those whose intersection over union with it is above `overlap` go; then
    the next. Of equal scores the first is the stronger. By OpenCV's NMSBoxes, once a class: its NMSBoxesBatched moves
    classes apart by the largest coordinate, which is not far enough for boxes that leave the picture to the left.
    """
    order = np.argsort(-scores, kind="stable")
    rectangles = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    # OpenCV rounds scores to float32 and refuses those of 0, so it is given their ranks
    ranks = np.arange(len(order), 0, -1)
    kept = [np.zeros(0, np.int64)]
    for label in np.unique(labels):
        (places,) = np.nonzero(labels[order] == label)
        found = cv2.dnn.NMSBoxes(rectangles[order[places]].tolist(), ranks[places].tolist(), 0.0, overlap)
        kept.append(places[np.asarray(found, np.int64).reshape(-1)])
    return np.asarray(order[np.sort(np.concatenate(kept))])
