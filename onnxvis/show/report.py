"""The report: a model and its inputs in, one offline page out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import OutputError
from onnxvis.files import one_line, write_atomic
from onnxvis.measure.activations import Difference, Probe, differences, run_deployed
from onnxvis.measure.boxes.detections import why_raw
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.predictions import class_scores
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import PreparedInput, Skipped
from onnxvis.run.labels import Labels, read_labels
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.reading import Reading
from onnxvis.run.session import Execution, RunOptions
from onnxvis.show.budget import DEFAULT_BUDGET
from onnxvis.show.class_map import class_maps_in
from onnxvis.show.data import describe_page, to_json
from onnxvis.show.fit import fit
from onnxvis.show.found import FoundCard, found_in
from onnxvis.show.gather import kernel_cards, layer_rows, model_card, versions, weight_cards, weights_over_depth
from onnxvis.show.maps import Look, map_cards, picture_of, shown_tensors
from onnxvis.show.notices import finding_notices, input_notices
from onnxvis.show.page import InputCard, KernelCard, Notice, OutputCard, Page, RunCard, Score
from onnxvis.show.preparation import guess, preparation
from onnxvis.show.render import warm
from onnxvis.show.shorten import Fitted
from onnxvis.show.target import refuse_overwriting
from onnxvis.version import __version__

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor
    from onnxvis.measure.weights import WeightNumbers

__all__ = ["MAX_INPUTS", "Progress", "ReportOptions", "build_page", "write_report"]

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""

MAX_INPUTS = 6


@dataclass(frozen=True)
class ReportOptions:
    """What a report is made with. `feeds`: texts for further inputs, NAME=VALUE; `budget`: bytes of the page;
    `bins`: of each weight's histogram; `heatmaps`: methods by name, none for no heatmaps; `classes`: for how many of
    the strongest classes, or boxes, the first of them is drawn; `detector`: what is told of a detector's heads.
    """

    run: RunOptions = field(default_factory=RunOptions)
    preprocess: PreprocessFlags = field(default_factory=PreprocessFlags)
    labels: Path | None = None
    feeds: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    look: Look = field(default_factory=Look)
    budget: int = DEFAULT_BUDGET
    command: str = ""
    bins: int = 50
    heatmaps: tuple[str, ...] = ("gradcam",)
    classes: int = 1
    detector: DetectorFlags = NO_FLAGS


@dataclass(frozen=True)
class _Stored:
    """What stands in the file, and notes on what of it is not shown."""

    numbers: tuple[WeightNumbers, ...]
    note: str
    kernels: tuple[KernelCard, ...]
    kernels_note: str
    seconds: float


@dataclass(frozen=True)
class _Looked:
    """What running the model on its inputs gave."""

    cards: tuple[InputCard, ...] = ()
    placement: Execution | None = None
    exact: bool = False
    notices: tuple[Notice, ...] = ()


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


def silent(what: str, done: int, of: int) -> None:
    """Progress that nobody is told of."""


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
    Neither is written over the model, its weights, an input or the labels.
    """
    given = [*inputs, *([options.labels] if options.labels else [])]
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
    looked = _Looked()
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
            looked = _look(model, prepared, options, progress, clock)
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


