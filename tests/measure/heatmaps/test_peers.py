"""Against the libraries that people use in PyTorch, by what they gave for three small networks.

pytorch-grad-cam 1.5 and Captum 0.8 in float64, see `tests.references.make_heatmaps`. Where one of them differs from the
definition that a method states, the test says how.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from onnxvis.graph.load import load
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.run.session import RunOptions
from tests.references.heatmaps import CAMS, FINAL, FOLDER, NAMES, PIXELS, fed, kept
from tests.tiny import Array

RELU_NETWORKS = ("resnet", "vgg")
GRADIENTS = ("saliency", "inputxgradient", "integratedgradients", "guidedbackprop", "deconvnet", "guided-gradcam")
CAPTUM_WEIGHTS = 49 / 50
"""Captum's trapezoid gives its 50 points weights that add up to this; the integral's add up to 1."""


@cache
def references() -> dict[str, Any]:
    with np.load(FOLDER / "heatmaps.npz") as stored:
        return dict(stored)


@cache
def ours(network: str, layers: tuple[int, ...] = (0,)) -> dict[str, Heatmap]:
    """All methods; `layers` count among the two that are explained."""
    stored, methods = references(), (*CAMS, *GRADIENTS, "smoothgrad") if layers == (1,) else tuple(CAMS)
    names = [str(stored[f"{network}/layers"][place]) for place in layers]
    feeds = {"image": fed(stored[f"{network}/picture"])}
    target = str(stored[f"{network}/target"])
    model = load(FOLDER / f"{network}.onnx")
    found = explain(model, feeds, methods, target=target, layers=names, options=RunOptions(threads=1))
    return {item.method: item for item in found}


def correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])


def close(given: Array, expected: Array, tolerance: float) -> None:
    """Within `tolerance` of the largest value, and the same but for scale and shift."""
    assert np.abs(given - expected).max() <= tolerance * np.abs(expected).max()
    assert correlation(given, expected) >= 0.999


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("method", CAMS)
@pytest.mark.parametrize("network", NAMES)
def test_the_values_of_a_layer_are_pytorch_grad_cam_s(network: str, method: str, layer: int) -> None:
    """The sign of a principal component is arbitrary: pytorch-grad-cam takes what the decomposition happens to give."""
    given, expected = ours(network, (layer,))[method].raw, references()[f"{network}/{method}/{layer}"]
    if method.startswith("eigen") and correlation(given, expected) < 0:
        expected = -expected
    close(given, expected, 1e-5)


@pytest.mark.parametrize("method", [name for name in CAMS if not name.startswith("eigen")])
@pytest.mark.parametrize("network", NAMES)
def test_the_map_is_pytorch_grad_cam_s(network: str, method: str) -> None:
    close(kept(ours(network, (1,))[method].map, FINAL), references()[f"{network}/{method}/last"], 1e-5)


@pytest.mark.parametrize("method", [name for name in CAMS if not name.startswith("eigen")])
@pytest.mark.parametrize("network", NAMES)
def test_the_map_of_two_layers_is_pytorch_grad_cam_s(network: str, method: str) -> None:
    close(kept(ours(network, (0, 1))[method].map, FINAL), references()[f"{network}/{method}/both"], 1e-5)


@pytest.mark.parametrize("method", GRADIENTS)
@pytest.mark.parametrize("network", NAMES)
def test_the_values_of_the_picture_are_captum_s(network: str, method: str) -> None:
    """Captum's guided rules see modules called ReLU alone, so they say nothing of a network of SiLUs."""
    if network not in RELU_NETWORKS and method in ("guidedbackprop", "deconvnet", "guided-gradcam"):
        assert f"{network}/{method}" not in references()
        assert any("extended to SiLU" in note for note in ours(network, (1,))[method].notes)
        return
    given, expected = kept(ours(network, (1,))[method].raw, PIXELS), references()[f"{network}/{method}"]
    close(given * CAPTUM_WEIGHTS if method == "integratedgradients" else given, expected, 1e-5)


@pytest.mark.parametrize("network", NAMES)
def test_smoothgrad_is_near_the_mean_of_many_samples(network: str) -> None:
    """The reference is of 500 samples; 25 samples of a spread s miss it by s / 5 where the gradients are normal."""
    given, expected = kept(ours(network, (1,))["smoothgrad"].raw, PIXELS), references()[f"{network}/smoothgrad"]
    assert correlation(given, expected) >= 0.9
    assert given.mean() == pytest.approx(expected.mean(), rel=0.05)
