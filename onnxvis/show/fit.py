"""The page within its budget: what is shown for the bytes there are, and what is left out for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from onnxvis.show.budget import Candidate, Choice, block_priorities, choose, page_bytes
from onnxvis.show.page import LeftOut, MapCard, Page, Picture
from onnxvis.show.png import encode_jpeg
from onnxvis.show.render import render
from onnxvis.show.text import channel_lines

__all__ = ["fit_page"]

Key = tuple[int, ...]
"""Where a card stands: (input, stage), or (input, stage, block)."""

_MOSAIC_MARKUP = 1500
_TRIES = 4
_LOSSY_QUALITY = 80
_LEFT_OUT = "left out for the page's budget"


def fit_page(page: Page, budget: int) -> Page:
    """`page` with the pictures that fit, so that its HTML takes at most `budget` bytes; `left_out` says what did not.

    First come facts, numbers, merged maps of stages, weights and layers; then the mosaics of stages, then of each
    stage's last block, then of the others, a block's merged map with its mosaic. Where even the first are too much,
    they go in this order: numbers of blocks, the inputs' pictures become JPEGs, merged maps of stages, the last layers,
    the last weights, numbers of stages. What remains then is shown, be it larger.
    """
    mosaics = sum(page_bytes(len(card.mosaic.png), 0) for _, card in _walk(page) if card.mosaic is not None)
    if mosaics <= budget and _bytes(page) <= budget:
        return page
    bare = _changed(page, lambda key, card: replace(card, mosaic=None, merged=card.merged if len(key) == 2 else None))
    shortened: tuple[Callable[[], Page], ...] = (
        lambda: _changed(bare, lambda key, card: card if len(key) == 2 else replace(card, statistics=None)),
        lambda: replace(bare, inputs=tuple(replace(card, picture=_smaller(card.picture)) for card in bare.inputs)),
        lambda: _changed(bare, lambda _, card: replace(card, merged=None)),
        lambda: _cut(bare, "layers", budget),
        lambda: _cut(bare, "weights", budget),
        lambda: _changed(bare, lambda _, card: replace(card, statistics=None)),
    )
    for shorter in shortened:
        if _bytes(bare) > budget:
            bare = shorter()
    room = budget - _bytes(bare)
    candidates = list(_candidates(page, bare))
    for _ in range(_TRIES):
        choice = choose(candidates, room)
        filled = _filled(page, bare, choice, budget)
        over = _bytes(filled) - budget
        if over <= 0 or not choice.chosen:
            return filled
        room = min(room, choice.size) - over
    return _filled(page, bare, choose(candidates, 0), budget)


def _bytes(page: Page) -> int:
    return len(render(page).encode())


def _walk(page: Page) -> Iterator[tuple[Key, MapCard]]:
    for number, card in enumerate(page.inputs):
        for place, stage in enumerate(card.stages):
            yield (number, place), stage
            yield from (((number, place, inner), child) for inner, child in enumerate(stage.children))


def _changed(page: Page, change: Callable[[Key, MapCard], MapCard]) -> Page:
    """`page` with every card of maps replaced by what `change` makes of it."""
    inputs = []
    for number, card in enumerate(page.inputs):
        stages = []
        for place, stage in enumerate(card.stages):
            inner = tuple(change((number, place, i), child) for i, child in enumerate(stage.children))
            stages.append(replace(change((number, place), stage), children=inner))
        inputs.append(replace(card, stages=tuple(stages)))
    return replace(page, inputs=tuple(inputs))


def _cut(page: Page, field: Literal["layers", "weights"], budget: int) -> Page:
    """`page` with as many of its first layers or weights as fit, in steps of a quarter."""
    whole = page.layers if field == "layers" else page.weights
    keep = len(whole)
    while keep and _bytes(page) > budget:
        keep = keep * 3 // 4
        note = f"Of {len(whole)} only the first {keep} are listed, for the page's budget."
        if field == "layers":
            page = replace(page, layers=page.layers[:keep], layers_note=note)
        else:
            page = replace(page, weights=page.weights[:keep], weights_note=note)
    return page


def _smaller(picture: Picture | None) -> Picture | None:
    """A lossless picture as a JPEG, at its own size."""
    if picture is None:
        return None
    pixels = np.asarray(cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    data = encode_jpeg(pixels[:, :, ::-1], _LOSSY_QUALITY)
    return replace(picture, data=data, media_type="image/jpeg")


def _candidates(page: Page, bare: Page) -> Iterator[Candidate]:
    """What could be put back into `bare`, with its size: a mosaic, and what of its card is missing there."""
    kept = dict(_walk(bare))
    priorities = {
        (number, place, *inner): priority
        for number, card in enumerate(page.inputs)
        for place, row in enumerate(block_priorities([len(stage.children) for stage in card.stages]))
        for *inner, priority in ([0], *enumerate(row))
    }
    for key, card in _walk(page):
        if card.mosaic is None:
            continue
        size = page_bytes(len(card.mosaic.png), 0) + _MOSAIC_MARKUP
        if card.merged and not kept[key].merged:
            size += page_bytes(len(card.merged.data), 0)
        if card.statistics and not kept[key].statistics:
            size += len(channel_lines(card.statistics))
        yield Candidate("/".join(map(str, key)), priorities[key], size)


def _filled(page: Page, bare: Page, choice: Choice, budget: int) -> Page:
    """`bare` with the chosen mosaics of `page` back in, and a line for each that is not."""
    chosen = {candidate.name for candidate in choice.chosen}
    cards = dict(_walk(page))

    def fill(key: Key, card: MapCard) -> MapCard:
        own = cards[key]
        if "/".join(map(str, key)) in chosen:
            return replace(card, mosaic=own.mosaic, merged=own.merged, statistics=own.statistics)
        return replace(card, left_out=_LEFT_OUT) if own.mosaic is not None else card

    lines = []
    for candidate in choice.left_out:
        key = tuple(map(int, candidate.name.split("/")))
        whose = f"input {key[0] + 1}: " if len(page.inputs) > 1 else ""
        reason = f"the page's budget of {budget / 1e6:g} MB was spent on stages first"
        lines.append(LeftOut(f"{whose}{cards[key].name}", candidate.size, reason))
    return replace(_changed(bare, fill), left_out=tuple(lines))
