"""The boxes of a detector in a real browser: the threshold hides and shows them, a row and its box belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnxvis.show.render import render
from tests.browser.chromium import Tab, find_chromium, look, open_page
from tests.show.sample import detected, sample_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on PATH"),
]

SCORES = [card.box.score for card in detected(9).boxes]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two inputs with nine boxes each, of scores 0.9, 0.8, …, 0.1."""
    page = sample_page()
    card = replace(page.inputs[0], found=detected(9), stages=())
    path = tmp_path_factory.mktemp("found") / "report.html"
    path.write_text(render(replace(page, inputs=(card, card))), encoding="utf-8")
    return path


@pytest.fixture
def tab(report: Path) -> Iterator[Tab]:
    with open_page(report, height=1400) as opened:
        yield opened
        assert opened.console == []


SEEN = """(() => {
  const there = (element) => element.getClientRects().length > 0;
  const root = document.getElementById("i%d");
  const numbers = (selector) => Array.from(root.querySelectorAll(selector)).filter(there).map((e) => +e.dataset.box);
  return {
    rows: numbers(".found tbody tr"), shapes: numbers(".overlay g[data-box]").sort((a, b) => a - b),
    said: root.querySelector(".kept").textContent, level: root.querySelector(".level").textContent,
    stops: numbers(".found tbody tr[tabindex='0']"),
  };
})()"""


def seen(tab: Tab, number: int = 1) -> dict[str, Any]:
    found: dict[str, Any] = tab.evaluate(SEEN % number)
    return found


def move(tab: Tab, value: float) -> None:
    tab.evaluate(
        f"""(() => {{ const slider = document.getElementById("i1-least"); slider.value = {value};
        slider.dispatchEvent(new Event("input", {{ bubbles: true }})); }})()"""
    )


def picked(tab: Tab) -> tuple[list[int], list[int]]:
    """The rows and the drawn boxes that stand out."""
    code = "Array.from(document.querySelectorAll('%s.picked'), (e) => +e.dataset.box)"
    return tab.evaluate(code % "tr"), tab.evaluate(code % "g")


def wanted(least: float) -> list[int]:
    return [number for number, score in enumerate(SCORES) if score >= least]


@pytest.mark.parametrize("least", [0.05, 0.3, 0.45, 0.9, 0.95])
def test_the_threshold_hides_boxes_and_rows_and_counts_what_is_left(least: float, tab: Tab) -> None:
    before = seen(tab)
    assert before["rows"] == wanted(0.25)
    assert before["said"] == f"{len(wanted(0.25))} of 9 boxes"
    move(tab, least)
    after = seen(tab)
    assert after["rows"] == wanted(least)
    assert after["shapes"] == sorted(wanted(least) * 2)  # its edges and its label
    assert after["said"] == f"{len(wanted(least))} of 9 boxes"
    assert after["level"] == f"{least:.2f}"
    assert seen(tab, 2) == before, "each input has its own threshold"
    move(tab, 0.25)
    assert seen(tab) == before


def test_the_threshold_moves_by_keys(tab: Tab) -> None:
    tab.evaluate("document.getElementById('i1-least').focus()")
    for _ in range(10):
        press(tab, "ArrowRight", 39)
    assert seen(tab)["level"] == "0.35"
    assert seen(tab)["rows"] == wanted(0.35)


def press(tab: Tab, key: str, code: int) -> None:
    for kind in ("rawKeyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def test_rows_are_walked_by_arrow_keys_and_their_boxes_stand_out(tab: Tab) -> None:
    move(tab, 0.45)
    last = wanted(0.45)[-1]
    assert seen(tab)["stops"] == [0], "one row can be reached with Tab"
    tab.evaluate("document.querySelector('.found tbody tr').focus()")
    assert picked(tab) == ([0], [0, 0])
    for key, code, number in (
        ("ArrowDown", 40, 1),
        ("End", 35, last),
        ("ArrowDown", 40, last),
        ("ArrowUp", 38, last - 1),
    ):
        press(tab, key, code)
        assert picked(tab) == ([number], [number, number])
    assert seen(tab)["stops"] == [last - 1]
    tab.evaluate("document.activeElement.blur()")
    assert picked(tab) == ([], [])


def test_pointing_at_a_row_or_a_box_shows_the_other(tab: Tab) -> None:
    move(tab, 0.05)
    for number in (3, 0):
        point_at(tab, f"#i1 tr[data-box='{number}'] td")
        assert picked(tab) == ([number], [number, number])
    smallest = min(range(9), key=lambda n: (lambda o: o.width * o.height)(detected(9).boxes[n].outline))
    point_at(tab, f"#i1 g[data-box='{smallest}'] .edge")
    assert picked(tab) == ([smallest], [smallest, smallest])
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=2, y=2)
    assert picked(tab) == ([], [])


def point_at(tab: Tab, selector: str) -> None:
    """Move the pointer to the middle of an element."""
    x, y = tab.evaluate(
        f'(() => {{ const r = document.querySelector("{selector}").getBoundingClientRect();'
        " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def test_without_scripts_strong_boxes_are_seen_and_the_slider_is_not(report: Path) -> None:
    with open_page(report, scripts=False) as tab:
        found = seen(tab)
        assert found["rows"] == wanted(0.25)
        assert found["shapes"] == sorted(wanted(0.25) * 2)
        assert not tab.evaluate("document.getElementById('i1-least').getClientRects().length")
        assert tab.evaluate("document.querySelector('.threshold').innerText").startswith("Scores of 0.25 and above")
    visit = look(report, scripts=False)
    assert visit.console == ()
    assert visit.requests == ()


def test_the_picture_and_its_boxes_keep_their_shape(tab: Tab) -> None:
    code = """(() => { const place = document.querySelector(".overlay %s").getBoundingClientRect();
    return [place.width, place.height]; })()"""
    for width in (1400, 700, 400):
        tab.resize(width, 1000)
        wide, high = tab.evaluate(code % "image")
        assert wide == pytest.approx(high, rel=0.01)
        assert 200 < wide < width
        outline = detected(9).boxes[0].outline
        edge = tab.evaluate(code % "g[data-box='0'] .edge")
        assert edge[0] / edge[1] == pytest.approx(outline.width / outline.height, rel=0.1)
