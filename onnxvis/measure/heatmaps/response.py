"""Where a layer responds at all: no target, no gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxvis.measure.heatmaps.method import LayerMethod, Needs, method

__all__ = ["Response"]

Array = np.ndarray[Any, np.dtype[Any]]


@method("response")
class Response(LayerMethod):
    """The sum of a layer's channels, as tutorials lay it over a picture; times the picture once it has its size."""

    needs = Needs.LAYER
    rectified = False
    definition = "mean over colours of x · sum_k up(A_k): where the layer responds, whatever the target"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k A_k."""
        del gradient
        return np.asarray(activation.sum(axis=0))

    def over(self, picture: Array, upsampled: Array) -> Array:
        """mean_c(x) · up(sum_k A_k). `picture`: (C, H, W) as it is fed; `upsampled`: (H, W)."""
        return np.asarray(picture.mean(axis=0) * upsampled)
