"""Scenes as training data: what each index shows, and that held-out scenes are never trained on."""

from __future__ import annotations

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.models.classifier import FRESH_SEEDS
from onnxvis.models.finetune.data import normalised
from onnxvis.models.finetune.shapes_data import ShapePictures, shapes_split
from onnxvis.models.scenes import make_scene


def test_pictures_are_the_scenes_of_their_seeds_with_kinds_in_turn() -> None:
    kinds = ("star", "disc", "heart")
    pictures, labels = ShapePictures(kinds, 32, 100, 10**9, None).batch([0, 1, 2, 7])
    assert labels.tolist() == [100 % 3, 101 % 3, 102 % 3, 107 % 3]
    for picture, seed, label in zip(pictures, (100, 101, 102, 107), labels, strict=True):
        scene = make_scene(seed, 32, kinds[label])
        assert scene.name == kinds[label]
        np.testing.assert_array_equal(picture, normalised(scene.picture[None])[0])


@pytest.mark.parametrize("seed", [0, 1, 999_999])
def test_held_out_scenes_lie_beyond_all_that_training_reaches(seed: int) -> None:
    data = shapes_split(("disc", "star"), 32, 50, seed)
    assert isinstance(data.train, ShapePictures)
    assert isinstance(data.held_out, ShapePictures)
    assert data.train.count is None
    assert data.held_out.count == 50
    far = [*range(100), 10**6, FRESH_SEEDS - 1, FRESH_SEEDS, 3 * FRESH_SEEDS + 7, 4 * 10**10]
    assert max(data.train.seeds(far)) < FRESH_SEEDS
    held_out = data.held_out.seeds(range(50))
    assert held_out == list(range(FRESH_SEEDS, FRESH_SEEDS + 50))
    assert sum(data.held_out.batch(range(50))[1]) == 25


def test_another_seed_trains_on_other_scenes() -> None:
    first, second = (shapes_split(("disc", "star"), 32, 50, seed).train for seed in (0, 1))
    assert isinstance(first, ShapePictures)
    assert isinstance(second, ShapePictures)
    assert not set(first.seeds(range(1000))) & set(second.seeds(range(1000)))


@pytest.mark.parametrize(
    ("kinds", "held_out", "said"),
    [
        (("disc", "blob"), 10, "there is no shape 'blob'; there are disc, ring"),
        (("disc",), 10, "two different shapes"),
        (("disc", "disc"), 10, "two different shapes"),
        (("disc", "star"), 0.2, "give their number"),
        (("disc", "star"), 10.5, "give their number"),
        (("disc", "star"), 1e9, "give their number"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kinds: tuple[str, ...], held_out: float, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        shapes_split(kinds, 32, held_out, 0)
