"""What decides the result of a training, the pictures aside: it goes into the checkpoint, and resuming keeps to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line

from .rates import Rates, parse_rates

__all__ = ["HEADS", "NETWORKS", "OPTIMIZERS", "SOURCES", "Settings", "continued", "fresh"]

NETWORKS = ("resnet18", "vgg16", "vgg16_bn")
HEADS = ("replace", "append")
OPTIMIZERS = {"sgd": 0.05, "adam": 0.001}
"""Optimizer → the learning rate at which it starts where nobody gives one."""

SOURCES: dict[str, dict[str, Any]] = {
    "data": {"size": 224, "held_out": 0.2},
    "cifar10": {"size": 64, "held_out": 10_000},
    "shapes": {"size": 64, "held_out": 400},
}
"""Where the pictures come from → the settings that this decides where nobody gives them."""

_RANGES = {
    "size": (32, 1024),
    "steps": (1, 10_000_000),
    "batch": (2, 4096),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 1),
    "seed": (0, 1_000_000),
}

_MOST_PIXELS = 1 << 28


@dataclass(frozen=True)
class Settings:
    """How a network is trained. `size`: pixels of a side; `steps`: the whole run, which the schedule spans; `batch`:
    pictures a step; `rates`: learning rates at the schedule's height; `momentum`: of SGD; `held_out`: a share of the
    pictures below 1, or how many.

    Raises UsageError for a value out of range.
    """

    size: int
    held_out: float
    rates: Rates
    network: str = "resnet18"
    head: str = "replace"
    steps: int = 1000
    batch: int = 32
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("network", NETWORKS), ("head", HEADS), ("optimizer", tuple(OPTIMIZERS))):
            if getattr(self, name) not in choices:
                raise UsageError(f"--{name} {one_line(getattr(self, name))}: it can be {', '.join(choices)}")
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} {getattr(self, name):g} is out of range; it goes from {low} to {high:,}")
        if self.batch * self.size**2 > _MOST_PIXELS:
            raise UsageError(
                f"--batch {self.batch} of --size {self.size} are more than {_MOST_PIXELS:,} pixels a step; give "
                "less of either"
            )
        if not (math.isfinite(self.held_out) and self.held_out > 0):
            raise UsageError(f"--held-out {self.held_out:g}: give a share between 0 and 1, or a number of pictures")
        if self.head == "append" and self.network != "resnet18":
            raise UsageError(
                f"--head append keeps the 1000 classes of ResNet-18; {self.network} is built without that layer here: "
                "leave --head out"
            )

    def plain(self) -> dict[str, Any]:
        """The same as strings, numbers and one mapping of rates, which any file format holds."""
        return {**asdict(self), "rates": {"": self.rates.default, **dict(self.rates.named)}}

    @classmethod
    def from_plain(cls, content: object, where: str) -> Settings:
        """What `plain` made, read from the file `where`. Raises InputError for anything else."""
        if not isinstance(content, Mapping) or set(content) != {item.name for item in fields(cls)}:
            raise InputError(
                f"{where}: its settings are not those of onnxvis make finetune; start anew without --resume"
            )
        values = dict(content)
        try:
            rates = {_text(name): float(rate) for name, rate in values.pop("rates").items()}
            typed = {name: _TYPES[name](value) for name, value in values.items()}
            return cls(**typed, rates=Rates(rates.pop(""), tuple(rates.items())))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, UsageError) as error:
            raise InputError(f"{where}: its settings are damaged ({one_line(error)})") from error


def fresh(given: Mapping[str, Any], source: str) -> Settings:
    """The settings of a training that begins: those `given`, texts of `--lr` under `lr`, and defaults for the rest.

    `source`: a name in SOURCES. Raises UsageError for values out of range or that contradict each other.
    """
    optimizer = given.get("optimizer", "adam")
    if "momentum" in given and optimizer != "sgd":
        raise UsageError("--momentum goes with --optimizer sgd; leave it out, or give both")
    values = {**SOURCES[source], **given}
    rates = parse_rates(values.pop("lr", ()), OPTIMIZERS.get(optimizer, 0.0))
    return Settings(**values, rates=rates)


def continued(before: Settings, given: Mapping[str, Any], where: str) -> Settings:
    """The settings of the checkpoint `where`, that is `before`; what is `given` besides must say the same.

    Raises UsageError where it does not.
    """
    wanted = dict(given)
    if "lr" in wanted:
        wanted["rates"] = parse_rates(wanted.pop("lr"), before.rates.default)
    for name, value in wanted.items():
        if value != getattr(before, name):
            flag = "lr" if name == "rates" else name.replace("_", "-")
            was = "" if name == "rates" else f" ({one_line(getattr(before, name))})"
            raise UsageError(
                f"--{flag} is not what {where} was begun with{was}: with --resume the settings stay, so leave it out, "
                "or start anew without --resume"
            )
    return before


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{type(value).__name__} instead of a whole number")
    return value


_TYPES: dict[str, Any] = {
    **dict.fromkeys(("network", "head", "optimizer"), _text),
    **dict.fromkeys(("size", "steps", "batch", "seed"), _whole),
    **dict.fromkeys(("momentum", "weight_decay", "held_out"), float),
}
