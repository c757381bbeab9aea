"""Writes the colormaps' tables, `onnxvis/show/palettes.bin`, from the library `cmap`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cmap import Colormap

from onnxvis.show import colormap

SOURCES = {
    "gray": "matlab:gray",
    "viridis": "bids:viridis",
    "magma": "bids:magma",
    "turbo": "google:turbo",
    "jet": "matlab:jet",
    "coolwarm": "matplotlib:coolwarm",
}


def tables() -> bytes:
    """256 colours of 3 bytes each, one colormap after the other."""
    found = []
    for name in colormap.COLORMAPS:
        colours = np.asarray(Colormap(SOURCES[name]).lut(256), dtype=np.float64)[:, :3]
        found.append(np.rint(colours * 255).astype(np.uint8).tobytes())
    return b"".join(found)


if __name__ == "__main__":
    Path(colormap.__file__).with_name("palettes.bin").write_bytes(tables())
