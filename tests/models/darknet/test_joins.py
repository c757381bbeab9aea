"""Sections that read several layers: shapes, and what is said of layers that do not go together."""

from __future__ import annotations

import pytest

from onnxvis.errors import ModelError
from onnxvis.models.darknet.layers import Route, Scale, Shortcut
from tests.models.darknet.cfgs import plan_of

WIDE, NARROW = "convolutional filters=8", "convolutional filters=4"


def test_a_shortcut_has_the_shape_of_the_layer_before() -> None:
    plan = plan_of(
        WIDE, NARROW, "shortcut from=-2 activation=mish", "convolutional filters=2 stride=4", "shortcut from=0,1"
    )
    assert (plan.layers[2].inputs, plan.layers[2].shape) == ((1, 0), (4, 16, 16))
    assert plan.layers[2].what == Shortcut((1,), "mish")
    assert (plan.layers[4].inputs, plan.layers[4].shape) == ((3, 0, 1), (2, 4, 4))
    assert plan.layers[4].what == Shortcut((4, 4), "linear")


def test_a_route_joins_channels_and_takes_its_share() -> None:
    plan = plan_of(WIDE, NARROW, "route layers=-1,0", "route layers=-2,0 groups=2 group_id=1", "route layers=1")
    assert [layer.shape[0] for layer in plan.layers[2:]] == [12, 6, 4]
    assert plan.layers[3].inputs == (1, 0)
    assert plan.layers[3].what == Route(2, 1)


def test_scales() -> None:
    plan = plan_of(WIDE, "avgpool", "scale_channels from=0", "sam from=0 activation=leaky")
    assert [layer.shape for layer in plan.layers[2:]] == [(8, 16, 16)] * 2
    assert plan.layers[3].what == Scale("leaky")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ((WIDE, "shortcut from=0 weights_type=per_channel"), "has weights_type=per_channel, which"),
        ((WIDE, "shortcut from=0 alpha=0.5"), "alpha or beta"),
        ((WIDE, "shortcut"), "lacks from"),
        ((WIDE, "shortcut from=1"), "has from=1; the sections before it are 0 to 0"),
        (("maxpool stride=2", "upsample stride=4", "shortcut from=0"), "adds section 0, 8 x 8 pixels, to 32 x 32"),
        ((WIDE, "maxpool size=2 stride_x=2 stride_y=1", "shortcut from=0"), "adds section 0, 16 x 16 pixels, to"),
        ((WIDE, "maxpool size=2 stride=2", "route layers=0,1"), "joins sections 0 and 1 of different sizes, 8 x 8 and"),
        ((WIDE, "route layers=0 groups=3"), "has groups=3, which must divide the 8 channels of section 0"),
        ((WIDE, "route layers=0 groups=2 group_id=2"), "has group_id=2; it can be 0 to 1"),
        ((WIDE, NARROW, "sam from=0"), "cannot multiply 8 x 16 x 16 by 4 x 16 x 16"),
        ((WIDE, NARROW, "scale_channels from=1"), "cannot multiply 4 x 16 x 16 by 4 x 16 x 16"),
        ((WIDE, "avgpool", "scale_channels from=0 scale_wh=1"), "has scale_wh=1, which is not supported"),
        ((WIDE, "avgpool", "scale_channels from=0 activation=mish"), "activation=mish, which is not supported"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(sections: tuple[str, ...], message: str) -> None:
    number = len(sections) - 1
    with pytest.raises(ModelError, match=rf"^x.cfg, line \d+: section {number} \[\w+\] .*{message}"):
        plan_of(*sections)
