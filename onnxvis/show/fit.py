"""The page within its budget: what is shown for the bytes there are, and what is left out for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from onnxvis.show.budget import Candidate, Choice, block_priorities, choose, page_bytes, top_priority
from onnxvis.show.page import InputCard, LeftOut, MapCard, Notice, Page, Picture
from onnxvis.show.png import encode_jpeg
from onnxvis.show.render import Press
from onnxvis.show.text import channel_lines, size

__all__ = ["KERNELS_SHARE", "Fitted", "fit", "fit_page"]

Key = tuple[int, ...]
"""Where a card stands: (input, stage), or (input, stage, block)."""

KERNELS_SHARE = 0.15
"""Of the budget, for pictures of kernels."""

_MOSAIC_MARKUP, _KERNEL_MARKUP = 1500, 900
_BYTES_AN_END = 24
_TRIES = 4
_LOSSY_QUALITY = 80
_LEFT_OUT = "left out for the page's budget"


@dataclass(frozen=True, eq=False)
class Fitted:
    """A page and its HTML in UTF-8, so that it is rendered no oftener than it is measured.

    `press` has rendered it and may render pages like it: what they share is not made again.
    """

    page: Page
    html: bytes
    press: Press

    @classmethod
    def of(cls, page: Page, press: Press) -> Fitted:
        """`page`, rendered."""
        return cls(page, press.render(page).encode(), press)

    def but(self, page: Page) -> Fitted:
        """Another page, rendered by the same press."""
        return Fitted.of(page, self.press)


def fit_page(page: Page, budget: int) -> Page:
    """The page of `fit`."""
    return fit(page, budget).page


def fit(page: Page, budget: int) -> Fitted:
    """`page` with the pictures that fit, so that its HTML takes at most `budget` bytes; `left_out` says what did not.

    Pictures of kernels take at most 15 % of it, the first layers' first. First come facts, numbers, merged maps of
    stages, kernels, weights and layers; then the mosaics of the backbone's stages, then of stem, neck and heads, then
    of each stage's last block, then of the others, a block's merged map with its mosaic. Where even the first are too
    much, they go in this order: numbers of blocks, kernels, the inputs' pictures become JPEGs, merged maps of stages,
    charts over depth, the last layers, the last weights, numbers of stages. What remains then is shown, be it larger; a
    notice then says so.
    """
    press, dropped = Press(), tuple(_dropped(page))
    some = _some_kernels(page, budget * KERNELS_SHARE)
    if _pictures(some) <= budget:
        left_out = (*page.left_out, *_missing_kernels(page, some, budget), *dropped)
        whole = Fitted.of(some if left_out == page.left_out else replace(some, left_out=left_out), press)
        if len(whole.html) <= budget:
            return whole
    bare = _shortened(page, budget, dropped, press)
    dropped = (*_missing_kernels(page, bare.page, budget), *dropped)
    room = budget - len(bare.html)
    candidates = list(_candidates(page, bare.page))
    for _ in range(_TRIES):
        choice = choose(candidates, room)
        filled = Fitted.of(_filled(page, bare.page, choice, budget, dropped), press)
        over = len(filled.html) - budget
        if over <= 0 or not choice.chosen:
            return _said_to_be_over(filled, budget)
        room = min(room, choice.size) - over
    nothing = _filled(page, bare.page, choose(candidates, 0), budget, dropped)
    return _said_to_be_over(Fitted.of(nothing, press), budget)


def _pictures(page: Page) -> int:
    """About what the mosaics and kernels alone take on the page, never more than they do."""
    mosaics = sum(page_bytes(len(card.mosaic.png)) for _, card in _walk(page) if card.mosaic is not None)
    return mosaics + sum(page_bytes(len(card.drawn.png)) for card in page.kernels)


def _some_kernels(page: Page, room: float) -> Page:
    """`page` with the kernels that fit in `room` bytes, the first ones first."""
    candidates = [
        Candidate(card.kernel.weight, 0, page_bytes(len(card.drawn.png)) + _KERNEL_MARKUP, (place,))
        for place, card in enumerate(page.kernels)
    ]
    kept = tuple(page.kernels[item.place[0]] for item in choose(candidates, int(max(0, room))).chosen)
    if len(kept) == len(page.kernels):
        return page
    return replace(page, kernels=kept, kernels_note=page.kernels_note if kept else "")


def _missing_kernels(page: Page, shown: Page, budget: int) -> tuple[LeftOut, ...]:
    """One line on the kernels of `page` that `shown` has not."""
    kept = set(map(id, shown.kernels))
    missing = [card for card in page.kernels if id(card) not in kept]
    if not missing:
        return ()
    others = f" and of {len(missing) - 1} more layers" if len(missing) > 1 else ""
    reason = f"kernels come after facts and numbers, and take at most {100 * KERNELS_SHARE:g} % of {_budget(budget)}"
    taken = sum(page_bytes(len(card.drawn.png)) for card in missing)
    return (LeftOut(f"kernels of {missing[0].kernel.weight}{others}", taken, reason),)


def _said_to_be_over(fitted: Fitted, budget: int) -> Fitted:
    """`fitted` as it is, or with a notice where it takes more than the budget."""
    if len(fitted.html) <= budget:
        return fitted
    text = (
        f"This page takes about {size(len(fitted.html))}, more than its budget of {size(budget)}: "
        "what is left on it cannot be made smaller."
    )
    notices = (*fitted.page.notices, Notice(text, "warning", "Over the budget"))
    return fitted.but(replace(fitted.page, notices=notices))


def _shortened(page: Page, budget: int, dropped: tuple[LeftOut, ...], press: Press) -> Fitted:
    """`page` without mosaics and with nothing of blocks but their numbers, then step by step with less.

    It lists every mosaic as left out, so that a page with some of them lists no more.
    """
    listed = [
        LeftOut(_called(page, key, card), _mosaic_bytes(card), _reason(key, budget, True))
        for key, card in _walk(page)
        if card.mosaic is not None
    ]

    def with_kernels(now: Page, room: float) -> Fitted:
        some = _some_kernels(now, room)
        lines = (*listed, *_missing_kernels(page, some, budget), *dropped)
        return Fitted.of(replace(some, left_out=lines), press)

    def fewer_kernels(now: Fitted) -> Fitted:
        taken = sum(page_bytes(len(card.drawn.png)) + _KERNEL_MARKUP for card in now.page.kernels)
        fewer = with_kernels(now.page, taken - (len(now.html) - budget)) if taken else now
        return fewer if len(fewer.html) <= budget else with_kernels(now.page, 0)

    bare = with_kernels(_changed(page, _without_mosaic), budget * KERNELS_SHARE)
    steps: tuple[Callable[[Fitted], Fitted], ...] = (
        lambda now: _each(now, lambda key, card: card if len(key) == 2 else replace(card, statistics=None)),
        fewer_kernels,
        lambda now: now.but(replace(now.page, inputs=tuple(map(_lossy, now.page.inputs)))),
        lambda now: _each(now, lambda _, card: replace(card, merged=None)),
        lambda now: now.but(replace(now.page, depth=())),
        lambda now: _cut(now, "layers", budget),
        lambda now: _cut(now, "weights", budget),
        lambda now: _each(now, lambda _, card: replace(card, statistics=None)),
    )
    for step in steps:
        if len(bare.html) <= budget:
            break
        bare = step(bare)
    return bare


def _without_mosaic(key: Key, card: MapCard) -> MapCard:
    """A stage with its merged map and numbers, a block with its numbers."""
    left_out = card.left_out if card.mosaic is None else _LEFT_OUT
    return replace(card, mosaic=None, merged=card.merged if len(key) == 2 else None, left_out=left_out)


def _mosaic_bytes(card: MapCard) -> int:
    return 0 if card.mosaic is None else page_bytes(len(card.mosaic.png)) + _MOSAIC_MARKUP


def _reason(key: Key, budget: int, some: bool) -> str:
    """Why a mosaic is left out, where `some` others are shown or none is."""
    if len(key) > 2 and some:
        return f"{_budget(budget)} was spent on stages and other blocks first"
    return f"there was no room in {_budget(budget)}"


def _budget(budget: int) -> str:
    return f"the page's budget of {budget / 1e6:g} MB"


def _each(fitted: Fitted, change: Callable[[Key, MapCard], MapCard]) -> Fitted:
    return fitted.but(_changed(fitted.page, change))


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


def _cut(fitted: Fitted, field: Literal["layers", "weights"], budget: int) -> Fitted:
    """As many of the first layers or weights as fit: what their average size allows, then fewer by quarters."""
    whole = len(fitted.page.layers if field == "layers" else fitted.page.weights)
    if not whole:
        return fitted
    empty = _first(fitted, field, 0)
    room = budget - len(empty.html)
    keep = max(0, whole * room // max(1, len(fitted.html) - len(empty.html)))
    while keep:
        shorter = _first(fitted, field, min(keep, whole - 1))
        if len(shorter.html) <= budget:
            return shorter
        keep = keep * 3 // 4
    return empty


def _first(fitted: Fitted, field: Literal["layers", "weights"], keep: int) -> Fitted:
    """The page with the first `keep` layers or weights, and a note that there were more."""
    page = fitted.page
    if field == "layers":
        note = f"Of {len(page.layers)} only the first {keep} are listed, for the page's budget."
        return fitted.but(replace(page, layers=page.layers[:keep], layers_note=note))
    note = f"Of {len(page.weights)} only the first {keep} are listed, for the page's budget."
    return fitted.but(replace(page, weights=page.weights[:keep], weights_note=note))


def _lossy(card: InputCard) -> InputCard:
    """An input with its lossless picture as a JPEG, at its own size."""
    picture: Picture | None = card.picture
    if picture is None:
        return card
    pixels = np.asarray(cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    data = encode_jpeg(pixels[:, :, ::-1], _LOSSY_QUALITY)
    return replace(card, picture=replace(picture, data=data, media_type="image/jpeg"))


def _candidates(page: Page, bare: Page) -> Iterator[Candidate]:
    """What could be put back into `bare`, with its size: a mosaic, and what of its card is missing there."""
    kept = dict(_walk(bare))
    priorities = {
        (number, place, *inner): priority
        for number, card in enumerate(page.inputs)
        for place, row in enumerate(block_priorities([len(stage.children) for stage in card.stages]))
        for *inner, priority in ([top_priority(card.stages[place].part)], *enumerate(row))
    }
    for key, card in _walk(page):
        if card.mosaic is None:
            continue
        needed = _mosaic_bytes(card)
        if len(set(card.mosaic.low)) > 1 and card.mosaic.stretch != "channel":
            needed += _BYTES_AN_END * len(card.mosaic.low)
        if card.merged and not kept[key].merged:
            needed += page_bytes(len(card.merged.data))
        if card.statistics and not kept[key].statistics:
            needed += len(channel_lines(card.statistics))
        yield Candidate(_called(page, key, card), priorities[key], needed, key)


def _called(page: Page, key: Key, card: MapCard) -> str:
    return f"input {key[0] + 1}: {card.name}" if len(page.inputs) > 1 else card.name


def _dropped(page: Page) -> Iterator[LeftOut]:
    """The cards that came without a mosaic because it was too large for any place here."""
    for key, card in _walk(page):
        if card.mosaic is None and card.left_out_bytes:
            yield LeftOut(_called(page, key, card), card.left_out_bytes, card.left_out)


def _filled(page: Page, bare: Page, choice: Choice, budget: int, dropped: tuple[LeftOut, ...]) -> Page:
    """`bare` with the chosen mosaics of `page` back in, and a line for each that is not."""
    chosen = {candidate.place for candidate in choice.chosen}
    cards = dict(_walk(page))

    def fill(key: Key, card: MapCard) -> MapCard:
        own = cards[key]
        return replace(own, children=card.children) if key in chosen else card

    lines = [
        LeftOut(candidate.name, _mosaic_bytes(cards[candidate.place]), _reason(candidate.place, budget, bool(chosen)))
        for candidate in choice.left_out
    ]
    return replace(_changed(bare, fill), left_out=(*lines, *dropped))
