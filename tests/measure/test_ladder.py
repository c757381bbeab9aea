"""Against PyTorch's autograd in float64, see `tests.references.make_projections`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import load
from onnxvis.measure.ladder import ladder, ladder_tensors
from onnxvis.measure.projections import project
from onnxvis.rewrite.tape import Variant
from onnxvis.run.session import RunOptions
from tests.references.heatmaps import FOLDER, fed, kept
from tests.references.projections import KEPT_STEPS, LAYERS, VARIANTS
from tests.tiny import from_text, tiny, write
from tests.zoo import build, materialize, save

ONE = RunOptions("cpu", threads=1)
BELOW = {"vgg/2": 4, "vgg/2.2": 4, "vgg/3": 4, "resnet/2": 5, "resnet/3": 7, "resnet/3.main": 7}
"""How many tensors the convolutions below each layer read: those side by side in a residual block read the same."""


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("network", "layer"), [(name, layer) for name, layers in LAYERS.items() for layer in layers])
def test_every_step_is_autograd_s(network: str, layer: str, variant: Variant) -> None:
    with np.load(FOLDER / "projections.npz") as file:
        stored: dict[str, Any] = {key: file[key] for key in file if key.startswith(f"{network}/")}
    model = load(FOLDER / f"{network}.onnx")
    feeds = {"image": fed(stored[f"{network}/picture"])}
    tensor, channel = (stored[f"{network}/{layer}/{key}"].item() for key in ("tensor", "channel"))
    found = ladder(model, feeds, tensor, channel, variant=variant, options=ONE)
    head = f"{network}/{layer}/{variant}/steps/"
    expected = {}
    for key in stored:
        if key.startswith(head):
            reader = model.view.producer(key.removeprefix(head))
            assert reader is not None
            if reader.inputs[0] != tensor:  # the layer itself, where the gradient is the seed
                expected[reader.inputs[0]] = stored[key]
    assert {step.tensor for step in found.steps} == set(expected)
    assert len(found.steps) == BELOW[f"{network}/{layer}"]
    for step in found.steps:
        given = kept(step.values, KEPT_STEPS)
        assert np.abs(given - expected[step.tensor]).max() <= 1e-5 * np.abs(expected[step.tensor]).max()
    assert found.steps[-1].tensor == "image"


@pytest.mark.parametrize("position", ["all", "strongest"])
def test_the_last_step_is_the_projection(tmp_path: Path, position: Any) -> None:
    model = load(write(tiny(), tmp_path))
    feeds = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}
    for channel in (3, None):
        found = ladder(model, feeds, "stage2.y/relu", channel, position=position, options=ONE)
        (one,) = project(
            model, feeds, "stage2.y/relu", None if channel is None else [channel], position=position, options=ONE
        )
        np.testing.assert_allclose(found.steps[-1].values, one.values, atol=1e-5 * np.abs(one.values).max())


def test_a_vgg_16_has_thirteen_steps_by_name(tmp_path: Path) -> None:
    model = load(save(build("vgg16"), tmp_path))
    stage = model.stages()[-1].output
    named = ladder_tensors(model, "input", stage)
    places = [28, 26, 24, 21, 19, 17, 14, 12, 10, 7, 5, 2, 0]  # of the convolutions in torchvision's VGG-16
    assert [convolution.split("/")[-2] for convolution in named.values()] == [f"features.{place}" for place in places]
    sizes = [model.maps.chw(name) for name in named]
    assert sizes == [
        (512, 14, 14), (512, 14, 14), (512, 14, 14), (512, 28, 28), (512, 28, 28), (256, 28, 28), (256, 56, 56),
        (256, 56, 56), (128, 56, 56), (128, 112, 112), (64, 112, 112), (64, 224, 224), (3, 224, 224),
    ]  # fmt: skip


def test_a_vgg_16_gives_thirteen_maps_that_are_not_blank(tmp_path: Path) -> None:
    model = load(write(materialize(build("vgg16", size=64)), tmp_path))
    feeds = {"input": np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)}
    found = ladder(model, feeds, model.stages()[-1].output, options=ONE)
    assert len(found.steps) == 13
    for step in found.steps:
        assert step.values.shape == model.at({"input": (1, 3, 64, 64)}).maps.chw(step.tensor)
        assert step.values.any()


PREPARED = """
agraph (float[1, 3, 8, 8] x) => (float[1, 4, 1, 1] y)
<float[1] half = {0.5}, float[4, 3, 3, 3] w, float[4, 4, 1, 1] squeeze>
{ p = Mul (x, half)  c = Conv <pads = [1, 1, 1, 1]> (p, w)  a = GlobalAveragePool (c)  y = Conv (a, squeeze) }
"""


def test_preparation_inside_the_model_and_single_positions_are_no_steps(tmp_path: Path) -> None:
    model = load(write(from_text(PREPARED), tmp_path))
    assert list(ladder_tensors(model, "x", "y")) == ["x"]
    assert ladder_tensors(model, "x", "y")["x"] == "c"
    smaller = from_text(PREPARED.replace("p = Mul (x, half)", "p = MaxPool <kernel_shape = [2, 2]> (x)"))
    assert ladder_tensors(load(write(smaller, tmp_path, "s.onnx")), "x", "y") == {"p": "c", "x": ""}


def test_a_path_without_convolutions_is_refused(tmp_path: Path) -> None:
    body = "agraph (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = Relu (x) }"
    feeds = {"x": np.ones((1, 3, 8, 8), np.float32)}
    with pytest.raises(UsageError, match="no convolution lies between the picture and 'y'"):
        ladder(load(write(from_text(body), tmp_path)), feeds, "y", options=ONE)
