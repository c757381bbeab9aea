from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.heatmaps.pixels import (
    GuidedGradCAM,
    InputTimesGradient,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from onnxvis.measure.heatmaps.probe import GradientProbe
from onnxvis.rewrite.tape import Variant
from tests.rewrite.differences import model_of
from tests.tiny import Array, from_text

SHAPE = (3, 5, 4)
RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, *SHAPE))


class Polynomial:
    """In place of a model: y = sum of a x² + b x³, with its gradient on paper."""

    def __init__(self, picture: Array, seed: int = 0) -> None:
        self.picture = picture
        self.random_seed = seed
        self.layers = {"layer": (RNG.standard_normal((2, 3, 2)), RNG.standard_normal((2, 3, 2)))}

    def value(self, x: Array) -> float:
        return float((A * x**2 + B * x**3).sum())

    def gradient(self, x: Array) -> Array:
        return np.asarray(2 * A * x + 3 * B * x**2)

    def floats(self) -> Array:
        return self.picture

    def by_input(self, variant: Variant = "plain") -> Array:
        return self.gradient(self.picture) * (2 if variant == "guided" else 1)

    def by_inputs(self, pictures: Iterable[Array], count: int) -> Iterator[tuple[float, Array]]:
        pictures = list(pictures)
        assert len(pictures) == count
        return ((self.value(x), self.gradient(x)) for x in pictures)


def probe(picture: Array | None = None, seed: int = 0) -> GradientProbe:
    drawn = np.random.default_rng(1).standard_normal(SHAPE)
    return cast("GradientProbe", Polynomial(drawn if picture is None else picture, seed))


def test_saliency_keeps_the_sign_in_its_values_alone() -> None:
    seen = probe()
    found = Saliency().explain(seen)
    np.testing.assert_array_equal(found.values, seen.by_input())
    assert found.values.min() < 0 <= Saliency().flatten(found.values).min()


def test_input_times_gradient_adds_up_the_colours() -> None:
    seen = probe()
    found = InputTimesGradient().explain(seen)
    np.testing.assert_allclose(found.values, seen.picture * seen.by_input())
    expected = np.abs(found.values[0] + found.values[1] + found.values[2])
    np.testing.assert_allclose(InputTimesGradient().flatten(found.values), expected)


def test_integrated_gradients_are_the_integral() -> None:
    """The integral of a polynomial is known: x ∫ 2 a s x + 3 b (s x)² ds = a x² + b x³, pixel by pixel. Of this one the
    trapezoid of n intervals is off by 6 b x³ / 12 n².
    """
    seen = probe()
    x = seen.picture
    found = IntegratedGradients().explain(seen)
    np.testing.assert_allclose(found.values, A * x**2 + B * x**3 + x * 6 * B * x**2 / 12 / 49**2, rtol=1e-9, atol=1e-12)


def test_integrated_gradients_say_how_far_they_are_from_complete() -> None:
    seen = probe()
    found = IntegratedGradients().explain(seen)
    x = seen.picture
    gap = abs(float(found.values.sum()) - float((A * x**2 + B * x**3).sum()))
    difference = float((A * x**2 + B * x**3).sum())
    assert gap < 1e-3 * abs(difference)
    assert found.notes == (f"completeness error {gap:.3g}, of a difference of {difference:.4g}",)


def test_smoothgrad_is_the_mean_of_noisy_saliencies() -> None:
    seen = probe(seed=7)
    rng = np.random.default_rng(7)
    x = seen.picture
    expected = np.zeros(SHAPE[1:])
    for _ in range(25):
        noisy = x + rng.normal(0, 0.15 * (x.max() - x.min()), SHAPE)
        gradient = 2 * A * noisy + 3 * B * noisy**2
        for row in range(SHAPE[1]):
            for column in range(SHAPE[2]):
                expected[row, column] += max(abs(gradient[colour, row, column]) for colour in range(3)) / 25
    np.testing.assert_allclose(SmoothGrad().explain(seen).values, expected, rtol=1e-9)


