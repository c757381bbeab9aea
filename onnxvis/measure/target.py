"""What a heatmap explains: one number that the model returns, or a sum of some."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph.logits import before_softmax
from onnxvis.measure.predictions import class_scores

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["TOP", "Target", "resolve_target"]

Array = np.ndarray[Any, np.dtype[Any]]

TOP = "top"
"""The target that means the class with the highest score."""

_NUMBERS = re.compile(r"-?\d{1,18}(,-?\d{1,18})*")
_CLASS = re.compile(r"\d{1,18}")


@dataclass(frozen=True)
class Target:
    """Element `index` of output `output`, of the first picture of the batch; with fewer numbers than there are
    dimensions, the sum of all that they leave open.

    `tensor` is what is differentiated: the output, or what its final Softmax reads, which has the same elements in the
    same order. `shape` is the output's, with the batch.
    """

    output: str
    index: tuple[int, ...]
    tensor: str
    shape: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.output}:{','.join(map(str, self.index))}" if self.index else self.output

    def seed(self, like: Array) -> Array:
        """Where a gradient of the target starts: 1 at its elements, else 0, of the shape and type of `like`, a value of
        `tensor`.
        """
        seed = np.zeros(self.shape, like.dtype)
        seed[(0, *self.index)] = 1
        return seed.reshape(like.shape)

    def value(self, tensor: Array) -> float:
        """The number that is explained, given the values of `tensor`."""
        return float(tensor.astype(np.float64).reshape(self.shape)[(0, *self.index)].sum())


def resolve_target(model: Model, text: str, outputs: Mapping[str, Any]) -> Target:
    """What `text` means for these outputs of `model`: 'top', a class, or 'OUTPUT:index,…' (without the batch).

    A class is an element of the first output that looks like class scores, see `predictions.class_scores`, else of the
    first output. Indices may be negative, as in NumPy. Raises UsageError for anything else, an index that is not there
    included.
    """
    name, _, numbers = text.rpartition(":")
    if name and _NUMBERS.fullmatch(numbers):
        return _checked(model, name, tuple(map(int, numbers.split(","))), outputs)
    scored = next((output for output, value in outputs.items() if class_scores(value)), "")
    if text == TOP:
        best = class_scores(outputs[scored]) if scored else None
        if best is None:
            raise UsageError(_no_top(model, outputs))
        return _checked(model, scored, (best.best[0].index,), outputs)
    if _CLASS.fullmatch(text):
        return _checked(model, scored or next(iter(outputs), ""), (int(text),), outputs)
    raise UsageError(f"'{one_line(text)}' is no target; give a class, '{TOP}', or OUTPUT:index,index,…")


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
