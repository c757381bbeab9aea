"""The report: a model and its inputs in, one offline page out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.files import one_line, write_atomic
from onnxvis.measure.activations import Difference, Probe, differences, run_deployed
from onnxvis.measure.predictions import class_scores
from onnxvis.run.flags import PreprocessFlags, flags_text
from onnxvis.run.inputs import PreparedInput, Skipped
from onnxvis.run.labels import Labels, read_labels
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.preprocess import Preprocessing
from onnxvis.run.reading import Reading
from onnxvis.run.session import Execution, RunOptions
from onnxvis.show.budget import DEFAULT_BUDGET
from onnxvis.show.fit import Fitted, fit
from onnxvis.show.gather import layer_rows, model_card, versions, weight_cards
from onnxvis.show.maps import Look, map_cards, picture_of, shown_tensors
from onnxvis.show.notices import finding_notices, input_notices
from onnxvis.show.page import Fact, Guess, InputCard, Notice, OutputCard, Page, RunCard, Score
from onnxvis.show.target import refuse_overwriting
from onnxvis.show.text import shape
from onnxvis.version import __version__

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor

__all__ = ["MAX_INPUTS", "Progress", "ReportOptions", "build_page", "write_report"]

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""

MAX_INPUTS = 6


@dataclass(frozen=True)
class ReportOptions:
    """What a report is made with. `feeds`: texts for further inputs, NAME=VALUE; `budget`: bytes of the page."""

    run: RunOptions = field(default_factory=RunOptions)
    preprocess: PreprocessFlags = field(default_factory=PreprocessFlags)
    labels: Path | None = None
    feeds: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    look: Look = field(default_factory=Look)
    budget: int = DEFAULT_BUDGET
    command: str = ""


@dataclass
class _Clock:
    """Seconds each step took, in order."""

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
    return _build(model, inputs, options, progress).page


def write_report(
    model: Model, inputs: Sequence[str | Path], output: Path, options: ReportOptions, progress: Progress = silent
) -> None:
    """Write `build_page` as one HTML file, whole or not at all. Raises its errors and OutputError.

    Never over the model, its weights, an input or the labels.
    """
    refuse_overwriting(output, model, [*inputs, *([options.labels] if options.labels else [])])
    html = _build(model, inputs, options, progress).html
    progress("writing the page", 0, 0)
    write_atomic(output, html)


def _build(model: Model, inputs: Sequence[str | Path], options: ReportOptions, progress: Progress) -> Fitted:
    clock = _Clock()
    reading = Reading.of(model, options.preprocess, options.feeds)
    skipped: list[Skipped] = []
    prepared = list(itertools.islice(reading.read(inputs, skipped, options.max_pixels), MAX_INPUTS + 1))
    left = f"Only the first {MAX_INPUTS} inputs are shown." if len(prepared) > MAX_INPUTS else ""
    prepared = prepared[:MAX_INPUTS]
    clock.lap("Reading the inputs")
    notices = [*input_notices(model, inputs, reading, skipped, left)]
    cards: tuple[InputCard, ...] = ()
    placement: Execution | None = None
    if prepared:
        model = model.at({name: tuple(value.shape) for name, value in prepared[0].feeds.items()})
        cards, placement, found = _look(model, prepared, options, progress, clock)
        notices += found
    weights, weights_note = weight_cards(model, lambda done, of: progress("weights", done, of))
    clock.lap("Weights")
    progress("choosing what fits", 0, 0)
    page = Page(
        version=__version__,
        model=model_card(model),
        run=_run_card(placement, options, clock) if placement else None,
        inputs=cards,
        weights=weights,
        layers=layer_rows(model),
        guess=_guess(reading.preprocessing) if any(item.preprocessing for item in prepared) else None,
        notices=tuple(notices),
        budget_bytes=options.budget,
        colormap=options.look.colormap,
        command=options.command,
        weights_note=weights_note,
    )
    return fit(page, options.budget)


def _look(
    model: Model, prepared: list[PreparedInput], options: ReportOptions, progress: Progress, clock: _Clock
) -> tuple[tuple[InputCard, ...], Execution, list[Notice]]:
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
    clock.lap("Exposed run, pictures")
    return tuple(cards), placement, finding_notices(cards, labels, deployed[0])


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
    stages = map_cards(model, found, item.picture, options.look, options.budget)
    gaps = {gap.output: gap for gap in differences(found.outputs, deployed)}
    shown = tuple(
        _output_card(tensor, deployed.get(tensor.name), gaps.get(tensor.name), labels) for tensor in model.outputs
    )
    picture = picture_of(item.picture, f"{file} as the model sees it") if item.picture is not None else None
    return InputCard(file, picture, _preparation(item), shown, stages, item.notes)


def _output_card(tensor: Tensor, value: object, gap: Difference | None, labels: Labels | None) -> OutputCard:
    if value is None:
        return OutputCard(tensor.name, (), tensor.dtype, note="a type that NumPy does not have; it is not shown")
    if not isinstance(value, np.ndarray):
        return OutputCard(tensor.name, (), type(value).__name__, note="not a tensor; it is not shown")
    odd = value.size - int(np.isfinite(value).sum()) if value.dtype.kind == "f" else 0
    note = f"{odd} of {value.size} values are NaN or infinite; differences leave them out" if odd else ""
    found = class_scores(value)
    scores = tuple(
        Score(item.index, labels.name(item.index) if labels else f"class {item.index}", item.score)
        for item in (found.best if found else ())
    )
    return OutputCard(
        tensor.name, value.shape, str(value.dtype), scores, found.kind if found else "",
        gap.max_abs if gap and odd < value.size else None, gap.relative if gap and odd < value.size else None, note,
    )  # fmt: skip


def _preparation(item: PreparedInput) -> tuple[Fact, ...]:
    settings = item.preprocessing
    facts = []
    if item.original_size:
        facts.append(Fact("Original", f"{item.original_size[1]} × {item.original_size[0]} pixels"))
    if settings and item.picture is not None:
        height, width = item.picture.shape[:2]
        order = "BGR" if settings.bgr else "RGB"
        facts += [
            Fact(
                "Fed as",
                f"{width} × {height} pixels, {order}, fit {settings.fit}, {settings.interpolation} interpolation",
            ),
            Fact("Values", _values(settings)),
            Fact("Settings from", settings.source),
            Fact("As flags", flags_text(settings)),
        ]
    for name, value in item.feeds.items():
        facts.append(Fact(f"Input {one_line(name, 60)}", f"{value.dtype} {shape(value.shape)}"))
    return tuple(facts)


def _values(settings: Preprocessing) -> str:
    """The formula from pixel to value, without the steps that change nothing."""
    text = "pixel" if settings.divide == 1 else f"pixel / {settings.divide:g}"
    scaled = set(settings.std) != {1.0}
    if any(settings.mean):
        text = f"{text} − {_listed(settings.mean)}"
        text = f"({text})" if scaled else text
    return f"{text} / {_listed(settings.std)}" if scaled else text


def _listed(values: tuple[float, ...]) -> str:
    unique = values[:1] if len(set(values)) == 1 else values
    text = ", ".join(f"{value:g}" for value in unique)
    return text if len(unique) == 1 else f"({text})"


def _guess(settings: Preprocessing | None) -> Guess | None:
    if settings is None or not settings.guessed:
        return None
    order = "BGR" if settings.bgr else "RGB"
    what = f"{order}, {_values(settings)}, fit {settings.fit}"
    why = "Neither flags, nor the model, nor a file beside it say how pictures are prepared."
    return Guess(what, why, flags_text(settings))


def _run_card(placement: Execution, options: ReportOptions, clock: _Clock) -> RunCard:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    note = "; ".join(placement.notes)
    return RunCard(
        placement.provider, versions(), date, tuple(clock.steps), note, placement.cpu_nodes, options.run.exact
    )
