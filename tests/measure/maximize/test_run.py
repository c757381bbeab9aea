from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import InputError, UsageError
from onnxvis.graph.load import Model, load
from onnxvis.graph.receptive import receptive_field
from onnxvis.measure.maximize.objective import Objective
from onnxvis.measure.maximize.optimizers import OPTIMIZERS
from onnxvis.measure.maximize.run import Maximized, maximize, maximize_all
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.warp import Wobble
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import prepare_picture
from onnxvis.run.pictures import Picture
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from tests.rewrite.differences import run
from tests.tiny import from_text, oracle, tiny

OPTIONS = RunOptions(provider="cpu", threads=1)
STILL = Wobble(0, 0, 0)
GENTLE = Wobble(2, 0.05, 3)
FEW = Settings(steps=12, wobble=GENTLE)


def opened(proto: Any) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def climbed(proto: Any, objective: Objective, settings: Settings = FEW, **flags: Any) -> Maximized:
    model = opened(proto)
    return maximize(model, objective, settings, OPTIONS, reading=Reading.of(model, PreprocessFlags.parse(**flags)))


def probabilities(model: Model, found: Maximized) -> np.ndarray[Any, np.dtype[Any]]:
    """Of the classes, for the picture read as any other."""
    reading = Reading.of(model)
    assert reading.preprocessing is not None
    given = Picture(found.picture)
    feeds = prepare_picture(given, "made", model.inputs, reading.preprocessing, reading.layout).feeds
    logits = oracle(model.path, [], feeds)["logits"][0].astype(np.float64)
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


def test_the_picture_of_a_class_is_that_class(classifier: Path) -> None:
    model = load(classifier)
    found = maximize(model, Objective(target="4"), Settings(steps=40), OPTIONS)
    assert probabilities(model, found)[4] >= 0.99
    assert found.picture.shape == (112, 112, 3)


@pytest.mark.slow
def test_the_picture_of_every_class_is_that_class(classifier: Path) -> None:
    model = load(classifier)
    every = maximize_all(model, [Objective(target=str(k)) for k in range(10)], Settings(steps=128), OPTIONS)
    for index, found in enumerate(every):
        assert probabilities(model, found)[index] >= 0.99


def test_a_linear_unit_s_picture_under_a_penalty_on_contrast_is_its_kernel(classifier: Path) -> None:
    """max k · (p − 0.5) / std − λ |p − 0.5|² lies at p − 0.5 = k / (2 λ std)."""
    model = load(classifier)
    kernels, tensor = model.read("conv1.weight"), "/conv1/Conv_output_0"
    still = Settings(kind="pixels", decorrelated=False, wobble=STILL, steps=60, rate=0.01, l2=4e5)
    found = maximize_all(model, [Objective(tensor, k, (20, 20)) for k in range(len(kernels))], still, OPTIONS)
    top, bottom, left, right = receptive_field(model, tensor).at(20, 20)
    for kernel, one in zip(kernels, found, strict=True):
        crop = one.picture[top:bottom, left:right].transpose(2, 0, 1).astype(np.float64)
        assert np.corrcoef(crop.ravel(), (kernel / 0.25).ravel())[0, 1] >= 0.99


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_every_optimiser_raises_the_activation(name: str) -> None:
    found = climbed(tiny(), Objective("stage2.y/relu", 5), Settings(steps=25, optimizer=name, wobble=GENTLE))
    assert found.value > found.curve[0] + 0.05 * abs(found.curve[0])
    assert found.curve.shape == (25,)


@pytest.mark.parametrize(
    "objective",
    [Objective("stage1.first/relu", 2), Objective("stage2.y/add", 3, (4, 4)), Objective(target="6")],
)
@pytest.mark.parametrize("flags", [{"preset": "caffe"}, {"preset": "imagenet"}, {"preset": "signed"}])
def test_the_value_is_the_model_s_own_for_the_picture(objective: Objective, flags: dict[str, str]) -> None:
    """ONNX Runtime, given the uint8 picture prepared as any picture is."""
    proto = tiny()
    found = climbed(proto, objective, FEW, **flags, fit="stretch")
    model = opened(proto)
    reading = Reading.of(model, PreprocessFlags.parse(**flags, fit="stretch"))
    assert reading.preprocessing is not None
    given = Picture(found.picture)
    feeds = prepare_picture(given, "made", model.inputs, reading.preprocessing, reading.layout).feeds
    np.testing.assert_allclose(found.fed, feeds["image"][0], rtol=1e-5, atol=1e-5)
    if objective.target:
        expected = run(proto, feeds)["logits"][0, 6]
    else:
        cut = tiny()
        cut.graph.output.add().name = objective.tensor
        maps = run(cut, feeds)[objective.tensor][0, objective.channel]
        expected = maps[objective.position] if objective.position else maps.astype(float).mean()
    assert found.value == pytest.approx(float(expected), rel=1e-3, abs=1e-4)


