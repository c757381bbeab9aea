from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import ImageDraw

from onnxvis.measure.boxes.detections import Box
from onnxvis.measure.heatmaps.explain import Heatmap
from onnxvis.measure.target import Target
from onnxvis.run.labels import Labels
from onnxvis.show.colormap import palette
from onnxvis.show.heatmaps import (
    describe_heatmap,
    heatmap_arrays,
    heatmap_page,
    heatmap_picture,
    target_label,
    target_name,
)
from tests.tiny import Array


def found(values: Array, method: str = "gradcam", index: tuple[int, ...] = (3,)) -> Heatmap:
    target = Target("logits", index, "logits", (1, 10))
    return Heatmap(
        method, "the definition", ("layer4",), target, values.astype(np.float32), values * 5, ("a note",), "CPU"
    )


def ramp(height: int = 20, width: int = 30) -> Array:
    """From 0 on the left to 1 on the right."""
    return np.broadcast_to(np.linspace(0, 1, width), (height, width)).copy()


def test_a_map_alone_has_the_colours_of_the_colormap() -> None:
    drawn = heatmap_picture(found(ramp()), None, "viridis")
    assert drawn.shape == (20 * 14, 30 * 14, 3)  # 448 // 30 times
    colours = palette("viridis").astype(int)
    assert np.abs(drawn[:, 0] - colours[0]).max() <= 1
    assert np.abs(drawn[:, -1] - colours[255]).max() <= 1
    places = np.argmin(np.abs(drawn[5][:, None].astype(int) - colours).sum(axis=2), axis=1)
    assert (np.diff(places) >= 0).all()


def test_a_map_over_a_picture_is_a_mixture_of_both() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:10] = 200
    drawn = heatmap_picture(found(ramp()), picture, "gray")
    top, bottom = drawn[10, :, 0].astype(float), drawn[-10, :, 0].astype(float)
    np.testing.assert_allclose(top - bottom, 0.45 * 200, atol=1.01)
    np.testing.assert_allclose(bottom[[0, -1]], [0, 0.55 * 255], atol=1.01)


def test_large_pictures_are_not_enlarged() -> None:
    picture = np.zeros((500, 600, 3), np.uint8)
    assert heatmap_picture(found(ramp(500, 600)), picture).shape == (500, 600, 3)


def test_a_page_holds_the_picture_and_every_map() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :, 1] = 255
    maps = [(found(ramp(), f"method{number}"), "layer × 4") for number in range(4)]
    page = heatmap_page(maps, picture, "a title", "gray")
    green = (page == (0, 255, 0)).all(axis=2)
    assert green.sum() == 256 * 171  # the longer side is 256 pixels
    alone = heatmap_page(maps, None, "a title", "gray")
    assert not (alone == (0, 255, 0)).all(axis=2).any()
    white = (page == 255).all(axis=2)
    assert white[:, -12:].all()
    assert white[-12:].all()
    assert 0.2 < white.mean() < 0.7


def test_a_blank_map_is_called_blank_on_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    draw = ImageDraw.ImageDraw.text

    def noted(self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, *more: object) -> None:
        written.append(text)
        draw(self, xy, text, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    heatmap_page([(found(ramp(), "cam"), "a"), (found(np.zeros((20, 30)), "gradcam"), "b")], None, "title", "gray")
    assert written == ["title", "cam", "a", "gradcam: blank", "b"]


def test_arrays_stand_under_their_methods() -> None:
    arrays = heatmap_arrays([found(ramp()), found(1 - ramp(), "cam")])
    assert list(arrays) == ["gradcam/map", "gradcam/raw", "cam/map", "cam/raw"]
    np.testing.assert_array_equal(arrays["cam/raw"], 5 * (1 - ramp()))


def test_what_is_said_of_a_map() -> None:
    values = ramp()
    values[7, 4] = 2
    said = describe_heatmap(found(values), Labels({3: "cat"}, "a file"))
    assert json.loads(json.dumps(said)) == {
        "method": "gradcam",
        "definition": "the definition",
        "layer": "layer4",
        "layers": ["layer4"],
        "target": "logits:3",
        "label": "3 cat",
        "peak": [7, 4],
        "notes": ["a note"],
        "provider": "CPU",
    }
    assert describe_heatmap(found(np.zeros((4, 4))))["peak"] is None


@pytest.mark.parametrize(
    ("index", "shape", "wanted"),
    [((3,), (1, 10), "3 cat"), ((4,), (1, 10), "class 4"), ((3,), (1, 10, 1, 1), "3 cat"),
     ((3,), (1, 10, 7, 7), "element 3"), ((3, 2, 1), (1, 10, 7, 7), "element 3, 2, 1"),
     ((), (1, 10), "the whole output")],
)  # fmt: skip
def test_targets_in_words(index: tuple[int, ...], shape: tuple[int, ...], wanted: str) -> None:
    assert target_name(index, shape, Labels({3: "cat"}, "a file")) == wanted
    assert target_name((3,), (1, 10), None) == "class 3"


def test_boxes_in_words() -> None:
    box = Box(0, 0, 5, 5, 3, 0.926, "head8", 3, 4, 0, 8)
    target = Target("head8", (8, 3, 4), "head8", (1, 16, 8, 8), name="box:0", box=box)
    assert target_label(target, Labels({3: "star"}, "a file")) == "star 0.93 at row 3, column 4"
    for labels in (None, Labels({2: "cat"}, "a file")):
        assert target_label(target, labels) == "class 3 0.93 at row 3, column 4"
    assert target_label(Target("y", (3,), "y", (1, 10)), Labels({3: "star"}, "a file")) == "3 star"
