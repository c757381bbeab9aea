"""The number that a picture is judged by while pixels come and go: the target's score, run after run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.graph.layout import fixed
from onnxvis.measure.activations import Probe
from onnxvis.measure.predictions import class_scores
from onnxvis.run.picture_input import image_input, image_layout
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.target import Target

__all__ = ["Scorer"]

Array = np.ndarray[Any, np.dtype[Any]]
_Read = Callable[[Array], float]

_BATCH, _BATCH_NUMBERS = 8, 1 << 21
"""Pictures that are run at once, at most, and the numbers that they may have together."""


@dataclass(frozen=True)
class _Rule:
    """`read`: the score, from what the scored tensor holds for one picture; `kind`: what it is, in words."""

    read: _Read
    kind: str


class Scorer:
    """The score of one target of `model` for pictures that stand in for that in `feeds`. Use it in a `with` block.

    `picture`: (H, W, C), as it is fed and of the input's own type; `full`: its score. `kind` says what the score is:

    - of a class, its probability: the output itself, or the softmax of its logits;
    - of a box of a detector, the product of its class's score and its objectness;
    - of anything else, the target's value over that of the full picture, or the value itself where that is not above 0.

    Where the batch is free, several pictures are run at once. Raises UsageError for a model without a picture input and
    a score that is no number; InputError, RewriteError, and the errors of running.
    """

    def __init__(
        self, model: Model, feeds: Mapping[str, Array], target: Target, options: RunOptions | None = None
    ) -> None:
        options = options or RunOptions()
        self._model = model.at({name: tuple(value.shape) for name, value in feeds.items()})
        self._feeds = dict(feeds)
        self._input, self._layout = _picture_input(self._model)
        self._tensor = target.tensor if target.box is not None else target.output
        self._batch = self._largest_batch(target)
        options = replace(options, exact=bool(options.exact))
        with ExitStack() as opened:
            self._probe = opened.enter_context(Probe(self._model, [self._tensor], options, only=True))
            value = self._run(self._feeds)
            self._rule = _rule(target, value)
            self.kind = self._rule.kind
            self.full = self._read(value[:1])
            self._opened = opened.pop_all()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def picture(self) -> Array:
        """(H, W, C), a copy."""
        value, layout = self._feeds[self._input], self._layout
        if "N" in layout:
            value, layout = value.take(0, axis=layout.index("N")), layout.replace("N", "")
        return np.ascontiguousarray(value.transpose([layout.index(axis) for axis in "HWC"]))

    def scores(self, pictures: Iterable[Array], progress: Callable[[int], None] | None = None) -> list[float]:
        """The score of each picture (H, W, C). `progress` is told how many more were run."""
        found: list[float] = []
        waiting = iter(pictures)
        while several := list(islice(waiting, self._batch)):
            found += self._several(several)
            if progress is not None:
                progress(len(several))
        return found

    def _several(self, pictures: Sequence[Array]) -> list[float]:
        if len(pictures) > 1:
            fed = np.concatenate([self._fed(picture) for picture in pictures])
            try:
                value = self._run({**self._feeds, self._input: fed})
            except InputError:  # a batch that is declared free and is not
                value = np.empty(0)
            if value.ndim and len(value) == len(pictures):
                return [self._read(value[place : place + 1]) for place in range(len(value))]
            self._batch = 1
        return [self._read(self._run({**self._feeds, self._input: self._fed(picture)})[:1]) for picture in pictures]

    def _fed(self, picture: Array) -> Array:
        """`feeds` with another picture in the first place of its batch."""
        fed = self._feeds[self._input].copy()
        own = picture.transpose(["HWC".index(axis) for axis in self._layout.replace("N", "")])
        (fed[0] if "N" in self._layout else fed)[...] = own
        return fed

    def _run(self, feeds: Mapping[str, Array]) -> Array:
        return np.asarray(self._probe.run(feeds).values[self._tensor], np.float64)

    def _read(self, value: Array) -> float:
        score = self._rule.read(value)
        if not math.isfinite(score):
            raise UsageError(
                f"'{one_line(self._tensor)}' of {self._model.name} holds NaN or infinite values for a picture with "
                "pixels taken away, so there is no score to follow"
            )
        return score

    def _largest_batch(self, target: Target) -> int:
        """How many pictures may be run at once: one where the model fixes it, or further inputs have batches too."""
        fed = self._feeds[self._input]
        declared = next(tensor for tensor in self._model.inputs if tensor.name == self._input).shape or ()
        alone = len(self._feeds) == 1 and self._layout.startswith("N") and len(fed) == 1
        leading = all(element[0] == 0 for element in target.elements)
        if not alone or not leading or not declared or fixed(declared[0]) is not None:
            return 1
        return max(1, min(_BATCH, _BATCH_NUMBERS // max(1, fed.size)))


def _picture_input(model: Model) -> tuple[str, str]:
    picture = image_input(model.inputs) or next((item for item in model.inputs if item.name in model.maps), None)
    layout = model.maps.layouts.get(picture.name) if picture is not None else None
    layout = (image_layout(model.view.tensor(picture.name), layout) or layout) if picture is not None else None
    if picture is None or layout is None:
        raise UsageError(f"{model.name} takes no picture, so no pixels could be taken away from it")
    return picture.name, layout


def _rule(target: Target, value: Array) -> _Rule:
    """How the score is read, decided by what the full picture gives."""
    if target.box is not None:
        return _of_box(target, value, target.box.score)
    scores = class_scores(value[:1]) if len(target.index) == 1 else None
    if scores is None:
        return _relative(target, value)
    place = target.index[0]
    if scores.kind == "softmax of logits":  # of log-probabilities it gives the probabilities
        return _Rule(lambda one: float(_softmax(one.reshape(-1))[place]), "the class's probability, a softmax")
    return _Rule(lambda one: float(one.reshape(-1)[place]), "the class's probability")


def _of_box(target: Target, value: Array, known: float) -> _Rule:
    """The product of the sigmoids where that is the box's own score, else of the values, else their sum."""

    def numbers(one: Array) -> Array:
        return np.array([one[element] for element in target.elements])

    def squashed(one: Array) -> float:
        return float(np.exp(-np.logaddexp(0, -numbers(one)).sum()))

    def plain(one: Array) -> float:
        return float(np.prod(numbers(one)))

    for read in (squashed, plain):
        if math.isclose(read(value), known, rel_tol=0.02, abs_tol=1e-4):
            return _Rule(read, "the box's score")
    return _relative(target, value)


def _relative(target: Target, value: Array) -> _Rule:
    """The target's value, over that of the full picture where that is above 0."""

    def read(one: Array) -> float:
        return target.value(one) if target.elements else float(one[(0, *target.index)].sum())

    full = read(value)
    if not math.isfinite(full) or full <= 0:
        return _Rule(read, "the target's value")
    return _Rule(lambda one: read(one) / full, "the target's value over that of the full picture")


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())
