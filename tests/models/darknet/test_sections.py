"""Sections of their own shape, heads, and what is refused."""

from __future__ import annotations

import pytest

from onnxvis.errors import ModelError
from onnxvis.models.darknet.layers import Connected, Softmax, Yolo
from onnxvis.models.darknet.sections import SUPPORTED
from tests.models.darknet.cfgs import plan_of

HEAD = "convolutional filters=14 stride=4"


@pytest.mark.parametrize("kind", ["crnn", "gru", "local", "detection", "Gaussian_yolo", "net", "crop", "lstm"])
def test_a_section_that_is_not_supported_is_named(kind: str) -> None:
    with pytest.raises(ModelError) as caught:
        plan_of("maxpool", f"{kind} filters=2")
    listed = ", ".join(sorted(SUPPORTED))
    assert str(caught.value) == f"x.cfg, line 7: section 1 [{kind}] is not supported; supported are {listed}"


def test_shapes_and_settings() -> None:
    plan = plan_of(
        "connected output=24 batch_normalize=1 activation=leaky", "batchnorm", "activation activation=elu",
        "softmax groups=4 temperature=2", "avgpool", "cost", net="width=4 height=2 channels=3",
    )  # fmt: skip
    assert plan.layers[0].what == Connected(24, 24, True, "leaky")
    assert plan.layers[3].what == Softmax(4, 2.0)
    assert [layer.shape for layer in plan.layers] == [(24, 1, 1)] * 6
    assert [layer.inputs for layer in plan.layers] == [(number - 1,) for number in range(6)]


def test_heads() -> None:
    plan = plan_of(
        HEAD, "yolo mask=2,0 anchors=1,2,3,4,5,6 num=3 classes=2 scale_x_y=1.1 new_coords=1", "route layers=0"
    )
    assert plan.layers[1].what == Yolo(2, ((5, 6), (1, 2)), 1.1, True)
    plan = plan_of(HEAD, "yolo anchors=1,2,3,4 num=2 classes=2")
    assert plan.layers[1].what == Yolo(2, ((1, 2), (3, 4)), 1, False)
    assert plan.layers[1].shape == (14, 4, 4)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("yolo mask=0,1 anchors=1,2,3 num=2 classes=2", "has 3 numbers in anchors; two above 0 for each of num=2"),
        ("yolo mask=0,1 anchors=1,2,3,0 num=2 classes=2", "has 4 numbers in anchors; two above 0"),
        ("yolo num=2 classes=2", "has 0 numbers in anchors"),
        ("yolo mask= anchors=1,2,3,4 num=2 classes=2", "has an empty mask=; list the head's anchors there"),
        ("yolo mask=0,2 anchors=1,2,3,4 num=2 classes=2", "has mask=2; it can be 0 to 1"),
        ("yolo mask=0,1 anchors=1,2,3,4 num=2 classes=3", r"needs 2 x \(5 \+ 3\) = 16 channels and reads 14: filters"),
        ("yolo mask=0,1 anchors=1,2,3,4 num=2 classes=0", "has classes=0; it can be 1 to"),
        ("yolo mask=0,1 anchors=1,2,3,4 num=1000000 classes=2", "has num=1000000"),
        ("yolo mask=0,1 anchors=1,2,a,4 num=2 classes=2", "has anchors=a, which is no number"),
    ],
)
def test_heads_that_cannot_be(head: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"^x.cfg, line \d+: section 1 \[yolo\] {message}"):
        plan_of(HEAD, head)


def test_cells_must_be_whole_pixels_and_not_too_many() -> None:
    yolo = "yolo mask=0,1 anchors=1,2,3,4 num=2 classes=2"
    with pytest.raises(
        ModelError, match="has 5 x 5 cells for an input of 18 x 18, so a cell is no whole number of pixels"
    ):
        plan_of(HEAD, yolo, net="width=18 height=18 channels=3")
    with pytest.raises(ModelError, match="has 4 x 8 cells for an input of 32 x 32"):
        plan_of("convolutional filters=14 stride_x=4 stride_y=8", yolo, net="width=32 height=32 channels=3")
    with pytest.raises(ModelError, match="has 2048 x 2048 cells, which is too many"):
        plan_of("convolutional filters=14", yolo, net="width=2048 height=2048 channels=3")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("softmax groups=5", "has groups=5 and temperature=1 for 768 values"),
        ("softmax temperature=0", "has groups=1 and temperature=0"),
        ("softmax tree=coco.tree", "has tree=coco.tree, which is not supported"),
        ("connected output=0", "has output=0; it can be 1 to"),
        ("connected dontload=1", "has dontload=1, which is not supported"),
        ("maxpool size=99 stride=1 padding=50", "leaves nothing: its output would be 3 x -32 x -32"),
        ("upsample stride=10000", "gives 3 x 160,000 x 160,000 values a picture, which is too many"),
    ],
)
def test_sections_that_cannot_be(section: str, message: str) -> None:
    with pytest.raises(ModelError, match=rf"^x.cfg, line 5: section 0 \[\w+\] {message}"):
        plan_of(section)


def test_nothing_can_read_a_head() -> None:
    with pytest.raises(ModelError, match=r"section 2 \[maxpool\] reads section 1 \[region\], an output of the network"):
        plan_of(HEAD, "region", "maxpool")
