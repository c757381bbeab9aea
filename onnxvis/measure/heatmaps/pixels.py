"""Heatmaps of the numbers that a model is fed: from gradients by the picture itself.

x: the input (C, H, W) as it is fed, y: the target, g = dy/dx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.heatmaps.cams import GradCAM
from onnxvis.measure.heatmaps.finish import upsample
from onnxvis.measure.heatmaps.method import Needs, PixelMethod, Raw, method

if TYPE_CHECKING:
    from onnxvis.measure.heatmaps.probe import GradientProbe

__all__ = [
    "Deconvnet",
    "GuidedBackprop",
    "GuidedGradCAM",
    "InputTimesGradient",
    "IntegratedGradients",
    "Saliency",
    "SmoothGrad",
]

Array = np.ndarray[Any, np.dtype[Any]]

_STEPS, _SAMPLES, _NOISE = 50, 25, 0.15


@method("saliency")
class Saliency(PixelMethod):
    """Saliency (Simonyan et al., 2014, arXiv:1312.6034). The values keep their sign, the map does not."""

    definition = "max over colours of |dy/dx| (Simonyan et al., 2014)"

    def explain(self, probe: GradientProbe) -> Raw:
        """g."""
        return Raw(probe.by_input())


@method("inputxgradient")
class InputTimesGradient(PixelMethod):
    """Input × gradient (Shrikumar et al., 2016, arXiv:1605.01713)."""

    definition = "|sum over colours of x · dy/dx| (Shrikumar et al., 2016)"

    def explain(self, probe: GradientProbe) -> Raw:
        """x g."""
        return Raw(probe.floats() * probe.by_input())

    def flatten(self, values: Array) -> Array:
        """What the colours of a pixel add up to."""
        return np.asarray(np.abs(values.sum(axis=0)))


@method("integratedgradients")
class IntegratedGradients(PixelMethod):
    """Integrated Gradients (Sundararajan et al., 2017, arXiv:1703.01365), from a baseline of zeros, in 50 steps."""

    definition = (
        "|sum over colours of x · integral of dy/dx along the line from 0 to x|, trapezoid of 50 points "
        "(Sundararajan et al., 2017)"
    )

    def explain(self, probe: GradientProbe) -> Raw:
        """x · sum_i w_i g(a_i x), a from 0 to 1 in equal steps, w = 1 / 49 but for half of it at both ends.

        The values should add up to y(x) − y(0); how far they are from it is noted.
        """
        weights = np.full(_STEPS, 1 / (_STEPS - 1))
        weights[[0, -1]] /= 2
        mean = np.zeros(probe.picture.shape)
        ends = []
        points = (probe.picture * share for share in np.linspace(0, 1, _STEPS))
        for weight, (value, gradient) in zip(weights, probe.by_inputs(points, _STEPS), strict=True):
            mean += weight * gradient
            ends.append(value)
        values = probe.picture * mean
        gap = abs(float(values.sum()) - (ends[-1] - ends[0]))
        return Raw(values, (f"completeness error {gap:.3g}, of a difference of {ends[-1] - ends[0]:.4g}",))

    def flatten(self, values: Array) -> Array:
        """What the colours of a pixel add up to."""
        return np.asarray(np.abs(values.sum(axis=0)))


@method("smoothgrad")
class SmoothGrad(PixelMethod):
    """SmoothGrad (Smilkov et al., 2017, arXiv:1706.03825): saliency of 25 noisy copies, on average. Seeded."""

    definition = "mean over 25 of the saliency at x + N(0, (0.15 (max x − min x))²) (Smilkov et al., 2017)"

    def explain(self, probe: GradientProbe) -> Raw:
        """mean of max over colours of |g|, (H, W)."""
        rng = np.random.default_rng(probe.random_seed)
        spread = _NOISE * float(probe.picture.max() - probe.picture.min())
        noisy = (probe.picture + rng.normal(0, spread, probe.picture.shape) for _ in range(_SAMPLES))
        total = np.zeros(probe.picture.shape[1:])
        for _, gradient in probe.by_inputs(noisy, _SAMPLES):
            total += np.abs(gradient).max(axis=0)
        return Raw(total / _SAMPLES, (f"random seed {probe.random_seed}",))


@method("guidedbackprop")
class GuidedBackprop(PixelMethod):
    """Guided backpropagation (Springenberg et al., 2015, arXiv:1412.6806)."""

    definition = "dy/dx with g · [x > 0] · [g > 0] at every unit like Relu (Springenberg et al., 2015)"

    def explain(self, probe: GradientProbe) -> Raw:
        """g by the guided rule."""
        return Raw(probe.by_input("guided"))


@method("deconvnet")
class Deconvnet(PixelMethod):
    """Deconvnet (Zeiler and Fergus, 2014, arXiv:1311.2901)."""

    definition = "dy/dx with g · [g > 0] at every unit like Relu, max-pools by their switches (Zeiler and Fergus, 2014)"

    def explain(self, probe: GradientProbe) -> Raw:
        """g by the deconvnet rule."""
        return Raw(probe.by_input("deconvnet"))


@method("guided-gradcam")
class GuidedGradCAM(PixelMethod):
    """Guided Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391), of the deepest layer asked for."""

    needs = Needs.INPUT | Needs.LAYER | Needs.GRADIENT
    definition = "guided backpropagation × up(relu(Grad-CAM)) (Selvaraju et al., 2017)"

    def explain(self, probe: GradientProbe) -> Raw:
        """Guided backpropagation (C, H, W), each pixel times the upsampled map of Grad-CAM."""
        activation, gradient = next(iter(probe.layers.values()))
        cam = np.maximum(GradCAM().combine(activation, gradient), 0)
        return Raw(probe.by_input("guided") * upsample(cam, probe.picture.shape[1:]))
