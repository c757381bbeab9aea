"""The page in a real browser: silent, offline, painted, and readable with scripts off."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from onnxvis.show.colormap import palette
from onnxvis.show.page import Picture
from onnxvis.show.png import encode_rgb
from onnxvis.show.render import render
from tests.browser.chromium import find_chromium, look, open_page, screenshot
from tests.show.hostile import harmless_page, hostile_page
from tests.show.sample import sample_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium or Chrome on PATH"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(sample_page()), encoding="utf-8")
    return path


PAINTED = "document.querySelectorAll('canvas.painted').length"
BEGUN = "document.querySelectorAll('canvas[data-wanted]').length"
OBSERVED = """new Promise((done) => {
  const mosaics = document.querySelectorAll('canvas[data-sprite]');
  new IntersectionObserver((entries) => done(entries.length)).observe(mosaics[mosaics.length - 1]);
})"""
"""Waits for the next frame's observers: they are told in the order they were made, so the page's own come first."""


def test_a_report_is_silent_offline_and_painted_when_scrolled(report: Path) -> None:
    visit = look(report, height=700, open_all=True, until=f"{PAINTED} === 6")
    assert visit.console == ()
    assert visit.requests == ()
    assert len(re.findall(r"<canvas [^>]*data-sprite", visit.dom)) == 6


def test_mosaics_wait_until_they_are_near(report: Path) -> None:
    with open_page(report, height=300) as tab:
        assert tab.evaluate("document.documentElement.matches('.scripts')")
        assert tab.evaluate(OBSERVED) == 1
        assert tab.evaluate(BEGUN) == 0
        tab.evaluate("document.getElementById('i1-s3').scrollIntoView({ behavior: 'instant' })")
        tab.wait_for("document.querySelector('#i1-s3 canvas').matches('.painted')")


def test_a_hostile_model_stays_silent_and_offline(tmp_path: Path) -> None:
    page = tmp_path / "hostile.html"
    page.write_text(render(hostile_page()), encoding="utf-8")
    visit = look(page, height=2000, open_all=True, until=f"{PAINTED} === 6")
    assert visit.console == ()
    assert visit.requests == ()


def test_no_text_makes_the_page_wider_than_the_window(tmp_path: Path) -> None:
    page = tmp_path / "hostile.html"
    page.write_text(render(hostile_page()), encoding="utf-8")
    with open_page(page) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        for width in (360, 480, 1000, 1440):
            tab.resize(width, 900)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


def _flagged_page(folder: Path) -> Path:
    """A report whose first merged map is one flat colour that nothing else on the page has."""
    page = sample_page()
    flat = encode_rgb(np.full((64, 64, 3), (255, 0, 200), np.uint8))
    first = replace(page.inputs[0].stages[0], merged=Picture(flat, 64, 64, "flat"))
    card = replace(page.inputs[0], stages=(first, *page.inputs[0].stages[1:]))
    path = folder / "flagged.html"
    path.write_text(render(replace(page, inputs=(card,))), encoding="utf-8")
    return path


def test_without_scripts_the_merged_maps_and_numbers_are_there(tmp_path: Path) -> None:
    page = _flagged_page(tmp_path)
    visit = look(page, scripts=False)
    assert visit.console == ()
    assert visit.requests == ()
    assert 'class="scripts"' not in visit.dom
    assert "Numbers of every channel" in visit.dom
    screenshot(page, tmp_path / "off.png", 1280, 2000, scripts=False)
    shot = cv2.imread(str(tmp_path / "off.png"))
    assert shot is not None
    assert (shot == (200, 0, 255)).all(axis=2).sum() > 100 * 100


def test_light_and_dark(report: Path, tmp_path: Path) -> None:
    brightness = []
    for dark in (False, True):
        screenshot(report, tmp_path / "theme.png", 1000, 700, dark=dark)
        shot = cv2.imread(str(tmp_path / "theme.png"))
        assert shot is not None
        brightness.append(float(np.median(shot)))
    assert brightness[0] > 230
    assert brightness[1] < 40


DRIVER = Path(__file__).with_name("driver.js")


def test_what_the_script_does_when_used(report: Path) -> None:
    with open_page(report) as tab:
        seen = tab.evaluate(DRIVER.read_text(encoding="utf-8"))
        assert tab.console == []
    statistics = sample_page().inputs[0].stages[0].statistics
    assert statistics is not None
    assert seen["channel"] == "Channel 2"
    assert f"Max{statistics.max[2]:.4g}" in seen["numbers"]
    assert seen["before"] == [*palette("viridis")[0].tolist(), 255]  # channel 1 is constant: index 0
    assert seen["after"] == [*palette("magma")[0].tolist(), 255]
    least = [float(text.replace("−", "-")) for text in seen["up"]]
    assert least == sorted(least)
    assert seen["down"] == seen["up"][::-1]
    assert seen["kept"]
    assert all("layer2" in row and "onv" in row for row in seen["kept"])
    assert seen["said"] == f"{len(seen['kept'])} of 20"
    assert seen["rows"] == 8
    assert abs(seen["first"]) < 40
    assert abs(seen["second"]) < 40
    assert abs(seen["back"]) < 40
    assert seen["theme"] in ("light", "dark")


BAR = """(async () => {
  const wait = async (ready) => { while (!ready()) await new Promise((done) => setTimeout(done, 20)); };
  const seen = [];
  for (const id of ["i1-s1", "i1-s2", "i1-s3"]) {
    const stage = document.getElementById(id), canvas = stage.querySelector("canvas");
    stage.scrollIntoView({ behavior: "instant" });
    await wait(() => canvas.matches(".painted"));
    const press = () => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    press(); press(); press();
    const [low, , high] = stage.querySelector(".inspector .scale").children;
    seen.push([low.textContent, high.textContent]);
  }
  const stages = Array.from(document.querySelectorAll(".stage"));
  const middles = () => stages.map((stage) => stage.querySelector(".inspector .hint"));
  seen.push(middles().every((hint) => hint.hidden));
  const colours = document.getElementById("colormap");
  colours.value = "coolwarm"; colours.dispatchEvent(new Event("change"));
  await wait(() => !middles()[0].hidden && !middles()[1].hidden);
  return [...seen, middles().map((hint) => (hint.hidden ? "" : hint.textContent))];
})()"""


def test_the_bar_says_what_the_colours_span(tmp_path: Path) -> None:
    """One range for all channels, one for each that is not its own, and one around zero."""
    page = sample_page()
    spans: tuple[tuple[str, list[float], list[float]], ...] = (
        ("tensor", [-1.5] * 8, [2.5] * 8),
        ("clip99", [k / 4 for k in range(8)], [k + 1.0 for k in range(8)]),
        ("none", [-1.0] * 12, [1.0] * 12),
    )
    stages = []
    for stage, (stretch, low, high) in zip(page.inputs[0].stages, spans, strict=True):
        assert stage.mosaic is not None
        drawn = replace(stage.mosaic, stretch=stretch, low=tuple(low), high=tuple(high))
        stages.append(replace(stage, mosaic=drawn))
    path = tmp_path / "spans.html"
    path.write_text(render(replace(page, inputs=(replace(page.inputs[0], stages=tuple(stages)),))), encoding="utf-8")
    with open_page(path) as tab:
        one, each, signed, silent, middles = tab.evaluate(BAR)
        assert tab.console == []
    assert one == ["−1.5", "2.5"]
    assert each == ["0.5", "3"]
    assert signed == ["−1", "1"]
    assert silent
    said = "The middle colour stands for {} here, not for zero."
    assert middles == [said.format("0.5"), said.format("1.75"), ""]


def test_the_policy_blocks_and_the_witness_tells(report: Path) -> None:
    injected = (
        '<img src="http://injected.invalid/x.png">',
        '<p style="color: red">',
        '<p onclick="hide()">',
        "<script>console.error('it ran')</script>",
    )
    html = report.read_text(encoding="utf-8").replace("</main>", f"{''.join(injected)}</main>")
    report.with_name("injected.html").write_text(html, encoding="utf-8")
    visit = look(report.with_name("injected.html"))
    for what in ("Loading the image", "inline style", "inline event handler", "inline script"):
        assert any(what in message and "Content Security Policy" in message for message in visit.console)
    assert not any("it ran" in message for message in visit.console)
    assert visit.requests == ()


def test_the_witness_sees_errors_and_requests(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><img src="http://image.invalid/x.png"><script>console.error("plain");'
        'fetch("https://fetched.invalid/y").catch(() => 0); setTimeout(() => { throw new Error("thrown") }, 10);'
        'Promise.reject(new Error("rejected"))</script>',
        encoding="utf-8",
    )
    visit = look(page)
    for text in ("plain", "thrown", "rejected"):
        assert any(text in message for message in visit.console)
    assert set(visit.requests) == {"http://image.invalid/x.png", "https://fetched.invalid/y"}


CHANNELS = """(() => Array.from(document.querySelectorAll(".excited")).map((figure) => {
  const frame = figure.getBoundingClientRect();
  const inside = (e) => e.left >= frame.left - 0.5 && e.right <= frame.right + 0.5 && e.width > 20 && e.height > 20;
  const pictures = Array.from(figure.querySelectorAll("img"), (image) => image.getBoundingClientRect());
  const [map, projection, patch] = pictures;
  return { pictures: pictures.length, inside: pictures.every(inside),
           beside: projection.left >= map.right && patch.left >= projection.right && map.top === projection.top };
}))()"""
CURVES = """(() => Array.from(document.querySelectorAll(".heatmap")).map((card) => {
  const frame = card.getBoundingClientRect(), plot = card.querySelector(".plot").getBoundingClientRect();
  const ink = (name) => getComputedStyle(card.querySelector(`.plot .line.${name}`)).stroke;
  return { inside: plot.left >= frame.left && plot.right <= frame.right && plot.width > frame.width / 2,
           inks: [ink("in"), ink("out")] };
}))()"""


def test_channels_and_curves_stand_inside_their_cards_at_any_width(tmp_path: Path) -> None:
    path = tmp_path / "whole.html"
    path.write_text(render(harmless_page()), encoding="utf-8")
    with open_page(path) as tab:
        for width in (380, 700, 1000, 1600):
            tab.resize(width, 900)
            channels = tab.evaluate(CHANNELS)
            assert channels == [{"pictures": 7, "inside": True, "beside": True}] * 6
            curves = tab.evaluate(CURVES)
            assert [card["inside"] for card in curves] == [True] * 3
            assert all(len(set(card["inks"])) == 2 for card in curves)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.console == []
        light = tab.evaluate(CURVES)[0]["inks"]
        tab.evaluate("document.documentElement.dataset.theme = 'dark'")
        dark = tab.evaluate(CURVES)[0]["inks"]
    assert set(light).isdisjoint(dark)