def _look(
    model: Model, prepared: list[PreparedInput], options: ReportOptions, progress: Progress, clock: _Clock
) -> _Looked:
    """Run the deployed model, release it, then run the exposed one: each input's card, and what should be known."""
    progress("running the model as deployed", 0, 0)
    deployed, placement = run_deployed(model, [item.feeds for item in prepared], options.run)
    clock.lap("Deployed run")
    labels = read_labels(model.path, model.metadata, options.labels)
    cards = []
    with Probe(model, shown_tensors(model), options.run) as probe:
        for number, (item, outputs) in enumerate(zip(prepared, deployed, strict=True), 1):
            progress("looking inside", number, len(prepared))
            # The activations live in this call alone: those of two inputs are never in memory together.
            cards.append(_input_card(model, item, outputs, probe, labels, options))
        exact = probe.exact
    clock.lap("Exposed run, pictures")
    if options.heatmaps:
        from onnxvis.show.explained import HeatmapOptions, heatmap_cards  # some 40 modules, which not all reports need

        asked = HeatmapOptions(options.heatmaps, options.classes, detector=options.detector)
        for place, (item, outputs) in enumerate(zip(prepared, deployed, strict=True)):
            found = heatmap_cards(model, item, outputs, labels, asked, options.run, progress)
            cards[place] = replace(cards[place], heatmaps=found[0], heatmaps_note=found[1])
        clock.lap("Heatmaps")
    notices = _box_notices(why_raw(model, prepared[0].feeds, deployed[0], options.detector), cards[0].found, labels)
    notices += finding_notices(cards, labels, {} if cards[0].found else deployed[0])
    return _Looked(tuple(cards), placement, exact, tuple(notices))


def _box_notices(why_none: str, found: FoundCard | None, labels: Labels | None) -> list[Notice]:
    """Why outputs that look like a detector's heads are not decoded, and labels that do not fit the boxes."""
    note = labels.note(found.classes) if labels and found else None
    notices = [Notice(note, "warning", "Labels")] if note else []
    if why_none:
        notices.append(Notice(f"{why_none[:1].upper()}{why_none[1:]}.", "info", "Boxes are not decoded"))
    return notices


def _input_card(
    model: Model,
    item: PreparedInput,
    deployed: Mapping[str, Any],
    probe: Probe,
    labels: Labels | None,
    options: ReportOptions,
) -> InputCard:
    """Run the exposed model on one input, and what is seen of it, beside the `deployed` outputs."""
    file = Path(item.path).name
    found = probe.run(item.feeds)
    stages = map_cards(model, found, item.picture, options.look, options.budget, options.run.workers)
    gaps = {gap.output: gap for gap in differences(found.outputs, deployed)}
    boxes = found_in(model, item, deployed, labels, options.detector)
    raw = boxes is not None or bool(why_raw(model, item.feeds, deployed, options.detector))
    shown = tuple(
        _output_card(tensor, deployed.get(tensor.name), gaps.get(tensor.name), labels, raw) for tensor in model.outputs
    )
    picture = picture_of(item.picture, f"{file} as the model sees it") if item.picture is not None else None
    return InputCard(
        file, picture, preparation(item), shown, stages, item.notes, str(item.path),
        found=boxes, class_maps=() if raw else class_maps_in(model, item, deployed, labels),
    )  # fmt: skip


def _output_card(tensor: Tensor, value: object, gap: Difference | None, labels: Labels | None, raw: bool) -> OutputCard:
    """`raw`: the outputs are heads of a detector, and no class scores whatever they look like."""
    if value is None:
        return OutputCard(tensor.name, (), tensor.dtype, note="a type that NumPy does not have; it is not shown")
    if not isinstance(value, np.ndarray):
        return OutputCard(tensor.name, (), type(value).__name__, note="not a tensor; it is not shown")
    odd = value.size - int(np.isfinite(value).sum()) if value.dtype.kind == "f" else 0
    note = f"{odd} of {value.size} values are NaN or infinite; differences leave them out" if odd else ""
    found = None if raw else class_scores(value)
    scores = tuple(
        Score(item.index, labels.name(item.index) if labels else f"class {item.index}", item.score)
        for item in (found.best if found else ())
    )
    return OutputCard(
        tensor.name, value.shape, str(value.dtype), scores, found.kind if found else "",
        gap.max_abs if gap and odd < value.size else None, gap.relative if gap and odd < value.size else None, note,
    )  # fmt: skip


def _run_card(looked: _Looked, clock: _Clock) -> RunCard | None:
    placement = looked.placement
    if placement is None:
        return None
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    note = "; ".join(placement.notes)
    return RunCard(placement.provider, versions(), date, tuple(clock.steps), note, placement.cpu_nodes, looked.exact)
