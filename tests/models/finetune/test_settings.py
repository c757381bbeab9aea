"""What a training is told: defaults, ranges, and that a checkpoint gives back what was put into it and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from onnxvis.errors import InputError, UsageError
from onnxvis.models.finetune.rates import Rates
from onnxvis.models.finetune.settings import Settings, continued, fresh


def test_the_source_and_the_optimizer_decide_the_defaults() -> None:
    assert fresh({}, "data") == Settings(224, 0.2, Rates(0.001))
    assert fresh({"optimizer": "sgd"}, "shapes") == Settings(64, 400, Rates(0.05), optimizer="sgd")
    assert fresh({"size": 32, "held_out": 50}, "cifar10") == Settings(32, 50, Rates(0.001))
    assert fresh({"lr": ["0.5", "fc=0"]}, "data").rates == Rates(0.5, (("fc", 0.0),))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": 8}, "--size 8 is out of range; it goes from 32 to 1,024"),
        ({"steps": 0}, "--steps 0 "),
        ({"batch": 1}, "--batch 1 "),
        ({"batch": 4096, "size": 1024}, "--batch 4096 of --size 1024 are more than 268,435,456 pixels"),
        ({"seed": -1}, "--seed -1 "),
        ({"weight_decay": float("nan")}, "--weight-decay nan "),
        ({"held_out": 0.0}, "--held-out 0: "),
        ({"held_out": float("inf")}, "--held-out inf: "),
        ({"momentum": 0.5}, "goes with --optimizer sgd"),
        ({"momentum": 1.0, "optimizer": "sgd"}, "--momentum 1 is out of range"),
        ({"network": "vgg16", "head": "append"}, "--head append keeps the 1000 classes of ResNet-18"),
        ({"network": "resnet\n19"}, "it can be resnet18, vgg16, vgg16_bn"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        fresh(given, "data")
    assert said in str(caught.value)


def test_plain_settings_come_back_as_they_were() -> None:
    settings = fresh({"lr": ["0.5", "layer1=0"], "optimizer": "sgd", "momentum": 0.8, "held_out": 0.25}, "data")
    plain = settings.plain()
    assert plain["rates"] == {"": 0.5, "layer1": 0.0}
    assert Settings.from_plain(plain, "x.pth") == settings


@pytest.mark.parametrize(
    "change",
    [{"size": "64"}, {"size": 10**9}, {"steps": 2.5}, {"network": 3}, {"rates": {"fc": 1.0}}, {"rates": 5},
     {"rates": {"": "x"}}, {"rates": {"": 0.1, 5: 0.1}}, {"more": 1}, {"momentum": [1]}, {"seed": None}],
)  # fmt: skip
def test_damaged_settings_are_refused_by_name_of_the_file(change: dict[str, Any]) -> None:
    plain = fresh({}, "data").plain()
    with pytest.raises(InputError, match=r"^x\.pth: its settings"):
        Settings.from_plain({**plain, **change}, "x.pth")
    with pytest.raises(InputError, match=r"^x\.pth: its settings"):
        Settings.from_plain(None, "x.pth")


def test_going_on_keeps_the_settings_and_refuses_others() -> None:
    before = fresh({"size": 64, "lr": ["0.5", "fc=1"]}, "data")
    assert continued(before, {}, "x.pth") is before
    assert continued(before, {"size": 64, "lr": ["0.5", "fc=1"]}, "x.pth") is before
    with pytest.raises(UsageError, match=r"--size is not what x\.pth was begun with \(64\)"):
        continued(before, {"size": 96}, "x.pth")
    with pytest.raises(UsageError, match=r"--lr is not what x\.pth"):
        continued(before, {"lr": ["0.5"]}, "x.pth")
    with pytest.raises(UsageError, match=r"--weight-decay is not"):
        continued(before, {"weight_decay": 0.5}, "x.pth")
