"""Insertion and deletion: how the score rises and falls as the pixels that a heatmap marks come and go.

Petsiuk et al., 2018 (RISE, arXiv:1806.07421), but for three things: pixels go to a blurred picture in both directions,
where theirs deletes to zeros, 3.6 % of them a step (both as Group-CAM, Zhang et al., 2021, arXiv:2103.13859); and the
blur grows with the picture, as theirs (sigma 5 at 224 pixels) leaves large shapes to be recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.errors import UsageError
from onnxvis.measure.faithfulness.score import Scorer

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.measure.target import Target
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["BLUR", "STEPS", "Curve", "Faithfulness", "Trial", "blurred", "faithfulness_of", "pixel_order"]

Array = np.ndarray[Any, np.dtype[Any]]

STEPS = 28
"""Each step moves 1/28 of the pixels, 3.6 %."""

BLUR = 0.1
"""The blur's sigma, as a share of the picture's shorter side."""


@dataclass(frozen=True)
class Curve:
    """A score over the share of pixels that were moved: 29 points, from none to all.

    `area`: below the line through them (trapezoid rule), over a width of 1. Of insertion more is better, of deletion
    less.
    """

    fractions: tuple[float, ...]
    scores: tuple[float, ...]
    area: float


@dataclass(frozen=True)
class Faithfulness:
    """Both curves of one heatmap. `kind`: what the score is, in words, see `Scorer`."""

    insertion: Curve
    deletion: Curve
    kind: str


class Trial:
    """One picture, sharp and blurred, on which any number of maps are tried.

    `sigma` of the blur in pixels; None: `BLUR` of the shorter side. The scores of both pictures, `sharp` and `blurry`,
    are computed once. Raises UsageError for a sigma that is not above 0, and the errors of `Scorer`.
    """

    def __init__(self, scorer: Scorer, sigma: float | None = None, random_seed: int = 0) -> None:
        self._scorer = scorer
        self._picture = scorer.picture
        self._blurred = blurred(self._picture, sigma)
        self._seed = random_seed
        self.sharp = scorer.full
        (self.blurry,) = scorer.scores([self._blurred])

    def insertion(self, heatmap: Array, progress: Callable[[int], None] | None = None) -> Curve:
        """The sharp pixels enter the blurred picture in the order of `heatmap` (H, W), largest first."""
        return self._curve(heatmap, self._blurred, self._picture, (self.blurry, self.sharp), progress)

    def deletion(self, heatmap: Array, progress: Callable[[int], None] | None = None) -> Curve:
        """The pixels of the sharp picture give way to blurred ones in that order."""
        return self._curve(heatmap, self._picture, self._blurred, (self.sharp, self.blurry), progress)

    def both(self, heatmap: Array, progress: Callable[[int], None] | None = None) -> Faithfulness:
        """Both curves. `progress` is told how many more pictures were run, of `2 * (STEPS - 1)`."""
        return Faithfulness(self.insertion(heatmap, progress), self.deletion(heatmap, progress), self._scorer.kind)

    def _curve(
        self,
        heatmap: Array,
        start: Array,
        end: Array,
        ends: tuple[float, float],
        progress: Callable[[int], None] | None,
    ) -> Curve:
        if heatmap.shape != start.shape[:2]:
            raise UsageError(
                f"a map of {heatmap.shape[0]}×{heatmap.shape[1]} cannot order the pixels of a picture of "
                f"{start.shape[0]}×{start.shape[1]}"
            )
        order = pixel_order(heatmap, self._seed)
        between = self._scorer.scores(_steps(start, end, order), progress)
        scores = (ends[0], *between, ends[1])
        area = (sum(scores) - (scores[0] + scores[-1]) / 2) / STEPS
        return Curve(tuple(step / STEPS for step in range(STEPS + 1)), scores, area)


def faithfulness_of(
    model: Model,
    item: PreparedInput,
    heatmap: Heatmap,
    target: Target,
    options: RunOptions | None = None,
    *,
    sigma: float | None = None,
    random_seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Faithfulness:
    """Insertion and deletion of one heatmap of what is fed in `item`; 56 runs of the model. `Trial` serves several.

    `progress` is told how many more of `2 * (STEPS - 1)` pictures were run. Raises the errors of `Scorer`.
    """
    with Scorer(model, item.feeds, target, options) as scorer:
        return Trial(scorer, sigma, random_seed).both(heatmap.map, progress)


def pixel_order(heatmap: Array, random_seed: int = 0) -> Array:
    """The flat indices of a map's pixels, largest value first; equal ones in a random order. (H · W,) int64."""
    ties = np.random.default_rng(random_seed).permutation(heatmap.size)
    return np.lexsort((ties, -heatmap.astype(np.float64).reshape(-1)))


def blurred(picture: Array, sigma: float | None = None) -> Array:
    """A picture (H, W, C) after a Gaussian blur of `sigma` pixels, mirrored at its edges; of the same type.

    `sigma` None: `BLUR` of the shorter side. Raises UsageError for one that is not above 0.
    """
    height, width = picture.shape[:2]
    sigma = BLUR * min(height, width) if sigma is None else sigma
    if not 0 < sigma <= max(height, width):
        raise UsageError(
            f"a blur of {sigma:g} pixels takes nothing away or has no meaning; give one above 0 and up to the "
            f"picture's longer side, {max(height, width)}"
        )
    smooth = cv2.GaussianBlur(picture.astype(np.float64), (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    smooth = np.asarray(smooth).reshape(picture.shape)
    if picture.dtype.kind in "iu":
        smooth = np.rint(smooth)
    return smooth.astype(picture.dtype)


def _steps(start: Array, end: Array, order: Array) -> Iterator[Array]:
    """`start` with 1/28, 2/28, … 27/28 of the pixels taken from `end`, in that order."""
    height, width, colours = start.shape
    source = end.reshape(-1, colours)
    for step in range(1, STEPS):
        made = start.reshape(-1, colours).copy()
        moved = order[: round(step * len(order) / STEPS)]
        made[moved] = source[moved]
        yield made.reshape(height, width, colours)
