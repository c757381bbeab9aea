from __future__ import annotations

import numpy as np
import pytest

from onnxvis.measure.boxes.suppress import suppress
from tests.tiny import Array


def overlap_of(one: Array, other: Array) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(width * height / (sum(areas) - width * height))


def slow(corners: Array, labels: Array, scores: Array, overlap: float) -> list[int]:
    """Box by box: it stays if no stronger one of its class that stays covers it too far."""
    kept: list[int] = []
    for place in sorted(range(len(scores)), key=lambda n: -scores[n]):
        rivals = (other for other in kept if labels[other] == labels[place])
        if all(overlap_of(corners[place], corners[other]) <= overlap for other in rivals):
            kept.append(place)
    return kept


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.45, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_what_stays_is_what_a_slow_loop_keeps(overlap: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    near = rng.uniform(-40, 100, (150, 2))
    corners = np.concatenate([near, near + rng.uniform(1, 60, (150, 2))], axis=1)
    labels, scores = rng.integers(0, 3, 150), rng.uniform(0, 1, 150)
    assert suppress(corners, labels, scores, overlap).tolist() == slow(corners, labels, scores, overlap)


def test_classes_are_apart_wherever_the_boxes_lie() -> None:
    """Moved apart by the largest coordinate, boxes that leave the picture to the left would still touch."""
    corners = np.array([[-90.0, 0, 10, 10], [-90, 0, 10, 10], [0, 0, 10, 10]])
    assert suppress(corners, np.array([0, 1, 0]), np.array([0.5, 0.9, 0.7]), 0.05).tolist() == [1, 2]


def test_scores_nearer_than_float32_tells_and_of_0_count() -> None:
    corners = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    found = suppress(corners, np.zeros(3, np.int64), np.array([0.5, 0.5 + 1e-12, 0.0]), 0.5)
    assert found.tolist() == [1, 2]


def test_none_and_enormous_ones() -> None:
    assert suppress(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), 0.5).tolist() == []
    corners = np.array([[-1e300, -1e300, 1e300, 1e300], [0, 0, 1e-300, 1e-300], [3, 3, 3, 3]])
    assert 0 in suppress(corners, np.zeros(3, np.int64), np.array([0.9, 0.8, 0.7]), 0.5)
