"""Order, split, normalising and varying of pictures, against slow loops."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from onnxvis.errors import InputError
from onnxvis.models.finetune.data import (
    MEAN,
    STD,
    augmented,
    check_classes,
    metadata,
    normalised,
    split_by_class,
    step_indices,
)
from onnxvis.run.hints import from_our_metadata
from onnxvis.run.preprocess import apply, preset


def pixels(count: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


def test_every_round_sees_every_picture_once_in_another_order() -> None:
    row = list(itertools.chain.from_iterable(step_indices(10, 3, step, 4) for step in range(10)))
    rounds = [row[first : first + 10] for first in range(0, 40, 10)]
    assert all(sorted(part) == list(range(10)) for part in rounds)
    assert len({tuple(part) for part in rounds}) == 4
    other_seed = itertools.chain.from_iterable(step_indices(10, 4, step, 4) for step in range(10))
    assert row != list(other_seed)


def test_a_step_may_be_larger_than_a_round() -> None:
    assert Counter(step_indices(3, 0, 0, 9)) == {0: 3, 1: 3, 2: 3}


def test_pictures_without_end_are_counted_up() -> None:
    assert step_indices(None, 5, 2, 4) == [8, 9, 10, 11]


def test_the_parts_share_nothing_and_keep_the_proportions() -> None:
    labels = np.array([0] * 50 + [1] * 20 + [2] * 2)
    train, held = split_by_class(labels, 0.2, 0)
    assert sorted(train + held) == list(range(72))
    assert Counter(labels[held].tolist()) == {0: 10, 1: 4, 2: 1}
    assert split_by_class(labels, 0.2, 0) == (train, held)
    assert split_by_class(labels, 0.2, 1) != (train, held)
    assert len(split_by_class(labels, 36, 0)[1]) == 36
    everything_but_one = split_by_class(labels, 0.999, 0)[0]
    assert Counter(labels[everything_but_one].tolist()) == {0: 1, 1: 1, 2: 1}


def test_more_held_out_than_there_is_is_refused() -> None:
    with pytest.raises(InputError, match="--held-out 4 leaves none of 4 pictures"):
        split_by_class(np.array([0, 0, 1, 1]), 4, 0)


def test_normalised_pictures_are_what_onnxvis_feeds_by_the_metadata() -> None:
    picture = pixels(1, 40)[0]
    said = from_our_metadata(metadata(["a", "b"], 40))
    assert said is not None
    from onnxvis.run.flags import override

    fed, _ = apply(picture, override(preset("raw"), said))
    np.testing.assert_allclose(normalised(picture[None]), fed, atol=1e-6)
    by_hand = (picture[3, 5, 2] / 255 - MEAN[2]) / STD[2]
    assert normalised(picture[None])[0, 2, 3, 5] == pytest.approx(by_hand, abs=1e-5)
    assert json.loads(metadata(["a", "b"], 40)["onnxvis.labels"]) == ["a", "b"]


def test_varied_pictures_are_mirrored_and_moved_by_little() -> None:
    """Each result is one of the 2 · 5 · 5 pictures that a padded crop can give, and all kinds turn up."""
    original = pixels(1, 32)[0]
    padded = np.pad(original, ((2, 2), (2, 2), (0, 0)), "edge")
    possible = {
        crop[:, ::flip].tobytes(): (flip, y, x)
        for y in range(5)
        for x in range(5)
        for crop in [padded[y : y + 32, x : x + 32]]
        for flip in (1, -1)
    }
    found = augmented(np.repeat(original[None], 400, 0), np.random.default_rng(0))
    kinds = Counter(possible[picture.tobytes()] for picture in found)
    assert len(kinds) == 50
    assert 150 < sum(count for (flip, _, _), count in kinds.items() if flip == -1) < 250


def test_too_few_classes_or_pictures_are_told_by_name() -> None:
    check_classes(["a", "b"], [2, 3], "here")
    with pytest.raises(InputError, match="here has one class only, 'a'"):
        check_classes(["a"], [5], "here")
    with pytest.raises(InputError, match="the class 'b' has no picture that can be read"):
        check_classes(["a", "b"], [5, 0], "here")
    with pytest.raises(InputError, match="the class 'b' has one picture only"):
        check_classes(["a", "b"], [5, 1], "here")
    with pytest.raises(InputError, match="here has no picture that can be read"):
        check_classes(["a", "b"], [0, 0], "here")
