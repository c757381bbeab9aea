"""Colormaps by name, as 256 colours. The tables are those of the `cmap` library, equal to matplotlib's."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COLORMAPS", "is_signed", "palette"]

_SOURCES = {
    "gray": "matlab:gray",
    "viridis": "bids:viridis",
    "magma": "bids:magma",
    "turbo": "google:turbo",
    "jet": "matlab:jet",
    "coolwarm": "matplotlib:coolwarm",
}
COLORMAPS: tuple[str, ...] = tuple(_SOURCES)
"""Every name `palette` takes."""
_SIGNED = frozenset({"coolwarm"})


def is_signed(name: str) -> bool:
    """Whether a colormap is for signed maps: its middle, index 127.5, is neutral, and zero belongs there."""
    return name in _SIGNED


@cache
def palette(name: str) -> NDArray[np.uint8]:
    """The colours of indices 0 to 255: (256, 3) uint8 RGB, read-only. Raises UsageError for a name that is unknown."""
    if name not in _SOURCES:
        raise UsageError(f"no colormap is called '{one_line(name)}'; choose one of: {', '.join(COLORMAPS)}")
    from cmap import Colormap

    table = np.asarray(Colormap(_SOURCES[name]).lut(256), dtype=np.float64)[:, :3]
    colours = np.rint(table * 255).astype(np.uint8)
    colours.flags.writeable = False
    return colours
