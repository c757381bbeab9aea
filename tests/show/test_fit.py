from __future__ import annotations

from dataclasses import replace

import pytest

from onnxvis.show.fit import fit_page
from onnxvis.show.page import MapCard, Page
from onnxvis.show.render import render
from tests.show.hostile import hostile_page
from tests.show.sample import sample_page

PLAN = (("stem", 8, 32, 0), ("layer1", 32, 56, 3), ("layer2", 64, 28, 2))


def size(page: Page) -> int:
    return len(render(page).encode())


def sample() -> Page:
    page = replace(sample_page(plan=PLAN, weights=10, layers=60), left_out=())
    return replace(page, inputs=page.inputs * 2)


def cards(page: Page) -> list[MapCard]:
    return [card for item in page.inputs for stage in item.stages for card in (stage, *stage.children)]


def test_a_page_that_fits_is_left_alone() -> None:
    page = sample()
    assert fit_page(page, size(page)) == page
    assert fit_page(page, 10**9) == page


@pytest.mark.parametrize("budget", [60_000, 90_000, 120_000, 200_000, 300_000, 400_000, 500_000])
def test_the_budget_is_kept(budget: int) -> None:
    page = sample()
    fitted = fit_page(page, budget)
    assert size(fitted) <= max(budget, 100_000 if budget < 100_000 else 0)
    missing = [card.name for card in cards(fitted) if card.mosaic is None]
    assert len(fitted.left_out) == len(missing)
    assert all(item.name.startswith(("input 1: ", "input 2: ")) for item in fitted.left_out)
    assert all(card.left_out for card in cards(fitted) if card.mosaic is None)
    assert not any(card.left_out for card in cards(fitted) if card.mosaic is not None)


def test_room_is_used() -> None:
    page = sample()
    budget = (size(page) + size(fit_page(page, 1))) // 2
    fitted = fit_page(page, budget)
    largest = max(len(card.mosaic.png) * 4 // 3 for card in cards(page) if card.mosaic)
    assert budget - size(fitted) < largest + 10_000


def test_stages_come_before_blocks_and_no_mosaic_without_its_numbers() -> None:
    page = sample()
    seen = {"stage": False, "block": False}
    for budget in range(150_000, size(page) + 10_000, 20_000):
        fitted = fit_page(page, budget)
        stages = [stage for item in fitted.inputs for stage in item.stages]
        blocks = [block for stage in stages for block in stage.children]
        if any(block.mosaic for block in blocks):
            assert all(stage.mosaic for stage in stages)
            seen["block"] = True
        if any(stage.mosaic for stage in stages):
            assert all(card.statistics and card.merged for card in cards(fitted) if card.mosaic)
            assert all(stage.merged for stage in stages)
            seen["stage"] = True
    assert all(seen.values())


def test_lists_are_cut_last_and_say_so() -> None:
    page = replace(sample(), layers=sample_page(layers=3000).layers)
    fitted = fit_page(page, 200_000)
    assert size(fitted) <= 200_000
    assert 0 < len(fitted.layers) < 3000
    assert fitted.layers == page.layers[: len(fitted.layers)]
    assert fitted.layers_note == f"Of 3000 only the first {len(fitted.layers)} are listed, for the page's budget."
    assert not any(card.mosaic for card in cards(fitted))


def test_a_budget_that_nothing_fits_still_gives_a_page() -> None:
    fitted = fit_page(sample(), 1)
    assert not fitted.layers
    assert not fitted.weights
    assert fitted.weights_note
    assert fitted.model == sample().model


def test_hostile_names_keep_to_the_budget_too() -> None:
    page = replace(hostile_page(), left_out=())
    for budget in (300_000, 500_000, 1_000_000):
        assert size(fit_page(page, budget)) <= budget
