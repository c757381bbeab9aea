"""What a picture should excite: a channel, one unit of it, or a class, as a weighted sum of a tensor's elements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph.select import select
from onnxvis.measure.boxes.chosen import is_box
from onnxvis.measure.target import TOP, resolve_target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnxvis.graph.load import Model

__all__ = ["Aim", "Objective", "resolve", "short_label"]

Array = np.ndarray[Any, np.dtype[Any]]

_LONGEST_PLACE = 30


@dataclass(frozen=True)
class Objective:
    """`tensor` with `channel`: the mean of that channel over its positions; with `position` (row, column) that unit.

    Or `target` alone: a class, as 'OUTPUT:index,…' or its number, before the softmax: see `resolve_target`. `tensor` is
    a name, a block or a pattern that means one. Raises UsageError for anything between.
    """

    tensor: str = ""
    channel: int | None = None
    position: tuple[int, int] | None = None
    target: str = ""

    def __post_init__(self) -> None:
        if bool(self.tensor) == bool(self.target):
            raise UsageError("say what to excite: --tensor NAME with --channel K, or --target CLASS, not both")
        if self.tensor and self.channel is None:
            raise UsageError(f"which channel of '{one_line(self.tensor)}' to excite is not said; add --channel K")
        if self.target and (self.channel is not None or self.position is not None):
            raise UsageError("--channel and --position are of a --tensor, not of a --target")
        if self.target == TOP:
            raise UsageError("there is no top class before there is a picture; name the class")


@dataclass(frozen=True, eq=False)
class Aim:
    """The sum of `weights` · `tensor` for one picture: `weights` has the tensor's shape, its batch being 1.

    `label` names it for people and for files; `index` is the class where it is one.
    """

    tensor: str
    weights: Array
    label: str
    index: int | None = None
    notes: tuple[str, ...] = ()

    def value(self, tensor: Array) -> float:
        """The number, given the tensor's values for one picture."""
        chosen = self.weights != 0
        with np.errstate(all="ignore"):  # what is not finite is told by whoever reads it
            return float((self.weights[chosen] * tensor[chosen].astype(np.float64)).sum())


def short_label(label: str, limit: int = 120) -> str:
    """An aim's name on one line, of `limit` characters or little more: what stands before its last colon is cut in the
    middle, never the channel and the position behind it.
    """
    line = one_line(label, 2 * len(label) + limit)
    tensor, colon, place = line.rpartition(":")
    if not colon or len(place) > _LONGEST_PLACE:
        return one_line(label, limit)
    room = max(limit - len(place) - 2, 2)
    if len(tensor) <= room + 1:
        return line
    return f"{tensor[: room - room // 2]}…{tensor[-(room // 2) :]}:{place}"


def resolve(
    model: Model,
    objective: Objective,
    feeds: Mapping[str, Array],
    outputs: Callable[[], Mapping[str, Any]],
    values: Callable[[str], Array],
) -> Aim:
    """What `objective` means in `model`. `outputs` gives the model's outputs for `feeds`, `values` a tensor's;
    both of one picture.

    Raises TensorNotFound, UsageError for a channel or position that is not there, with what there is.
    """
    if not objective.target:
        return _unit(model, objective, values)
    given = outputs()
    if is_box(objective.target) and objective.target.startswith("box:") and "box" not in given:
        raise UsageError(
            "there is no box before there is a picture; name a class in a cell of a detector: class:CLASS@ROW,COLUMN"
        )
    target = resolve_target(model, objective.target, given, feeds=feeds)
    like = values(target.tensor)
    weights = target.seed(np.zeros(like.shape))
    classes = target.box is None and len(target.index) == 1 and all(size == 1 for size in target.shape[2:])
    index = target.index[0] if classes else None
    return Aim(target.tensor, weights, str(target), index, target.notes)


def _unit(model: Model, objective: Objective, values: Callable[[str], Array]) -> Aim:
    matched = select(model, [objective.tensor])
    if len(matched.tensors) != 1:
        raise UsageError(
            f"--tensor {one_line(objective.tensor)} means {len(matched.tensors)} tensors; name one of them"
        )
    name = matched.tensors[0]
    like, called = values(name), one_line(name)
    if like.ndim not in (2, 4) or like.dtype.kind != "f":
        raise UsageError(
            f"'{called}' of shape {list(like.shape)} and type {like.dtype} has no channels of numbers; name a feature "
            f"map, listed by: onnxvis layers {model.name}"
        )
    last = like.ndim == 4 and model.maps.layouts.get(name) == "NHWC"
    maps: Array = np.moveaxis(np.zeros(like.shape), -1, 1) if last else np.zeros(like.shape)
    channel = objective.channel or 0
    if not 0 <= channel < maps.shape[1]:
        raise UsageError(f"'{called}' has {maps.shape[1]} channels; {channel} is not one of 0 to {maps.shape[1] - 1}")
    label = f"{name}:{channel}"
    if objective.position is None:
        maps[0, channel] = 1 / maps[0, channel].size
    else:
        row, column = objective.position
        sizes: tuple[int, ...] = maps.shape[2:]
        if len(sizes) != 2 or not (0 <= row < sizes[0] and 0 <= column < sizes[1]):
            there = f"{sizes[0]} × {sizes[1]} positions" if sizes else "no positions"
            raise UsageError(f"'{called}' has {there}; row {row}, column {column} is not one")
        maps[0, channel, row, column] = 1
        label = f"{label}@{row},{column}"
    return Aim(name, np.moveaxis(maps, 1, -1) if last else maps, label)
