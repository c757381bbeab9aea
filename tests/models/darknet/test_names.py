"""What layers and outputs are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.models.darknet.cfg import parse_cfg, read_cfg
from onnxvis.models.darknet.names import Output, outputs, scopes
from onnxvis.models.darknet.plan import make_plan
from onnxvis.models.darknet.structures import yolov3, yolov3_tiny
from tests.models.darknet.cfgs import plan_of
from tests.models.darknet.networks import FAMILIES

SHORTCUTS = {1: 4, 2: 11, 3: 36, 4: 61, 5: 74}
"""The last shortcut of each of Darknet-53's stages, as Darknet counts."""


def test_yolov3() -> None:
    names = scopes(make_plan(parse_cfg(yolov3(), "x.cfg")))
    assert (names[0], names[1], names[12]) == ("darknet/stem", "darknet/stage1/down", "darknet/stage3/down")
    assert (names[25], names[26], names[27]) == (
        "darknet/stage3/block5/conv1", "darknet/stage3/block5/conv2", "darknet/stage3/block5",
    )  # fmt: skip
    blocks = {1: 1, 2: 2, 3: 8, 4: 8, 5: 4}
    assert {stage: names[number] for stage, number in SHORTCUTS.items()} == {
        stage: f"darknet/stage{stage}/block{count}" for stage, count in blocks.items()
    }
    assert (names[75], names[79], names[80], names[81]) == ("neck/conv1", "neck/conv5", "head13/conv1", "head13/conv2")
    assert (names[86], names[93], names[105]) == ("neck/concat1", "head26/conv2", "head52/conv7")


def test_yolov3_tiny() -> None:
    names = scopes(make_plan(parse_cfg(yolov3_tiny(), "x.cfg")))
    assert [names[number] for number in (0, 1, 2, 9, 10, 11, 12, 13, 15, 19, 22)] == [
        "darknet/stem", "darknet/stage1/pool", "darknet/stage1/conv", "darknet/stage5/pool1", "darknet/stage5/conv1",
        "darknet/stage5/pool2", "darknet/stage5/conv2", "neck/conv1", "head13/conv2", "neck/upsample", "head26/conv2",
    ]  # fmt: skip


def family(name: str) -> dict[int, str]:
    names: dict[int, str] = scopes(plan_of(*FAMILIES[name], net="width=64 height=64 channels=3"))
    return names


def test_other_families() -> None:
    """The end of the backbone, and what comes after it."""
    names = family("yolov4")
    mixed = next(number for number, name in names.items() if name == "darknet/stage5/conv")
    assert names[mixed - 1] == "darknet/stage5/block5"
    assert names[mixed + 1] == "neck/conv1"
    assert not [name for number, name in names.items() if number > mixed and name.startswith("darknet")]
    assert list(family("resnet50").values())[-4:-3] == ["darknet/stage5/block3"]
    assert list(family("darknet53").values())[-3:] == ["classifier/pool", "classifier/conv", "classifier/softmax"]
    assert "darknet/stage4/block2/dropout" in family("yolo-fastest").values()
    names = family("yolov4-tiny")
    assert (names[3], names[8], names[26], names[27]) == (
        "darknet/stage2/block1/split", "darknet/stage2/block2", "darknet/stage5/conv", "neck/conv1",
    )  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_no_two_layers_have_the_same_name(name: str) -> None:
    names = family(name)
    assert len(set(names.values())) == len(names)


def test_names_of_outputs() -> None:
    head = ["convolutional filters=7 stride=2", "yolo anchors=1,2 classes=2"]
    found = outputs(plan_of(*head, "route layers=0", "yolo anchors=1,2 classes=2", "route layers=0", *head))
    assert found == (
        Output("head8", 0, 1, (7, 8, 8)),
        Output("head8_2", 0, 3, (7, 8, 8)),
        Output("head4", 5, 6, (7, 4, 4)),
    )
    assert outputs(plan_of("convolutional filters=7", "region", net="width=8 height=6 channels=3")) == (
        Output("head6x8", 0, 1, (7, 6, 8)),
    )
    assert outputs(plan_of("convolutional filters=7")) == (Output("features", 0, 0, (7, 16, 16)),)
    assert outputs(plan_of("convolutional filters=7", "avgpool", "dropout")) == (Output("logits", 1, 2, (7,), True),)
    assert outputs(plan_of("connected output=7", "dropout")) == (Output("logits", 0, 1, (7,)),)
    assert outputs(plan_of("softmax", "cost")) == (Output("probabilities", 0, 1, (768,)),)


@pytest.mark.parametrize(
    "sections",
    [
        ("yolo anchors=1,2 classes=3",),
        ("avgpool", "convolutional filters=6", "yolo anchors=1,2 classes=1"),
        ("upsample", "maxpool stride=2", "convolutional filters=6", "yolo anchors=1,2 classes=1"),
        ("avgpool",),
        ("connected output=3", "upsample stride=4", "maxpool stride=2", "upsample stride=4", "maxpool stride=2"),
    ],
)
def test_networks_of_no_usual_form_have_names_too(sections: tuple[str, ...]) -> None:
    plan = plan_of(*sections, net="width=1 height=1 channels=8")
    names = scopes(plan)
    assert len(set(names.values())) == len(plan.layers) == len(names)
    assert outputs(plan)


def test_the_corpus(corpus: Path) -> None:
    for name, heads in (("yolov3", ["head13", "head26", "head52"]), ("yolov3-tiny", ["head13", "head26"])):
        plan = make_plan(read_cfg(corpus / "darknet" / f"{name}.cfg"))
        assert [end.name for end in outputs(plan)] == heads
