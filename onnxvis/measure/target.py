"""What a heatmap explains: one number that the model returns, a sum of some, or a box."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.graph.logits import Element, before_softmax, origin
from onnxvis.measure.boxes.chosen import Chosen, choose, is_box
from onnxvis.measure.boxes.detections import Box
from onnxvis.measure.boxes.find import find_heads
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.predictions import class_scores
from onnxvis.run.labels import read_labels
from onnxvis.run.picture_input import image_input

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["TOP", "Target", "resolve_target"]

Array = np.ndarray[Any, np.dtype[Any]]

TOP = "top"
"""The target that means the strongest box of a detector, else the class with the highest score."""

_NUMBERS = re.compile(r"-?\d{1,18}(,-?\d{1,18})*")
_CLASS = re.compile(r"\d{1,18}")
_NAMED = re.compile(r"(class:)([^@]+)(@.+)", re.DOTALL)
_PLACES = ("box", "class")


@dataclass(frozen=True)
class Target:
    """Element `index` of output `output`, of the first picture of the batch; with fewer numbers than there are
    dimensions, the sum of all that they leave open.

    `tensor` is what is differentiated: the output, or what its final Softmax reads, which has the same elements in the
    same order. `shape` is the output's, with the batch.

    A target that is a box has a `name`, such as 'box:0', the `box`, and the `grid` (rows, columns) of its head; `index`
    is its class's. `elements` are then what is explained: the sum of these elements of `tensor`, the batch included.
    """

    output: str
    index: tuple[int, ...]
    tensor: str
    shape: tuple[int, ...]
    notes: tuple[str, ...] = ()
    elements: tuple[tuple[int, ...], ...] = ()
    name: str = ""
    box: Box | None = None
    grid: tuple[int, int] | None = None

    def __str__(self) -> str:
        place = f"{self.output}:{','.join(map(str, self.index))}" if self.index else self.output
        return f"{self.name} ({place})" if self.name else place

    def seed(self, like: Array) -> Array:
        """Where a gradient of the target starts: 1 at its elements, else 0, of the shape and type of `like`, a value of
        `tensor`.
        """
        if self.elements:
            sparse = np.zeros(like.shape, like.dtype)
            for element in self.elements:
                sparse[element] += 1
            return sparse
        seed = np.zeros(self.shape, like.dtype)
        seed[(0, *self.index)] = 1
        return seed.reshape(like.shape)

    def value(self, tensor: Array) -> float:
        """The number that is explained, given the values of `tensor`."""
        if self.elements:
            return sum(float(tensor[element]) for element in self.elements)
        return float(tensor.astype(np.float64).reshape(self.shape)[(0, *self.index)].sum())


def resolve_target(
    model: Model,
    text: str,
    outputs: Mapping[str, Any],
    *,
    feeds: Mapping[str, Array] | None = None,
    flags: DetectorFlags = NO_FLAGS,
) -> Target:
    """What `text` means for these outputs of `model`: 'top', a class, 'OUTPUT:index,…' (without the batch), or a box:
    'box:K' or 'class:CLASS@ROW,COLUMN', see `boxes.chosen.choose`, unless an output is called 'box'.

    A class is an element of the first output that looks like class scores, see `predictions.class_scores`, else of the
    first output, unless that is a detector's; its number, or its name where the model's own labels have it once.
    'top' is box 0 of a detector that is known or told by `flags`. Indices may be negative, as in NumPy.
    `feeds`: what the model was fed, of which boxes need the picture's size; without, the model's own size is taken.
    Raises UsageError for anything else, an index that is not there included.
    """
    name, _, numbers = text.rpartition(":")
    fed = feeds if feeds is not None else _declared_feeds(model)
    if is_box(text) and name not in outputs:
        return _box_target(model, text, outputs, fed, flags)
    if name and _NUMBERS.fullmatch(numbers) and (name in outputs or name not in _PLACES):
        return _checked(model, name, tuple(map(int, numbers.split(","))), outputs)
    heads, reason = find_heads(model, fed, outputs, flags) if text == TOP or _CLASS.fullmatch(text) else (None, "")
    if heads is not None and text == TOP:
        return _box_target(model, "box:0", outputs, fed, flags)
    scored = next((output for output, value in outputs.items() if class_scores(value)), "")
    if text == TOP:
        best = class_scores(outputs[scored]) if scored else None
        if best is None:
            raise UsageError(_no_top(model, outputs) + (f"; {reason}" if reason else ""))
        return _checked(model, scored, (best.best[0].index,), outputs)
    if _CLASS.fullmatch(text):
        if heads is not None and not scored:
            raise UsageError(_no_cell(model, text, heads.heads[0].output))
        return _checked(model, scored or next(iter(outputs), ""), (int(text),), outputs)
    if numbered := _numbered(model, text):
        return resolve_target(model, numbered, outputs, feeds=feeds, flags=flags)
    raise UsageError(
        f"'{one_line(text)}' is no target; give a class, '{TOP}', OUTPUT:index,index,…, or of a detector box:K, K from "
        "0, or class:CLASS@ROW,COLUMN[@HEAD] (all that a picture has: onnxvis heatmap MODEL PICTURE --list-targets)"
    )


def _numbered(model: Model, text: str) -> str:
    """`text` with the number of the class that it names: 'star', or 'class:star@3,4'; '' where there is not one."""
    match = _NAMED.fullmatch(text)
    before, name, after = match.groups() if match else ("", text, "")
    try:
        labels = read_labels(model.path, model.metadata)
    except InputError:
        return ""
    found = [number for number, label in labels.names.items() if label == name] if labels is not None else []
    numbered = f"{before}{found[0]}{after}" if len(found) == 1 else ""
    return numbered if _CLASS.fullmatch(numbered) or is_box(numbered) else ""


def _no_cell(model: Model, label: str, output: str) -> str:
    return (
        f"{model.name} is a detector, whose classes stand in cells: give class:{label}@ROW,COLUMN, or box:0 of a "
        f"picture (all that it has: onnxvis heatmap MODEL PICTURE --list-targets); {one_line(output)}:{label} means a "
        "raw channel"
    )


def _declared_feeds(model: Model) -> dict[str, Array]:
    """A picture of the size that the model has, of no values and no memory."""
    picture = image_input(model.inputs)
    shape = model.view.shape(picture.name) if picture is not None else None
    if picture is None or shape is None:
        return {}
    known = tuple(size for size in shape if isinstance(size, int))
    return {picture.name: np.broadcast_to(np.float32(0), known)} if len(known) == len(shape) else {}


def _box_target(
    model: Model, text: str, outputs: Mapping[str, Any], feeds: Mapping[str, Array], flags: DetectorFlags
) -> Target:
    """A box as a target: the sum of the logits of its class and its objectness, as near to the input as they go."""
    chosen = choose(model, feeds, outputs, text, flags)
    output = chosen.box.output
    seen = model.at({name: tuple(value.shape) for name, value in feeds.items()})
    found = [origin(seen, output, (0, *number)) for number in chosen.numbers]
    if len({(item.tensor, item.sigmoid) for item in found}) > 1:
        found = [Element(output, (0, *number)) for number in chosen.numbers]
    tensor, logits = found[0].tensor, found[0].sigmoid or chosen.raw
    return Target(
        output, chosen.numbers[0], tensor, outputs[output].shape, (*chosen.notes, _summed(chosen, logits)),
        tuple(item.index for item in found), text, chosen.box, chosen.grid,
    )  # fmt: skip


def _summed(chosen: Chosen, logits: bool) -> str:
    """What is added up for a box, and why not their product."""
    kind, why = ("logit", ", before their sigmoids, which saturate") if logits else ("score", "")
    if len(chosen.numbers) > 1:
        return f"the target is the {kind} of the objectness plus the {kind} of the class of that box{why}"
    return f"the target is the class {kind} of that box{', before its sigmoid, which saturates' if logits else ''}"


def _no_top(model: Model, outputs: Mapping[str, Any]) -> str:
    example = f"such as --target '{one_line(next(iter(outputs), 'OUTPUT'))}:0'"
    for output, value in outputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not np.isfinite(value).all():
            return (
                f"output '{one_line(output)}' of {model.name} holds NaN or infinite values, so there is no top class; "
                f"name what to explain, {example}"
            )
    return (
        f"no output of {model.name} looks like class scores, so there is no top class; name what to explain, {example}"
    )


def _checked(model: Model, output: str, index: tuple[int, ...], outputs: Mapping[str, Any]) -> Target:
    if output not in outputs:
        named = ", ".join(map(one_line, outputs)) or "none that could be explained"
        raise UsageError(f"{model.name} has no output '{one_line(output)}'; it has {named}")
    value = outputs[output]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "f" or value.ndim < 1 or not value.size:
        raise UsageError(f"output '{one_line(output)}' of {model.name} holds no numbers that could be explained")
    inner = value.shape[1:]
    if len(index) > len(inner) or any(not -size <= i < size for i, size in zip(index, inner, strict=False)):
        place = ",".join(map(str, index))
        raise UsageError(
            f"output '{one_line(output)}' has no element {place}: without the batch its shape is {list(inner)}"
        )
    index = tuple(i % size for i, size in zip(index, inner, strict=False))
    tensor, op = before_softmax(model.view, output)
    notes = []
    if op:
        notes.append(f"the target is what the final {op} reads: a {op} has little gradient or none where it saturates")
    left_open = math.prod(inner[len(index) :])
    if left_open > 1:
        notes.append(f"the target is the sum of {left_open} values")
    return Target(output, index, tensor, value.shape, tuple(notes))
