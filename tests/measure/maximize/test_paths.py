from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.graph.load import Model
from onnxvis.measure.maximize.climb import Climb
from onnxvis.measure.maximize.objective import Objective
from onnxvis.measure.maximize.paths import compare_optimizers
from onnxvis.measure.maximize.run import maximize
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.warp import Wobble
from onnxvis.run.session import RunOptions
from tests.rewrite.differences import run
from tests.tiny import tiny

OPTIONS = RunOptions(provider="cpu", threads=1)
SETTINGS = Settings(steps=10, wobble=Wobble(1, 0.02, 2))
AIM = Objective(target="3")


def opened(batch: int | str = "N") -> Model:
    return Model(Path("case.onnx"), tiny(batch), Path.cwd())


def test_each_path_is_that_of_the_optimiser_alone() -> None:
    found = compare_optimizers(opened(), AIM, SETTINGS, OPTIONS, grid=3)
    assert [path.optimizer for path in found.paths] == ["gd", "momentum", "adagrad", "rmsprop", "adam"]
    for path in found.paths:
        alone = maximize(opened(), AIM, Settings(steps=10, wobble=SETTINGS.wobble, optimizer=path.optimizer), OPTIONS)
        np.testing.assert_allclose(path.curve, alone.curve, rtol=1e-3, atol=1e-3)
        assert path.value == pytest.approx(alone.value, rel=0.01)


def test_the_plane_is_that_of_the_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a singular value decomposition of all pictures on the way, and by feeding ONNX Runtime points of the plane."""
    kept: list[tuple[int, Any]] = []
    own = Climb.picture

    def noted(self: Climb) -> Any:
        kept.append((id(self), own(self)))
        return kept[-1][1]

    monkeypatch.setattr(Climb, "picture", noted)
    found = compare_optimizers(opened(), AIM, SETTINGS, OPTIONS, names=("adam", "gd"), grid=4)
    climbs = list(dict.fromkeys(number for number, _ in kept))
    points = np.stack([value.ravel() for climb in climbs for number, value in kept if number == climb]).astype(float)
    assert len(points) == 2 * 11
    middle = points.mean(axis=0)
    scores, strengths, axes = np.linalg.svd(points - middle, full_matrices=False)
    places = np.concatenate([path.places for path in found.paths])
    signs = np.sign((scores[:, :2] * strengths[:2] * places).sum(axis=0))
    np.testing.assert_allclose(places, scores[:, :2] * strengths[:2] * signs, atol=1e-4)
    np.testing.assert_allclose(found.explained, strengths[:2] ** 2 / (strengths**2).sum(), rtol=1e-4)
    for row, y in enumerate(found.up):
        for column, x in enumerate(found.across):
            picture = np.clip(middle + signs[0] * x * axes[0] + signs[1] * y * axes[1], 0, 1).reshape(3, 32, 32)
            mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).reshape(2, 3, 1, 1)
            logits = run(tiny(), {"image": ((picture - mean) / std)[None].astype(np.float32)})["logits"]
            assert found.activation[row, column] == pytest.approx(logits[0, 3], rel=1e-3, abs=1e-3)


def test_the_landscape_holds_all_paths() -> None:
    found = compare_optimizers(opened(), AIM, SETTINGS, OPTIONS, grid=3)
    for path in found.paths:
        np.testing.assert_allclose(path.places[0], found.paths[0].places[0], atol=1e-5)
        assert (path.places[:, 0] > found.across[0]).all()
        assert (path.places[:, 0] < found.across[-1]).all()
        assert (path.places[:, 1] > found.up[0]).all()
        assert (path.places[:, 1] < found.up[-1]).all()


def test_a_model_of_one_picture_climbs_one_after_the_other() -> None:
    together = compare_optimizers(opened(), AIM, SETTINGS, OPTIONS, names=("gd", "adam"), grid=2)
    apart = compare_optimizers(opened(1), AIM, SETTINGS, OPTIONS, names=("gd", "adam"), grid=2)
    assert any("one after the other" in note for note in apart.notes)
    for one, other in zip(together.paths, apart.paths, strict=True):
        np.testing.assert_allclose(one.curve, other.curve, rtol=1e-3, atol=1e-3)


def test_long_climbs_keep_few_points_with_the_last() -> None:
    found = compare_optimizers(
        opened(), AIM, Settings(steps=130, wobble=SETTINGS.wobble), OPTIONS, names=("gd",), grid=2
    )
    (path,) = found.paths
    assert list(path.steps) == [*range(0, 130, 3), 130]
    assert path.places.shape == (len(path.steps), 2)


def test_climbs_that_stop_early_stay_where_they_are() -> None:
    reached = compare_optimizers(opened(), AIM, SETTINGS, OPTIONS, names=("gd",), grid=2).paths[0].curve[4]
    settings = Settings(steps=30, wobble=Wobble(0, 0, 0), until=float(reached))
    (path,) = compare_optimizers(opened(), AIM, settings, OPTIONS, names=("gd",), grid=2).paths
    assert len(path.curve) < 30
    assert len(path.places) == len(path.steps) == 31
    np.testing.assert_allclose(path.places[len(path.curve)], path.places[-1], atol=1e-5)
    assert np.abs(path.places[len(path.curve) - 1] - path.places[-1]).max() > 1e-3


def test_progress_tells_the_climbs_and_the_landscape() -> None:
    told: list[tuple[str, int, int]] = []
    compare_optimizers(
        opened(), AIM, Settings(steps=3), OPTIONS, lambda *said: told.append(said), names=("gd", "adam"), grid=3
    )
    assert ("climbing by gd, adam", 3, 3) in told
    assert told[-1] == ("measuring the landscape", 9, 9)
