from __future__ import annotations

import base64
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pytest

import onnxvis
from onnxvis.measure.class_map import ClassMap, class_map
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.labels import Labels
from onnxvis.show.class_map import (
    CLASS_COLOURS,
    ClassMapCard,
    class_colour,
    class_colours,
    class_map_cards,
    class_map_picture,
    class_maps_in,
    fed_size,
)
from onnxvis.show.render import render
from tests.show.detector import SIDE, segmenter
from tests.show.sample import class_map_card, sample_page, scene
from tests.tiny import Array, from_text, oracle, photo, tiny, write


def labels_of(*rows: list[int]) -> ClassMap:
    found = class_map("out", np.array([rows]), (8, 8))
    assert found is not None
    return found


def card(found: ClassMap, picture: Array | None = None, labels: Labels | None = None) -> ClassMapCard:
    (made,) = class_map_cards([found], picture, labels)
    return made


def lab(colours: Array) -> Array:
    """CIELAB by its definition, of sRGB with the white D65."""
    unit = colours / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    ratio = linear @ matrix.T / (0.95047, 1, 1.08883)
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


def least_distance(count: int) -> float:
    places = lab(class_colours()[:count].astype(np.float64))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    return float(apart[~np.eye(count, dtype=bool)].min())


def test_classes_have_colours_that_can_be_told_apart() -> None:
    assert class_colours().shape == (CLASS_COLOURS, 3)
    assert len({class_colour(index) for index in range(CLASS_COLOURS)}) == CLASS_COLOURS
    for count, distance in ((10, 30), (20, 30), (50, 20), (CLASS_COLOURS, 8)):
        assert least_distance(count) > distance  # about 2.3 can just be seen


def test_a_colour_belongs_to_its_class() -> None:
    assert class_colour(0) == "#3b9df2"
    assert class_colour(255) == "#" + class_colours()[255].tobytes().hex()
    assert class_colour(CLASS_COLOURS + 3) == class_colour(3)
    lightness = lab(class_colours().astype(np.float64))[:, 0]
    assert lightness.min() > 35
    assert lightness.max() < 95


