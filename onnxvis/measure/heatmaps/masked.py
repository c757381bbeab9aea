"""Heatmaps from masking the picture and running the model.

x: the picture (C, H, W) as it is fed, A: activation of a layer (K, h, w), y: the target, y(x'): the target of x'.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.errors import UsageError
from onnxvis.measure.heatmaps.method import LayerMethod, Needs, PixelMethod, Raw, method

if TYPE_CHECKING:
    from onnxvis.measure.heatmaps.probe import GradientProbe

__all__ = ["RISE", "Occlusion", "ScoreCAM"]

Array = np.ndarray[Any, np.dtype[Any]]

_TINY = 1e-7


@method("scorecam")
class ScoreCAM(LayerMethod):
    """Score-CAM (Wang et al., 2020, arXiv:1910.01279): the whole model once a channel, once for all that are flat."""

    needs = Needs.LAYER | Needs.RUNS
    slow = True
    definition = "relu(sum_k w_k A_k), w = softmax over k of y(x · m_k), m_k = up(A_k) made 0–1 (Wang et al., 2020)"

    def worth(self, probe: GradientProbe, layer: str) -> Array:
        """softmax over k of y(x · m_k), (K, 1, 1); NaN of a layer that holds NaN or infinite values."""
        activation, size = probe.layers[layer][0], probe.picture.shape[1:]
        if not np.isfinite(activation).all():
            return np.full((len(activation), 1, 1), np.nan)
        flat = activation.min(axis=(1, 2)) == activation.max(axis=(1, 2))
        masks = (np.zeros(size, np.float32), *(_mask_of(channel, size) for channel in activation[~flat]))
        found = probe.by_masks(masks, len(masks))
        scores = np.full(len(activation), found[0])
        scores[~flat] = found[1:]
        powers = np.exp(scores - scores.max())
        return np.asarray((powers / powers.sum())[:, None, None])

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k w_k A_k, `gradient` the weights."""
        return np.asarray((gradient * activation).sum(axis=0))


@method("rise")
class RISE(PixelMethod):
    """RISE (Petsiuk et al., 2018, arXiv:1806.07421): `masks` runs of the whole model. Seeded.

    A mask is a grid of `cells` × `cells` numbers, each 1 with probability `kept`, else 0, made larger and shifted at
    random. Raises ValueError for settings out of range.
    """

    needs = Needs.INPUT | Needs.RUNS
    slow = True
    definition = "sum of y(x · M) M / (N p) over N random masks M that keep a share p (Petsiuk et al., 2018)"

    def __init__(self, masks: int = 1000, cells: int = 7, kept: float = 0.5) -> None:
        if masks < 1 or cells < 1 or not 0 < kept <= 1:
            raise ValueError("RISE takes one mask or more, one cell or more, and a share above 0 and up to 1")
        self.masks, self.cells, self.kept = masks, cells, kept

    def explain(self, probe: GradientProbe) -> Raw:
        """sum of y(x · M) M / (N p), (H, W)."""
        size = probe.picture.shape[1:]
        values = probe.by_masks(self.draw(size, probe.random_seed), self.masks)
        total = np.zeros(size)
        for value, mask in zip(values, self.draw(size, probe.random_seed), strict=True):
            total += value * mask
        notes = (
            f"masks of {self.cells} × {self.cells} cells that keep {self.kept:g}, random seed {probe.random_seed}",
        )
        return Raw(total / (self.masks * self.kept), notes)

    def flatten(self, values: Array) -> Array:
        """The values above the least of them: a constant says nothing."""
        return np.asarray(values - values.min())

    def draw(self, size: Sequence[int], seed: int) -> Iterator[Array]:
        """The masks (H, W) float32 in 0–1, the same for the same seed.

        Each grid is made (s + 1) ⌈H / s⌉ × (s + 1) ⌈W / s⌉ large, bilinearly, and cut at a random place.
        """
        rng = np.random.default_rng(seed)
        cell = [math.ceil(side / self.cells) for side in size]
        large = [(self.cells + 1) * side for side in cell]
        for _ in range(self.masks):
            grid = (rng.random((self.cells, self.cells)) < self.kept).astype(np.float32)
            top, left = (int(rng.integers(0, side)) for side in cell)
            mask = cv2.resize(grid, (large[1], large[0]), interpolation=cv2.INTER_LINEAR)
            yield np.asarray(mask[top : top + size[0], left : left + size[1]])


@method("occlusion")
class Occlusion(PixelMethod):
    """Occlusion (Zeiler and Fergus, 2014, arXiv:1311.2901) by a window of zeros: the whole model once a place.

    `window` and `stride`: (rows, columns), by default an eighth of the sides and half of that, so that there are some
    225 places. Windows over the edge are cut off there. Raises UsageError where they do not fit the picture.
    """

    needs = Needs.INPUT | Needs.RUNS
    slow = True
    definition = (
        "y(x) - y(x with a window of zeros), mean over the windows that cover a pixel (Zeiler and Fergus, 2014)"
    )

    def __init__(self, window: tuple[int, int] | None = None, stride: tuple[int, int] | None = None) -> None:
        self.window, self.stride = window, stride

    def explain(self, probe: GradientProbe) -> Raw:
        """mean of y(x) - y(x with a window of zeros), (H, W), signed."""
        height, width = size = probe.picture.shape[1:]
        window = self.window or (max(1, round(height / 8)), max(1, round(width / 8)))
        stride = self.stride or (max(1, window[0] // 2), max(1, window[1] // 2))
        places = list(_places(size, window, stride))
        values = probe.by_masks(_windows(size, places), 1 + len(places))
        total, covered = np.zeros(size), np.zeros(size)
        for place, value in zip(places, values[1:], strict=True):
            total[place] += values[0] - value
            covered[place] += 1
        told = f"windows of {window[0]} × {window[1]}, {stride[0]} and {stride[1]} apart, of zeros as they are fed"
        lost = total / covered
        return Raw(lost, (told, "no window lowered the target") if lost.max() <= 0 else (told,))

    def flatten(self, values: Array) -> Array:
        """What the target lost: where it gained from the window, nothing."""
        return np.maximum(values, 0)


def _mask_of(channel: Array, size: Sequence[int]) -> Array:
    """up(A_k) made 0–1, (H, W) float32; zeros of a channel that is the same everywhere."""
    large = cv2.resize(channel.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    large -= large.min()
    return np.asarray(large / (_TINY + large.max()))


def _places(size: Sequence[int], window: Sequence[int], stride: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Where the windows are, row by row: as many as it takes to reach the far edges."""
    if any(not 0 < step <= side <= whole for step, side, whole in zip(stride, window, size, strict=True)):
        raise UsageError(
            f"windows of {window[0]} × {window[1]}, {stride[0]} and {stride[1]} apart, do not cover a picture of "
            f"{size[0]} × {size[1]}: give strides from 1 to the window's sides, and those up to the picture's"
        )
    counts = [math.ceil((whole - side) / step) + 1 for whole, side, step in zip(size, window, stride, strict=True)]
    for row, column in np.ndindex(*counts):
        top, left = row * stride[0], column * stride[1]
        yield slice(top, min(top + window[0], size[0])), slice(left, min(left + window[1], size[1]))


def _windows(size: Sequence[int], places: Sequence[tuple[slice, slice]]) -> Iterator[Array]:
    """A mask that keeps everything, then one for each place that does not keep it."""
    yield np.ones(size, np.float32)
    for place in places:
        mask = np.ones(size, np.float32)
        mask[place] = 0
        yield mask
