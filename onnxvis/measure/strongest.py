"""The strongest positions of every channel over any number of pictures, in memory that does not grow with them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Strongest"]

Array = np.ndarray[Any, np.dtype[Any]]


class Strongest:
    """The `top` strongest positions of each of K channels, at most one a picture; pictures are added one by one.

    `values` (K, top) float64, strongest first, -inf where there is none yet; `pictures` (K, top) int64, the number of
    the picture each stands in; `positions` (K, top, 2) int64, its row and column. Of equal values the earlier picture
    comes first, and within a picture the earlier position, row by row. `least` (K,): the least value of all pictures.
    `odd`: in how many pictures there was NaN or infinity, which are left out.
    """

    def __init__(self, channels: int, top: int) -> None:
        self.values = np.full((channels, top), -np.inf)
        self.pictures = np.full((channels, top), -1, np.int64)
        self.positions = np.zeros((channels, top, 2), np.int64)
        self.least = np.full(channels, np.inf)
        self.odd = 0

    def add(self, maps: Array, picture: int) -> bool:
        """Rank the feature maps (K, H, W), H · W > 0, of the picture of this number; returns whether any was kept."""
        best, places, least = self._extremes(maps.reshape(len(maps), -1))
        np.minimum(self.least, least, out=self.least)
        better = np.flatnonzero(best > self.values[:, -1])
        if not better.size:
            return False
        rows, columns = np.divmod(places[better], maps.shape[2])
        values = np.column_stack([self.values[better], best[better]])
        order = np.argsort(-values, axis=1, kind="stable")[:, :-1]
        pictures = np.column_stack([self.pictures[better], np.full(better.size, picture)])
        positions = np.concatenate([self.positions[better], np.stack([rows, columns], axis=1)[:, None]], axis=1)
        self.values[better] = np.take_along_axis(values, order, axis=1)
        self.pictures[better] = np.take_along_axis(pictures, order, axis=1)
        self.positions[better] = np.take_along_axis(positions, order[..., None], axis=1)
        return True

    def _extremes(self, flat: Array) -> tuple[Array, Array, Array]:
        """For each row of (K, positions): its greatest value, where that first stands, and its least value."""
        if flat.dtype == np.float16:
            flat = flat.astype(np.float32)  # NumPy searches it many times faster
        places = flat.argmax(axis=1)
        best = flat[np.arange(len(flat)), places].astype(np.float64)
        least = flat.min(axis=1).astype(np.float64)
        if np.isfinite(best).all() and np.isfinite(least).all():
            return best, places, least
        self.odd += 1
        finite = np.isfinite(flat)
        low, high = np.where(finite, flat, np.inf), np.where(finite, flat, -np.inf)
        places = high.argmax(axis=1)
        return high[np.arange(len(flat)), places].astype(np.float64), places, low.min(axis=1).astype(np.float64)
