"""The parts of charts: histograms as the path of an inline SVG, made of whole numbers only, and round axis values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.show.text import number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Histogram", "Tick", "histogram", "nice_values"]


@dataclass(frozen=True)
class Histogram:
    """`path`: the `d` of one SVG path, letters and whole numbers only; drawn in the box 0 0 `width` `height`."""

    path: str
    width: int
    height: int

    @property
    def view_box(self) -> str:
        """The value of the `viewBox` attribute."""
        return f"0 0 {self.width} {self.height}"


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in whole units from the left or the top, and the value that stands there as text."""

    at: int
    label: str


def histogram(counts: NDArray[np.int64] | Sequence[int], height: int = 40, step: int = 2) -> Histogram:
    """The outline of bars, `step` wide each, the highest `height` high; a bin with any count is at least 1 high."""
    values = [int(count) for count in counts]
    highest = max(values, default=0)
    tops = [height - max(1, count * height // highest) if count else height for count in values]
    bars = "".join(f"V{top}h{step * len([*equal])}" for top, equal in itertools.groupby(tops))
    return Histogram(f"M0 {height}{bars}V{height}z", step * len(values), height)


def nice_values(low: float, high: float, about: int = 4) -> list[tuple[float, str]]:
    """Round values within low…high, some `about` of them, with their texts: multiples of 1, 2, 2.5 or 5 · 10ⁿ.

    Both ends are finite, low < high. Where the range is too small for round values, its ends.
    """
    # Halves never overflow, whatever the values are.
    rough = (high / 2 - low / 2) / about * 2
    power = 10.0 ** math.floor(math.log10(rough)) if rough else 0.0
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough * 0.75), 10 * power)
    values = [low, high]
    if step and step > max(abs(low), abs(high)) * 1e-12:
        first, last = math.ceil(low / step), math.floor(high / step)
        values = [place * step for place in range(first, last + 1)] or values
    digits = next(
        (digits for digits in range(4, 17) if len({number(value, digits) for value in values}) == len(values)), 17
    )
    return [(value, number(value, digits)) for value in values]
