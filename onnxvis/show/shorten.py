"""A page made smaller: without mosaics, then step by step with less, until it takes no more than it may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from onnxvis.show.budget import Candidate, choose, page_bytes
from onnxvis.show.page import InputCard, LeftOut, MapCard, Page, Picture
from onnxvis.show.png import encode_jpeg
from onnxvis.show.render import Press
from onnxvis.show.walk import (
    Key,
    budget_text,
    called,
    changed,
    is_stage,
    left_out_reason,
    mosaic_bytes,
    strongest_bytes,
    walk,
    with_mosaic,
)

__all__ = ["KERNELS_SHARE", "Fitted", "missing_pictures", "shortened", "some_kernels"]

KERNELS_SHARE = 0.15
"""Of the budget, for pictures of kernels."""

_Step = Callable[["Fitted", int], "Fitted"]
"""Takes something off a page so that it takes at most so many bytes, as far as that goes."""

_KERNEL_MARKUP = 900
_LOSSY_QUALITY = 80
_FEWER_BOXES = 20
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


def shortened(page: Page, budget: int, dropped: tuple[LeftOut, ...], press: Press) -> Fitted:
    """`page` without mosaics and with nothing of blocks but their numbers, then step by step with less.

    It lists every mosaic as left out, so that a page with some of them lists no more.
    """
    listed = [
        LeftOut(called(page, key, card), mosaic_bytes(card), left_out_reason(key, budget, True))
        for key, card in walk(page)
        if card.mosaic is not None
    ]

    def listing(now: Page) -> Fitted:
        return Fitted.of(replace(now, left_out=(*listed, *missing_pictures(page, now, budget), *dropped)), press)

    def with_kernels(now: Page, room: float) -> Fitted:
        return listing(some_kernels(now, room))

    def fewer_kernels(now: Fitted, most: int) -> Fitted:
        taken = sum(page_bytes(len(card.drawn.png)) + _KERNEL_MARKUP for card in now.page.kernels)
        fewer = with_kernels(now.page, taken - (len(now.html) - most)) if taken else now
        return fewer if len(fewer.html) <= most else with_kernels(now.page, 0)

    bare = with_kernels(changed(page, _without_mosaic), budget * KERNELS_SHARE)
    first: tuple[_Step, ...] = (
        lambda now, _: _each(now, lambda key, card: card if is_stage(key, card) else replace(card, statistics=None)),
        lambda now, _: now.but(replace(now.page, inputs=tuple(map(_lossy, now.page.inputs)))),
        fewer_kernels,
        lambda now, _: listing(changed(now.page, _without_patches)) if _has_strongest(now.page, True) else now,
        lambda now, _: listing(changed(now.page, _without_strongest)) if _has_strongest(now.page, False) else now,
    )
    most = budget - _stage_mosaics(page)
    if most > 0:
        with_room = _until(most, bare, first)
        if len(with_room.html) <= most:
            return with_room
    last: tuple[_Step, ...] = (
        lambda now, _: _less_found(now),
        lambda now, _: _each(now, lambda _, card: replace(card, merged=None)),
        lambda now, _: now.but(replace(now.page, depth=())),
        lambda now, _: _cut(now, "layers", budget),
        lambda now, _: _cut(now, "weights", budget),
        lambda now, _: _each(now, lambda _, card: replace(card, statistics=None)),
    )
    return _until(budget, bare, (*first, *last))


def _until(most: int, fitted: Fitted, steps: tuple[_Step, ...]) -> Fitted:
    """`fitted` after as many of `steps` as it takes to make it `most` bytes large, after all where none does."""
    for step in steps:
        if len(fitted.html) <= most:
            break
        fitted = step(fitted, most)
    return fitted


def _stage_mosaics(page: Page) -> int:
    """About what the mosaics of the backbone's stages take on the page."""
    return sum(with_mosaic(card) for key, card in walk(page) if is_stage(key, card))


