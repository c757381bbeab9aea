from __future__ import annotations

import base64
import math
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

import onnxvis
from onnxvis.measure.boxes.detections import Box, Detections
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.run.labels import Labels
from onnxvis.show.class_map import class_colour
from onnxvis.show.found import SHOWN_FROM, BoxCard, FoundCard, found_card, found_in, outline
from onnxvis.show.page import Page
from onnxvis.show.render import render
from tests.show.detector import ANCHORS, NAMES, SIDE, STRIDES, THREE, Planted, detector
from tests.show.sample import detected, heatmap_cards, sample_page, scene
from tests.tiny import oracle, photo, write

SIZE = (120, 160)
LABELS = Labels(dict(enumerate(NAMES)), "a file")


def box(x0: float, y0: float, x1: float, y1: float, label: int = 0, score: float = 0.5) -> Box:
    return Box(x0, y0, x1, y1, label, score, "head", 1, 2, 0, 8)


def card(*boxes: Box, labels: Labels | None = LABELS, size: tuple[int, int] = SIZE) -> FoundCard:
    return found_card(Detections("YOLOv3 heads", boxes, 4, 0.05, 0.45, 9, ("a note",)), size, labels)


def crowd(count: int, seed: int = 0) -> tuple[Box, ...]:
    rng = np.random.default_rng(seed)
    near, sides = rng.uniform(-20, 150, (count, 2)), rng.uniform(1, 80, (count, 2))
    scores = np.sort(rng.uniform(0.05, 1, count))[::-1]
    return tuple(
        box(x, y, x + w, y + h, int(rng.integers(4)), float(score))
        for (x, y), (w, h), score in zip(near.tolist(), sides.tolist(), scores, strict=True)
    )


def test_the_facts_are_those_of_the_detections() -> None:
    found = card(box(1, 2, 30, 40, 1, 0.9), box(5, 5, 9, 9, 2, 0.2))
    assert (found.kind, found.classes, found.least_score, found.overlap) == ("YOLOv3 heads", 4, 0.05, 0.45)
    assert (found.found, found.notes, found.left_out) == (9, ("a note",), 0)
    assert (found.width, found.height) == (160, 120)
    assert [item.name for item in found.boxes] == ["ring", "a long name of a class"]
    assert [item.label for item in found.boxes] == ["ring 0.90", "a long name of a class 0.20"]
    for labels in (None, LABELS):
        assert [item.name for item in card(box(1, 2, 3, 4, 7), labels=labels).boxes] == ["class 7"]


def test_weak_boxes_are_hidden_at_first() -> None:
    found = card(*(box(0, 0, 9, 9, score=score) for score in (0.9, SHOWN_FROM, 0.2499999, 0.06)))
    assert [item.shown for item in found.boxes] == [True, True, False, False]
    assert found.shown == 2


def test_corners_are_whole_pixels() -> None:
    (item,) = card(box(-0.2, 2.5, 30.51, 400.4)).boxes
    assert item.corners == "0, 2 – 31, 400"
    (item,) = card(box(-12.3, 7, 8, 1e300)).boxes
    assert item.corners == "−12, 7 – 8, 1e+300"


@pytest.mark.parametrize(
    ("corners", "wanted"),
    [
        ((10, 20, 30, 50), (10, 20, 20, 30)),
        ((-5, -6, 30, 50), (0, 0, 30, 50)),
        ((150, 100, 170, 130), (150, 100, 10, 20)),
        ((-50, 20, -10, 30), (0, 20, 0, 10)),
        ((30, 20, 10, 30), (30, 20, 0, 10)),
        ((-1e300, 0, 1e300, 1e300), (0, 0, 160, 120)),
    ],
)
def test_an_outline_ends_where_the_picture_does(
    corners: tuple[float, float, float, float], wanted: tuple[float, ...]
) -> None:
    found = outline(box(*corners), SIZE)
    assert (found.x, found.y, found.width, found.height) == wanted
    assert (found.picture_width, found.picture_height) == (160, 120)


def overlap(one: BoxCard, other: BoxCard, line: float) -> float:
    """The area that two labels share."""
    wide = min(one.label_x + one.label_width, other.label_x + other.label_width) - max(one.label_x, other.label_x)
    high = min(one.label_y, other.label_y) + line - max(one.label_y, other.label_y)
    return max(0.0, wide) * max(0.0, high)


@pytest.mark.parametrize("seed", range(5))
def test_labels_stay_in_the_picture(seed: int) -> None:
    found = card(*crowd(60, seed))
    for item in found.boxes:
        assert 0 <= item.label_x <= item.label_x + item.label_width <= found.width + 0.02
        assert 0 <= item.label_y <= item.label_y + found.line <= found.height + 0.02


