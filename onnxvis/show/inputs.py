"""Inputs as cards of the page: each as the model saw it, and all that the model made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.activations import Difference, Probe, differences, run_deployed
from onnxvis.measure.boxes.detections import why_raw
from onnxvis.measure.predictions import class_scores
from onnxvis.run.labels import read_labels
from onnxvis.show.class_map import class_maps_in
from onnxvis.show.excited import ExcitedOptions, excited_cards, patches_in, strong_in, why_not
from onnxvis.show.found import found_in
from onnxvis.show.maps import map_cards, picture_of, shown_tensors
from onnxvis.show.notices import finding_notices
from onnxvis.show.page import InputCard, Notice, OutputCard, Score
from onnxvis.show.preparation import preparation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor
    from onnxvis.measure.channels import ChannelStatistics
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels
    from onnxvis.run.reading import Reading
    from onnxvis.run.session import Execution
    from onnxvis.show.excited import Strong
    from onnxvis.show.found import FoundCard
    from onnxvis.show.options import Progress, ReportOptions

__all__ = ["Looked", "look_inside"]


@dataclass(frozen=True)
class Looked:
    """What running the model on its inputs gave: their cards, where it ran, what should be known."""

    cards: tuple[InputCard, ...] = ()
    placement: Execution | None = None
    exact: bool = False
    notices: tuple[Notice, ...] = ()


def look_inside(
    model: Model,
    prepared: Sequence[PreparedInput],
    reading: Reading,
    options: ReportOptions,
    progress: Progress,
    lap: Callable[[str], None],
) -> Looked:
    """Run the deployed model, release it, then run the exposed one, then what is differentiated: each input's card.

    `reading`: how pictures of other folders are read; `lap` is told the name of each step that is done.
    Raises the errors of running, and those of reading other folders.
    """
    progress("running the model as deployed", 0, 0)
    deployed, placement = run_deployed(model, [item.feeds for item in prepared], options.run)
    lap("Deployed run")
    labels = read_labels(model.path, model.metadata, options.labels)
    cards, strong = [], []
    with Probe(model, shown_tensors(model), options.run) as probe:
        for number, (item, outputs) in enumerate(zip(prepared, deployed, strict=True), 1):
            progress("looking inside", number, len(prepared))
            # The activations live in this call alone: those of two inputs are never in memory together.
            card, strongest = _input_card(model, item, outputs, probe, labels, options)
            cards.append(card)
            strong.append(strongest)
        exact = probe.exact
    lap("Exposed run, pictures")
    if any(strong):
        cards = _with_strongest(model, prepared, cards, strong, reading, options, progress)
        lap("Strongest channels")
    if options.heatmaps:
        cards = _with_heatmaps(model, prepared, deployed, cards, labels, options, progress)
        lap("Heatmaps")
    notices = _box_notices(why_raw(model, prepared[0].feeds, deployed[0], options.detector), cards[0].found, labels)
    notices += finding_notices(cards, labels, {} if cards[0].found else deployed[0])
    return Looked(tuple(cards), placement, exact, tuple(notices))


def _with_strongest(
    model: Model,
    prepared: Sequence[PreparedInput],
    cards: Sequence[InputCard],
    strong: Sequence[Mapping[str, Sequence[Strong]]],
    reading: Reading,
    options: ReportOptions,
    progress: Progress,
) -> list[InputCard]:
    """The cards with the strongest channels of each stage, projected unless there is a reason not to."""
    reason = why_not(model, options.projections, sum(map(bool, strong)))
    asked = ExcitedOptions(options.run, options.look.colormap, not reason, options.patches, options.max_pixels)
    patches = patches_in(model, strong, reading, asked, progress)
    changed = []
    for item, card, stages in zip(prepared, cards, strong, strict=True):
        found = excited_cards(model, item, stages, patches, asked, progress) if stages else {}
        tops = tuple(replace(top, strongest=found.get(top.tensor)) for top in card.stages)
        changed.append(replace(card, stages=tops, strongest_note=reason if stages else ""))
    return changed


def _with_heatmaps(
    model: Model,
    prepared: Sequence[PreparedInput],
    deployed: Sequence[Mapping[str, Any]],
    cards: Sequence[InputCard],
    labels: Labels | None,
    options: ReportOptions,
    progress: Progress,
) -> list[InputCard]:
    from onnxvis.show.explained import HeatmapOptions, heatmap_cards  # some 40 modules, which not all reports need

    asked = HeatmapOptions(
        options.heatmaps, options.classes, detector=options.detector, faithfulness=options.faithfulness
    )
    changed = []
    for item, outputs, card in zip(prepared, deployed, cards, strict=True):
        found = heatmap_cards(model, item, outputs, labels, asked, options.run, progress)
        changed.append(replace(card, heatmaps=found[0], heatmaps_note=found[1]))
    return changed


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
) -> tuple[InputCard, dict[str, tuple[Strong, ...]]]:
    """Run the exposed model on one input, and what is seen of it, beside the `deployed` outputs; and the strongest
    channels of its stages, where those are to be shown.
    """
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
    card = InputCard(
        file, picture, preparation(item), shown, stages, item.notes, str(item.path),
        found=boxes, class_maps=() if raw else class_maps_in(model, item, deployed, labels),
    )  # fmt: skip
    return card, strong_in(found, _statistics_of_stages(card), options.channels) if options.shows_channels else {}


def _statistics_of_stages(card: InputCard) -> dict[str, ChannelStatistics]:
    """{tensor: numbers} of the backbone's stages, for an input whose picture their channels can be laid over."""
    tops = card.stages if card.picture is not None else ()
    return {top.tensor: top.statistics for top in tops if top.part == "backbone" and top.statistics is not None}


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
