"""What keeps a picture plain while it climbs: penalties on it, each with its gradient.

p: a picture (C, H, W) in 0–1. Means, not sums, so that weights do not depend on its size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["contrast", "variation"]

Array = np.ndarray[Any, np.dtype[Any]]


def contrast(picture: Array) -> tuple[float, Array]:
    """mean (p − 0.5)², how far from grey, and its gradient by p: 2 (p − 0.5) / n."""
    off = picture - 0.5
    return float((off**2).mean()), 2 * off / off.size


def variation(picture: Array) -> tuple[float, Array]:
    """Total variation (Rudin, Osher and Fatemi, 1992, here anisotropic), and a gradient by p.

    The sum over neighbours one below and one beside the other of |p − p'|, over the number of values. Where neighbours
    are equal, the part of the gradient is 0.
    """
    down, right = np.diff(picture, axis=1), np.diff(picture, axis=2)
    gradient = np.zeros(picture.shape)
    gradient[:, 1:] += np.sign(down)
    gradient[:, :-1] -= np.sign(down)
    gradient[:, :, 1:] += np.sign(right)
    gradient[:, :, :-1] -= np.sign(right)
    return float(np.abs(down).sum() + np.abs(right).sum()) / picture.size, gradient / picture.size
