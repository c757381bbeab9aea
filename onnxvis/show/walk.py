"""The cards of maps on a page: going through them, changing them, their names and what they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from onnxvis.show.budget import page_bytes
from onnxvis.show.page import MapCard, Page

__all__ = [
    "Key",
    "budget_text",
    "called",
    "changed",
    "is_stage",
    "left_out_reason",
    "mosaic_bytes",
    "strongest_bytes",
    "walk",
    "with_mosaic",
]

Key = tuple[int, ...]
"""Where a card stands: (input, stage), or (input, stage, block)."""

_MOSAIC_MARKUP, _BYTES_AN_END = 1500, 24


def walk(page: Page) -> Iterator[tuple[Key, MapCard]]:
    """Every card with its place: each stage, then the blocks inside it."""
    for number, card in enumerate(page.inputs):
        for place, stage in enumerate(card.stages):
            yield (number, place), stage
            yield from (((number, place, inner), child) for inner, child in enumerate(stage.children))


def changed(page: Page, change: Callable[[Key, MapCard], MapCard]) -> Page:
    """`page` with every card of maps replaced by what `change` makes of it."""
    inputs = []
    for number, card in enumerate(page.inputs):
        stages = []
        for place, stage in enumerate(card.stages):
            inner = tuple(change((number, place, i), child) for i, child in enumerate(stage.children))
            stages.append(replace(change((number, place), stage), children=inner))
        inputs.append(replace(card, stages=tuple(stages)))
    return replace(page, inputs=tuple(inputs))


def is_stage(key: Key, card: MapCard) -> bool:
    """Whether `card` is of a stage of the backbone: no block, stem, neck or head."""
    return len(key) == 2 and card.part == "backbone"


def with_mosaic(card: MapCard) -> int:
    """What the mosaic of `card` takes with the attribute that holds its ends."""
    if card.mosaic is None:
        return 0
    own_ends = len(set(card.mosaic.low)) > 1 and card.mosaic.stretch != "channel"
    return mosaic_bytes(card) + (_BYTES_AN_END * len(card.mosaic.low) if own_ends else 0)


def mosaic_bytes(card: MapCard) -> int:
    """About what the mosaic of `card` takes on the page, 0 where it has none."""
    return 0 if card.mosaic is None else page_bytes(len(card.mosaic.png)) + _MOSAIC_MARKUP


def strongest_bytes(card: MapCard, patches: bool) -> int:
    """What the pictures of a stage's strongest channels take on the page: those of patches, or the others."""
    channels = card.strongest.channels if card.strongest is not None else ()
    if patches:
        return sum(page_bytes(len(one.jpeg)) for channel in channels for one in channel.patches)
    return sum(page_bytes(len(channel.over)) + page_bytes(len(channel.projection)) for channel in channels)


def called(page: Page, key: Key, card: MapCard) -> str:
    """The card's name, with its input where there are several."""
    return f"input {key[0] + 1}: {card.name}" if len(page.inputs) > 1 else card.name


def left_out_reason(key: Key, budget: int, some: bool) -> str:
    """Why a mosaic is left out, where `some` others are shown or none is."""
    if len(key) > 2 and some:
        return f"{budget_text(budget)} was spent on stages and other blocks first"
    return f"there was no room in {budget_text(budget)}"


def budget_text(budget: int) -> str:
    """The budget in words."""
    return f"the page's budget of {budget / 1e6:g} MB"
