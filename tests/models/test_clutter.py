"""Distractors: small, none of the ten shapes, and the same for the same seed."""

from __future__ import annotations

import cv2
import numpy as np

from onnxvis.models.clutter import Piece, behind, in_front
from onnxvis.models.scenes import AREA

GROUND = np.array([50, 0, 0], np.float32)
SUBJECT = np.array([80, 20, 20], np.float32)


def area(piece: Piece) -> float:
    return float(cv2.contourArea(piece.points.astype(np.float32)))


def test_no_piece_can_pass_for_a_subject() -> None:
    """Lines are far longer than wide; everything else is a fifth of the smallest subject at most."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        for piece in behind(rng, GROUND, SUBJECT) + in_front(rng, GROUND, SUBJECT):
            (_, sides, _) = cv2.minAreaRect(piece.points.astype(np.float32))
            is_line = max(sides) > 1.4
            assert area(piece) < (0.06 if is_line else AREA[0] / 5)
            assert is_line or max(sides) < 0.2
            assert all(0 <= value <= 255 for value in piece.rgb)


def test_what_may_cover_the_subject_is_thin() -> None:
    rng = np.random.default_rng(1)
    assert max(sum(map(area, in_front(rng, GROUND, SUBJECT))) for _ in range(300)) < 0.025


def test_the_same_seed_gives_the_same_clutter() -> None:
    first, second = (behind(np.random.default_rng(5), GROUND, SUBJECT) for _ in range(2))
    assert [piece.rgb for piece in first] == [piece.rgb for piece in second]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
