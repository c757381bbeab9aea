"""Maps from the first principal component of a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxvis.measure.heatmaps.method import LayerMethod, Needs, method

__all__ = ["EigenCAM", "EigenGradCAM", "first_component"]

Array = np.ndarray[Any, np.dtype[Any]]


def first_component(maps: Array) -> Array:
    """The projection of `maps` (K, h, w) on the first right singular vector of the (h w, K) matrix whose columns were
    centred, (h, w). Its sign, which is arbitrary, is that with which it agrees with the mean of the maps.

    NaN throughout where `maps` hold NaN or infinite values.
    """
    channels, height, width = maps.shape
    if not np.isfinite(maps).all():
        return np.full((height, width), np.nan)
    matrix = maps.reshape(channels, -1).T
    matrix = matrix - matrix.mean(axis=0)
    # The smaller of the two Gram matrices: it has the same singular values, and is never larger than the layer.
    if channels <= height * width:
        projected = matrix @ np.linalg.eigh(matrix.T @ matrix)[1][:, -1]
    else:
        values, vectors = np.linalg.eigh(matrix @ matrix.T)
        projected = vectors[:, -1] * np.sqrt(max(float(values[-1]), 0))
    if projected @ matrix.mean(axis=1) < 0:
        projected = -projected
    return np.asarray(projected.reshape(height, width))


@method("eigencam")
class EigenCAM(LayerMethod):
    """Eigen-CAM (Muhammad and Yeasin, 2020, arXiv:2008.00299): no target, no gradient."""

    needs = Needs.LAYER
    definition = "relu of the layer's first principal component, its sign that of the mean (Muhammad and Yeasin, 2020)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """The first component of A."""
        del gradient
        return first_component(activation)


@method("eigengradcam")
class EigenGradCAM(LayerMethod):
    """Eigen-CAM of the product of activation and gradient."""

    definition = "relu of the first principal component of g A, its sign that of the mean (pytorch-grad-cam)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """The first component of g A."""
        return first_component(gradient * activation)
