"""Colormaps by name, as 256 colours.

The tables are those of the `cmap` library, equal to matplotlib's. They are kept in a file, as importing the library
takes a tenth of a second; `python -m tests.show.make_palettes` writes it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["COLORMAPS", "is_signed", "palette"]

COLORMAPS = ("gray", "viridis", "magma", "turbo", "jet", "coolwarm")
"""Every name `palette` takes, in the order of the file."""
_SIGNED = frozenset({"coolwarm"})


def is_signed(name: str) -> bool:
    """Whether a colormap is for signed maps: its middle, index 127.5, is neutral, and zero belongs there."""
    return name in _SIGNED


@cache
def palette(name: str) -> NDArray[np.uint8]:
    """The colours of indices 0 to 255: (256, 3) uint8 RGB, read-only. Raises UsageError for a name that is unknown."""
    if name not in COLORMAPS:
        raise UsageError(f"no colormap is called '{one_line(name)}'; choose one of: {', '.join(COLORMAPS)}")
    tables = resources.files("onnxvis.show").joinpath("palettes.bin").read_bytes()
    colours: NDArray[np.uint8] = np.frombuffer(tables, np.uint8).reshape(-1, 256, 3)[COLORMAPS.index(name)]
    return colours
