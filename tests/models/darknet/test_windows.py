"""Sizes of what convolutions and pools give, and numbers that they cannot have."""

from __future__ import annotations

import pytest

from onnxvis.errors import ModelError
from onnxvis.models.darknet.layers import Convolution, Pool, Reorg, Upsample
from tests.models.darknet.cfgs import plan_of


def test_a_convolution_with_all_its_settings() -> None:
    plan = plan_of(
        "convolutional filters=6 size=5 stride_x=2 stride=3 pad=1 groups=3 dilation=2 cbn=1 activation=swish",
        "convolutional size=1 dilation=4 padding=2 activation=linear",
    )
    assert plan.layers[0].what == Convolution(3, 6, 5, (3, 2), 4, 2, 3, True, "swish")
    assert plan.layers[0].shape == (6, 6, 8)
    assert plan.layers[1].what == Convolution(6, 1, 1, (1, 1), 2, 1, 1, False, "linear")
    assert plan.layers[1].shape == (1, 10, 12)


def test_a_stride_below_1_is_none() -> None:
    plan = plan_of("convolutional stride_x=0 stride_y=-1 stride=2")
    assert isinstance(plan.layers[0].what, Convolution)
    assert plan.layers[0].what.strides == (2, 2)


@pytest.mark.parametrize(
    ("section", "pads", "shape"),
    [
        ("maxpool size=2 stride=2", (0, 0, 0, 0), (3, 8, 8)),
        ("maxpool size=2 stride=1", (0, 0, 1, 1), (3, 16, 16)),
        ("maxpool size=3 stride=2", (1, 1, 0, 0), (3, 8, 8)),
        ("maxpool size=3 stride=1", (1, 1, 1, 1), (3, 16, 16)),
        ("maxpool size=13 stride=1", (6, 6, 6, 6), (3, 16, 16)),
        ("maxpool size=3 stride=2 padding=0", (0, 0, 0, 0), (3, 7, 7)),
        ("maxpool size=4 stride=1 padding=1", (0, 0, 1, 1), (3, 14, 14)),
        ("maxpool stride=4", (1, 1, 0, 0), (3, 4, 4)),
        ("local_avgpool size=2 stride_x=1 stride_y=2", (0, 0, 0, 1), (3, 8, 16)),
    ],
)
def test_a_pools_window_begins_half_its_padding_before_the_map(
    section: str, pads: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    (layer,) = plan_of(section).layers
    assert isinstance(layer.what, Pool)
    assert (layer.what.pads, layer.shape, layer.what.average) == (pads, shape, section.startswith("local"))


def test_sides_of_upsample_and_reorg() -> None:
    plan = plan_of("upsample scale=2", "convolutional filters=8", "reorg stride=2", "reorg3d stride=4")
    assert plan.layers[0].what == Upsample(2, 2.0)
    assert [layer.shape for layer in plan.layers] == [(3, 32, 32), (8, 32, 32), (32, 16, 16), (512, 4, 4)]
    assert (plan.layers[2].what, plan.layers[3].what) == (Reorg(2, True), Reorg(4, False))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("convolutional filters=0", "has filters=0; it can be 1 to 65536"),
        ("convolutional filters=99999999999", "has filters=99999999999; it can be"),
        ("convolutional stride=0", "has stride=0; it can be 1 to"),
        ("convolutional size=0", "has size=0"),
        ("convolutional size=17", "leaves nothing: its output would be 1 x 0 x 0"),
        ("convolutional filters=4 groups=2", "has groups=2, which must divide its 3 channels and 4 filters"),
        ("convolutional filters=4 groups=3", "has groups=3, which must divide its 3 channels and 4 filters"),
        (
            "convolutional size=3 dilation=2",
            "has dilation=2 and size=3; with a dilation it needs pad=1 and an odd size",
        ),
        ("convolutional size=2 pad=1 dilation=2", "has dilation=2 and size=2"),
        ("convolutional size=3 antialiasing=1", "has antialiasing=1, which is not supported"),
        ("convolutional share_index=0", "has share_index, the weights of another layer"),
        ("convolutional flipped=1", "has flipped=1, which is not supported"),
        ("convolutional activation=stair", "has activation=stair, which is not supported"),
        ("maxpool size=2 stride=0", "has stride=0"),
        ("maxpool size=2 stride=1 padding=5", "has padding=5 with size=2: windows with nothing but padding"),
        ("maxpool maxpool_depth=1", "has maxpool_depth=1, which is not supported"),
        ("upsample stride=0", "has stride=0"),
        ("reorg stride=2", "has stride=2, which does not divide 3 x 16 x 16"),
        ("reorg3d stride=3", "has stride=3, which does not divide 3 x 16 x 16"),
        ("reorg stride=1 reverse=1", "has reverse=1, which is not supported"),
    ],
)
def test_numbers_that_cannot_be(section: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"^x.cfg, line 5: section 0 \[\w+\] {message}"):
        plan_of(section)
