"""Histograms as the path of an inline SVG, made of whole numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Histogram", "histogram"]


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


def histogram(counts: NDArray[np.int64] | Sequence[int], height: int = 40, step: int = 2) -> Histogram:
    """The outline of bars, `step` wide each, the highest `height` high; a bin with any count is at least 1 high."""
    values = [int(count) for count in counts]
    highest = max(values, default=0)
    tops = [height - max(1, count * height // highest) if count else height for count in values]
    bars = "".join(f"V{top}h{step}" for top in tops)
    return Histogram(f"M0 {height}{bars}V{height}z", step * len(values), height)
