from __future__ import annotations

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.measure.statistics import summarise
from onnxvis.show.colormap import palette
from onnxvis.show.mosaic import STRETCHES, Stretch
from onnxvis.show.mosaic import stretch as stretch_maps
from onnxvis.show.page import OutputCard, Page, Score
from onnxvis.show.render import Press, _environment, render, warm
from tests.show.hostile import HOSTILE, harmless_page, hostile_page
from tests.show.outline import bar_heights
from tests.show.sample import feature_maps, heatmap_cards, sample_page, scene

VOID = {"meta", "link", "img", "input", "br"}


class Reader(HTMLParser):
    """What a browser would read: each element with its attributes, balanced tags, and the text outside scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.contents: dict[str, list[str]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.contents.setdefault(self.open[-1], []).append(data)
        else:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(page: Page) -> Reader:
    reader = Reader()
    reader.feed(render(page))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def sample() -> Reader:
    return read(sample_page())


def test_everything_on_the_page_is_laid_out(sample: Reader) -> None:
    text = " ".join(" ".join(sample.texts).split())
    for expected in (
        "GUESSED", "--preprocess imagenet --size 224", "resnet18.onnx", "11.7 M", "1.81 G", "46.8 MB", "pytorch 2.3.0",
        "N × 3 × 224 × 224", "CPUExecutionProvider", "onnxruntime", "1.31.0", "Dead channels.", "espresso", "0.8123",
        "centre 224 × 224", "3.1e−6", "2.4e−7", "Mean of the channels", "layer2.block1", "1 constant", "kernel", "Conv",
        "64 × 64 × 3 × 3", "812 kB", "over the budget", "2026-01-31 12:00 UTC", "Scripts are off",
    ):  # fmt: skip
        assert expected in text


def test_only_the_two_hashed_sources_may_run(sample: Reader) -> None:
    policy = next(m["content"] for m in sample.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy
    for directive in ("default-src 'none'", "img-src data: blob:", "base-uri 'none'", "form-action 'none'"):
        assert directive in policy
    style, script = sample.contents["style"][0], sample.contents["script"][0]
    for directive, source in (("style-src", style), ("script-src", script)):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_nothing_needs_what_the_policy_forbids(sample: Reader) -> None:
    for tag, attributes in sample.elements:
        assert not {name for name in attributes if name == "style" or name.startswith("on")}
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/")), (tag, attributes)
    inert = [a for a in sample.all("script") if a]
    assert len(inert) == 6
    assert all(a["type"] == "application/octet-stream" for a in inert)


def test_ids_are_unique_and_links_lead_somewhere(sample: Reader) -> None:
    ids = [a["id"] for _, a in sample.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    for link in sample.all("a"):
        assert (link["href"] or "")[1:] in ids
    for canvas in sample.all("canvas"):
        assert canvas.get("data-sprite", ids[0]) in ids
    for figure in (a for a in sample.all("figure") if a.get("data-numbers")):
        assert figure["data-numbers"] in ids


def test_sprites_are_the_pictures_byte_for_byte(sample: Reader) -> None:
    page = sample_page()
    stages = page.inputs[0].stages
    cards = [card for stage in stages for card in (stage, *stage.children)]
    sprites = [base64.b64decode(text) for text in sample.contents["script"][1:]]
    assert sprites == [card.mosaic.png for card in cards if card.mosaic]
    canvas = next(a for a in sample.all("canvas") if a.get("data-sprite") == "i1-s1-p")
    mosaic = stages[0].mosaic
    assert mosaic
    assert int(canvas["width"] or 0) == mosaic.columns * (mosaic.tile_width + mosaic.gap) - mosaic.gap
    assert int(canvas["height"] or 0) == mosaic.rows * (mosaic.tile_height + mosaic.gap) - mosaic.gap


def test_hostile_texts_stay_texts() -> None:
    hostile, sample = read(hostile_page()), read(harmless_page())
    # The same elements as with harmless texts: no text became one (the sample says less in some optional places).
    kinds = {tag for tag, _ in sample.elements}
    assert {tag for tag, _ in hostile.elements} <= kinds
    assert len(hostile.all("script")) == len(sample.all("script"))
    assert len(hostile.all("img")) == len(sample.all("img"))
    assert not [a for _, a in hostile.elements if any(name.startswith("on") for name in a)]
    for text in hostile.texts + [value for _, a in hostile.elements for value in a.values() if value]:
        assert len(text) < 3000 or text.startswith("data:") or "channel" in text
        assert not set(text) & set("\u202e\u2066\u200b\u2028\x00\r\t")
    assert "{{ 7*7 }}" in " ".join(hostile.texts)
    assert HOSTILE[:30] in " ".join(hostile.texts)


def test_a_model_without_pictures_has_a_page_without_them() -> None:
    page = replace(sample_page(), inputs=(), guess=None, left_out=(), run=None, weights=(), command="")
    reader = read(page)
    assert not reader.all("canvas")
    assert not reader.all("select")
    assert "GUESSED" not in " ".join(reader.texts)


def test_a_map_without_its_mosaic_says_why() -> None:
    page = sample_page()
    card = page.inputs[0]
    bare = replace(card.stages[1], mosaic=None, merged=None, statistics=None, left_out="812 kB, over the budget")
    reader = read(replace(page, inputs=(replace(card, stages=(bare,), picture=None, preparation=()),)))
    text = " ".join(reader.texts)
    assert "No mosaic: 812 kB, over the budget" in text
    assert "no picture" in text


def test_several_inputs_have_their_own_anchors() -> None:
    page = sample_page()
    reader = read(replace(page, inputs=page.inputs * 2))
    ids = [a["id"] for _, a in reader.elements if a.get("id")]
    assert len(ids) == len(set(ids))
    assert {"i1-s2-b1-p", "i2-s2-b1-p"} <= set(ids)


@pytest.mark.parametrize(
    ("scores", "lengths"),
    [
        ((0.5, 0.25, 0.0), (500, 250, 0)),
        ((8.0, 4.0, -2.0), (1000, 500, 250)),
        ((float("nan"), float("inf"), 1.0), (0, 1000, 1000)),
        ((0.0, -0.0), (0, 0)),
    ],
)
def test_bars_are_as_long_as_their_scores(scores: tuple[float, ...], lengths: tuple[int, ...]) -> None:
    page = sample_page()
    output = OutputCard("out", (1, 3), "float32", tuple(Score(i, str(i), s) for i, s in enumerate(scores)))
    reader = read(replace(page, inputs=(replace(page.inputs[0], outputs=(output,), stages=()),)))
    bars = [a["width"] for a in reader.all("rect") if a.get("height") == "10" and a.get("class") != "track"]
    assert bars == [str(length) for length in lengths]


def test_the_template_escapes_by_itself() -> None:
    from importlib import resources

    for template in resources.files("onnxvis.templates").iterdir():
        if template.name.endswith(".j2"):
            source = template.read_text(encoding="utf-8")
            assert not re.search(r"\|\s*safe|autoescape|Markup", source)


def test_an_unknown_colormap_is_refused() -> None:
    with pytest.raises(UsageError, match="rainbow"):
        render(replace(sample_page(), colormap="rainbow"))


def stretched(stretch: Stretch, symmetric: bool) -> str:
    """The page of one stage, drawn as `stretch` draws it."""
    page = sample_page()
    card = page.inputs[0].stages[1]
    found = stretch_maps(feature_maps(scene(), 8, 32, 100).astype(np.float64) - 0.25, stretch, symmetric)
    assert card.mosaic is not None
    drawn = replace(card.mosaic, stretch=stretch, low=tuple(found.low.tolist()), high=tuple(found.high.tolist()))
    return render(replace(page, inputs=(replace(page.inputs[0], stages=(replace(card, mosaic=drawn, children=()),)),)))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("stretch", STRETCHES)
def test_the_ends_of_the_colours_are_on_the_page(stretch: Stretch, symmetric: bool) -> None:
    maps = feature_maps(scene(), 8, 32, 100).astype(np.float64) - 0.25
    low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
    if stretch == "tensor":
        low[:], high[:] = low.min(), high.max()
    elif stretch == "clip99":
        low, high = np.percentile(maps.reshape(8, -1), (1, 99), axis=1)
    elif stretch == "none":
        low[:], high[:] = 0, 1
    if symmetric:
        high = np.maximum(abs(low), abs(high))
        low = -high
    html = stretched(stretch, symmetric)
    (figure,) = re.findall(r'<figure class="mosaic"[^>]*>', html)
    (ends,) = re.findall(r'data-ends="([^"]*)"', figure)
    pairs = [tuple(map(float, pair.split(":"))) for pair in ends.split(" ")]
    assert len(pairs) == (1 if stretch in ("tensor", "none") else 8)
    shown = np.array(pairs if len(pairs) > 1 else pairs * 8)
    np.testing.assert_allclose(shown, np.stack([low, high], axis=1), rtol=1e-3)
    assert ("zero in the middle" in html) == symmetric


def test_each_channels_own_range_is_not_said_twice() -> None:
    assert "data-ends=" not in render(sample_page()).split("</script>", 1)[1]


def cells(html: str, row: int) -> list[str]:
    """The texts of one row of the table of weights, as a browser would join them."""
    (found,) = re.findall(rf'<tr id="w{row}">(.*?)</tr>', html, re.DOTALL)
    return [unescape(re.sub(r"<[^>]*>", " ", cell)).strip() for cell in found.split("</td>")[:-1]]


def number_in(shown: str) -> float:
    return float(shown.replace("−", "-"))


def test_every_weight_has_its_numbers_beside_its_histogram() -> None:
    page = sample_page(weights=9)
    html = render(page)
    for row, item in enumerate(page.weights, 1):
        name, _, role, shape, *numbers = cells(html, row)
        s = item.statistics
        assert name.startswith(item.name)
        assert role.split() == [*item.role.split(), "Conv"]
        assert shape.split() == [*" × ".join(map(str, item.shape)).split(), item.dtype, "·", "raw_data"]
        np.testing.assert_allclose([number_in(text) for text in numbers[:4]], (s.mean, s.std, s.min, s.max), rtol=5e-3)
        assert f"{s.zero_fraction:.0%}".replace("%", " %") == numbers[4]
    (path,) = re.findall(r'<tr id="w1">.*?<path d="([^"]*)"/></svg>', html, re.DOTALL)
    counts = page.weights[0].statistics.counts
    heights = bar_heights(path)
    np.testing.assert_allclose(heights, 40 * counts / counts.max(), atol=1)


def test_a_quantised_weight_shows_codes_scales_and_its_place() -> None:
    page = sample_page()
    item, scales = page.weights[2], page.weights[1].statistics
    assert item.steps is not None
    name = cells(render(page), 3)[0]
    said = re.search(r"int8 codes ([−\d]+)…([−\d]+), (\d+) scales ([−.\d]+)…([−.\d]+)", name)
    assert said
    wanted = (item.steps.min, item.steps.max, 64, scales.min, scales.max)
    np.testing.assert_allclose([number_in(text) for text in said.groups()], wanted, rtol=5e-3)
    assert re.search(r"in\s+Constant k", name)
    one = replace(page.weights[1], statistics=summarise(np.array([0.0123])))
    again = replace(page, weights=(page.weights[0], one, item))
    assert ", scale 0.0123" in cells(render(again), 3)[0]
    assert "codes −" in cells(render(replace(page, weights=(item,))), 1)[0]


def test_many_bins_are_drawn_joined() -> None:
    item = sample_page().weights[0]
    values = np.random.default_rng(0).standard_normal(5000)
    many = replace(item, statistics=summarise(values, 1000))
    html = render(replace(sample_page(), weights=(many,)))
    (path,) = re.findall(r'<tr id="w1">.*?<path d="([^"]*)"/></svg>', html, re.DOTALL)
    heights = bar_heights(path)
    joined = np.array([many.statistics.counts[start : start + 8].sum() for start in range(0, 1000, 8)])
    np.testing.assert_allclose(heights, 40 * joined / joined.max(), atol=1)


@pytest.mark.parametrize(("values", "place"), [((-1.0, 3.0), 25), ((1.0, 2.0), None), ((-2.0, -1.0), None)])
def test_zero_is_marked_in_a_histogram_that_spans_it(values: tuple[float, ...], place: int | None) -> None:
    item = replace(sample_page().weights[0], statistics=summarise(np.array(values)))
    html = render(replace(sample_page(), weights=(item,)))
    marks = re.findall(r'<path class="zero" d="M(\d+) 0V40"/>', html)
    assert marks == ([] if place is None else [str(place)])


def test_kernels_are_the_pictures_byte_for_byte() -> None:
    page = sample_page()
    html = render(page)
    figures = re.findall(r'<figure class="kernel( first)?" id="k\d+">(.*?)</figure>', html, re.DOTALL)
    assert [bool(first) for first, _ in figures] == [card.kernel.reads_picture for card in page.kernels]
    for card, (first, figure) in zip(page.kernels, figures, strict=True):
        (png, width, height), *more = re.findall(r'base64,([^"]*)" width="(\d+)" height="(\d+)"', figure)
        assert not more
        assert base64.b64decode(png) == card.drawn.png
        scale = int(width) / card.drawn.width
        assert scale == int(scale) == int(height) / card.drawn.height >= 1
        assert int(width) <= (560 if first else 244)
        shown = unescape(re.sub(r"<[^>]*>", " ", figure))
        assert card.kernel.label in shown
        assert card.drawn.what in shown
        assert "first 12 of 16 filters" in shown
        assert ("ramp" in figure) == bool(np.isfinite(card.drawn.high))
    assert "all: onnxvis weights resnet18.onnx -o DIR" in html


def test_weights_and_their_kernels_lead_to_each_other() -> None:
    page = sample_page()
    html = render(page)
    for place, card in enumerate(page.kernels, 1):
        row = [item.name for item in page.weights].index(card.kernel.weight) + 1
        (figure,) = re.findall(rf'<figure [^>]*id="k{place}">(.*?)</figure>', html, re.DOTALL)
        assert f'href="#w{row}"' in figure
        assert f'href="#k{place}"' in re.findall(rf'<tr id="w{row}">.*?</tr>', html, re.DOTALL)[0]
    read(replace(page, weights=page.weights[:1]))
    assert 'href="#w2"' not in render(replace(page, weights=page.weights[:1]))


def test_the_scales_of_kernels_have_the_colours_of_the_pictures() -> None:
    html = render(sample_page())
    for name, colormap in (("signed", "coolwarm"), ("norm", "viridis")):
        (ramp,) = re.findall(rf'<linearGradient id="ramp-{name}">(.*?)</linearGradient>', html)
        stops = re.findall(r'offset="(\d+)%" stop-color="#(\w{6})"', ramp)
        assert (stops[0][0], stops[-1][0]) == ("0", "100")
        for offset, colour in stops:
            near = palette(colormap)[round(255 * int(offset) / 100)].astype(int)
            assert np.abs(near - list(bytes.fromhex(colour))).max() <= 3


def test_charts_over_depth_have_a_tooltip_a_layer() -> None:
    page = sample_page(weights=9)
    html = render(page)
    figures = re.findall(r'<figure class="chart">(.*?)</figure>', html, re.DOTALL)
    for chart, figure in zip(page.depth, figures, strict=True):
        titles = [unescape(title) for title in re.findall(r"<title>(.*?)</title>", figure)]
        assert titles == [point.label for point in chart.points]
        assert f'class="mean" d="{chart.mean_path}"' in figure
        assert [unescape(text) for text in re.findall(r"<text [^>]*>(.*?)</text>", figure)] == [
            tick.label for tick in chart.ticks
        ]


def test_a_page_without_weights_has_no_section_for_them() -> None:
    page = replace(sample_page(), weights=(), kernels=(), kernels_note="", depth=())
    reader = read(page)
    assert not [a for _, a in reader.elements if a.get("id") in ("weights", "kernels", "depth", "weights-table")]


def test_a_press_renders_what_a_fresh_one_would() -> None:
    press, page = Press(), sample_page()
    others = (
        page,
        replace(page, weights=page.weights[:2]),
        replace(page, kernels=page.kernels[1:]),
        replace(page, layers=page.layers[:3], layers_note="cut"),
        replace(page, inputs=page.inputs * 2),
        page,
    )
    for other in others:
        assert press.render(other) == render(other)


def test_the_weights_of_a_deep_network_stay_light() -> None:
    page = replace(sample_page(weights=520), inputs=(), layers=())
    assert len(page.weights) == 520
    assert len(page.kernels) == 347
    without = replace(page, weights=(), kernels=(), kernels_note="", depth=())
    pictures = sum(len(base64.b64encode(card.drawn.png)) for card in page.kernels)
    assert len(render(page).encode()) - len(render(without).encode()) - pictures < 900_000


def test_warming_compiles_every_template(monkeypatch: pytest.MonkeyPatch) -> None:
    warm()

    def fail(*_: object) -> None:
        raise AssertionError("a template was compiled again")

    monkeypatch.setattr("jinja2.Environment.compile", fail)
    assert render(sample_page())


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where compiled templates go, for one test."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _environment.cache_clear()
    yield tmp_path
    _environment.cache_clear()


def test_templates_are_compiled_once_for_all_pages(temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    html = render(sample_page())
    assert len(list(temporary_folder.glob("*/onnxvis-*.cache"))) > 5
    _environment.cache_clear()
    monkeypatch.setattr("jinja2.Environment.compile", lambda *_: pytest.fail("a template was compiled again"))
    assert render(sample_page()) == html


def test_a_page_needs_no_folder_for_compiled_templates(temporary_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    html = render(sample_page())
    (kept,) = temporary_folder.iterdir()
    shutil.rmtree(kept)
    kept.write_text("no folder")
    _environment.cache_clear()
    assert render(sample_page()) == html
    kept.unlink()
    _environment.cache_clear()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    assert render(sample_page()) == html


def test_heatmaps_stand_with_their_target_their_layer_and_how_they_are_made() -> None:
    page = sample_page()
    cards = heatmap_cards(scene())
    card = replace(page.inputs[0], heatmaps=cards, heatmaps_note="cam: needs another head")
    html = render(replace(page, inputs=(card,)))
    (section,) = re.findall(r'<section class="looked" id="i1-looked">(.*?)</section>', html, re.DOTALL)
    first, second = re.findall(r'<figure class="heatmap">(.*?)</figure>', section, re.DOTALL)
    words = unescape(re.sub("<[^>]*>", " ", first)).split()
    for wanted in ("gradcam", "967 espresso 81.2 %", "layer /layer4/relu/Relu_output_0", cards[0].definition):
        assert wanted in " ".join(words)
    assert "The layer is the last feature map before the head." in first
    assert base64.b64encode(cards[0].picture.data).decode() in first
    assert "of the picture itself" in second
    assert "%" not in re.sub("<[^>]*>", " ", second)
    assert "cam: needs another head" in section
    assert '<a class="sub" href="#i1-looked">' in html
    assert 'id="i1-looked"' not in render(page)
