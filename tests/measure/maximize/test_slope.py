from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import RewriteError, UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.maximize.feeding import Feeding
from onnxvis.measure.maximize.objective import Aim
from onnxvis.measure.maximize.slope import Slope
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from tests.tiny import from_text, tiny

Array = np.ndarray[Any, np.dtype[Any]]
OPTIONS = RunOptions(provider="cpu", threads=1)


def feeding(proto: Any, wanted: int = 1) -> Feeding:
    model = Model(Path("case.onnx"), proto, Path.cwd())
    return Feeding.of(model, Reading.of(model, PreprocessFlags.parse(preset="raw")), wanted)


def logit(index: int) -> Aim:
    return Aim("logits", np.eye(10)[index][None], f"logits:{index}")


def draw(count: int, size: tuple[int, ...] = (3, 32, 32), seed: int = 0) -> list[Array]:
    return [*np.random.default_rng(seed).standard_normal((count, *size))]


def test_gradients_are_those_of_finite_differences() -> None:
    fed, (direction,) = draw(1), draw(1, seed=1)
    step = 1e-3
    with Slope(feeding(tiny()), "logits", OPTIONS) as slope:
        ((value, gradient),) = slope.at(fed, [logit(3)])
        (up, _), (down, _) = (slope.at([fed[0] + sign * step * direction], [logit(3)])[0] for sign in (1, -1))
    assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), rel=0.02)
    assert value == pytest.approx((up + down) / 2, abs=0.01)


@pytest.mark.parametrize("batch", ["N", 4])
def test_each_picture_of_a_batch_has_its_own_aim(batch: int | str) -> None:
    fed, aims = draw(3), [logit(1), logit(7), logit(1)]
    with Slope(feeding(tiny(batch), 3), "logits", OPTIONS) as slope:
        together = slope.at(fed, aims)
    with Slope(feeding(tiny()), "logits", OPTIONS) as slope:
        for picture, aim, (value, gradient) in zip(fed, aims, together, strict=True):
            ((alone, by),) = slope.at([picture], [aim])
            assert value == pytest.approx(alone, rel=1e-4)
            np.testing.assert_allclose(gradient, by, rtol=1e-3, atol=1e-5)


def test_half_precision_is_differentiated_in_float32() -> None:
    fed = draw(1)
    with Slope(feeding(tiny(dtype="float16")), "logits", OPTIONS) as slope:
        ((_, half),) = slope.at(fed, [logit(3)])
        assert any("float32" in note for note in slope.notes)
    with Slope(feeding(tiny()), "logits", OPTIONS) as slope:
        ((_, whole),) = slope.at(fed, [logit(3)])
    assert np.corrcoef(half.ravel(), whole.ravel())[0, 1] > 0.9


def squares(dtype: str, body: str) -> Any:
    return from_text(f"g ({dtype} image) => (float[1,3,4,4] y) {{ {body} }}")


def test_whole_numbers_pass_the_gradient_of_their_floats() -> None:
    """y = x² has the gradient 2 x at the rounded x; with a step of 0.5, (0.5 (x − 7))² has 0.5 (x − 7)."""
    aim = Aim("y", np.ones((1, 3, 4, 4)), "y")
    fed = np.random.default_rng(0).uniform(0, 255, (3, 4, 4))
    whole = np.rint(fed)
    cast = squares("uint8[1,3,4,4]", "x = Cast<to=1>(image) y = Mul(x, x)")
    with Slope(feeding(cast), "y", OPTIONS) as slope:
        ((value, gradient),) = slope.at([fed], [aim])
    assert value == pytest.approx((whole**2).sum())
    np.testing.assert_allclose(gradient, 2 * whole)
    scaled = squares(
        "uint8[1,3,4,4]",
        "s = Constant<value=float {0.5}>() z = Constant<value=uint8 {7}>() "
        "x = DequantizeLinear(image, s, z) y = Mul(x, x)",
    )
    with Slope(feeding(scaled), "y", OPTIONS) as slope:
        ((value, gradient),) = slope.at([fed], [aim])
    assert value == pytest.approx((0.25 * (whole - 7) ** 2).sum())
    np.testing.assert_allclose(gradient, 0.5 * (whole - 7))


@pytest.mark.parametrize("dtype", ["float", "double"])
def test_channels_last_come_back_first(dtype: str) -> None:
    proto = from_text(f"g ({dtype}[1,6,5,3] image) => ({dtype}[1,6,5,3] y) {{ y = Mul(image, image) }}")
    fed = draw(1, (3, 6, 5))
    with Slope(feeding(proto), "y", OPTIONS) as slope:
        ((_, gradient),) = slope.at(fed, [Aim("y", np.ones((1, 6, 5, 3)), "y")])
    np.testing.assert_allclose(gradient, 2 * fed[0], rtol=1e-5)


def test_quantised_models_pass_the_gradient_straight_through() -> None:
    proto = from_text(
        "g (float[1,3,4,4] image) => (float[1,3,4,4] y) { s = Constant<value=float {0.5}>() "
        "z = Constant<value=int8 {0}>() q = QuantizeLinear(image, s, z) x = DequantizeLinear(q, s, z) y = Mul(x, x) }"
    )
    fed = draw(1, (3, 4, 4))
    with Slope(feeding(proto), "y", OPTIONS) as slope:
        ((value, gradient),) = slope.at(fed, [Aim("y", np.ones((1, 3, 4, 4)), "y")])
    steps = np.rint(fed[0] / 0.5) * 0.5
    assert value == pytest.approx((steps**2).sum())
    np.testing.assert_allclose(gradient, 2 * steps)


def test_a_tensor_without_a_gradient_is_refused_by_name() -> None:
    proto = from_text(
        "g (float[1,3,8,8] image) => (float[1,3,8,8] y) { n = NonZero(image) y = Identity(image) i = Cast<to=1>(n) }"
    )
    with pytest.raises(RewriteError, match=r"no picture can be found for 'i' of case\.onnx, as it has no gradient"):
        Slope(feeding(proto), "i", OPTIONS)


def test_whole_numbers_that_stay_so_are_refused() -> None:
    multiplied = "y = Mul(image, image)"
    by_channel = (
        "s = Constant<value=float[3] {1.0, 2.0, 3.0}>() z = Constant<value=uint8[3] {0, 0, 0}>() "
        "x = DequantizeLinear<axis=1>(image, s, z) y = Cast<to=2>(x)"
    )
    for body in (multiplied, by_channel):
        proto = from_text(f"g (uint8[1,3,4,4] image) => (uint8[1,3,4,4] y) {{ {body} }}")
        with pytest.raises(UsageError, match="takes uint8, which has no gradient"):
            Slope(feeding(proto), "y", OPTIONS)