def test_smoothgrad_is_repeatable_and_says_its_seed() -> None:
    first, again, other = (SmoothGrad().explain(probe(seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.values, again.values)
    assert np.abs(first.values - other.values).max() > 1e-3
    assert (first.notes, other.notes) == (("random seed 3",), ("random seed 4",))


def test_guided_grad_cam_is_guided_backpropagation_under_the_map() -> None:
    seen = probe()
    activation, gradient = seen.layers["layer"]
    small = np.maximum(np.einsum("k,kyx->yx", gradient.mean(axis=(1, 2)), activation), 0)
    rows = np.clip((np.arange(5) + 0.5) * 3 / 5 - 0.5, 0, 2)
    columns = np.clip((np.arange(4) + 0.5) * 2 / 4 - 0.5, 0, 1)
    down = np.array([np.interp(rows, range(3), small[:, column]) for column in range(2)]).T
    cam = np.array([np.interp(columns, range(2), row) for row in down])
    found = GuidedGradCAM().explain(seen)
    np.testing.assert_allclose(found.values, 2 * seen.by_input() * cam, atol=1e-6)


KERNELS = (RNG.standard_normal((4, 2, 3, 3)), RNG.standard_normal((6, 4, 2, 2)))
W = RNG.standard_normal((5, 6))
X = RNG.standard_normal((2, 11, 9))


def correlate(x: Array, kernel: Array) -> Array:
    after, _, height, width = kernel.shape
    y = np.zeros((after, x.shape[1] - height + 1, x.shape[2] - width + 1))
    for k, row, column in np.ndindex(*y.shape):
        y[k, row, column] = (kernel[k] * x[:, row : row + height, column : column + width]).sum()
    return y


def spread(g: Array, kernel: Array, shape: tuple[int, ...]) -> Array:
    found = np.zeros(shape)
    for k, row, column in np.ndindex(*g.shape):
        found[:, row : row + kernel.shape[2], column : column + kernel.shape[3]] += g[k, row, column] * kernel[k]
    return found


def switches(x: Array) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    """Of a max-pool of 3 × 3 with stride 2, whose windows overlap: where each maximum comes from."""
    found = {}
    for k, row, column in np.ndindex(x.shape[0], (x.shape[1] - 3) // 2 + 1, (x.shape[2] - 3) // 2 + 1):
        window = x[k, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        down, right = np.unravel_index(window.argmax(), window.shape)
        found[k, row, column] = (k, 2 * row + int(down), 2 * column + int(right))
    return found


def through_relu(g: Array, x: Array, method: str) -> Array:
    """The three rules, at a Relu of input x."""
    if method == "saliency":
        return np.asarray(g * (x > 0))
    return np.asarray(np.maximum(g, 0) * (x > 0) if method == "guidedbackprop" else np.maximum(g, 0))


def by_loops(method: str, target: int) -> Array:
    """dy/dx of conv → Relu → max-pool → conv → Relu → mean → W, by the rule of `method`."""
    a = correlate(X, KERNELS[0])
    places = switches(np.maximum(a, 0))
    pooled = np.zeros(tuple(max(place[axis] for place in places) + 1 for axis in range(3)))
    for place, source in places.items():
        pooled[place] = max(a[source], 0)
    c = correlate(pooled, KERNELS[1])
    g = np.zeros(c.shape) + W[target][:, None, None] / c[0].size
    g = spread(through_relu(g, c, method), KERNELS[1], pooled.shape)
    back = np.zeros(a.shape)
    for place, source in places.items():
        back[source] += g[place]
    return spread(through_relu(back, a, method), KERNELS[0], X.shape)


NETWORK = """
g (float[1, 2, 11, 9] x) => (y) {
  a = Conv (x, K)  b = Relu (a)  p = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (b)
  c = Conv (p, L)  d = Relu (c)  m = GlobalAveragePool (d)  f = Flatten (m)  y = Gemm <transB = 1> (f, W)
}
"""


def network() -> Model:
    nodes = list(from_text(NETWORK).graph.node)
    weights = {"K": KERNELS[0], "L": KERNELS[1], "W": W}
    proto = model_of(nodes, {"x": (1, 2, 11, 9)}, {name: value.astype(np.float32) for name, value in weights.items()})
    return Model(Path("case.onnx"), proto, Path.cwd())


@pytest.mark.parametrize("target", [0, 3])
@pytest.mark.parametrize("method", ["saliency", "guidedbackprop", "deconvnet"])
def test_the_rules_through_relu_and_max_pool_are_those_of_a_loop(method: str, target: int) -> None:
    (found,) = explained(method, target)
    expected = by_loops(method, target)
    np.testing.assert_allclose(found.raw, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


def explained(method: str, target: int) -> tuple[Heatmap, ...]:
    return explain(network(), {"x": X[None].astype(np.float32)}, [method], target=str(target))


def test_the_three_rules_differ() -> None:
    found = [explained(method, 0)[0].raw for method in ("saliency", "guidedbackprop", "deconvnet")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(found[one] - found[other]).max() > 0.01 * np.abs(found[one]).max()


def test_whole_numbers_have_nothing_in_between() -> None:
    model = Model(Path("case.onnx"), from_text(
        "g (uint8[1, 3, 8, 8] x) => (y) <int64[2] flat = {1, 192}> "
        "{ f = Cast <to = 1> (x)  s = Reshape (f, flat)  y = Softmax (s) }"
    ), Path.cwd())  # fmt: skip
    feeds = {"x": np.arange(192, dtype=np.uint8).reshape(1, 3, 8, 8)}
    assert explain(model, feeds, ["saliency"], target="5")[0].raw[0, 0, 5] == 1
    with pytest.raises(UsageError, match="input 'x' takes whole numbers, so there is nothing between two pictures"):
        explain(model, feeds, ["integratedgradients"], target="5")
