"""A model made ready to climb: how it is fed, what is aimed at, and what climbs together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.measure.activations import Probe, run_deployed
from onnxvis.measure.maximize.feeding import Feeding
from onnxvis.measure.maximize.objective import Aim, Objective, resolve
from onnxvis.run.reading import Reading

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.session import RunOptions

__all__ = ["Stage"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Stage:
    """`feeding`: how the model is fed; `aims`: what each objective means; `notes`: what was decided."""

    feeding: Feeding
    aims: tuple[Aim, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        model: Model,
        objectives: Sequence[Objective],
        options: RunOptions,
        reading: Reading | None = None,
        copies: int = 1,
    ) -> Stage:
        """Find what `objectives` mean, each of which will climb `copies` times.

        Pictures climb one after the other where the model takes one, or mixes the pictures of a batch, and a note says
        so. Raises UsageError where it mixes those of a batch that it fixes, and the errors of what it calls.
        """
        feeding = Feeding.of(model, reading or Reading.of(model), len(objectives) * copies)
        seen = _Seen(feeding, options)
        aims = tuple(seen.resolved(objective) for objective in objectives)
        if feeding.batch > 1 and seen.mixes(aims):
            if not feeding.free:
                raise UsageError(
                    f"{model.name} takes {feeding.batch} pictures at once and mixes them, so that none could be told "
                    "from the others; export it for one picture"
                )
            feeding = feeding.at_batch(1)
            seen = _Seen(feeding, options)
            aims = tuple(seen.resolved(objective) for objective in objectives)
        notes = feeding.notes
        if feeding.batch == 1 and len(aims) * copies > 1:
            notes = (*notes, "the model takes one picture at a time: they were made one after the other")
        return cls(feeding, aims, notes)

    def together(self) -> Iterator[list[int]]:
        """Which aims climb next, by their places: those of one tensor, as many as are fed at once."""
        for tensor in dict.fromkeys(aim.tensor for aim in self.aims):
            places = [place for place, aim in enumerate(self.aims) if aim.tensor == tensor]
            for first in range(0, len(places), self.feeding.batch):
                yield places[first : first + self.feeding.batch]


class _Seen:
    """What a model gives for grey, which objectives are checked against. Each tensor is computed once."""

    def __init__(self, feeding: Feeding, options: RunOptions) -> None:
        self._feeding, self._options = feeding, options
        self._feeds = feeding.feeds([feeding.fed(np.full(feeding.shape, 0.5))])
        self._outputs: dict[str, Any] = {}
        self._values: dict[str, Array] = {}

    def resolved(self, objective: Objective) -> Aim:
        return resolve(self._feeding.model, objective, self._feeds, self._given, self._value)

    def mixes(self, aims: Sequence[Aim]) -> bool:
        """Whether a tensor aimed at does not hold one part for each picture of the batch."""
        return any(self._values[aim.tensor].shape[:1] != (self._feeding.batch,) for aim in aims)

    def _given(self) -> dict[str, Any]:
        if not self._outputs:
            (self._outputs,), _ = run_deployed(self._feeding.model, [self._feeds], self._options)
        return {name: self._first(value) for name, value in self._outputs.items()}

    def _value(self, name: str) -> Array:
        if name not in self._values:
            with Probe(self._feeding.model, [name], self._options, only=True) as probe:
                self._values[name] = probe.run(self._feeds).values[name]
        return np.asarray(self._first(self._values[name]))

    def _first(self, value: Any) -> Any:
        """The first picture's part."""
        return value[:1] if self._feeding.batch > 1 and isinstance(value, np.ndarray) and value.ndim else value
