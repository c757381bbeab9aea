from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onnxvis.measure.maximize.climb import Climb
from onnxvis.measure.maximize.optimizers import OPTIMIZERS
from onnxvis.measure.maximize.paint import KINDS, Kind
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.warp import Warp, Wobble

Array = np.ndarray[Any, np.dtype[Any]]

SHAPE = (3, 12, 10)
STILL = Settings(wobble=Wobble(0, 0, 0))
AIM = np.random.default_rng(5).standard_normal(SHAPE)


def climbed(settings: Settings, steps: int = 30, scale: float = 1.0, label: str = "it") -> Climb:
    """Towards the picture that `AIM` answers to most, whose gradient is `AIM` everywhere."""
    climb = Climb(SHAPE, settings, label)
    for _ in range(steps):
        climb.follow(float((AIM * climb.next()).sum()), scale * AIM)
    return climb


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wobble", [Wobble(0, 0, 0), Wobble(1, 0.05, 3)])
def test_every_optimiser_raises_the_activation(name: str, kind: Kind, wobble: Wobble) -> None:
    climb = Climb(SHAPE, Settings(kind=kind, optimizer=name, wobble=wobble), "it")
    start = float((AIM * climb.picture()).sum())
    for _ in range(40):
        climb.follow(float((AIM * climb.next()).sum()), AIM)
    assert float((AIM * climb.picture()).sum()) > start + 1
    assert len(climb.curve) == 40


def test_one_step_is_the_chain_rule() -> None:
    """Pixels without decorrelation: p = sigmoid(z), and gd moves z by r · g p (1 − p) over its root mean square."""
    settings = replace(STILL, kind="pixels", decorrelated=False, optimizer="gd", rate=0.3)
    climb = Climb(SHAPE, settings, "it")
    before = climb.picture().astype(np.float64)
    climb.next()
    climb.follow(0.0, AIM)
    slope = AIM * before * (1 - before)
    z = np.log(before / (1 - before)) + 0.3 * slope / np.sqrt((slope**2).mean())
    np.testing.assert_allclose(climb.picture(), 1 / (1 + np.exp(-z)), rtol=1e-5)


def test_gradients_come_back_through_the_warp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture moved one down and two to the right: what is wanted at (6, 5) changes it at (5, 3)."""
    monkeypatch.setattr(Wobble, "draw", lambda *_: Warp(SHAPE[1:], (1, 2), 1.0, 0.0))
    climb = Climb(SHAPE, Settings(kind="pixels", decorrelated=False, optimizer="gd", rate=1.0), "it")
    before, moved = climb.picture(), climb.next()
    np.testing.assert_allclose(moved[:, 6, 5], before[:, 5, 3], rtol=1e-6)
    gradient = np.zeros(SHAPE)
    gradient[:, 6, 5] = 1
    climb.follow(0.0, gradient)
    change = climb.picture() - before
    assert (change[:, 5, 3] > 0.1).all()
    change[:, 5, 3] = 0
    assert not change.any()


def test_rates_do_not_depend_on_the_model_s_scale() -> None:
    for name in ("gd", "momentum", "adam"):
        small, large = (climbed(replace(STILL, optimizer=name), scale=scale).picture() for scale in (1e-6, 1e6))
        np.testing.assert_allclose(small, large, atol=1e-6)


def test_the_seed_and_the_label_alone_decide() -> None:
    first = climbed(Settings())
    np.testing.assert_array_equal(climbed(Settings()).pixels(), first.pixels())
    assert climbed(Settings()).curve == first.curve
    assert (climbed(Settings(seed=1)).pixels() != first.pixels()).any()
    assert (climbed(Settings(), label="other").pixels() != first.pixels()).any()


def test_without_a_gradient_it_starts_again_from_more_noise() -> None:
    climb = Climb(SHAPE, replace(STILL, kind="pixels"), "it")
    assert not climb.notes
    first = climb.next().std()
    for _ in range(3):
        climb.follow(0.0, np.zeros(SHAPE))
    assert climb.next().std() == pytest.approx(8 * first, rel=0.25)
    assert "noise 8 times as strong" in climb.notes[0]
    climb.follow(0.0, AIM)
    kept = climb.picture()
    climb.follow(0.0, np.zeros(SHAPE))
    assert np.abs(climb.picture() - kept).mean() < 0.02, "once it climbs it never starts again"
    assert not climb.stuck


def test_a_dead_unit_is_given_up() -> None:
    climb = Climb(SHAPE, STILL, "it")
    for _ in range(10):
        assert not climb.stuck
        climb.follow(0.0, np.zeros(SHAPE))
        climb.next()
    climb.follow(0.0, np.zeros(SHAPE))
    assert climb.stuck
    assert "dead" in climb.notes[0]


def test_penalties_hold_a_picture_back() -> None:
    free = climbed(STILL, 60).picture()
    grey = climbed(replace(STILL, l2=2000.0), 60).picture()
    smooth = climbed(replace(STILL, tv=800.0), 60).picture()
    assert np.abs(grey - 0.5).mean() < 0.6 * np.abs(free - 0.5).mean()
    assert np.abs(np.diff(smooth, axis=2)).mean() < 0.6 * np.abs(np.diff(free, axis=2)).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_blurring_takes_out_what_is_fine_every_so_often(kind: Kind) -> None:
    plain, blurred = (climbed(replace(STILL, kind=kind, blur=blur), 12) for blur in (0, 4))
    once = climbed(replace(STILL, kind=kind, blur=13), 12)
    np.testing.assert_array_equal(once.pixels(), plain.pixels())
    rough = [np.abs(np.diff(climb.picture(), axis=1)).mean() for climb in (blurred, plain)]
    assert rough[0] < 0.7 * rough[1]


def test_pixels_are_the_picture_rounded() -> None:
    climb = climbed(STILL)
    assert np.abs(climb.pixels() / 255 - climb.picture()).max() <= 0.5 / 255 + 1e-6
