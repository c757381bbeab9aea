"""Every weight of a model as numbers: what it is for, how it is stored, and the statistics of its values."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import InputError, ModelError, TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph import cost
from onnxvis.measure.histogram import check_bins
from onnxvis.measure.statistics import summarise

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.weights import Quantization, StoredTensor
    from onnxvis.measure.statistics import TensorStatistics

__all__ = ["WeightNumbers", "WeightTable", "measure_weights"]

_RELEASED = 1 << 20
_COMPARED_NAMES, _COMPARED_LENGTH = 5000, 200


@dataclass(frozen=True, eq=False)
class WeightNumbers:
    """One stored tensor. `role` and `op`: what it is for and the operator that reads it, '' where nothing does.

    `storage`, `place`, `shape`, `dtype`: as `StoredTensor` has them. `statistics` are of the real values; a quantised
    tensor's are (code − zero point) · scale, and `steps` are those of its integer codes.
    """

    name: str
    role: str
    op: str
    storage: str
    place: str
    shape: tuple[int, ...]
    dtype: str
    statistics: TensorStatistics
    quantization: Quantization | None = None
    steps: TensorStatistics | None = None


@dataclass(frozen=True, eq=False)
class WeightTable:
    """The weights in file order. `left_out`: how many stored tensors carry only shapes, axes, indices or text.

    `unread`: for each tensor that could not be measured, one sentence saying why.
    """

    weights: tuple[WeightNumbers, ...]
    left_out: int
    unread: tuple[str, ...]


def _silent(done: int, of: int) -> None:
    """Progress that nobody watches."""


def measure_weights(
    model: Model,
    *,
    bins: int = 50,
    names: Iterable[str] | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] = _silent,
) -> WeightTable:
    """Statistics and a histogram of `bins` bins of every stored tensor that holds values to compute with.

    Tensors that carry shapes, axes, indices or text are counted in `left_out`; empty ones are passed over. `names`:
    these alone, whatever they carry. `threads` share the tensors, largest first; results are in file order and the
    same to the last bit however many there are. `progress` is told, in the caller's thread, how many of how many are
    done. A tensor that cannot be read is named in `unread` and stops nothing.
    Raises InputError for `bins` or `threads` out of range; TensorNotFound for a name that the model does not store.
    """
    check_bins(bins)
    if threads < 1:
        raise InputError(f"{threads} threads cannot measure weights; give 1 or more")
    every = model.weights.all()
    carrying = [item for item in every if cost.carries_values(model, item)]
    chosen = [item for item in carrying if item.count] if names is None else _named(model, every, names)
    found: list[WeightNumbers | str] = [""] * len(chosen)
    for done, (place, numbers) in enumerate(_in_threads(model, chosen, bins, threads), 1):
        found[place] = numbers
        progress(done, len(chosen))
    weights = tuple(item for item in found if not isinstance(item, str))
    return WeightTable(weights, len(every) - len(carrying), tuple(item for item in found if isinstance(item, str)))


def _in_threads(
    model: Model, chosen: Sequence[StoredTensor], bins: int, threads: int
) -> Iterator[tuple[int, WeightNumbers | str]]:
    """Each tensor's numbers with its place in `chosen`, as they come."""
    # The model finds out how its tensors are used when first asked: here, in one thread.
    roles = [model.weights.role(item.name) for item in chosen]
    if threads == 1 or len(chosen) < 2:
        for place, item in enumerate(chosen):
            yield place, _measure(model, item, roles[place], bins)
        return
    largest_first = sorted(range(len(chosen)), key=lambda place: -chosen[place].count)
    with ThreadPoolExecutor(threads) as pool:
        jobs = {pool.submit(_measure, model, chosen[place], roles[place], bins): place for place in largest_first}
        try:
            for job in as_completed(jobs):
                yield jobs[job], job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _measure(model: Model, item: StoredTensor, role: tuple[str, str], bins: int) -> WeightNumbers | str:
    """The numbers of one tensor, or why there are none."""
    try:
        quantization = model.weights.quantization(item.name)
        stored = model.weights.read(item.name)
        steps = summarise(stored, bins) if quantization else None
        statistics = summarise(model.weights.real(item.name) if quantization else stored, bins)
    except (InputError, ModelError) as error:
        return str(error)
    if stored.nbytes > _RELEASED:
        model.weights.release()
    return WeightNumbers(
        item.name, *role, item.storage, item.place, item.shape, item.dtype, statistics, quantization, steps
    )


def _named(model: Model, every: Sequence[StoredTensor], names: Iterable[str]) -> list[StoredTensor]:
    wanted = dict.fromkeys(names)
    stored = {item.name for item in every}
    for name in wanted:
        if name not in stored:
            short = [other[:_COMPARED_LENGTH] for other in stored][:_COMPARED_NAMES]
            near = difflib.get_close_matches(name[:_COMPARED_LENGTH], sorted(short), n=3, cutoff=0.4)
            hint = f"; nearest: {', '.join(repr(one_line(other)) for other in near)}" if near else ""
            raise TensorNotFound(
                f"{model.name} stores no tensor '{one_line(name)}'{hint}. List them with: onnxvis weights {model.name}"
            )
    return [item for item in every if item.name in wanted]
