"""Linear classifiers: that the one used here can learn, and that it cannot learn the scenes."""

from __future__ import annotations

import numpy as np
import pytest

from onnxvis.models.check_scenes import FEATURES, colour_histogram, linear_accuracy, ridge_accuracy
from onnxvis.models.classifier import FRESH_SEEDS


def test_ridge_learns_what_is_linear() -> None:
    """Ten Gaussian clouds about random centres: the optimum is the nearest centre."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 50))
    labels, fresh_labels = rng.integers(10, size=800), rng.integers(10, size=400)
    features = (centres[labels] + rng.normal(0, 1.2, (800, 50))).astype(np.float32)
    fresh = (centres[fresh_labels] + rng.normal(0, 1.2, (400, 50))).astype(np.float32)
    nearest = ((fresh[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    optimum = float((nearest == fresh_labels).mean())
    assert optimum > 0.95
    assert ridge_accuracy(features, labels, fresh, fresh_labels) > optimum - 0.04


def test_the_dual_form_equals_least_squares() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(200, 6)).astype(np.float32)
    labels = (features @ rng.normal(size=(6, 3))).argmax(axis=1)
    fresh = rng.normal(size=(100, 6)).astype(np.float32)
    scaled = [(table - features.mean(axis=0)) / features.std(axis=0) for table in (features, fresh)]
    design = np.vstack([scaled[0] / np.sqrt(6), np.sqrt(1e-2) * np.eye(6)])
    targets = np.vstack([np.eye(3)[labels] - np.eye(3)[labels].mean(axis=0), np.zeros((6, 3))])
    weights, *_ = np.linalg.lstsq(design, targets, rcond=None)
    expected = (scaled[1] / np.sqrt(6) @ weights).argmax(axis=1)
    assert ridge_accuracy(features, labels, fresh, expected, penalties=[1e-2]) == 1.0


def test_the_histogram_counts_every_pixel() -> None:
    picture = np.array([[[255, 0, 40], [255, 0, 40], [0, 128, 8], [7, 7, 7]]], np.uint8)
    shares = colour_histogram(picture) ** 2
    assert shares.sum() == pytest.approx(4)
    assert shares[7 * 64 + 0 * 8 + 1] == pytest.approx(0.5)
    assert shares[0 * 64 + 4 * 8 + 0] == pytest.approx(0.25)
    assert shares[512 + 31] == pytest.approx(0.5)
    assert shares[512 + 64 + 5] == pytest.approx(0.5)


def test_colours_say_little_about_the_kind() -> None:
    fresh = range(FRESH_SEEDS, FRESH_SEEDS + 150)
    assert linear_accuracy("colour histogram", range(300), fresh) <= 0.4


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURES)
def test_linear_classifiers_stay_below_two_fifths(feature: str) -> None:
    assert linear_accuracy(feature, range(4000), range(FRESH_SEEDS, FRESH_SEEDS + 1000)) <= 0.4
