from __future__ import annotations

import numpy as np
import pytest

from onnxvis.measure.heatmaps.eigen import EigenCAM, EigenGradCAM, first_component
from tests.tiny import Array


def by_decomposition(maps: Array) -> Array:
    """The projection on the first right singular vector, the sign that of the channels' mean."""
    matrix = maps.reshape(len(maps), -1).T.astype(np.float64)
    matrix = matrix - matrix.mean(axis=0)
    projected = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][0]
    agreement = sum(p * m for p, m in zip(projected, matrix.mean(axis=1), strict=True))
    return np.asarray(projected if agreement >= 0 else -projected).reshape(maps.shape[1:])


@pytest.mark.parametrize("shape", [(5, 6, 7), (40, 3, 4), (12, 3, 4), (1, 4, 4), (6, 1, 1), (300, 7, 7), (8, 24, 24)])
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_the_first_component_is_that_of_the_decomposition(shape: tuple[int, int, int], shift: float) -> None:
    for seed in range(3):
        maps = np.random.default_rng(seed).standard_normal(shape) + shift
        np.testing.assert_allclose(first_component(maps), by_decomposition(maps), rtol=1e-6, atol=1e-7)


def test_the_sign_is_where_the_layer_responds() -> None:
    """All channels see a bright square: whatever sign the decomposition gives, the square is what is positive."""
    rng = np.random.default_rng(0)
    square = np.zeros((8, 8))
    square[2:5, 3:6] = 1
    for seed in range(10):
        gains = np.random.default_rng(seed).uniform(0.5, 2, 6)
        maps = gains[:, None, None] * square + 0.05 * rng.standard_normal((6, 8, 8))
        found = first_component(maps)
        assert found[square > 0].min() > 0 > found[square == 0].mean()


@pytest.mark.parametrize("shape", [(3, 4, 4), (30, 2, 2)])
def test_a_constant_layer_has_no_component(shape: tuple[int, int, int]) -> None:
    np.testing.assert_array_equal(first_component(np.full(shape, 2.5)), np.zeros(shape[1:]))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_has_no_component(wrong: float) -> None:
    maps = np.ones((3, 4, 4))
    maps[1, 2, 3] = wrong
    assert np.isnan(first_component(maps)).all()


def test_eigen_cam_looks_at_the_layer_alone() -> None:
    rng = np.random.default_rng(0)
    activation, gradient = rng.standard_normal((2, 5, 4, 4))
    np.testing.assert_allclose(EigenCAM().combine(activation, gradient), by_decomposition(activation), atol=1e-9)


def test_eigen_grad_cam_looks_at_the_product() -> None:
    rng = np.random.default_rng(0)
    activation, gradient = rng.standard_normal((2, 5, 4, 4))
    expected = by_decomposition(activation * gradient)
    np.testing.assert_allclose(EigenGradCAM().combine(activation, gradient), expected, atol=1e-9)
