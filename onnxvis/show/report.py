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

from onnxvis import __version__
from onnxvis.files import one_line
from onnxvis.measure.activations import Difference, Probe, differences, run_deployed
from onnxvis.measure.predictions import class_scores
from onnxvis.run.inputs import PreparedInput, Skipped
from onnxvis.run.labels import Labels, read_labels
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.preprocess import Preprocessing
from onnxvis.run.reading import Reading
from onnxvis.run.session import Placement, RunOptions
from onnxvis.run.settings import PreprocessFlags
from onnxvis.show.budget import DEFAULT_BUDGET
from onnxvis.show.fit import fit_page
from onnxvis.show.gather import layer_rows, model_card, versions, weight_cards
from onnxvis.show.maps import Look, map_cards, picture_of, shown_tensors
from onnxvis.show.page import Fact, Guess, InputCard, Notice, OutputCard, Page, RunCard, Score
from onnxvis.show.text import shape

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor

__all__ = ["MAX_INPUTS", "Progress", "ReportOptions", "build_page"]

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
    clock = _Clock()
    reading = Reading.of(model, options.preprocess, options.feeds)
    skipped: list[Skipped] = []
    prepared = list(itertools.islice(reading.read(inputs, skipped, options.max_pixels), MAX_INPUTS + 1))
    more = len(prepared) > MAX_INPUTS
    prepared = prepared[:MAX_INPUTS]
    clock.lap("Reading the inputs")
    notices = [*_input_notices(model, inputs, reading, skipped, more)]
    cards: tuple[InputCard, ...] = ()
    placement: Placement | None = None
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
    return fit_page(page, options.budget)


def _look(
    model: Model, prepared: list[PreparedInput], options: ReportOptions, progress: Progress, clock: _Clock
) -> tuple[tuple[InputCard, ...], Placement, list[Notice]]:
    """Run the deployed model, release it, then run the exposed one: each input's card, and what should be known."""
    progress("running the model as deployed", 0, 0)
    deployed, placement = run_deployed(model, [item.feeds for item in prepared], options.run)
    clock.lap("Deployed run")
    labels = read_labels(model.path, model.metadata, options.labels)
    cards = []
    with Probe(model, shown_tensors(model), options.run) as probe:
        for number, (item, outputs) in enumerate(zip(prepared, deployed, strict=True), 1):
            progress("looking inside", number, len(prepared))
            file = Path(item.path).name
            found = probe.run(item.feeds)
            stages = map_cards(model, found, item.picture, options.look)
            gaps = {gap.output: gap for gap in differences(found.outputs, outputs)}
            shown = tuple(
                _output_card(tensor, outputs.get(tensor.name), gaps.get(tensor.name), labels)
                for tensor in model.outputs
            )
            picture = picture_of(item.picture, f"{file} as the model sees it") if item.picture is not None else None
            cards.append(InputCard(file, picture, _preparation(item), shown, stages, item.notes))
    clock.lap("Exposed run, pictures")
    return tuple(cards), placement, _finding_notices(cards, labels, deployed[0])


def _output_card(tensor: Tensor, value: object, gap: Difference | None, labels: Labels | None) -> OutputCard:
    if value is None:
        return OutputCard(tensor.name, (), tensor.dtype, note="a type that NumPy does not have; it is not shown")
    if not isinstance(value, np.ndarray):
        return OutputCard(tensor.name, (), type(value).__name__, note="not a tensor; it is not shown")
    found = class_scores(value)
    scores = tuple(
        Score(item.index, labels.name(item.index) if labels else f"class {item.index}", item.score)
        for item in (found.best if found else ())
    )
    return OutputCard(
        tensor.name, value.shape, str(value.dtype), scores, found.kind if found else "",
        gap.max_abs if gap else None, gap.relative if gap else None,
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
            Fact("As flags", settings.flags()),
        ]
    for name, value in item.feeds.items():
        facts.append(
            Fact(f"Input {one_line(name, 60)}", f"{value.dtype} {' × '.join(map(str, value.shape)) or 'scalar'}")
        )
    return tuple(facts)


def _values(settings: Preprocessing) -> str:
    """The formula from pixel to value, without the steps that change nothing."""
    text = "pixel" if settings.divide == 1 else f"pixel / {settings.divide:g}"
    if any(settings.mean):
        text = f"({text} − {_listed(settings.mean)})"
    return text if set(settings.std) == {1.0} else f"{text} / {_listed(settings.std)}"


def _listed(values: tuple[float, ...]) -> str:
    unique = values[:1] if len(set(values)) == 1 else values
    text = ", ".join(f"{value:g}" for value in unique)
    return text if len(unique) == 1 else f"({text})"


def _guess(settings: Preprocessing | None) -> Guess | None:
    if settings is None or not settings.guessed:
        return None
    order = "BGR" if settings.bgr else "RGB"
    what = f"{order}, {_values(settings)}, fit {settings.fit}"
    return Guess(
        what, "Neither flags, nor the model, nor a file beside it say how pictures are prepared.", settings.flags()
    )


def _input_notices(
    model: Model, inputs: Sequence[str | Path], reading: Reading, skipped: list[Skipped], more: bool
) -> list[Notice]:
    notices = []
    ports = ", ".join(f"{one_line(t.name, 60)} {t.dtype} {shape(t.shape)}" for t in model.inputs)
    if reading.preprocessing is None:
        title = "This model takes no picture"
        notices.append(
            Notice(
                f"Its inputs are {ports}. So there are no feature maps to show; its weights and layers are below.",
                "info",
                title,
            )
        )
    elif not inputs:
        notices.append(
            Notice("No picture was given, so only weights and layers are shown. Add one: onnxvis report MODEL PHOTO")
        )
    if more:
        notices.append(Notice(f"Only the first {MAX_INPUTS} inputs are shown."))
    if skipped:
        named = "; ".join(item.reason for item in skipped[:5])
        notices.append(Notice(f"{len(skipped)} files could not be read and were passed over: {named}", "warning"))
    return notices


def _finding_notices(cards: list[InputCard], labels: Labels | None, outputs: Mapping[str, Any]) -> list[Notice]:
    notices = []
    for card in cards:
        dead = {
            s.name: int(s.statistics.dead.sum()) for s in card.stages if s.statistics is not None and s.part != "heads"
        }
        dead = {name: count for name, count in dead.items() if count}
        if dead:
            listed = ", ".join(f"{count} in {one_line(name, 60)}" for name, count in dead.items())
            notices.append(
                Notice(
                    f"Channels that stay constant on {one_line(card.name)}: {listed}.",
                    "info",
                    "Dead channels",
                )
            )
    classes = [found.classes for value in outputs.values() if (found := class_scores(value))]
    note = labels.note(classes[0]) if labels and len(classes) == 1 else None
    return [*notices, Notice(note, "warning", "Labels")] if note else notices


def _run_card(placement: Placement, options: ReportOptions, clock: _Clock) -> RunCard:
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    note = "; ".join(placement.notes)
    return RunCard(
        placement.provider, versions(), date, tuple(clock.steps), note, placement.cpu_nodes, options.run.exact
    )
