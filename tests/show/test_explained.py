from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx import numpy_helper

import onnxvis
from onnxvis.errors import InputError
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.faithfulness.curves import faithfulness_of
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.run.labels import Labels
from onnxvis.run.session import RunOptions
from onnxvis.show.explained import HeatmapOptions, heatmap_cards
from onnxvis.show.page import HeatmapCard
from onnxvis.show.report import silent
from tests.show.detector import SIDE, THREE, detector
from tests.tiny import from_text, photo, tiny, write

ONE = RunOptions("cpu", 1)


def cards(model: onnxvis.Model, picture: Path, options: HeatmapOptions) -> tuple[tuple[HeatmapCard, ...], str]:
    item = onnxvis.read_input(model, picture)
    outputs, _ = run_deployed(model, [item.feeds], ONE)
    return heatmap_cards(model, item, outputs[0], Labels({3: "cat"}, "a file"), options, ONE, silent)


@pytest.fixture
def model(tmp_path: Path) -> onnxvis.Model:
    return onnxvis.load(write(tiny(), tmp_path))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return photo(tmp_path, height=32, width=32)


def test_the_first_method_shows_the_strongest_classes_and_the_others_the_strongest(
    model: onnxvis.Model, picture: Path
) -> None:
    found, note = cards(model, picture, HeatmapOptions(("gradcam", "saliency"), 3))
    assert note == ""
    item = onnxvis.read_input(model, picture)
    logits = run_deployed(model, [item.feeds], ONE)[0][0]["logits"][0].astype(np.float64)
    order = np.argsort(-logits)
    chances = np.exp(logits - logits.max())
    chances /= chances.sum()
    assert [(card.method, card.target) for card in found] == [
        *(("gradcam", f"logits:{place}") for place in order[:3]),
        ("saliency", f"logits:{order[0]}"),
    ]
    for card, place in zip(found, [*order[:3], order[0]], strict=True):
        assert card.score == pytest.approx(chances[place], rel=1e-4)
        (wanted,) = explain(model, item.feeds, [card.method], target=str(place), options=ONE)
        if wanted.map.any():
            assert card.peak == tuple(map(int, np.unravel_index(wanted.map.argmax(), wanted.map.shape)))
        assert card.label == (f"{place} cat" if place == 3 else f"class {place}")
        pixels = cv2.imdecode(np.frombuffer(card.picture.data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert pixels.shape == (card.picture.height, card.picture.width, 3) == (288, 288, 3)


def test_no_methods_no_heatmaps(model: onnxvis.Model, picture: Path) -> None:
    assert cards(model, picture, HeatmapOptions(())) == ((), "")


def test_a_method_that_cannot_be_has_its_reason_and_the_others_are_there(picture: Path, tmp_path: Path) -> None:
    body = "g (float[1,3,32,32] x) => (float[1,10] y) { p = GlobalAveragePool(x)\n f = Flatten(p)\n y = Gemm(f, w) }"
    headless = from_text(body)
    rng = np.random.default_rng(0)
    headless.graph.initializer.append(numpy_helper.from_array(rng.standard_normal((3, 10)).astype(np.float32), "w"))
    flat = onnxvis.load(write(headless, tmp_path, "flat.onnx"))
    found, note = cards(flat, picture, HeatmapOptions(("gradcam", "saliency")))
    assert [card.method for card in found] == ["saliency"]
    assert note.startswith("gradcam: flat.onnx has no feature map")
    assert found[0].layers == ()


def test_outputs_without_classes_are_no_failure(picture: Path, tmp_path: Path) -> None:
    path = write(from_text("g (float[1,3,32,32] x) => (float[1,3,32,32] y) { y = Relu(x) }"), tmp_path)
    found, note = cards(onnxvis.load(path), picture, HeatmapOptions())
    assert found == ()
    assert "looks like class scores" in note


def test_of_a_detector_the_strongest_boxes_are_explained(tmp_path: Path) -> None:
    found_in = onnxvis.load(write(detector(), tmp_path))
    fed = photo(tmp_path, height=SIDE, width=SIDE)
    found, note = cards(found_in, fed, HeatmapOptions(("layercam", "saliency"), 9))
    assert note == ""
    assert [card.method for card in found] == ["layercam"] * 3 + ["saliency"]
    for card, (place, planted) in zip(found, [*enumerate(THREE), (0, THREE[0])], strict=True):
        assert card.target.startswith(f"box:{place} ({planted.head}:")
        assert card.label == ("cat" if planted.label == 3 else f"class {planted.label}")
        odds = 1 / (1 + np.exp(-planted.objectness)), 1 / (1 + np.exp(-planted.chance))
        assert card.score == pytest.approx(odds[0] * odds[1], abs=0.01)
        assert card.box is not None
        assert (card.box.picture_width, card.box.picture_height) == (SIDE, SIDE)
        stride = SIDE // {"coarse": 4, "fine": 8}[planted.head]
        x = (1 / (1 + np.exp(-planted.raw[0])) + planted.column) * stride
        y = (1 / (1 + np.exp(-planted.raw[1])) + planted.row) * stride
        assert card.box.x <= x <= card.box.x + card.box.width
        assert card.box.y <= y <= card.box.y + card.box.height
    item = onnxvis.read_input(found_in, fed)
    (wanted,) = explain(found_in, item.feeds, ["layercam"], target="box:1", options=ONE)
    assert found[1].peak == tuple(map(int, np.unravel_index(wanted.map.argmax(), wanted.map.shape)))


def test_of_a_detector_one_box_is_explained_unless_more_are_asked_for(tmp_path: Path) -> None:
    found, _ = cards(onnxvis.load(write(detector(), tmp_path)), photo(tmp_path), HeatmapOptions(("gradcam",)))
    assert [card.target.split()[0] for card in found] == ["box:0"]


def test_heads_that_cannot_be_read_have_the_reason(tmp_path: Path) -> None:
    raw = onnxvis.load(write(detector(declared=False), tmp_path))
    found, note = cards(raw, photo(tmp_path), HeatmapOptions())
    assert found == ()
    assert "give --anchors" in note


def test_classes_have_no_outline(model: onnxvis.Model, picture: Path) -> None:
    found, _ = cards(model, picture, HeatmapOptions())
    assert [card.box for card in found] == [None]


def test_slow_methods_keep_their_place_and_cost_nothing_of_the_others(
    model: onnxvis.Model, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def watching(*arguments: Any, **options: Any) -> tuple[Heatmap, ...]:
        asked.append(tuple(arguments[2]))
        if arguments[2] == ("occlusion",):
            raise InputError("there is no way")
        return explain(*arguments, **options)

    monkeypatch.setattr("onnxvis.show.explained.explain", watching)
    methods = ("reciprocam", "gradcam", "occlusion", "layercam")
    found, note = cards(model, picture, HeatmapOptions(methods))
    assert [card.method for card in found] == ["reciprocam", "gradcam", "layercam"]
    assert note == "occlusion: there is no way"
    assert asked == [("gradcam", "layercam"), ("reciprocam",), ("occlusion",)]


def test_maps_are_tested_where_asked_for(model: onnxvis.Model, picture: Path) -> None:
    options = HeatmapOptions(("layercam", "saliency"), 2, faithfulness=True)
    found, note = cards(model, picture, options)
    assert note == ""
    assert [card.faithfulness is None for card in found] == [not card.peak for card in found]
    item = onnxvis.read_input(model, picture)
    (wanted,) = explain(model, item.feeds, ["saliency"], options=ONE)
    curves = faithfulness_of(model, item, wanted, wanted.target, ONE)
    assert found[-1].faithfulness is not None
    np.testing.assert_allclose(found[-1].faithfulness.insertion.scores, curves.insertion.scores, rtol=1e-6)
    assert found[-1].faithfulness.deletion.area == pytest.approx(curves.deletion.area)
    assert all(card.faithfulness is None for card in cards(model, picture, HeatmapOptions(("saliency",)))[0])