def some_kernels(page: Page, room: float) -> Page:
    """`page` with the kernels that fit in `room` bytes, the first ones first."""
    candidates = [
        Candidate(card.kernel.weight, 0, page_bytes(len(card.drawn.png)) + _KERNEL_MARKUP, (place,))
        for place, card in enumerate(page.kernels)
    ]
    kept = tuple(page.kernels[item.place[0]] for item in choose(candidates, int(max(0, room))).chosen)
    if len(kept) == len(page.kernels):
        return page
    return replace(page, kernels=kept, kernels_note=page.kernels_note if kept else "")


def missing_pictures(page: Page, shown: Page, budget: int) -> tuple[LeftOut, ...]:
    """A line on the kernels of `page` that `shown` has not, and on the pictures of its strongest channels."""
    kernels = _missing_kernels(page, shown, budget)
    return (*kernels, *_missing_strongest(page, shown, True, budget), *_missing_strongest(page, shown, False, budget))


def _missing_strongest(page: Page, shown: Page, patches: bool, budget: int) -> tuple[LeftOut, ...]:
    kept = {key: strongest_bytes(card, patches) for key, card in walk(shown)}
    gone = {key: taken for key, card in walk(page) if (taken := strongest_bytes(card, patches)) and not kept[key]}
    if not gone:
        return ()
    what = "patches that excite" if patches else "maps and projections of"
    reason = f"pictures of single channels give way to the mosaics of stages, in {budget_text(budget)}"
    return (LeftOut(f"{what} the strongest channels of {len(gone)} stages", sum(gone.values()), reason),)


def _missing_kernels(page: Page, shown: Page, budget: int) -> tuple[LeftOut, ...]:
    kept = set(map(id, shown.kernels))
    missing = [card for card in page.kernels if id(card) not in kept]
    if not missing:
        return ()
    others = f" and of {len(missing) - 1} more layers" if len(missing) > 1 else ""
    share = f"at most {100 * KERNELS_SHARE:g} % of {budget_text(budget)}"
    reason = f"kernels give way to facts, numbers and the mosaics of stages, and take {share}"
    taken = sum(page_bytes(len(card.drawn.png)) for card in missing)
    return (LeftOut(f"kernels of {missing[0].kernel.weight}{others}", taken, reason),)


def _without_mosaic(key: Key, card: MapCard) -> MapCard:
    """A stage with its merged map and numbers, a block with its numbers."""
    left_out = card.left_out if card.mosaic is None else _LEFT_OUT
    return replace(card, mosaic=None, merged=card.merged if len(key) == 2 else None, left_out=left_out)


def _has_strongest(page: Page, patches: bool) -> bool:
    return any(strongest_bytes(card, patches) for _, card in walk(page))


def _without_patches(_: Key, card: MapCard) -> MapCard:
    """A stage whose channels keep the numbers of their patches, not the pictures."""
    if card.strongest is None:
        return card
    channels = tuple(
        replace(one, patches=tuple(replace(patch, jpeg=b"") for patch in one.patches))
        for one in card.strongest.channels
    )
    return replace(card, strongest=replace(card.strongest, channels=channels))


def _without_strongest(_: Key, card: MapCard) -> MapCard:
    """A stage whose strongest channels are named, without pictures of them."""
    if card.strongest is None:
        return card
    channels = tuple(replace(one, over=b"", projection=b"") for one in card.strongest.channels)
    return replace(card, strongest=replace(card.strongest, channels=channels))


def _each(fitted: Fitted, change: Callable[[Key, MapCard], MapCard]) -> Fitted:
    return fitted.but(changed(fitted.page, change))


def _less_found(fitted: Fitted) -> Fitted:
    """Without pictures of class maps, and with the strongest boxes alone."""
    before = fitted.page.inputs
    inputs = tuple(map(_with_less, before))
    same = all(card is other for card, other in zip(inputs, before, strict=True))
    return fitted if same else fitted.but(replace(fitted.page, inputs=inputs))


def _with_less(card: InputCard) -> InputCard:
    found = card.found
    if found is not None and len(found.boxes) > _FEWER_BOXES:
        left_out = len(found.boxes) - _FEWER_BOXES
        card = replace(card, found=replace(found, boxes=found.boxes[:_FEWER_BOXES], left_out=left_out))
    if any(item.jpeg for item in card.class_maps):
        card = replace(card, class_maps=tuple(replace(item, jpeg=b"") for item in card.class_maps))
    return card


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
