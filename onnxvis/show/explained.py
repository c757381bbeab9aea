"""Heatmaps as cards of the page: the methods asked for, for the strongest classes, or boxes of a detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.errors import InputError, ModelError, RewriteError, UsageError
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.heatmaps.method import METHODS
from onnxvis.measure.predictions import class_scores
from onnxvis.measure.target import TOP, Target, resolve_target
from onnxvis.show.found import box_name, outline
from onnxvis.show.heatmaps import describe_heatmap, heatmap_picture
from onnxvis.show.page import HeatmapCard, Picture
from onnxvis.show.png import encode_jpeg
from onnxvis.show.trust import trust_cards

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels
    from onnxvis.run.session import RunOptions

__all__ = ["HeatmapOptions", "heatmap_cards"]

Array = np.ndarray[Any, np.dtype[Any]]

_SIDE, _QUALITY = 288, 85


@dataclass(frozen=True)
class HeatmapOptions:
    """`methods`: by name, in order; none for no heatmaps. `classes`: for how many of the strongest classes, or boxes
    of a detector, the first of them is drawn; the others explain the strongest. `detector`: what is told of its heads.
    `faithfulness`: whether each map is tested by insertion and deletion.
    """

    methods: tuple[str, ...] = ("gradcam",)
    classes: int = 1
    colormap: str = "turbo"
    detector: DetectorFlags = NO_FLAGS
    faithfulness: bool = False


def heatmap_cards(
    model: Model,
    item: PreparedInput,
    outputs: Mapping[str, Any],
    labels: Labels | None,
    options: HeatmapOptions,
    run: RunOptions,
    progress: Callable[[str, int, int], None],
) -> tuple[tuple[HeatmapCard, ...], str]:
    """The heatmaps of one input, whose `outputs` as deployed are given, and why others are not there ('' for all).

    A model that cannot be differentiated, or whose outputs are no class scores, has a page all the same.
    """
    if not options.methods or item.picture is None:
        return (), ""
    try:
        target = resolve_target(model, TOP, outputs, feeds=item.feeds, flags=options.detector)
    except UsageError as error:
        return (), str(error)
    others, chances = _others(model, item, outputs, target, options)
    found, reasons = _explained(model, item, target, options.methods, run, progress)
    for place, other in enumerate(others, 1):
        more, further = _explained(model, item, other, options.methods[:1], run, progress)
        found[place:place] = more
        reasons += further
    cards = [_card(one, item.picture, labels, chances, options.colormap) for one in found]
    if options.faithfulness:
        tested, further = trust_cards(model, item, found, run, progress)
        cards = [replace(card, faithfulness=one) for card, one in zip(cards, tested, strict=True)]
        reasons += further
    return tuple(cards), " ".join(dict.fromkeys(reasons))


def _others(
    model: Model, item: PreparedInput, outputs: Mapping[str, Any], first: Target, options: HeatmapOptions
) -> tuple[list[Target], dict[int, float]]:
    """The next strongest classes, or boxes, after `first`, and the score of each class."""
    if first.box is None:
        scores = class_scores(outputs[first.output], max(1, options.classes))
        best = scores.best if scores else ()
        others = [resolve_target(model, f"{first.output}:{one.index}", outputs) for one in best[1:]]
        return others, {one.index: one.score for one in best}
    boxes: list[Target] = []
    for place in range(1, options.classes):
        try:
            boxes.append(resolve_target(model, f"box:{place}", outputs, feeds=item.feeds, flags=options.detector))
        except UsageError:  # there are no more
            break
    return boxes, {}


def _explained(
    model: Model,
    item: PreparedInput,
    target: Target,
    methods: tuple[str, ...],
    run: RunOptions,
    progress: Callable[[str, int, int], None],
) -> tuple[list[Heatmap], list[str]]:
    """The heatmaps that there are, in the order of `methods`, and why there are no others.

    Quick methods are computed in one go, as they share their gradients; slow ones each on its own, so that one that
    cannot be costs nothing of the others.
    """
    groups = [tuple(name for name in methods if not METHODS[name].slow)]
    groups += [(name,) for name in methods if METHODS[name].slow]
    found: list[Heatmap] = []
    reasons: list[str] = []
    for group in groups:
        more, further = _in_one_go(model, item, target, group, run, progress) if group else ([], [])
        found += more
        reasons += further
    return sorted(found, key=lambda one: methods.index(one.method)), reasons


def _in_one_go(
    model: Model,
    item: PreparedInput,
    target: Target,
    methods: tuple[str, ...],
    run: RunOptions,
    progress: Callable[[str, int, int], None],
) -> tuple[list[Heatmap], list[str]]:
    try:
        return [*explain(model, item.feeds, methods, target=target, options=run, progress=progress)], []
    except (RewriteError, UsageError, InputError, ModelError) as error:
        if len(methods) == 1:
            return [], [f"{methods[0]}: {error}"]
    each = [_in_one_go(model, item, target, (method,), run, progress) for method in methods]
    return [one for found, _ in each for one in found], [reason for _, reasons in each for reason in reasons]


def _card(
    found: Heatmap, picture: Array, labels: Labels | None, chances: Mapping[int, float], colormap: str
) -> HeatmapCard:
    said = describe_heatmap(found, labels)
    pixels = _small(heatmap_picture(found, picture, colormap))
    index, box = found.target.index, found.target.box
    score = chances.get(index[0]) if len(index) == 1 else None
    label = said["label"]
    if box is not None:
        label, score = box_name(box, labels), box.score
    alt = f"{found.method} for {label}, over the input"
    return HeatmapCard(
        method=found.method,
        definition=found.definition,
        layers=found.layers,
        target=str(found.target),
        label=label,
        score=score,
        peak=tuple(said["peak"]) if said["peak"] else None,
        notes=found.notes,
        provider=found.provider,
        picture=Picture(encode_jpeg(pixels, _QUALITY), pixels.shape[1], pixels.shape[0], alt, "image/jpeg"),
        box=outline(box, found.map.shape) if box is not None else None,
    )


def _small(pixels: Array) -> Array:
    height, width = pixels.shape[:2]
    factor = min(1.0, _SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
