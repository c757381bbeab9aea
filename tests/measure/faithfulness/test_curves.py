from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model, load
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.faithfulness.curves import BLUR, STEPS, Trial, blurred, faithfulness_of, pixel_order
from onnxvis.measure.faithfulness.score import Scorer
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.measure.target import Target, resolve_target
from onnxvis.models.classifier import FRESH_SEEDS, batch_of
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.session import RunOptions
from tests.tiny import Array, oracle, tiny, write

FIRST = FRESH_SEEDS + 20_000_000
ONE_THREAD = RunOptions("cpu", 1)


def slow_blur(picture: Array, sigma: float) -> Array:
    """The Gaussian's sum over each pixel's neighbourhood, the picture mirrored around it."""
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    wide = np.pad(picture.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    height, width, _ = picture.shape
    found = np.zeros(picture.shape)
    for down, across in itertools.product(range(2 * reach + 1), repeat=2):
        found += weights[down] * weights[across] * wide[down : down + height, across : across + width]
    return found


def softmax(logits: Array) -> Array:
    powers = np.exp(logits.astype(np.float64))
    return np.asarray(powers / powers.sum())


def slow_curve(path: Path, start: Array, end: Array, values: Array, place: int) -> list[float]:
    """One run for each step, the pixels of the largest values found by explicit sorting."""
    height, width = values.shape
    pixels = sorted(itertools.product(range(height), range(width)), key=lambda at: -float(values[at]))
    found = []
    for step in range(29):
        mixed = start.copy()
        for at in pixels[: round(step * height * width / 28)]:
            mixed[at] = end[at]
        logits = oracle(path, [], {"image": mixed.transpose(2, 0, 1)[None]})["logits"][0]
        found.append(float(softmax(logits)[place]))
    return found


def resolved(model: Model, feeds: dict[str, Array], target: str) -> Target:
    (outputs,), _ = run_deployed(model, [feeds], RunOptions())
    return resolve_target(model, target, outputs)


@pytest.mark.parametrize("batch", [1, "batch"])
def test_both_curves_are_those_of_a_slow_loop(batch: int | str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write(tiny(batch), tmp_path)
    picture = rng.standard_normal((32, 32, 3)).astype(np.float32)
    values = rng.permutation(32 * 32).reshape(32, 32).astype(np.float32)  # no ties
    model, feeds = load(path), {"image": picture.transpose(2, 0, 1)[None]}
    told: list[int] = []
    with Scorer(model, feeds, resolved(model, feeds, "4")) as scorer:
        found = Trial(scorer, sigma=1.5).both(values, told.append)
    blurry = slow_blur(picture, 1.5).astype(np.float32)
    for curve, start, end in ((found.insertion, blurry, picture), (found.deletion, picture, blurry)):
        wanted = slow_curve(path, start, end, values, 4)
        np.testing.assert_allclose(curve.scores, wanted, atol=1e-6)
        np.testing.assert_allclose(curve.fractions, np.arange(29) / 28)
        area = sum((wanted[step] + wanted[step + 1]) / 2 / 28 for step in range(28))
        assert curve.area == pytest.approx(area, abs=1e-6)
    assert sum(told) == 2 * (STEPS - 1)


def test_equal_pixels_come_in_a_random_order_that_the_seed_decides() -> None:
    values = np.zeros((20, 20))
    values[3, 4] = values[5, 6] = 1
    order = pixel_order(values, 0)
    assert sorted(order) == [*range(400)]
    assert {*order[:2]} == {3 * 20 + 4, 5 * 20 + 6}
    np.testing.assert_array_equal(order, pixel_order(values, 0))
    assert (order != pixel_order(values, 1)).mean() > 0.9
    rest = order[2:]
    assert abs(np.corrcoef(rest, np.arange(len(rest)))[0, 1]) < 0.2, "not from the top down"


def test_the_blur_is_gaussian_and_keeps_the_type() -> None:
    picture = np.random.default_rng(0).random((30, 40, 3))
    np.testing.assert_allclose(blurred(picture, 2.0), slow_blur(picture, 2.0), atol=1e-3)
    np.testing.assert_array_equal(blurred(picture), blurred(picture, BLUR * 30))
    whole = (picture * 255).astype(np.uint8)
    made = blurred(whole, 2.0)
    assert made.dtype == np.uint8
    assert np.abs(made - slow_blur(whole, 2.0)).max() <= 0.5 + 0.3
    gray = picture[..., :1]
    np.testing.assert_allclose(blurred(gray, 2.0), blurred(picture, 2.0)[..., :1])


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf"), 41.0])
def test_a_blur_without_meaning_is_refused(sigma: float) -> None:
    with pytest.raises(UsageError, match="longer side, 40"):
        blurred(np.zeros((30, 40, 3)), sigma)


def test_a_map_of_another_size_is_refused(tmp_path: Path) -> None:
    model, feeds = load(write(tiny(), tmp_path)), {"image": np.ones((1, 3, 32, 32), np.float32)}
    with (
        Scorer(model, feeds, resolved(model, feeds, "4")) as scorer,
        pytest.raises(UsageError, match=r"8×8 .* 32×32"),
    ):
        Trial(scorer).insertion(np.zeros((8, 8)))


def test_one_heatmap_at_a_time_gives_the_same(classifier: Path) -> None:
    model = load(classifier)
    pictures, _ = batch_of([FIRST])
    (found,) = explain(model, {"image": pictures})
    item = PreparedInput("scene", {"image": pictures}, None, None, None)
    alone = faithfulness_of(model, item, found, found.target)
    with Scorer(model, item.feeds, found.target) as scorer:
        assert alone == Trial(scorer).both(found.map)
    assert alone.insertion.scores[0] == pytest.approx(alone.deletion.scores[-1])
    assert alone.insertion.scores[-1] == pytest.approx(alone.deletion.scores[0])


def means(classifier: Path, count: int) -> dict[str, tuple[float, float]]:
    """{method: mean areas of insertion and deletion} over fresh scenes."""
    model, areas = load(classifier), dict[str, list[tuple[float, float]]]()
    for seed in range(FIRST, FIRST + count):
        pictures, _ = batch_of([seed])
        (found,) = explain(model, {"image": pictures}, options=ONE_THREAD)
        noise = np.asarray(np.random.default_rng(seed).random(found.map.shape))
        with Scorer(model, {"image": pictures}, found.target, ONE_THREAD) as scorer:
            trial = Trial(scorer)
            for name, values in (("gradcam", found.map), ("random", noise)):
                both = trial.both(values)
                areas.setdefault(name, []).append((both.insertion.area, both.deletion.area))
    return {name: (float(np.mean(pairs, axis=0)[0]), float(np.mean(pairs, axis=0)[1])) for name, pairs in areas.items()}


def check(found: dict[str, tuple[float, float]]) -> None:
    assert found["gradcam"][0] > found["random"][0] + 0.05
    assert found["gradcam"][1] < found["random"][1] - 0.3


def test_gradcam_is_more_faithful_than_chance(classifier: Path) -> None:
    check(means(classifier, 8))


@pytest.mark.slow
def test_gradcam_is_more_faithful_than_chance_on_200_scenes(classifier: Path) -> None:
    check(means(classifier, 200))
