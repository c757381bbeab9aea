from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.maximize.feeding import Feeding
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.preprocess import apply
from onnxvis.run.reading import Reading
from tests.tiny import from_text, tiny

Array = np.ndarray[Any, np.dtype[Any]]


def opened(proto: Any) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def feeding(proto: Any = None, wanted: int = 1, feeds: tuple[str, ...] = (), **flags: Any) -> Feeding:
    model = opened(proto or tiny())
    return Feeding.of(model, Reading.of(model, PreprocessFlags.parse(**flags), feeds), wanted)


def identity(shape: str, dtype: str = "float") -> Any:
    return from_text(f"g ({dtype}{shape} image) => ({dtype}{shape} y) {{ y = Identity(image) }}")


@pytest.mark.parametrize(
    "flags",
    [
        {"preset": "imagenet"},
        {"preset": "caffe"},
        {"preset": "signed"},
        {"preset": "imagenet", "bgr": True},
        {"preset": "raw", "mean": "1,2,3", "std": "4,5,6"},
    ],
)
def test_a_picture_is_fed_as_every_other(flags: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    found = feeding(**flags, fit="stretch")
    expected, _ = apply(pixels, found.preprocessing, 3)
    ours = found.feeds([found.fed(pixels.transpose(2, 0, 1) / 255)])["image"]
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("preset", ["imagenet", "caffe"])
def test_gradients_go_back_by_the_adjoint(channels: int, preset: str) -> None:
    """What is fed is linear in the picture, up to a constant: <A p, g> = <p, Aᵀ g>."""
    found = feeding(tiny(channels=channels), preset=preset)
    rng = np.random.default_rng(0)
    picture, gradient = rng.random(found.shape), rng.standard_normal((channels, 32, 32))
    moved = found.fed(picture) - found.fed(np.zeros(found.shape))
    assert (moved * gradient).sum() == pytest.approx((picture * found.pulled(gradient)).sum(), rel=1e-10)


def test_a_fourth_channel_is_opaque() -> None:
    found = feeding(identity("[1,4,16,16]"), preset="unit")
    assert found.shape == (3, 16, 16)
    np.testing.assert_allclose(found.fed(np.zeros(found.shape))[3], 1)


def test_channels_last_are_fed_last() -> None:
    found = feeding(identity("[1,8,9,3]"), preset="unit")
    picture = np.random.default_rng(0).random((3, 8, 9))
    fed = found.feeds([found.fed(picture)])["image"]
    np.testing.assert_allclose(fed[0], picture.transpose(1, 2, 0), rtol=1e-6)


def test_a_model_without_a_batch_takes_one() -> None:
    found = feeding(identity("[3,8,9]"), 5, preset="unit")
    assert (found.batch, found.free) == (1, False)
    assert found.feeds([found.fed(np.zeros(found.shape))])["image"].shape == (3, 8, 9)


def test_a_free_batch_takes_all_up_to_sixteen() -> None:
    assert feeding(tiny("N"), 7).batch == 7
    assert feeding(tiny("N"), 40).batch == 16
    assert feeding(tiny(4), 7).batch == 4
    assert feeding(tiny(1), 7).batch == 1


def test_a_batch_that_is_not_full_is_filled_with_the_first() -> None:
    found = feeding(tiny(4), preset="unit")
    fed = found.feeds([np.full((3, 32, 32), 0.25), np.full((3, 32, 32), 0.75)])["image"]
    np.testing.assert_array_equal(fed[:, 0, 0, 0], [0.25, 0.75, 0.25, 0.25])


def test_sizes_are_the_model_s_else_those_asked_for_else_usual() -> None:
    assert feeding(tiny()).size == (32, 32)
    assert feeding(tiny(side="S"), size="40x48").size == (40, 48)
    assert feeding(tiny(side="S"), preset="unit", size="native").size == (224, 224)


def test_whole_numbers_are_rounded_and_clipped() -> None:
    found = feeding(identity("[1,3,8,8]", "uint8"))
    fed = found.feeds([np.full((3, 8, 8), 99.6)])["image"]
    assert fed.dtype == np.uint8
    assert (fed == 100).all()
    assert (found.feeds([np.full((3, 8, 8), 300.0)])["image"] == 255).all()


def test_further_inputs_are_given_or_filled() -> None:
    proto = from_text(
        "g (float[1,3,8,8] image, float[1] gain, float[2] b) => (float[1,3,8,8] y) { y = Mul(image, gain) }"
    )
    found = feeding(proto, feeds=("gain=3",))
    feeds = found.feeds([np.zeros((3, 8, 8))])
    np.testing.assert_array_equal(feeds["gain"], [3])
    assert any("'b'" in note for note in found.notes)


def test_a_model_that_takes_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="takes no picture"):
        feeding(from_text("g (float[1,7] x) => (float[1,7] y) { y = Relu(x) }"))
