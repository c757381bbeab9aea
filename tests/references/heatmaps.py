"""What `make_heatmaps` and the test of its results both know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CAMS", "FINAL", "FOLDER", "NAMES", "PIXELS", "fed", "kept"]

Array = npt.NDArray[Any]

FOLDER = Path(__file__).parent
NAMES = ("resnet", "vgg", "mobile")
FINAL, PIXELS = 500, 1500
"""How many values of each map of the picture's size, and of each gradient by the picture, are kept."""

CAMS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "gradcam-elementwise": "GradCAMElementWise",
    "layercam": "LayerCAM",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
}
"""Our names for pytorch-grad-cam's classes."""


def fed(picture: Array) -> Array:
    """A picture (1, 3, H, W) uint8 as the networks take it, float32."""
    return np.asarray((picture.astype(np.float32) - 128) / 64)


def kept(values: Array, count: int) -> Array:
    """`count` of the values, from places that a seed chooses."""
    return values.reshape(-1)[np.random.default_rng(0).permutation(values.size)[:count]]
