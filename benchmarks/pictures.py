"""A picture to look at, from random numbers alone, and how both sides prepare one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["natural_picture", "prepared"]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def natural_picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise whose amplitudes fall with frequency as 1/f, as in photographs (Field, 1987), with a few discs in front.

    (height, width, 3), 0-255.
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    shared, *own = (np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / frequency) for _ in range(4))
    layers = [layer / layer.std() for layer in (shared, *own)]
    picture = np.stack([layers[0] + 0.4 * layer for layer in layers[1:]], axis=2)
    rows, columns = np.mgrid[:height, :width]
    for _ in range(12):
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        inside = np.hypot(rows - y, columns - x) < rng.uniform(0.03, 0.15) * height
        picture[inside] = 0.3 * picture[inside] + rng.normal(0, 1.5, 3)
    pixels: NDArray[np.uint8] = np.clip(128 + 50 * picture, 0, 255).astype(np.uint8)
    return pixels


def prepared(path: Path, size: int, *, imagenet: bool = False) -> NDArray[Any]:
    """The picture as a tutorial feeds it: (1, 3, size, size) float32, RGB, 0-1, with ImageNet's mean and deviation
    taken out where `imagenet`."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise FileNotFoundError(path)
    resized = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), (size, size))
    values = resized.astype(np.float32) / 255
    if imagenet:
        values = (values - np.asarray(_MEAN, np.float32)) / np.asarray(_STD, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])
