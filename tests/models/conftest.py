"""What several tests of onnxvis.models need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxvis.models.shapes import Outline

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rasterise(shape: Outline, size: int, scale: float = 1.0) -> NDArray[np.bool_]:
    """Even-odd rule at pixel centres, edge by edge; the picture spans [0, 1]² · scale."""
    centres = (np.arange(size) + 0.5) / size * scale
    x, y = np.meshgrid(centres, centres)
    inside = np.zeros((size, size), bool)
    for points in shape.contours:
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
            if ay != by:
                inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return inside


@pytest.fixture(name="rasterise")
def _rasterise() -> Callable[..., NDArray[np.bool_]]:
    return rasterise
