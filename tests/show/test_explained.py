from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import numpy_helper

import onnxvis
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.run.labels import Labels
from onnxvis.run.session import RunOptions
from onnxvis.show.explained import HeatmapOptions, heatmap_cards
from onnxvis.show.page import HeatmapCard
from onnxvis.show.report import silent
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
