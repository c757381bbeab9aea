"""The nodes of every kind of layer, section by section against a slow NumPy Darknet that reads the cfg by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxvis.models.darknet.build import build
from onnxvis.models.darknet.builder import Builder
from onnxvis.models.darknet.draft import Draft
from onnxvis.models.darknet.layers import Region
from onnxvis.models.darknet.names import outputs
from onnxvis.models.darknet.plan import Plan
from onnxvis.models.darknet.rules import RULES
from onnxvis.models.darknet.weights import FileWeights, Weights
from tests.models.darknet.cfgs import Array, cfg, plan_of, run, with_outputs
from tests.models.darknet.networks import FAMILIES
from tests.models.darknet.oracle import forward
from tests.references.make_darknet import weights_bytes

BN = "convolutional batch_normalize=1 pad=1"
NETWORKS: dict[str, tuple[str, ...]] = {
    "plain": ("convolutional filters=4 size=3", f"{BN} filters=5 size=3 stride=2 activation=leaky"),
    "padding without pad": ("convolutional filters=2 size=3 padding=2 activation=linear",),
    "even kernels": (f"{BN} filters=3 size=2 activation=mish", f"{BN} filters=3 size=4 stride=2 activation=swish"),
    "strides apart": (f"{BN} filters=3 size=3 stride_x=2 stride_y=1 activation=relu",),
    "dilation": (f"{BN} filters=3 size=3 dilation=2 activation=leaky",),
    "groups": (f"{BN} filters=6 size=3 groups=3 activation=leaky", f"{BN} filters=6 size=3 groups=6 activation=relu6"),
    "two heads of one map": ("convolutional filters=7 activation=linear", "yolo mask=0 anchors=3,4 num=1 classes=2",
                             "route layers=0", "yolo mask=0 anchors=5,6 num=1 classes=2"),
    "maxpool": ("maxpool size=2 stride=2", "maxpool size=3 stride=2", "maxpool size=2 stride=1",
                "maxpool size=5 stride=1"),
    "maxpool by rules": ("maxpool stride=2", "maxpool size=3 stride=2 padding=0", "maxpool size=2 stride=1 padding=0"),
    "maxpool, sides apart": ("maxpool size=3 stride_x=2 stride_y=1 padding=1",),
    "local_avgpool": ("local_avgpool size=3 stride=2", "local_avgpool size=2 stride=1"),
    "spatial pyramid": (f"{BN} filters=4 activation=mish", "maxpool size=5 stride=1", "route layers=-2",
                        "maxpool size=9 stride=1", "route layers=-1,-3,0"),
    "shortcut": (f"{BN} filters=4 activation=leaky", f"{BN} filters=4 size=3 activation=linear",
                 "shortcut from=-2 activation=relu", "shortcut from=0,-2"),
    "shortcut of fewer and more channels": (
        f"{BN} filters=4 activation=leaky", f"{BN} filters=6 activation=linear", "shortcut from=-2 activation=leaky",
        f"{BN} filters=3 activation=linear", "shortcut from=2 activation=linear", "shortcut from=1,0 activation=mish",
    ),
    "shortcut over a stride": (f"{BN} filters=4 activation=leaky", f"{BN} filters=8 size=3 stride=2 activation=linear",
                               "shortcut from=0 activation=leaky"),
    "dropout before a shortcut": (f"{BN} filters=4 activation=relu", f"{BN} filters=4 activation=linear",
                                  "dropout probability=.15", "shortcut from=-3"),
    "route of groups": (f"{BN} filters=8 activation=leaky", "route layers=-1 groups=2 group_id=1",
                        f"{BN} filters=4 activation=leaky", "route layers=-1,0 groups=4 group_id=2"),
    "upsample": ("upsample stride=2", "maxpool size=2 stride=4", "upsample stride=3 scale=0.5"),
    "reorg": (f"{BN} filters=8 activation=leaky", "reorg stride=2"),
    "reorg by four": (f"{BN} filters=16 activation=leaky", "reorg stride=4"),
    "reorg3d": ("reorg3d stride=2",),
    "squeeze and excite": (f"{BN} filters=8 activation=swish", "avgpool", "convolutional filters=2 activation=swish",
                           "convolutional filters=8 activation=logistic", "scale_channels from=0 activation=leaky"),
    "sam": (f"{BN} filters=4 activation=leaky", "convolutional filters=4 activation=logistic", "sam from=-2"),
    "connected": ("connected output=7 batch_normalize=1 activation=leaky", "dropout", "connected output=5",
                  "connected output=4 activation=linear"),
    "connected, then maps": ("connected output=12 activation=relu", f"{BN} filters=6 activation=leaky",
                             "connected output=6 activation=linear", "shortcut from=-2", "softmax"),
    "one by itself": ("batchnorm", "activation activation=selu", "activation activation=linear"),
    "softmax of groups": ("convolutional filters=6 activation=linear", "avgpool", "softmax groups=3 temperature=0.5"),
    "softmax of a map": ("convolutional filters=6 size=3 stride=4 activation=linear", "softmax", "cost"),
}  # fmt: skip


def gaps(plan: Plan, text: str, path: Path) -> list[float]:
    """For each section the largest difference over the largest value."""
    path.write_bytes(weights_bytes(plan, 3))
    picture = np.random.default_rng(5).standard_normal((1, *plan.picture), np.float32)
    expected = forward(text, path.read_bytes()[20:], picture[0])
    model, names = built(plan, FileWeights(path, plan))
    found = run(with_outputs(model, names), picture)
    return [
        float(np.abs(found[name].reshape(-1) - value.reshape(-1)).max() / np.abs(value).max())
        for name, value in zip(names, expected, strict=True)
    ]


def built(plan: Plan, weights: Weights) -> tuple[onnx.ModelProto, list[str]]:
    """A model, and the tensor that each section gives."""
    draft = Draft("x")
    draft.port("image", plan.picture, is_input=True)
    builder = Builder(draft, plan, weights, outputs(plan))
    for layer in plan.layers:
        builder.keep(layer, RULES[type(layer.what)](builder, layer, layer.what))
    builder.name_outputs()
    return draft.model, [builder.value(layer.number).tensor for layer in plan.layers]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_section_equals_darknet_in_numpy(name: str, tmp_path: Path) -> None:
    sections = NETWORKS[name]
    plan = plan_of(*sections)
    assert max(gaps(plan, cfg(*sections), tmp_path / "x.weights")) <= 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_that_people_have_equal_darknet_in_numpy(name: str, tmp_path: Path) -> None:
    net = "width=64 height=64 channels=3"
    sections = FAMILIES[name]
    # ε stands under the root with the variance, in Darknet beside it: 5e-7 a layer, and up to 110 layers follow here.
    assert max(gaps(plan_of(*sections, net=net), cfg(*sections, net=net), tmp_path / "x.weights")) <= 3e-5


def test_sides_may_differ(tmp_path: Path) -> None:
    sections = (
        f"{BN} filters=4 size=3 stride=2 activation=leaky",
        "maxpool size=2 stride=2",
        "upsample",
        "reorg stride=2",
    )
    net = "width=24 height=16 channels=1"
    assert max(gaps(plan_of(*sections, net=net), cfg(*sections, net=net), tmp_path / "x.weights")) <= 1e-5


def test_the_outputs_are_what_the_last_sections_give(tmp_path: Path) -> None:
    """Where one map is the output twice, and where an output is the picture itself."""
    plan = plan_of(*NETWORKS["two heads of one map"])
    path = tmp_path / "x.weights"
    path.write_bytes(weights_bytes(plan))
    picture: Array = np.random.default_rng(5).random((2, *plan.picture), np.float32)
    found = run(build(plan, FileWeights(path, plan)), picture)
    assert list(found) == ["head16", "head16_2"]
    np.testing.assert_array_equal(found["head16"], found["head16_2"])
    plan = plan_of("dropout")
    path.write_bytes(weights_bytes(plan))
    np.testing.assert_array_equal(run(build(plan, FileWeights(path, plan)), picture)["features"], picture)


def test_every_kind_of_layer_is_run_here() -> None:
    kinds = {type(layer.what) for sections in NETWORKS.values() for layer in plan_of(*sections).layers}
    assert kinds | {Region} == set(RULES)
