"""Scenes of drawn shapes as training data without end: each is seen once, and others are kept for measuring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line

from ..classifier import FRESH_SEEDS
from ..scenes import make_scene
from ..shapes import KINDS
from .data import Batch, Split, normalised

__all__ = ["ShapePictures", "shapes_split"]

_APART = 1_000_003
"""How far the scenes of one seed of a training begin from those of the next."""


class ShapePictures:
    """Scenes of `size` pixels that show `kinds` in turn; picture i is the scene of seed start + i, below `end`."""

    def __init__(self, kinds: Sequence[str], size: int, start: int, end: int, count: int | None) -> None:
        self._kinds, self._size, self._start, self._end = tuple(kinds), size, start, end
        self.count = count

    def seeds(self, indices: Sequence[int]) -> list[int]:
        """The seeds of the scenes at `indices`: beyond the last they begin anew."""
        return [(self._start + index) % self._end for index in indices]

    def batch(self, indices: Sequence[int], rng: np.random.Generator | None = None) -> Batch:  # noqa: ARG002
        """Pictures (N, 3, S, S) float32 and labels (N,); scenes are never varied, as fresh ones cost nothing."""
        seeds = self.seeds(indices)
        labels = [seed % len(self._kinds) for seed in seeds]
        scenes = [
            make_scene(seed, self._size, self._kinds[label]).picture for seed, label in zip(seeds, labels, strict=True)
        ]
        return normalised(np.stack(scenes)), np.array(labels, np.int64)


def shapes_split(kinds: Sequence[str], size: int, held_out: float, seed: int) -> Split:
    """Scenes to train on, other ones for each `seed`, and `held_out` scenes from seeds that no training sees.

    Raises UsageError for kinds that do not exist or are fewer than two, and for a share instead of a number.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"--kinds: there is no shape '{one_line(unknown[0])}'; there are {', '.join(KINDS)}")
    if len(kinds) < 2 or len(set(kinds)) < len(kinds):
        raise UsageError("--kinds takes two different shapes or more, such as disc,star")
    if not (1 <= held_out <= 1_000_000 and held_out == int(held_out)):
        raise UsageError(f"--held-out {held_out:g}: scenes are drawn without end, so give their number, such as 400")
    # Held-out scenes lie beyond every seed that training can reach.
    end = FRESH_SEEDS + int(held_out)
    train = ShapePictures(kinds, size, seed * _APART % FRESH_SEEDS, FRESH_SEEDS, None)
    return Split(
        tuple(kinds),
        train,
        ShapePictures(kinds, size, FRESH_SEEDS, end, int(held_out)),
        f"shapes: {' '.join(kinds)}; {int(held_out)} held out",
    )
