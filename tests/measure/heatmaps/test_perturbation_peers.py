"""Against the libraries that people use in PyTorch, and short loops where there is none, see `make_perturbations`.

pytorch-grad-cam 1.5 and Captum 0.8 in float64. Score-CAM's masks differ there: they are upsampled from corner to corner
(align_corners), ours with pixel centres at halves.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from onnxvis.graph.load import load
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.heatmaps.masked import RISE, Occlusion
from onnxvis.measure.heatmaps.method import METHODS
from onnxvis.run.session import RunOptions
from tests.references.heatmaps import FOLDER, PIXELS, fed, kept
from tests.tiny import Array

NETWORKS = ("resnet", "vgg")
SETTINGS = {"rise": RISE(masks=200), "occlusion": Occlusion((10, 10), (4, 4))}


@cache
def stored(name: str) -> dict[str, Any]:
    with np.load(FOLDER / f"{name}.npz") as found:
        return dict(found)


def ours(network: str, method: str, layer: int = 1) -> Heatmap:
    known = stored("heatmaps")
    names = [str(known[f"{network}/layers"][layer])]
    feeds = {"image": fed(known[f"{network}/picture"])}
    target = str(known[f"{network}/target"])
    item = SETTINGS.get(method, METHODS[method])
    options = RunOptions("cpu", 1)
    return explain(load(FOLDER / f"{network}.onnx"), feeds, [item], target=target, layers=names, options=options)[0]


def correlation(one: Array, other: Array) -> float:
    return float(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("network", NETWORKS)
def test_score_cam_is_pytorch_grad_cam_s_but_for_the_corners(network: str, layer: int) -> None:
    found, expected = ours(network, "scorecam", layer).raw, stored("perturbations")[f"{network}/scorecam/{layer}"]
    assert correlation(found, expected) >= 0.99


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("method", ["ablationcam", "reciprocam"])
@pytest.mark.parametrize("network", NETWORKS)
def test_values_of_a_changed_layer_are_the_peer_s(network: str, method: str, layer: int) -> None:
    found, expected = ours(network, method, layer).raw, stored("perturbations")[f"{network}/{method}/{layer}"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    assert correlation(found, expected) >= 0.9999


@pytest.mark.parametrize("method", ["occlusion", "rise"])
@pytest.mark.parametrize("network", NETWORKS)
def test_values_of_the_masked_picture_are_the_peer_s(network: str, method: str) -> None:
    found, expected = kept(ours(network, method).raw, PIXELS), stored("perturbations")[f"{network}/{method}"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert correlation(found, expected) >= 0.9999
