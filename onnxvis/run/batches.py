"""Many runs of a model that differ in one input, as many at a time as memory allows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, ModelError, RewriteError
from onnxvis.graph.view import GraphView
from onnxvis.rewrite.free_batch import free_batch
from onnxvis.run.footprint import live_bytes
from onnxvis.run.session import Execution, RunOptions, Session

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["MEMORY", "Batches", "Job"]

Array = np.ndarray[Any, np.dtype[Any]]

MEMORY = 256 << 20
"""Bytes that the tensors of one batch may take at a time; ONNX Runtime may take as much again for its own work."""

_LARGEST = 64
"""More at a time are no quicker."""
_ROUNDING = 1e-3
"""How far a batch may be from single runs, over the largest magnitude: half precision and codes round differently."""


@dataclass(frozen=True, eq=False)
class Job:
    """A model, what it is fed, which input varies, and the one output that is wanted.

    `batched`: whether the first axis of the input that varies is the batch; the runs then are about its first picture.
    `fixed`: whether the model was exported for just that batch. `part` is what runs, for notes.
    """

    proto: ModelProto
    folder: Path
    name: str
    feeds: Mapping[str, Array]
    varied: str
    output: str
    batched: bool = True
    fixed: bool = True
    part: str = "the model"

    def single(self, value: Array) -> dict[str, Array]:
        """The feeds, with `value` in place of the input that varies, or of its first picture."""
        given = self.feeds[self.varied].copy()
        (given[0] if self.batched else given)[...] = value
        return {**self.feeds, self.varied: given}

    def together(self, values: Sequence[Array]) -> dict[str, Array]:
        """The feeds of one run on all `values`: whatever else has the batch's size in front is repeated."""
        repeated = self.in_batch()
        feeds = {
            name: np.repeat(value[:1], len(values), axis=0) if name in repeated else value
            for name, value in self.feeds.items()
            if name != self.varied
        }
        return {**feeds, self.varied: np.stack(values).astype(self.feeds[self.varied].dtype, copy=False)}

    def in_batch(self) -> tuple[str, ...]:
        """The inputs whose first axis is the batch: the one that varies, and matrices and maps of as many rows."""
        count = self.feeds[self.varied].shape[0]
        others = (name for name, value in self.feeds.items() if value.ndim > 1 and value.shape[0] == count)
        return (self.varied, *(name for name in others if name != self.varied))


class Batches:
    """A `Job` opened for up to `count` runs. Use it in a `with` block, or call `close`.

    A batch is only used where two pictures at a time were tried and gave what each gives alone, within rounding; else
    the runs go one by one. `size`: how many go at a time; `notes` say so. Raises ProviderError, ModelError, InputError.
    """

    def __init__(self, job: Job, count: int, options: RunOptions, memory: int = MEMORY) -> None:
        self.job = job
        self.size = 1
        self.notes: tuple[str, ...] = ()
        said = f"{count} runs of {job.part}"
        self._session = Session(job.proto, job.folder, options, job.name)
        if not job.batched:
            self.notes = (f"{said}, one by one: the input that is changed has no batch",)
        elif (fitting := min(count, _LARGEST, memory // max(1, _need(job)))) < 2:
            self.notes = (f"{said}, one by one: two at a time would take more than {memory >> 20} MB",)
        else:
            self._try_together(fitting, said, options)

    @property
    def placement(self) -> Execution:
        """Where the runs take place."""
        return self._session.placement

    def __enter__(self) -> Batches:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the session and its memory."""
        self._session.close()

    def run(self, values: Iterable[Array]) -> Iterator[Array]:
        """What the output is for each of `values`, which have the shape of one picture; in the output's own shape for
        a single picture, the batch's axis included.
        """
        waiting = iter(values)
        while chunk := list(islice(waiting, self.size)):
            if self.size == 1:
                yield self._alone(self._session, chunk[0])
            else:
                yield from self._together(self._session, chunk)

    def _alone(self, session: Session, value: Array) -> Array:
        found = np.asarray(session.run(self.job.single(value), [self.job.output])[self.job.output])
        batch = self.job.feeds[self.job.varied].shape[0] if self.job.batched else 1
        return found if found.ndim == 0 or found.shape[0] % batch else found[: found.shape[0] // batch]

    def _together(self, session: Session, values: Sequence[Array]) -> list[Array]:
        found = np.asarray(session.run(self.job.together(values), [self.job.output])[self.job.output])
        if found.ndim == 0 or found.shape[0] % len(values):
            raise InputError(f"{self.job.name} gives {list(found.shape)} for {len(values)} pictures")
        return list(found.reshape(len(values), found.shape[0] // len(values), *found.shape[1:]))

    def _try_together(self, fitting: int, said: str, options: RunOptions) -> None:
        """Go over to a session that takes `fitting` at a time, if it computes the same."""
        job = self.job
        pair = [_picture(job), _noise_like(_picture(job))]
        alone = [self._alone(self._session, value) for value in pair]
        reason = "the model cannot take several pictures at a time"
        shapes = {name: tuple(value.shape) for name, value in job.feeds.items()}
        with suppress(RewriteError, ModelError, InputError):
            proto = free_batch(job.proto, job.folder, shapes, job.in_batch())
            self._session.close()
            self._session = Session(proto, job.folder, options, job.name)
            if _equal(self._together(self._session, pair), alone):
                freed = "; the batch of the model, which is fixed, was freed for them" if job.fixed else ""
                self.size, self.notes = fitting, (f"{said}, {fitting} at a time{freed}",)
                return
            reason = "several pictures at a time give other numbers than each alone"
        self._session.close()
        self._session = Session(job.proto, job.folder, options, job.name)
        self.notes = (f"{said}, one by one: {reason}",)


def _need(job: Job) -> int:
    """Bytes that one run takes."""
    shapes = {name: tuple(value.shape) for name, value in job.feeds.items()}
    return live_bytes(GraphView(job.proto, shapes))


def _picture(job: Job) -> Array:
    value = job.feeds[job.varied]
    return np.asarray(value[0] if job.batched else value)


def _noise_like(value: Array) -> Array:
    """Another value of the same shape, type and spread."""
    rng = np.random.default_rng(0)
    wide = value.astype(np.float64)
    noise = rng.normal(wide.mean(), wide.std() or 1, value.shape)
    return np.asarray(np.clip(np.rint(noise), 0, 127) if value.dtype.kind in "iu" else noise).astype(value.dtype)


def _equal(found: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Whether two lists of arrays are the same but for rounding."""
    largest = max(float(np.abs(value).max(initial=0, where=np.isfinite(value))) for value in expected)
    return all(
        one.shape == other.shape and np.allclose(one, other, rtol=0, atol=_ROUNDING * largest, equal_nan=True)
        for one, other in zip(found, expected, strict=True)
    )
