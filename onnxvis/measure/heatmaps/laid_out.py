"""Pictures and feature maps with their channels first, and back as a model lays them out."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_laid_out", "channels_first"]

Array = np.ndarray[Any, np.dtype[Any]]


def channels_first(value: Array, layout: str) -> Array:
    """The first picture of a batch as (C, H, W) float64. `layout` names the axes, N for the batch if there is one."""
    if "N" in layout:
        value, layout = value.take(0, axis=layout.index("N")), layout.replace("N", "")
    return value.astype(np.float64).transpose([layout.index(axis) for axis in "CHW"])


def as_laid_out(picture: Array, layout: str) -> Array:
    """A picture (C, H, W) with the axes of `layout`, without the batch."""
    return picture.transpose(["CHW".index(axis) for axis in layout.replace("N", "")])
