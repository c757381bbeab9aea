"""Scenes: what they say about the subject against an independent rasterisation, and that a seed fixes every byte."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from onnxvis.models.scenes import AREA, Scene, draw_subject, make_scene, place_subject
from onnxvis.models.shapes import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed) for seed in range(300)]


def digest(scene: Scene) -> str:
    return hashlib.sha256(scene.picture.tobytes() + scene.mask.tobytes()).hexdigest()


def test_every_kind_occurs_and_is_named(scenes: list[Scene]) -> None:
    counts = np.bincount([scene.label for scene in scenes], minlength=10)
    assert counts.min() >= 15
    assert all(scene.name == KINDS[scene.label] for scene in scenes)


def test_types_and_sizes(scenes: list[Scene]) -> None:
    assert all(scene.picture.shape == (112, 112, 3) and scene.picture.dtype == np.uint8 for scene in scenes)
    assert all(scene.mask.shape == (112, 112) and scene.mask.dtype == np.bool_ for scene in scenes)


def test_the_subject_covers_at_most_a_fifth(scenes: list[Scene]) -> None:
    shares = [scene.mask.mean() for scene in scenes]
    assert max(shares) <= 0.2
    assert min(shares) >= 0.8 * AREA[0]


def test_the_box_is_the_smallest_around_the_mask(scenes: list[Scene]) -> None:
    for scene in scenes[:100]:
        inside = [(x, y) for y, row in enumerate(scene.mask.tolist()) for x, value in enumerate(row) if value]
        xs, ys = zip(*inside, strict=True)
        assert scene.box == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)


def test_the_subject_stands_anywhere(scenes: list[Scene]) -> None:
    """Each of 8 × 8 parts of the picture holds some of some subject, and the middle is not always it."""
    often = np.mean([scene.mask for scene in scenes], axis=0)
    assert (often.reshape(8, 14, 8, 14).max(axis=(1, 3)) > 0).all()
    assert often.max() < 0.55


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_is_the_share_of_each_pixel_inside_the_outline(
    kind: str, rasterise: Callable[..., NDArray[np.bool_]]
) -> None:
    rng = np.random.default_rng(7)
    subject = place_subject(kind, np.array([70, 20, 20], np.float32), rng)
    coverage = draw_subject(np.full((112, 112, 3), 90, np.float32), subject, 1.0, rng)
    samples = rasterise(subject.outline, 112 * 5).reshape(112, 5, 112, 5).mean(axis=(1, 3))
    # OpenCV fills the border's own pixels too, here an eighth of a pixel.
    assert np.abs(coverage - samples).max() < 0.45
    assert np.abs(coverage - samples).mean() < 0.005
    assert ((coverage >= 0.5) != (samples >= 0.5)).mean() < 0.008
    assert coverage.mean() == pytest.approx(subject.outline.area, rel=0.03)


def test_the_drawn_subject_differs_from_the_ground_only_at_itself_and_its_shadow() -> None:
    rng = np.random.default_rng(8)
    ground = np.full((112, 112, 3), 90, np.float32)
    canvas = ground.copy()
    coverage = draw_subject(canvas, place_subject("star", np.array([80, 30, 40], np.float32), rng), 2.0, rng)
    changed = np.abs(canvas - ground).max(axis=2) > 1
    near = cv2.dilate((coverage > 0).astype(np.uint8), np.ones((21, 21), np.uint8)) > 0
    assert changed[coverage == 1].all()
    assert not changed[~near].any()
    # Light comes from an angle of 2 rad: what is darker than the ground lies on the other side.
    darker = np.argwhere((canvas.max(axis=2) < 85) & (coverage == 0)).mean(axis=0)
    offset = darker - np.argwhere(coverage == 1).mean(axis=0)
    assert offset @ (np.sin(2.0), np.cos(2.0)) < 0


def test_the_subject_stands_out_from_what_surrounds_it(scenes: list[Scene]) -> None:
    for scene in scenes:
        mask = scene.mask.astype(np.uint8)
        around = (cv2.dilate(mask, np.ones((21, 21), np.uint8)) - cv2.dilate(mask, np.ones((7, 7), np.uint8))) > 0
        inside = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
        lab = cv2.cvtColor(scene.picture.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
        assert np.linalg.norm(np.median(lab[inside], axis=0) - np.median(lab[around], axis=0)) > 12


def test_a_seed_fixes_the_bytes_whatever_came_before(scenes: list[Scene]) -> None:
    for seed in (250, 3, 117):
        assert digest(make_scene(seed)) == digest(scenes[seed])
    assert len({digest(scene) for scene in scenes}) == len(scenes)


def test_another_process_draws_the_same_bytes(scenes: list[Scene]) -> None:
    code = """
import hashlib
from onnxvis.models.scenes import make_scene
scene = make_scene(42)
print(hashlib.sha256(scene.picture.tobytes() + scene.mask.tobytes()).hexdigest())
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(scenes[42])


def test_another_size_is_the_same_scene() -> None:
    for seed in range(12):
        small, large = make_scene(seed, 112), make_scene(seed, 336)
        reduced = cv2.resize(large.picture, (112, 112), interpolation=cv2.INTER_AREA).astype(float)
        shrunk = cv2.resize(large.mask.astype(np.uint8) * 255, (112, 112), interpolation=cv2.INTER_AREA) > 127
        assert np.abs(reduced - small.picture).mean() < 8
        assert (shrunk & small.mask).sum() / (shrunk | small.mask).sum() > 0.95


def test_a_kind_can_be_asked_for() -> None:
    assert [make_scene(5, 48, kind).name for kind in KINDS] == list(KINDS)


@pytest.mark.parametrize(("size", "kind"), [(16, None), (112, "pentagon")])
def test_what_cannot_be_drawn_is_refused(size: int, kind: str | None) -> None:
    with pytest.raises(ValueError, match="at least 32 pixels wide and shows one of disc, ring"):
        make_scene(0, size, kind)
