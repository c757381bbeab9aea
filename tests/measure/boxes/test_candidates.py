from __future__ import annotations

import itertools

import numpy as np

from onnxvis.measure.boxes.candidates import candidates
from onnxvis.measure.boxes.decode import Decoded
from onnxvis.measure.boxes.heads import Head

HEADS = [Head("a", 8, 3, 4, 2, "channels"), Head("b", 16, 1, 2, 1, "channels")]


def decoded() -> list[Decoded]:
    rng = np.random.default_rng(0)
    grids = [(head, (head.boxes, head.rows, head.columns)) for head in HEADS]
    sides = [np.sort(rng.uniform(0, 99, (*grid, 2, 2)), axis=-2).reshape(*grid, 4) for _, grid in grids]
    return [
        Decoded(head, corners, rng.uniform(0, 1, (*grid, 3)))
        for (head, grid), corners in zip(grids, sides, strict=True)
    ]


def test_each_box_comes_with_its_best_class_strongest_first() -> None:
    items = decoded()
    wanted = []
    for number, item in enumerate(items):
        for place in itertools.product(*map(range, item.scores.shape[:3])):
            scores = item.scores[place].tolist()
            if max(scores) >= 0.6:
                wanted.append((max(scores), scores.index(max(scores)), (number, *place), item.corners[place].tolist()))
    wanted.sort(key=lambda one: -one[0])
    found = candidates(items, 0.6)
    assert found.scores.tolist() == [one[0] for one in wanted]
    assert found.labels.tolist() == [one[1] for one in wanted]
    assert [tuple(place) for place in found.places.tolist()] == [one[2] for one in wanted]
    assert found.corners.tolist() == [one[3] for one in wanted]
    assert found.broken == 0
    assert 0 < len(wanted) < 26
    np.testing.assert_array_equal(found.first(3).corners, found.corners[:3])


def test_one_class_alone() -> None:
    items = decoded()
    found = candidates(items, label=2)
    assert len(found.scores) == 26
    assert set(found.labels.tolist()) == {2}
    for score, (number, *place) in zip(found.scores, found.places, strict=True):
        assert score == items[number].scores[(*place, 2)]


def test_of_equal_scores_the_first_stands_first() -> None:
    items = [Decoded(item.head, item.corners, np.full_like(item.scores, 0.5)) for item in decoded()]
    assert candidates(items).places.tolist() == sorted(candidates(items).places.tolist())


def test_numbers_that_are_none_are_counted_and_left_out() -> None:
    items = decoded()
    items[0].corners[0, 1, 1, 2] = np.inf
    items[0].scores[1, 2, 3, 0] = np.nan
    items[1].corners[0, 0, 0] = [5, 5, 9, 4.9]
    items[1].corners[0, 0, 1] = [5, 5, 9, 5]
    found = candidates(items)
    assert (len(found.scores), found.broken) == (23, 3)
    assert np.isfinite(found.corners).all()
    assert candidates(items, 0.9).broken == 3
