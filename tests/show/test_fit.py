from __future__ import annotations

import re
from dataclasses import replace

import pytest

from onnxvis.show.fit import fit, fit_page
from onnxvis.show.page import LeftOut, Page
from onnxvis.show.render import Press, render
from tests.show.hostile import hostile_page
from tests.show.sample import with_excited
from tests.show.tight import cards, sample, size, steps


def test_a_page_over_its_budget_says_so() -> None:
    fitted = fit_page(sample(), 20_000)
    notice = fitted.notices[-1]
    assert (notice.title, notice.level) == ("Over the budget", "warning")
    said = re.search(r"takes about (\d+\.?\d*) kB, more than its budget of 20 kB", notice.text)
    assert said
    assert float(said[1]) * 1000 == pytest.approx(size(fitted), rel=0.02)


def test_the_reason_is_that_of_the_kind() -> None:
    page = sample()
    for budget in (150_000, 300_000, 400_000, 500_000):
        fitted = fit_page(page, budget)
        shown = any(card.mosaic for card in cards(fitted))
        for item in fitted.left_out:
            assert f"{budget / 1e6:g} MB" in item.reason
            if item.name.startswith("kernels of "):
                assert "take at most 15 % of" in item.reason
                continue
            spent = "was spent on stages and other blocks first" in item.reason
            assert spent == ("block" in item.name and shown)


@pytest.mark.parametrize(("budget", "most"), [(10**9, 1), (400_000, 4), (200_000, 9), (1, 14)])
def test_the_page_is_not_rendered_oftener_than_need_be(budget: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    press = Press.render

    def counting(self: Press, page: Page) -> str:
        calls.append(page)
        return press(self, page)

    monkeypatch.setattr(Press, "render", counting)
    found = fit(sample(), budget)
    assert len(calls) <= most
    monkeypatch.undo()
    assert found.html == render(found.page).encode()


def test_what_came_without_its_mosaic_is_listed() -> None:
    page = sample()
    first = page.inputs[0].stages[0]
    bare = replace(first, mosaic=None, left_out="too large", left_out_bytes=12_345_678)
    card = replace(page.inputs[0], stages=(bare, *page.inputs[0].stages[1:]))
    page = replace(page, inputs=(card, page.inputs[1]))
    for budget in (10**9, 300_000):
        fitted = fit_page(page, budget)
        assert fitted.left_out[-1] == LeftOut("input 1: stem", 12_345_678, "too large")
        assert fitted.inputs[0].stages[0].left_out == "too large"


def test_a_page_that_fits_is_left_alone() -> None:
    page = sample()
    assert fit_page(page, size(page)) == page
    assert fit_page(page, 10**9) == page


@pytest.mark.parametrize("budget", [60_000, 90_000, 120_000, 200_000, 300_000, 400_000, 500_000])
def test_the_budget_is_kept(budget: int) -> None:
    page = sample()
    fitted = fit_page(page, budget)
    assert size(fitted) <= budget or all(steps(page, fitted))
    assert [notice.title == "Over the budget" for notice in fitted.notices[1:]] == [True] * (size(fitted) > budget)
    missing = [card.name for card in cards(fitted) if card.mosaic is None]
    mosaics = [item for item in fitted.left_out if not item.name.startswith("kernels of ")]
    assert len(mosaics) == len(missing)
    assert len(fitted.left_out) - len(mosaics) == (len(fitted.kernels) < len(page.kernels))
    assert all(item.name.startswith(("input 1: ", "input 2: ")) for item in mosaics)
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


def test_a_stage_that_gets_its_mosaic_back_does_not_get_what_gave_way_to_it() -> None:
    page = with_excited(sample())
    seen = False
    for budget in range(200_000, 400_000, 20_000):
        fitted = fit_page(page, budget)
        stages = [stage for item in fitted.inputs for stage in item.stages if stage.strongest]
        bare = [stage for stage in stages if stage.strongest and not stage.strongest.channels[0].over]
        assert len(bare) in (0, len(stages))
        seen |= bool(bare) and all(stage.mosaic for stage in stages)
        assert size(fitted) <= budget
    assert seen