def test_seeds_repeat_exactly() -> None:
    first, again, other = (climbed(tiny(), Objective(target="1"), Settings(steps=8, seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.picture, again.picture)
    np.testing.assert_array_equal(first.curve, again.curve)
    assert (first.picture != other.picture).any()


def test_a_picture_does_not_depend_on_what_climbs_beside_it() -> None:
    model = opened(tiny("N"))
    together = maximize_all(model, [Objective(target=str(k)) for k in (7, 2, 4)], FEW, OPTIONS)
    alone = maximize(model, Objective(target="2"), FEW, OPTIONS)
    assert together[1].aim.label == alone.aim.label
    np.testing.assert_allclose(together[1].curve, alone.curve, rtol=1e-3, atol=1e-3)
    assert np.abs(together[1].picture.astype(int) - alone.picture).max() <= 2


def test_until_stops_where_it_is_reached() -> None:
    plain = climbed(tiny(), Objective(target="1"), Settings(steps=60, wobble=STILL))
    wanted = float(np.mean([plain.curve[0], plain.value]))
    found = climbed(tiny(), Objective(target="1"), Settings(steps=60, wobble=STILL, until=wanted))
    assert found.value >= wanted
    assert len(found.curve) < 60
    assert (found.curve < wanted + 0.02 * abs(wanted)).all(), "it had not been reached before"
    unreached = climbed(tiny(), Objective(target="1"), Settings(steps=5, wobble=STILL, until=1e9))
    assert len(unreached.curve) == 5


def test_those_that_have_arrived_wait_for_the_others() -> None:
    model = opened(tiny("N"))
    objectives = [Objective(target=str(k)) for k in range(4)]
    free = maximize_all(model, objectives, Settings(steps=30, wobble=STILL), OPTIONS)
    wanted = float(np.median([one.value for one in free]))
    found = maximize_all(model, objectives, Settings(steps=30, wobble=STILL, until=wanted), OPTIONS)
    lengths = [len(one.curve) for one in found]
    assert min(lengths) < 30
    assert max(lengths) == 30
    assert all(one.value >= wanted for one in found if len(one.curve) < 30)


def test_progress_counts_all_steps_and_tells_the_activation() -> None:
    told: list[tuple[int, int, float]] = []
    model = opened(tiny())
    found = maximize_all(
        model, [Objective(target="1"), Objective(target="2")], Settings(steps=4), OPTIONS,
        lambda done, of, value: told.append((done, of, value)),
    )  # fmt: skip
    assert [(done, of) for done, of, _ in told] == [(step, 8) for step in range(1, 9)]
    np.testing.assert_allclose([value for _, _, value in told], np.concatenate([one.curve for one in found]))


def test_a_dead_unit_is_an_error_alone_and_a_note_beside_others() -> None:
    """Channel 5 of the first convolution is below zero whatever it is fed."""
    model = opened(tiny("N"))
    with pytest.raises(UsageError, match=r"nothing excites 'stage1\.first/relu:5': the gradient is zero"):
        maximize(model, Objective("stage1.first/relu", 5), FEW, OPTIONS)
    found = maximize_all(model, [Objective("stage1.first/relu", k) for k in (4, 5)], FEW, OPTIONS)
    assert not any("dead" in note for note in found[0].notes)
    assert any("dead" in note for note in found[1].notes)
    assert found[0].value > 0


def test_nothing_to_excite_makes_nothing() -> None:
    assert maximize_all(opened(tiny()), []) == ()


def test_grey_pictures_have_three_equal_colours() -> None:
    found = climbed(tiny(channels=1), Objective(target="1"), preset="unit")
    assert (found.picture == found.picture[..., :1]).all()
    assert np.ptp(found.picture) > 10
    assert found.fed.shape == (1, 32, 32)


def test_numbers_that_overflow_are_an_error() -> None:
    proto = from_text("g (float[1,3,8,8] image) => (float[1,3,8,8] y) { a = Exp(image) b = Exp(a) y = Exp(b) }")
    with pytest.raises(InputError, match=r"case\.onnx itself gives NaN or infinite numbers at the start: 'y:0' or its"):
        climbed(proto, Objective("y", 0), preset="raw")


def test_numbers_that_overflow_on_the_way_are_blamed_on_the_rate() -> None:
    """y = exp(400 (x − 0.35)) leaves float32 at x = 0.57, beyond the grey that a picture climbs from."""
    proto = from_text(
        "g (float[1,3,8,8] image) => (float[1,3,8,8] y) <float less = {0.35}, float far = {400}> "
        "{ a = Sub(image, less) b = Mul(a, far) y = Exp(b) }"
    )
    fast = Settings(steps=40, wobble=STILL, rate=0.3, kind="pixels", decorrelated=False)
    with pytest.raises(
        InputError, match=r"'y:0' or its gradient is no finite number at step ([2-9]|\d\d); lower --rate"
    ):
        climbed(proto, Objective("y", 0), fast, preset="unit")