def test_every_pixel_is_its_places_colour_over_the_picture() -> None:
    picture = scene(64)
    labels = np.array([[0, 5, -1], [7, 300, 2]])
    drawn = class_map_picture(labels, picture, clear=[2])
    assert drawn.shape == (448, 448, 3)
    colours = class_colours()
    for y in range(0, 448, 7):
        for x in range(0, 448, 7):
            label = labels[y * 2 // 448, x * 3 // 448]
            red, green, blue = picture[y // 7, x // 7].astype(float)
            ground = np.full(3, 0.299 * red + 0.587 * green + 0.114 * blue)
            wanted = ground if label in (-1, 2) else 0.6 * colours[label % 256] + 0.4 * ground
            np.testing.assert_allclose(drawn[y, x], wanted, atol=1.2)


def test_without_a_picture_the_colours_are_alone() -> None:
    labels = np.array([[0, 1], [2, -1]])
    drawn = class_map_picture(labels, None)
    assert drawn.shape == (448, 448, 3)
    np.testing.assert_array_equal(drawn[::224, ::224].reshape(-1, 3), [*class_colours()[:3], (0, 0, 0)])


def test_large_pictures_are_made_smaller() -> None:
    drawn = class_map_picture(np.zeros((4, 8), np.int64), np.zeros((500, 2000, 3), np.uint8))
    assert drawn.shape == (160, 640, 3)
    assert class_map_picture(np.zeros((1500, 10), np.int64), None).shape == (640, 4, 3)


def test_a_card_has_every_class_with_its_share() -> None:
    found = labels_of([3, 3, 1], [3, 2, 1], [3, 3, 3])
    made = card(found, scene(), Labels({1: "cat", 3: "dog"}, ""))
    assert [(item.index, item.label) for item in made.shares] == [(3, "dog"), (1, "cat"), (2, "2")]
    assert [item.share for item in made.shares] == pytest.approx([6 / 9, 2 / 9, 1 / 9])
    assert [item.colour for item in made.shares] == [class_colour(index) for index in (3, 1, 2)]
    assert (made.output, made.classes, made.height, made.width) == ("out", None, 3, 3)
    pixels = cv2.imdecode(np.frombuffer(made.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (made.drawn_height, made.drawn_width, 3)
    np.testing.assert_allclose(pixels[:, :, ::-1], class_map_picture(found.labels, scene()), atol=60)
    assert [item.label for item in card(found).shares] == ["class 3", "class 1", "class 2"]


def test_a_background_is_left_uncoloured() -> None:
    made = card(labels_of([0, 1], [0, 0]), scene(), Labels({0: "__background__", 1: "cat"}, ""))
    assert [item.colour for item in made.shares] == ["", class_colour(1)]
    mask = class_map("out", np.array([[[[-1.0, 2], [-3, -4]]]]), (8, 8))
    assert mask is not None
    made = card(mask, scene(), Labels({0: "cat", 1: "dog"}, ""))
    assert [(item.label, item.share, item.colour) for item in made.shares] == [
        ("background", 0.75, ""),
        ("foreground", 0.25, class_colour(1)),
    ]


def test_the_map_of_a_model_is_that_of_its_outputs(tmp_path: Path) -> None:
    model = onnxvis.load(write(segmenter(5), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=SIDE, width=SIDE))
    outputs = oracle(model.path, [], item.feeds)
    (made,) = class_maps_in(model, item, outputs, None)
    classes = [int(np.argmax(outputs["logits"][0, :, y, x])) for y in range(16) for x in range(16)]
    assert {one.index: one.share for one in made.shares} == {k: classes.count(k) / 256 for k in set(classes)}
    assert (made.output, made.classes, made.height, made.width) == ("logits", 5, 16, 16)


def test_a_classifier_has_no_map(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path))
    assert class_maps_in(model, item, oracle(model.path, [], item.feeds), None) == ()


def test_the_size_fed_is_that_of_the_picture_or_of_the_array(tmp_path: Path) -> None:
    model = onnxvis.load(write(segmenter(), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path))
    assert fed_size(model, item) == (SIDE, SIDE)
    array = replace(item, picture=None, feeds={"image": np.zeros((1, 3, 20, 30), np.float32)})
    assert fed_size(model, array) == (20, 30)
    last = from_text("g (float[1,20,30,3] x) => (float[1,20,30,3] y) { y = Relu(x) }")
    model = onnxvis.load(write(last, tmp_path, "last.onnx"))
    fed = PreparedInput("x", {"x": np.zeros((1, 20, 30, 3), np.float32)}, None, None, None)
    assert fed_size(model, fed) == (20, 30)
    sound = onnxvis.load(write(from_text("g (float[7] x) => (float[7] y) { y = Relu(x) }"), tmp_path, "sound.onnx"))
    assert fed_size(sound, replace(fed, feeds={"x": np.zeros(7, np.float32)})) is None


def test_class_maps_have_a_legend_of_the_twelve_largest() -> None:
    page, card = sample_page(), class_map_card()
    html = render(replace(page, inputs=(replace(page.inputs[0], class_maps=(card,)),)))
    (section,) = re.findall(r'<section class="marked" id="i1-marked">(.*?)</section>', html, re.DOTALL)
    assert base64.b64encode(card.jpeg).decode() in section
    rows = re.findall(r"<tr>(.*?)</tr>", section)
    assert len(rows) == 12
    for item, row in zip(card.shares, rows, strict=False):
        words = " ".join(unescape(re.sub("<[^>]*>", " ", row)).split())
        assert words == f"{item.index} class {item.index} {100 * item.share:.3g} %"
        assert f'fill="{item.colour}"' in row
        assert f'<rect width="{round(1000 * item.share)}" height="10"/>' in row
    left = 100 * sum(item.share for item in card.shares[12:])
    assert f"3 more classes on {left:.3g} % of the picture." in section
    assert "32 × 32, class numbers as the model gives them" in section
    assert '<a class="sub" href="#i1-marked">Class map</a>' in html


def test_a_class_that_is_left_uncoloured_has_an_empty_swatch() -> None:
    page, card = sample_page(), class_map_card(3)
    clear = replace(card, shares=(replace(card.shares[0], colour=""), *card.shares[1:]), jpeg=b"")
    html = render(replace(page, inputs=(replace(page.inputs[0], class_maps=(clear,)),)))
    assert html.count('<rect class="clear"') == 1
    assert "The picture was left out for the page" in html
