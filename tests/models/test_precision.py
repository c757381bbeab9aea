"""Average precision, against curves worked out by hand and a slow loop over thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxvis.models.precision import average_precision, box_iou, mean_average_precision

Array = NDArray[np.float64]


def boxes(*rows: tuple[float, ...]) -> Array:
    return np.array(rows, float)


def test_the_iou_of_boxes_counts_pixels() -> None:
    rng = np.random.default_rng(3)
    corners = np.sort(rng.integers(0, 12, (20, 2, 2)), axis=1).reshape(20, 4)
    corners[:, 2:] += 1
    masks = np.zeros((20, 14, 14), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    expected = [[(a & b).sum() / (a | b).sum() for b in masks] for a in masks]
    assert np.allclose(box_iou(corners.astype(float), corners.astype(float)), expected)


def test_a_curve_worked_out_by_hand() -> None:
    """Two true boxes; right, wrong, right: precision 1 up to recall 1/2, then 2/3."""
    truth = [boxes((0, 0, 10, 10), (20, 20, 30, 30))]
    found = [boxes((0, 0, 10, 10, 0.9), (50, 50, 60, 60, 0.8), (20, 20, 30, 29, 0.7))]
    assert average_precision(found, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_true_box_is_found_once() -> None:
    truth = [boxes((0, 0, 10, 10))]
    found = [boxes((0, 0, 10, 10, 0.9), (0, 0, 10, 10, 0.8))]
    assert average_precision(found, truth) == 1.0
    assert average_precision([found[0][::-1]], truth) == 1.0
    wrong_first = [boxes((0, 0, 4, 4, 0.9), (0, 0, 10, 10, 0.8))]
    assert average_precision(wrong_first, truth) == 0.5


def test_boxes_belong_to_their_picture() -> None:
    truth = [boxes((0, 0, 10, 10)), np.zeros((0, 4))]
    assert average_precision([np.zeros((0, 5)), boxes((0, 0, 10, 10, 0.9))], truth) == 0.0


def test_the_mean_is_over_the_classes_that_are_there() -> None:
    truth = [boxes((0, 0, 10, 10, 3), (20, 20, 30, 30, 7))]
    found = [boxes((0, 0, 10, 10, 0.9, 3), (20, 20, 30, 30, 0.8, 5))]
    assert mean_average_precision(found, truth) == 0.5
    assert math.isnan(mean_average_precision([], []))


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=12), st.integers(0, 4))
def test_it_is_the_area_under_the_curve_over_all_thresholds(drawn: list[tuple[int, bool]], missed: int) -> None:
    """Each right box lies on a true box of its own, so each threshold's precision and recall can be counted."""
    scores = [score + place / 100 for place, (score, _) in enumerate(drawn)]
    places = [100 * place for place in range(len(drawn) + missed)]
    rows = [(x, 0, x + 10, 10, s) if hit else (x, 50, x + 10, 60, s)
            for x, s, (_, hit) in zip(places, scores, drawn, strict=False)]  # fmt: skip
    owned = [place for place, (_, hit) in zip(places, drawn, strict=False) if hit] + places[len(drawn) :]
    truth = np.array([(x, 0, x + 10, 10) for x in owned], float).reshape(-1, 4)
    curve = []
    for threshold in scores:
        kept = [hit for score, (_, hit) in zip(scores, drawn, strict=True) if score >= threshold]
        curve.append((sum(kept) / max(1, len(owned)), sum(kept) / len(kept)))
    area, reached = 0.0, 0.0
    for recall in sorted({recall for recall, _ in curve}):
        area += (recall - reached) * max(precision for other, precision in curve if other >= recall)
        reached = recall
    assert average_precision([np.array(rows, float)], [truth]) == pytest.approx(area if len(owned) else 0.0)
