"""Scenes of several subjects: what they say of each, against the picture itself, and that a seed fixes every byte."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from onnxvis.models.crowds import MOST, SHARE, Crowd, Member, make_crowd
from onnxvis.models.scenes import Subject, draw_subject
from onnxvis.models.shapes import KINDS

Picture = NDArray[np.float32]


@pytest.fixture(scope="module")
def crowds() -> list[Crowd]:
    return [make_crowd(seed) for seed in range(150)]


def members(crowds: list[Crowd]) -> list[Member]:
    return [member for crowd in crowds for member in crowd.members]


def digest(crowd: Crowd) -> str:
    return hashlib.sha256(crowd.picture.tobytes() + repr(crowd.members).encode()).hexdigest()


def test_every_kind_and_every_number_of_subjects_occurs(crowds: list[Crowd]) -> None:
    assert np.bincount([member.label for member in members(crowds)], minlength=10).min() >= 20
    assert set(map(len, (crowd.members for crowd in crowds))) >= set(range(1, MOST + 1))
    assert all(member.name == KINDS[member.label] for member in members(crowds))


def test_a_seed_fixes_every_byte_whatever_was_drawn_before(crowds: list[Crowd]) -> None:
    make_crowd(77)
    assert [digest(make_crowd(seed)) for seed in (3, 2)] == [digest(crowds[3]), digest(crowds[2])]
    assert len(set(map(digest, crowds))) == len(crowds)


def test_boxes_lie_in_the_picture_and_are_of_the_sizes_promised(crowds: list[Crowd]) -> None:
    boxes = np.array([member.box for member in members(crowds)])
    assert boxes.min() >= 0
    assert boxes.max() <= 160
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / 160**2
    # A thin shape fills a third of its box; clutter and neighbours hide up to 30 % of one.
    assert areas.min() >= 0.7 * SHARE[0]
    assert areas.max() <= 4 * SHARE[1]


def test_the_box_of_the_last_subject_is_where_drawing_it_changed_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but clutter hides the subject that is drawn last."""
    changes: list[Picture] = []

    def watched(canvas: Picture, subject: Subject, light: float, rng: np.random.Generator) -> Picture:
        before = canvas.copy()
        cover: Picture = draw_subject(canvas, subject, light, rng)
        changes.append(np.abs(canvas - before).max(axis=2) * (cover > 0.5))
        return cover

    monkeypatch.setattr("onnxvis.models.crowds.draw_subject", watched)
    for seed in range(40, 60):
        crowd = make_crowd(seed)
        changed = changes[-1] > 8
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        drawn = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert np.abs(drawn - crowd.members[-1].box).max() <= 6


def test_boxes_hardly_overlap(crowds: list[Crowd]) -> None:
    for crowd in crowds:
        counts = np.zeros((160, 160), int)
        for member in crowd.members:
            x0, y0, x1, y1 = member.box
            counts[y0:y1, x0:x1] += 1
        for member in crowd.members:
            x0, y0, x1, y1 = member.box
            alone = (counts[y0:y1, x0:x1] == 1).mean()
            assert alone >= 1 - 0.13 * len(crowd.members)


def test_another_size_is_the_same_composition(crowds: list[Crowd]) -> None:
    for seed in range(8):
        large = make_crowd(seed, 320)
        assert [member.label for member in large.members] == [member.label for member in crowds[seed].members]
        small = cv2.resize(large.picture, (160, 160), interpolation=cv2.INTER_AREA).astype(float)
        blurred = cv2.GaussianBlur(crowds[seed].picture.astype(float), (0, 0), 1.0)
        assert np.abs(small - blurred).mean() < 12
        for a, b in zip(large.members, crowds[seed].members, strict=True):
            assert np.abs(np.array(a.box) / 2 - np.array(b.box)).max() <= 2.5


def test_too_small_a_scene_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 64 pixels"):
        make_crowd(0, 63)
