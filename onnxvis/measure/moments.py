"""Counts, means and squared distances that join: the moments of a whole from those of its pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CANCELS", "Moments", "moments", "power_scale", "sum_of_squares"]

CANCELS = 64.0
"""Where the squares are more than this times the squared distances, their difference would lose too many digits."""
_ONE_THREAD = 10_000


@dataclass(frozen=True)
class Moments:
    """`count` values, their `mean`, and the sum of their squared distances from it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def join(self, other: Moments) -> Moments:
        """The moments of both together (Chan, Golub and LeVeque, 1979), exact but for the rounding of float64."""
        count = self.count + other.count
        if not count:
            return self
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.count / count)
        return Moments(count, mean, self.squares + other.squares + gap * gap * (self.count * (other.count / count)))


def moments(values: NDArray[np.float64]) -> Moments:
    """The moments of `values` (N,), N ≥ 1, finite and of ordinary size.

    Squared distances are Σv² − N·mean² where that costs no more than two digits, else summed about the mean.
    """
    total = float(values.sum())
    mean = total / values.size
    squares = sum_of_squares(values)
    distances = squares - mean * total
    if distances * CANCELS < squares:
        distances = sum_of_squares(values - mean)
    return Moments(values.size, mean, distances)


def sum_of_squares(values: NDArray[np.float64]) -> float:
    """Σv² by pieces so short that a BLAS library never starts threads of its own for one."""
    total = 0.0
    for start in range(0, values.size, _ONE_THREAD):
        part = values[start : start + _ONE_THREAD]
        total += float(part.dot(part))
    return total


def power_scale(low: float, high: float) -> float:
    """A power of two that brings very large or very small values near 1; 1 for ordinary ones and for none."""
    largest = max(abs(low), abs(high))
    if not math.isfinite(largest) or largest == 0:
        return 1.0
    exponent = math.frexp(largest)[1]
    return 1.0 if abs(exponent) < 400 else 2.0 ** -max(-1000, min(1000, exponent))
