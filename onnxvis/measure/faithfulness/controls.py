"""Maps that know nothing of the model: what any heatmap should beat."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from onnxvis.measure.heatmaps.finish import unit

__all__ = ["CONTROLS", "control_map", "edge_map"]

Array = np.ndarray[Any, np.dtype[Any]]

CONTROLS = {"random": "a random number at each pixel", "edges": "how steep the picture is: its Sobel magnitude"}
"""{name: what it is}."""


def control_map(name: str, picture: Array, random_seed: int) -> Array:
    """The map (H, W) float32 in 0–1 of the control `name` for a picture (H, W, C)."""
    if name == "random":
        return np.asarray(np.random.default_rng(random_seed).random(picture.shape[:2], np.float32))
    return edge_map(picture)


def edge_map(picture: Array) -> Array:
    """√(Sx² + Sy²) of the mean of the channels of (H, W, C), by Sobel's 3 × 3, brought to 0–1. (H, W) float32."""
    gray = picture.astype(np.float64).mean(axis=2)
    steep = np.hypot(cv2.Sobel(gray, cv2.CV_64F, 1, 0), cv2.Sobel(gray, cv2.CV_64F, 0, 1))
    return np.asarray(unit(steep / (steep.max() or 1)), np.float32)
