"""All boxes of a detector as candidates, strongest first, before non-maximum suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxvis.measure.boxes.decode import Decoded

__all__ = ["Candidates", "candidates"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Candidates:
    """One entry a box, strongest first: `corners` (n, 4) x0, y0, x1, y1 in pixels, its best class `labels`, the score
    `scores` of that in 0–1, and `places` (n, 4): number of its head, box of the cell, row, column. `broken`: how many
    more were left out, as they hold NaN or infinite numbers, or a side below 0.
    """

    corners: Array
    labels: Array
    scores: Array
    places: Array
    broken: int

    def first(self, count: int) -> Candidates:
        """The strongest `count`."""
        return Candidates(
            self.corners[:count], self.labels[:count], self.scores[:count], self.places[:count], self.broken
        )


def candidates(decoded: Sequence[Decoded], least_score: float = 0.0, label: int | None = None) -> Candidates:
    """Each box with its best class, or with class `label`, where that scores at least `least_score`.

    Of equal scores the first stands first: by head, box of the cell, row, column.
    """
    corners, labels, scores, places = [], [], [], []
    for number, item in enumerate(decoded):
        best = np.full(item.scores.shape[:-1], label) if label is not None else item.scores.argmax(axis=-1)
        corners.append(item.corners.reshape(-1, 4))
        labels.append(best.reshape(-1))
        scores.append(np.take_along_axis(item.scores, best[..., None], axis=-1).reshape(-1))
        where = np.indices(best.shape).reshape(3, -1).T
        places.append(np.insert(where, 0, number, axis=1))
    all_corners, all_scores = np.concatenate(corners), np.concatenate(scores)
    whole = np.isfinite(all_corners).all(axis=1) & np.isfinite(all_scores)
    whole &= (all_corners[:, 2:] >= all_corners[:, :2]).all(axis=1)
    (kept,) = np.nonzero(whole & (all_scores >= least_score))
    kept = kept[np.argsort(-all_scores[kept], kind="stable")]
    return Candidates(
        all_corners[kept], np.concatenate(labels)[kept], all_scores[kept].clip(0, 1), np.concatenate(places)[kept],
        int(whole.size - whole.sum()),
    )  # fmt: skip
