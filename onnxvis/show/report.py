"""The report: a model and its inputs in, one offline page out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.errors import OutputError
from onnxvis.files import one_line, write_atomic
from onnxvis.run.inputs import Skipped
from onnxvis.run.reading import Reading
from onnxvis.show.data import describe_page, to_json
from onnxvis.show.fit import fit
from onnxvis.show.gather import kernel_cards, layer_rows, model_card, versions, weight_cards, weights_over_depth
from onnxvis.show.inputs import Looked, look_inside
from onnxvis.show.notices import input_notices
from onnxvis.show.options import Progress, ReportOptions, silent
from onnxvis.show.page import KernelCard, Page, RunCard
from onnxvis.show.preparation import guess
from onnxvis.show.render import warm
from onnxvis.show.shorten import Fitted
from onnxvis.show.target import refuse_overwriting
from onnxvis.version import __version__

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.weights import WeightNumbers

__all__ = ["MAX_INPUTS", "Progress", "ReportOptions", "build_page", "silent", "write_report"]

MAX_INPUTS = 6


@dataclass(frozen=True)
class _Stored:
    """What stands in the file, and notes on what of it is not shown."""

    numbers: tuple[WeightNumbers, ...]
    note: str
    kernels: tuple[KernelCard, ...]
    kernels_note: str
    seconds: float


@dataclass(frozen=True)
class _Built:
    """The model as it was looked at, all that was found, and what of it fits."""

    model: Model
    whole: Page
    fitted: Fitted

    def describe(self) -> dict[str, Any]:
        """Every number, with what the page says about itself."""
        said = self.fitted.page
        return describe_page(self.model, replace(self.whole, notices=said.notices, left_out=said.left_out))


@dataclass
class _Clock:
    """Seconds each step took; what is done beside another step has its own."""

    steps: list[tuple[str, float]] = field(default_factory=list)
    _since: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.steps.append((name, now - self._since))
        self._since = now


def build_page(model: Model, inputs: Sequence[str | Path], options: ReportOptions, progress: Progress = silent) -> Page:
    """Run the model on every input, as deployed and with its blocks exposed, and gather all that the page shows.

    At most six inputs are shown; a notice says how many more there were.
    Raises the errors of opening, reading and running.
    """
    return _build(model, inputs, options, progress).fitted.page


def write_report(
    model: Model,
    inputs: Sequence[str | Path],
    output: Path,
    options: ReportOptions,
    progress: Progress = silent,
    json_file: Path | None = None,
) -> None:
    """Write `build_page` as one HTML file, whole or not at all. Raises its errors and OutputError.

    `json_file`: where every number goes as JSON, see `data.describe_page`, also those that the budget left out.
    Neither is written over the model, its weights, an input, the labels or a picture that patches are looked for in.
    """
    pictures = options.patches.iterdir() if options.patches and options.patches.is_dir() else ()
    given = [*inputs, *([options.labels] if options.labels else []), *pictures]
    refuse_overwriting(output, model, given)
    if json_file is not None:
        refuse_overwriting(json_file, model, given)
        if json_file.resolve() == output.resolve():
            raise OutputError(f"the page and its numbers cannot both be {one_line(output)}; name another file")
    built = _build(model, inputs, options, progress)
    progress("writing the page", 0, 0)
    write_atomic(output, built.fitted.html)
    if json_file is not None:
        write_atomic(json_file, to_json(built.describe()))


def _build(model: Model, inputs: Sequence[str | Path], options: ReportOptions, progress: Progress) -> _Built:
    clock = _Clock()
    reading = Reading.of(model, options.preprocess, options.feeds)
    skipped: list[Skipped] = []
    prepared = list(itertools.islice(reading.read(inputs, skipped, options.max_pixels), MAX_INPUTS + 1))
    left = f"Only the first {MAX_INPUTS} inputs are shown." if len(prepared) > MAX_INPUTS else ""
    prepared = prepared[:MAX_INPUTS]
    clock.lap("Reading the inputs")
    notices = [*input_notices(model, inputs, reading, skipped, left)]
    looked = Looked()
    bgr = reading.preprocessing is not None and reading.preprocessing.bgr
    if prepared:
        model = model.at({name: tuple(value.shape) for name, value in prepared[0].feeds.items()})
    with ThreadPoolExecutor(1) as aside:
        # Making a session keeps one core busy: with two, what needs no session is done meanwhile.
        at_once = prepared and options.run.workers > 1
        stored = aside.submit(_stored, model, options, bgr, 1, silent) if at_once else None
        if at_once:
            aside.submit(warm)
        if prepared:
            looked = look_inside(model, prepared, reading, options, progress, clock.lap)
        weights = stored.result() if stored else _stored(model, options, bgr, options.run.workers, progress)
    clock.steps.append(("Weights and kernels", weights.seconds))
    progress("choosing what fits", 0, 0)
    page = Page(
        version=__version__,
        model=model_card(model),
        run=_run_card(looked, clock),
        inputs=looked.cards,
        weights=weights.numbers,
        layers=layer_rows(model),
        guess=guess(reading.preprocessing) if any(item.preprocessing for item in prepared) else None,
        notices=(*notices, *looked.notices),
        budget_bytes=options.budget,
        colormap=options.look.colormap,
        command=options.command,
        weights_note=weights.note,
        kernels=weights.kernels,
        kernels_note=weights.kernels_note,
        depth=weights_over_depth(model, weights.numbers),
    )
    return _Built(model, page, fit(page, options.budget))


def _stored(model: Model, options: ReportOptions, bgr: bool, threads: int, progress: Progress) -> _Stored:
    """What can be said without running the model."""
    start = time.perf_counter()
    weights, note = weight_cards(
        model, bins=options.bins, threads=threads, progress=lambda done, of: progress("weights", done, of)
    )
    drawn = kernel_cards(model, bgr=bgr, threads=threads, progress=lambda done, of: progress("kernels", done, of))
    _ = model.sha256  # a pass over the whole file; the model keeps it
    return _Stored(weights, note, *drawn, time.perf_counter() - start)


def _run_card(looked: Looked, clock: _Clock) -> RunCard | None:
    placement = looked.placement
    if placement is None:
        return None
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    note = "; ".join(placement.notes)
    return RunCard(placement.provider, versions(), date, tuple(clock.steps), note, placement.cpu_nodes, looked.exact)
