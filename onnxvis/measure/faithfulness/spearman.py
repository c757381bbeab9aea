"""Spearman's rank correlation of two maps."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ranks", "spearman"]

Array = np.ndarray[Any, np.dtype[Any]]


def ranks(values: Array) -> Array:
    """The place of each value among all, from 1 up; equal values share the mean of their places. Flat float64."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[where.reshape(-1)], np.float64)


def spearman(one: Array, other: Array) -> float:
    """The correlation of the ranks of two arrays of one size, in −1 to 1; 0 where either is the same throughout."""
    a, b = (found - found.mean() for found in (ranks(one), ranks(other)))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread else 0.0
