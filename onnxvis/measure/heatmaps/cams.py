"""Class activation maps: the channels of one layer, weighed by the gradient of the target.

A: activation of the layer, g: gradient of the target by it, both (K, h, w); [y, x] positions, k channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxvis.measure.heatmaps.method import LayerMethod, method

__all__ = [
    "ElementwiseGradCAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "XGradCAM",
]

Array = np.ndarray[Any, np.dtype[Any]]

_SPACE = (1, 2)


def _weighed(weights: Array, activation: Array) -> Array:
    """sum_k weights_k A_k, (h, w)."""
    return np.asarray(np.einsum("k,kyx->yx", weights, activation))


@method("gradcam")
class GradCAM(LayerMethod):
    """Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391)."""

    definition = "relu(sum_k w_k A_k), w_k = mean over positions of dy/dA_k (Selvaraju et al., 2017)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k w_k A_k, w_k = mean of g_k."""
        return _weighed(gradient.mean(axis=_SPACE), activation)


@method("gradcam++")
class GradCAMPlusPlus(LayerMethod):
    """Grad-CAM++ (Chattopadhay et al., 2018, arXiv:1710.11063), with powers of the gradient for higher derivatives."""

    definition = (
        "relu(sum_k w_k A_k), w_k = sum of relu(g) a, a = g² / (2 g² + (sum A_k) g³ + 1e-6) (Chattopadhay et al., 2018)"
    )

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k w_k A_k, w_k = sum of relu(g) a, a as in the definition; it is needed where g > 0 alone."""
        square = gradient**2
        below = 2 * square + activation.sum(axis=_SPACE, keepdims=True) * square * gradient + 1e-6
        share = np.divide(square, below, out=np.zeros_like(square), where=gradient > 0)
        return _weighed((np.maximum(gradient, 0) * share).sum(axis=_SPACE), activation)


@method("xgradcam")
class XGradCAM(LayerMethod):
    """XGrad-CAM (Fu et al., 2020, arXiv:2008.02312)."""

    definition = "relu(sum_k w_k A_k), w_k = sum of g A_k / (sum of A_k + 1e-7) (Fu et al., 2020)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k w_k A_k, w_k = sum of g A_k / (sum of A_k + 1e-7)."""
        weights = (gradient * activation).sum(axis=_SPACE) / (activation.sum(axis=_SPACE) + 1e-7)
        return _weighed(weights, activation)


@method("hirescam")
class HiResCAM(LayerMethod):
    """HiResCAM (Draelos and Carin, 2020, arXiv:2011.08891)."""

    definition = "relu(sum_k g A_k) (Draelos and Carin, 2020)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k g A_k."""
        return np.asarray((gradient * activation).sum(axis=0))


@method("gradcam-elementwise")
class ElementwiseGradCAM(LayerMethod):
    """Grad-CAM position by position, each product cut off at 0."""

    definition = "sum_k relu(g A_k) (pytorch-grad-cam)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k relu(g A_k)."""
        return np.asarray(np.maximum(gradient * activation, 0).sum(axis=0))


@method("layercam")
class LayerCAM(LayerMethod):
    """LayerCAM (Jiang et al., 2021, IEEE Transactions on Image Processing 30)."""

    definition = "relu(sum_k relu(g) A_k) (Jiang et al., 2021)"

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k relu(g) A_k."""
        return np.asarray((np.maximum(gradient, 0) * activation).sum(axis=0))
