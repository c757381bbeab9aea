"""Each against loops over channels and positions, in Python's own numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onnxvis.measure.heatmaps.cams import (
    ElementwiseGradCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)
from onnxvis.measure.heatmaps.method import LayerMethod
from tests.tiny import Array

SHAPE = (5, 3, 4)
Maps = list[list[list[float]]]


def mean_weight(a: list[list[float]], g: list[list[float]]) -> float:
    return sum(map(sum, g)) / sum(map(len, g))


def plus_plus_weight(a: list[list[float]], g: list[list[float]]) -> float:
    total = 0.0
    for row in g:
        for value in row:
            alpha = value**2 / (2 * value**2 + sum(map(sum, a)) * value**3 + 1e-6) if value != 0 else 0
            total += max(value, 0) * alpha
    return total


def x_weight(a: list[list[float]], g: list[list[float]]) -> float:
    both = sum(x * y for one, other in zip(a, g, strict=True) for x, y in zip(one, other, strict=True))
    return both / (sum(map(sum, a)) + 1e-7)


WEIGHED: dict[type[LayerMethod], Callable[[list[list[float]], list[list[float]]], float]] = {
    GradCAM: mean_weight,
    GradCAMPlusPlus: plus_plus_weight,
    XGradCAM: x_weight,
}
"""The weight of a channel, of its activation and gradient."""

PLACED: dict[type[LayerMethod], Callable[[float, float], float]] = {
    HiResCAM: lambda a, g: g * a,
    ElementwiseGradCAM: lambda a, g: max(g * a, 0),
    LayerCAM: lambda a, g: max(g, 0) * a,
}
"""What a channel adds at a position, of its activation and gradient there."""


def values(seed: int = 0, *, positive: bool = False) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    activation, gradient = rng.standard_normal(SHAPE), rng.standard_normal(SHAPE)
    gradient[rng.random(SHAPE) < 0.2] = 0
    return np.abs(activation) if positive else activation, gradient


def expected(kind: type[LayerMethod], activation: Array, gradient: Array) -> Array:
    a, g = activation.tolist(), gradient.tolist()
    channels, height, width = SHAPE
    found = np.zeros((height, width))
    for k in range(channels):
        weight = WEIGHED[kind](a[k], g[k]) if kind in WEIGHED else 0
        for y in range(height):
            for x in range(width):
                found[y, x] += weight * a[k][y][x] if kind in WEIGHED else PLACED[kind](a[k][y][x], g[k][y][x])
    return found


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", [*WEIGHED, *PLACED])
def test_a_map_is_what_its_definition_says(kind: type[LayerMethod], positive: bool) -> None:
    for seed in range(4):
        activation, gradient = values(seed, positive=positive)
        found = kind().combine(activation, gradient)
        np.testing.assert_allclose(found, expected(kind, activation, gradient), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [*WEIGHED, *PLACED])
def test_a_channel_without_gradient_adds_nothing(kind: type[LayerMethod]) -> None:
    activation, gradient = values()
    gradient[2] = 0
    with_it = kind().combine(activation, gradient)
    np.testing.assert_allclose(with_it, kind().combine(np.delete(activation, 2, 0), np.delete(gradient, 2, 0)))


@pytest.mark.parametrize("kind", [*WEIGHED, *PLACED])
def test_a_layer_that_is_off_gives_zeros(kind: type[LayerMethod]) -> None:
    found = kind().combine(np.zeros(SHAPE), values()[1])
    np.testing.assert_array_equal(found, np.zeros(SHAPE[1:]))


def test_a_negative_gradient_cannot_make_grad_cam_plus_plus_infinite() -> None:
    """2 g² + (sum A) g³ + 1e-6 vanishes at g = -1 for sum A = 2.000001, where relu(g) leaves the term out."""
    activation = np.array([[[2 + 1e-6]], [[1.0]]])
    gradient = np.array([[[-1.0]], [[0.5]]])
    below = 2 * gradient[0] ** 2 + activation[0].sum() * gradient[0] ** 3 + 1e-6
    assert abs(float(below[0, 0])) < 1e-15
    given = GradCAMPlusPlus().combine(activation, gradient)
    np.testing.assert_allclose(given, [[0.5 * 0.25 / (0.5 + 0.125 + 1e-6)]], rtol=1e-9)