def test_a_label_stands_above_its_box_where_there_is_room() -> None:
    found = card(box(20, 50, 60, 90))
    (item,) = found.boxes
    assert item.label_x == 20
    assert item.label_y == pytest.approx(50 - found.line, abs=0.01)
    (item,) = card(box(20, 1, 60, 90)).boxes
    assert (item.label_x, item.label_y) == (20, 1)
    (item,) = card(box(150, 50, 160, 90)).boxes
    assert item.label_x == pytest.approx(160 - item.label_width, abs=0.01)


def test_labels_of_the_same_place_make_way_for_the_stronger() -> None:
    found = card(*(box(40, 40, 120, 90, label, 0.9 - label / 10) for label in range(4)))
    for place, item in enumerate(found.boxes):
        for other in found.boxes[:place]:
            assert overlap(item, other, found.line) == pytest.approx(0, abs=0.1)
    assert found.boxes[0].label_y < 40


def test_few_labels_of_a_crowd_hide_each_other() -> None:
    found = card(*crowd(15, 3))
    hidden = sum(
        any(overlap(item, other, found.line) > 0.1 for other in found.boxes[:place])
        for place, item in enumerate(found.boxes)
    )
    assert hidden <= 2


def test_a_class_keeps_its_colour_and_its_letters_can_be_read() -> None:
    found = card(*(box(0, 0, 9, 9, label % 4 + 4 * (label // 90)) for label in range(100)))
    for item in found.boxes:
        assert item.colour == class_colour(item.box.label)
        channels = [int(item.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        light = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        luminance = float(np.dot(light, (0.2126, 0.7152, 0.0722)))
        contrast = (luminance + 0.05) / 0.05 if item.ink == "#000000" else 1.05 / (luminance + 0.05)
        assert contrast > 4.5  # of the Web Content Accessibility Guidelines, level AA


def test_letters_of_a_label_are_counted_as_wide_as_they_are() -> None:
    def width(name: str) -> float:
        return card(box(0, 0, 9, 9), labels=Labels({0: name}, "")).boxes[0].label_width

    assert width("雪雪雪雪") > width("snow") > width("illi")
    assert width("WWWW") > width("nnnn")
    assert width("x" * 500) <= SIZE[1]
    long = card(box(0, 0, 9, 9), labels=Labels({0: "x" * 100}, "")).boxes[0].label
    assert "…" in long
    assert long.endswith(" 0.50")


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def decoded(planted: Planted) -> tuple[list[float], float]:
    """Corners and score as Darknet computes them."""
    stride = STRIDES[planted.head]
    width, height = ANCHORS[planted.head][planted.anchor]
    x, y, w, h = planted.raw
    centre = (sigmoid(x) + planted.column) * stride, (sigmoid(y) + planted.row) * stride
    half = math.exp(w) * width / 2, math.exp(h) * height / 2
    corners = [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]
    return corners, sigmoid(planted.objectness) * sigmoid(planted.chance)


def test_what_was_planted_is_found(tmp_path: Path) -> None:
    model = onnxvis.load(write(detector(), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=SIDE, width=SIDE))
    outputs = oracle(model.path, [], item.feeds)
    found = found_in(model, item, outputs, LABELS, NO_FLAGS)
    assert found is not None
    assert (found.width, found.height, found.classes) == (SIDE, SIDE, len(NAMES))
    assert len(found.boxes) == len(THREE)
    for shown, planted in zip(found.boxes, THREE, strict=True):
        corners, score = decoded(planted)
        one = shown.box
        np.testing.assert_allclose((one.x0, one.y0, one.x1, one.y1), corners, atol=0.3)
        assert one.score == pytest.approx(score, abs=0.01)
        place = (planted.head, planted.row, planted.column, planted.anchor, STRIDES[planted.head], planted.label)
        assert (one.output, one.row, one.column, one.anchor, one.stride, one.label) == place
        assert shown.name == NAMES[planted.label]


def test_other_models_and_refused_ones_have_none(tmp_path: Path) -> None:
    model = onnxvis.load(write(detector(declared=False), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=SIDE, width=SIDE))
    outputs = oracle(model.path, [], item.feeds)
    assert found_in(model, item, outputs, None, NO_FLAGS) is None
    anchors = tuple(pair for head in ("fine", "coarse") for pair in ANCHORS[head])
    told = found_in(model, item, outputs, None, DetectorFlags(anchors))
    assert told is not None
    assert [card.name for card in told.boxes] == ["class 0", "class 1", "class 2"]


# On the page


def boxed_page(count: int = 5) -> Page:
    page = sample_page()
    found = detected(count)
    heatmap = replace(heatmap_cards(scene())[0], label="star", box=found.boxes[0].outline, score=0.9)
    return replace(page, inputs=(replace(page.inputs[0], found=found, heatmaps=(heatmap,)),))


def test_boxes_are_drawn_over_the_picture_and_listed() -> None:
    page = boxed_page()
    found, picture = page.inputs[0].found, page.inputs[0].picture
    assert found is not None
    assert picture is not None
    html = render(page)
    (overlay,) = re.findall(r'<svg class="overlay" viewBox="0 0 128 128"[^>]*>(.*?)</svg>', html, re.DOTALL)
    assert overlay.count(base64.b64encode(picture.data).decode()) == 1
    groups = re.findall(r'<g data-box="(\d+)"( hidden)?>(.*?)</g>', overlay)
    assert [int(number) for number, _, _ in groups] == [4, 3, 2, 1, 0] * 2
    for number, hidden, inside in groups:
        card = found.boxes[int(number)]
        assert bool(hidden) == (card.box.score < 0.25)
        place = "x", "y", "width", "height"
        for rect in re.findall(r"<rect class=[^>]*>", inside):
            numbers = [float(re.findall(rf' {name}="([^"]*)"', rect)[0]) for name in place]
            outline = card.outline
            assert numbers == [outline.x, outline.y, outline.width, outline.height]
        assert ("text" in inside) != ("edge" in inside)
        assert f'"{card.colour}"' in inside
        if "text" in inside:
            assert f">{card.name} {card.box.score:.2f}</text>" in inside


def test_weak_boxes_are_hidden_rows_too() -> None:
    page = boxed_page()
    found = page.inputs[0].found
    assert found is not None
    html = render(page)
    rows = re.findall(r'<tr data-box="(\d+)" data-score="([^"]*)"( hidden)?>(.*?)</tr>', html)
    assert [int(number) for number, *_ in rows] == list(range(5))
    for card, (_, score, hidden, inside) in zip(found.boxes, rows, strict=True):
        assert float(score) == card.box.score
        assert bool(hidden) == (card.box.score < 0.25)
        words = unescape(re.sub("<[^>]*>", " ", inside))
        for wanted in (card.name, f"{card.box.score:.3f}", card.corners, "head", "1/16", "1, 2"):
            assert wanted in words
        (bar,) = re.findall(r'<rect width="(\d+)" height="10"/>', inside)
        assert int(bar) == round(1000 * card.box.score)
    text = " ".join(unescape(re.sub("<[^>]*>", " ", html)).split())
    assert "4 of 5 boxes" in text
    assert "YOLOv3 heads, 3 classes. 10 boxes score 0.05 or more" in text
    assert "One note." in text


def test_a_threshold_needs_scripts_and_says_what_it_is() -> None:
    html = render(boxed_page())
    (slider,) = re.findall(r'<input[^>]*type="range"[^>]*>', html)
    for attribute in ('class="scripted"', 'min="0.05"', 'max="0.95"', 'value="0.25"', 'id="i1-least"'):
        assert attribute in slider
    assert '<label class="scripted" for="i1-least">' in html


def test_a_detector_that_found_nothing_says_so() -> None:
    page = boxed_page(1)
    card = page.inputs[0]
    assert card.found is not None
    html = render(replace(page, inputs=(replace(card, found=replace(card.found, boxes=()), heatmaps=()),)))
    assert "No box scores 0.05 or more." in html
    assert "As the model saw it" in html
    assert 'type="range"' not in html
    assert '<table class="sortable">' not in html


def test_boxes_stand_without_a_picture_too() -> None:
    page = boxed_page()
    html = render(replace(page, inputs=(replace(page.inputs[0], picture=None),)))
    assert html.count('<rect class="blank" width="128" height="128"/>') == 1
    assert "<image" not in html


def test_a_heatmap_of_a_box_has_its_outline() -> None:
    page = boxed_page()
    (figure,) = re.findall(r'<figure class="heatmap">(.*?)</figure>', render(page), re.DOTALL)
    box = page.inputs[0].heatmaps[0].box
    assert box is not None
    assert 'viewBox="0 0 128 128"' in figure
    assert f'class="edge" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"' in figure
    assert "for star 0.90" in " ".join(re.sub("<[^>]*>", " ", figure).split())
