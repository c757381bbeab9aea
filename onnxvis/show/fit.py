"""The page within its budget: what is shown for the bytes there are, and what is left out for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from onnxvis.show.budget import Candidate, Choice, block_priorities, choose, page_bytes, top_priority
from onnxvis.show.page import LeftOut, MapCard, Notice, Page
from onnxvis.show.render import Press
from onnxvis.show.shorten import KERNELS_SHARE, Fitted, missing_pictures, shortened, some_kernels
from onnxvis.show.text import channel_lines, size
from onnxvis.show.walk import Key, called, changed, left_out_reason, mosaic_bytes, walk, with_mosaic

__all__ = ["fit", "fit_page"]

_TRIES = 4


def fit_page(page: Page, budget: int) -> Page:
    """The page of `fit`."""
    return fit(page, budget).page


def fit(page: Page, budget: int) -> Fitted:
    """`page` with the pictures that fit, so that its HTML takes at most `budget` bytes; `left_out` says what did not.

    Pictures of kernels take at most 15 % of it, the first layers' first. First come facts, numbers, merged maps of
    stages, kernels, weights and layers; then the mosaics of the backbone's stages, then of stem, neck and heads, then
    of each stage's last block, then of the others, a block's merged map with its mosaic. Where even the first are too
    much, they go in this order: numbers of all but the backbone's stages, the inputs' pictures become JPEGs, kernels,
    patches of the strongest channels, their maps and projections, all but a detector's 20 strongest boxes and the
    pictures of class maps, merged maps of stages, charts over depth, the last layers, the last weights, numbers of
    stages. What remains then is shown, be it larger; a notice then says so. All before the boxes also make room for the
    mosaics of the backbone's stages, where all of those then fit.
    """
    press, dropped = Press(), tuple(_dropped(page))
    some = some_kernels(page, budget * KERNELS_SHARE)
    if _pictures(some) <= budget:
        left_out = (*page.left_out, *missing_pictures(page, some, budget), *dropped)
        whole = Fitted.of(some if left_out == page.left_out else replace(some, left_out=left_out), press)
        if len(whole.html) <= budget:
            return whole
    bare = shortened(page, budget, dropped, press)
    dropped = (*missing_pictures(page, bare.page, budget), *dropped)
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
    mosaics = sum(page_bytes(len(card.mosaic.png)) for _, card in walk(page) if card.mosaic is not None)
    return mosaics + sum(page_bytes(len(card.drawn.png)) for card in page.kernels)


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


def _candidates(page: Page, bare: Page) -> Iterator[Candidate]:
    """What could be put back into `bare`, with its size: a mosaic, and what of its card is missing there."""
    kept = dict(walk(bare))
    priorities = {
        (number, place, *inner): priority
        for number, card in enumerate(page.inputs)
        for place, row in enumerate(block_priorities([len(stage.children) for stage in card.stages]))
        for *inner, priority in ([top_priority(card.stages[place].part)], *enumerate(row))
    }
    for key, card in walk(page):
        if card.mosaic is None:
            continue
        needed = with_mosaic(card)
        if card.merged and not kept[key].merged:
            needed += page_bytes(len(card.merged.data))
        if card.statistics and not kept[key].statistics:
            needed += len(channel_lines(card.statistics))
        yield Candidate(called(page, key, card), priorities[key], needed, key)


def _dropped(page: Page) -> Iterator[LeftOut]:
    """The cards that came without a mosaic because it was too large for any place here."""
    for key, card in walk(page):
        if card.mosaic is None and card.left_out_bytes:
            yield LeftOut(called(page, key, card), card.left_out_bytes, card.left_out)


def _filled(page: Page, bare: Page, choice: Choice, budget: int, dropped: tuple[LeftOut, ...]) -> Page:
    """`bare` with the chosen mosaics of `page` back in, and a line for each that is not."""
    chosen = {candidate.place for candidate in choice.chosen}
    cards = dict(walk(page))

    def fill(key: Key, card: MapCard) -> MapCard:
        own = cards[key]
        return replace(own, children=card.children, strongest=card.strongest) if key in chosen else card

    lines = [
        LeftOut(
            candidate.name, mosaic_bytes(cards[candidate.place]), left_out_reason(candidate.place, budget, bool(chosen))
        )
        for candidate in choice.left_out
    ]
    return replace(changed(bare, fill), left_out=(*lines, *dropped))
