"""The pointing game (Zhang et al., 2016, arXiv:1608.00507): the maximum of a map lies where the subject is.

Scenes are those whose centre lies outside of the subject's box. Subjects are large and lie wholly inside: of all
scenes a blob at the centre would find 0.80. It is the box that counts: a ring or a crescent leaves much of it free, and
a map of 7 × 7 cells cannot follow the outline.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from onnxvis.api import read_input
from onnxvis.graph.load import load
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.models.classifier import FRESH_SEEDS, SIZE, batch_of
from onnxvis.models.scenes import Scene, make_scene
from onnxvis.run.fitting import Fit, place
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import PreparedInput
from tests.tiny import Array

Box = tuple[float, float, float, float]

FIRST = FRESH_SEEDS + 10_000_000
CAMS, INTEGRATED = ("gradcam", "layercam"), "integratedgradients"


def inside(values: Array, box: Box) -> bool:
    """Whether the maximum of a map (H, W) lies in the box (x0, y0, x1, y1)."""
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    return bool(box[0] <= column < box[2] and box[1] <= row < box[3])


def scenes() -> Iterator[tuple[int, Scene]]:
    """Fresh scenes off the centre, with their seeds."""
    for seed in itertools.count(FIRST):
        scene = make_scene(seed, SIZE)
        x0, y0, x1, y1 = scene.box
        if not (x0 <= SIZE // 2 < x1 and y0 <= SIZE // 2 < y1):
            yield seed, scene


@cache
def off_centre(count: int) -> tuple[tuple[int, Scene], ...]:
    """The first of these scenes: four of five that are drawn are not among them."""
    return tuple(itertools.islice(scenes(), count))


def found(classifier: Path, methods: Sequence[str], count: int) -> dict[str, float]:
    """The share of `count` scenes in which the maximum of a method's map for the top class lies in the box."""
    model, hits = load(classifier), dict.fromkeys(methods, 0)
    for seed, scene in off_centre(count):
        pictures, _ = batch_of([seed])
        for heatmap in explain(model, {"image": pictures}, methods):
            hits[heatmap.method] += inside(heatmap.map, scene.box)
    return {method: hit / count for method, hit in hits.items()}


def test_maps_point_at_the_subject(classifier: Path) -> None:
    assert min(found(classifier, CAMS, 25).values()) >= 0.9


def test_integrated_gradients_point_at_the_subject(classifier: Path) -> None:
    assert found(classifier, [INTEGRATED], 6)[INTEGRATED] >= 0.8


@pytest.mark.slow
def test_maps_point_at_the_subject_of_500_scenes(classifier: Path) -> None:
    assert min(found(classifier, CAMS, 500).values()) >= 0.9


@pytest.mark.slow
def test_integrated_gradients_point_at_the_subject_of_200_scenes(classifier: Path) -> None:
    """Of 500 they do as well, which takes four minutes."""
    assert found(classifier, [INTEGRATED], 200)[INTEGRATED] >= 0.9


def test_maps_that_know_nothing_do_not() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    blob = np.exp(-(rows**2 + columns**2) / (2 * (SIZE / 8) ** 2))
    drawn = [scene for _, scene in itertools.islice(scenes(), 100)]
    assert np.mean([inside(blob, scene.box) for scene in drawn]) <= 0.4
    assert np.mean([inside(rng.random((SIZE, SIZE)), scene.box) for scene in drawn]) <= 0.4


PHOTOS = [
    ("winml_squeezenet_fp16.onnx", "chelsea.png", "cat"),
    ("winml_squeezenet_fp16.onnx", "coffee.png", "cup"),
    ("efficientnet_lite0_ort_qdq_int8.onnx", "chelsea.png", "cat"),
    ("efficientnet_lite0_ort_qdq_int8.onnx", "coffee.png", "cup"),
]
PREPROCESSING = {
    "efficientnet_lite0_ort_qdq_int8.onnx": PreprocessFlags.parse(preset="half", mean="127", std="128"),
    "winml_squeezenet_fp16.onnx": PreprocessFlags.parse(preset="caffe", mean="104,117,123"),
}
CATEGORIES = {"chelsea.png": 285, "coffee.png": 967}
"""ImageNet's Egyptian cat and espresso. (Cropped, one model takes the cat for a tiger cat.)"""


def as_fed(box: Box, given: PreparedInput) -> Box:
    """A box of the photo in the pixels of what the model is fed."""
    how, original = given.preprocessing, given.original_size
    assert how is not None
    assert original is not None
    placed = place(original, how.size, how.fit, how.shorter)
    down, across = placed.resized[0] / original[0], placed.resized[1] / original[1]
    x0, y0, x1, y1 = box
    return x0 * across + placed.left, y0 * down + placed.top, x1 * across + placed.left, y1 * down + placed.top


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize(("name", "photo", "subject"), PHOTOS)
def test_maps_of_real_models_point_at_the_subject(corpus: Path, name: str, photo: str, subject: str, fit: Fit) -> None:
    box = json.loads((corpus / "photos.json").read_text())[photo]["boxes"][subject]
    model = load(corpus / "models" / name)
    fed = read_input(model, corpus / "photos" / photo, replace(PREPROCESSING[name], fit=fit))
    for heatmap in explain(model, fed.feeds, ["gradcam", "layercam"], target=str(CATEGORIES[photo])):
        assert inside(heatmap.map, as_fed(box, fed))
