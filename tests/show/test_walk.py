from __future__ import annotations

import base64
from dataclasses import replace

from onnxvis.show.page import Page
from onnxvis.show.render import render
from onnxvis.show.walk import (
    called,
    changed,
    is_stage,
    left_out_reason,
    mosaic_bytes,
    strongest_bytes,
    walk,
    with_mosaic,
)
from tests.show.sample import excited, scene
from tests.show.tight import cards, sample


def test_every_card_is_met_once_in_order_and_found_by_its_place() -> None:
    page = sample()
    met = list(walk(page))
    assert [id(card) for _, card in met] == [id(card) for card in cards(page)]
    for (number, place, *inner), card in met:
        stage = page.inputs[number].stages[place]
        assert card is (stage.children[inner[0]] if inner else stage)


def test_changed_cards_are_those_of_the_page_and_the_given_one_stays() -> None:
    page = sample()
    before = cards(page)
    found = changed(page, lambda key, card: replace(card, name=f"{key}"))
    assert [card.name for card in cards(found)] == [f"{key}" for key, _ in walk(page)]
    assert all(one is other for one, other in zip(cards(page), before, strict=True))


def test_only_the_backbone_has_stages() -> None:
    stages = [card.name for key, card in walk(sample()) if is_stage(key, card)]
    assert stages == ["layer1", "layer2"] * 2


def only(page: Page, *, mosaic: bool) -> int:
    """The bytes of a page of its first stage alone, with or without its mosaic."""
    stage = replace(page.inputs[0].stages[1], children=())
    stage = stage if mosaic else replace(stage, mosaic=None)
    return len(render(replace(page, inputs=(replace(page.inputs[0], stages=(stage,)),))).encode())


def test_what_a_mosaic_takes_is_what_the_page_grows_by() -> None:
    page = sample()
    card = page.inputs[0].stages[1]
    grown = only(page, mosaic=True) - only(page, mosaic=False)
    assert 0 <= mosaic_bytes(card) - grown < 1500
    assert with_mosaic(card) == mosaic_bytes(card)
    assert card.mosaic
    clipped = replace(card, mosaic=replace(card.mosaic, stretch="clip99", low=tuple(range(-32, 0))))
    assert with_mosaic(clipped) > mosaic_bytes(clipped)
    assert with_mosaic(replace(card, mosaic=None)) == mosaic_bytes(replace(card, mosaic=None)) == 0


def test_names_and_reasons() -> None:
    page = sample()
    card = page.inputs[1].stages[0]
    assert called(page, (1, 0), card) == "input 2: stem"
    assert called(replace(page, inputs=page.inputs[:1]), (0, 0), card) == "stem"
    assert left_out_reason((0, 1), 7_000_000, True) == "there was no room in the page's budget of 7 MB"
    spent = left_out_reason((0, 1, 2), 7_000_000, True)
    assert spent == "the page's budget of 7 MB was spent on stages and other blocks first"


def test_what_pictures_of_channels_take() -> None:
    card = sample().inputs[0].stages[1]
    assert strongest_bytes(card, True) == strongest_bytes(card, False) == 0
    found = excited(scene())
    shown = replace(card, strongest=found)
    patches = [patch.jpeg for channel in found.channels for patch in channel.patches]
    others = [data for channel in found.channels for data in (channel.over, channel.projection)]
    assert strongest_bytes(shown, True) == sum(len(base64.b64encode(data)) for data in patches)
    assert strongest_bytes(shown, False) == sum(len(base64.b64encode(data)) for data in others)
