from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from onnxvis.measure.heatmaps.finish import blank_reason, fused, stretched, unit, upsample
from tests.tiny import Array


def bilinear(values: Array, height: int, width: int) -> Array:
    """Pixel centres at halves, the border repeated."""
    rows, columns = values.shape
    found = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            u = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            top, left = min(int(v), rows - 2), min(int(u), columns - 2)
            b, a = v - top, u - left
            found[y, x] = (
                (1 - b) * ((1 - a) * values[top, left] + a * values[top, left + 1])
                + b * ((1 - a) * values[top + 1, left] + a * values[top + 1, left + 1])
            )  # fmt: skip
    return found


def test_unit_runs_from_zero_to_one() -> None:
    values = np.random.default_rng(0).standard_normal((4, 5)) * 3 - 7
    low, high = float(values.min()), float(values.max())
    for given, value in zip(unit(values).reshape(-1), values.reshape(-1), strict=True):
        assert math.isclose(given, (value - low) / (1e-7 + high - low), rel_tol=1e-12)


def test_unit_of_one_value_is_zero() -> None:
    np.testing.assert_array_equal(unit(np.full((2, 3), 4.0)), np.zeros((2, 3)))


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e20])
def test_stretched_maps_do_not_fade(scale: float) -> None:
    values = np.random.default_rng(0).standard_normal((4, 5))
    expected = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(stretched(values * scale), expected, atol=1e-7)


def test_stretched_of_nothing_is_nothing() -> None:
    np.testing.assert_array_equal(stretched(np.zeros((2, 3))), np.zeros((2, 3)))


@pytest.mark.parametrize("size", [(28, 28), (31, 17), (7, 9)])
def test_upsampling_is_bilinear_between_pixel_centres(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).standard_normal((7, 9))
    found = upsample(values, size)
    np.testing.assert_allclose(found, bilinear(values, *size), atol=1e-6)
    single = cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(found, single, atol=1e-5)


def peer(maps: list[Array], size: tuple[int, int]) -> Array:
    """pytorch-grad-cam's way, written out."""
    large = []
    for item in maps:
        values = np.maximum(item, 0)
        values = values - values.min()
        values = values / (1e-7 + values.max())
        large.append(np.maximum(cv2.resize(values.astype(np.float32), size[::-1]), 0))
    found = np.mean(large, axis=0)
    found = found - found.min()
    return np.asarray(found / (1e-7 + found.max()))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_maps_of_layers_become_one_as_pytorch_grad_cam_does_it(count: int) -> None:
    rng = np.random.default_rng(count)
    maps = [rng.standard_normal((5 + item, 4 + item)) * 10**item for item in range(count)]
    found = fused(maps, (24, 20), rectified=True)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, peer(maps, (24, 20)), atol=1e-6)


def test_without_a_relu_what_is_negative_counts() -> None:
    values = np.random.default_rng(0).standard_normal((5, 4))
    large = bilinear(values, 24, 20)
    expected = (large - large.min()) / (large.max() - large.min())
    np.testing.assert_allclose(fused([values], (24, 20), rectified=False), expected, atol=1e-6)


def test_layers_count_alike_however_small_their_values_are() -> None:
    one, other = np.eye(4), np.eye(4)[::-1].copy()
    found = fused([one, other * 1e-12], (4, 4), rectified=True)
    np.testing.assert_allclose(found, np.maximum(one, other), atol=1e-6)


GRADIENT = np.array([1.0, -1])


@pytest.mark.parametrize(
    ("values", "gradient", "rectified", "reason"),
    [
        ([[0.0, 1]], GRADIENT, True, ""),
        ([[-1.0, 1]], GRADIENT, True, ""),
        ([[-2.0, -1]], GRADIENT, False, ""),
        ([[-2.0, -1]], GRADIENT, True, "every value was negative before the relu"),
        ([[0.0, 0]], np.zeros(2), True, "the gradient is zero"),
        ([[0.0, 0]], None, False, "the same value everywhere"),
        ([[3.0, 3]], GRADIENT, False, "the same value everywhere"),
        ([[3.0, 3]], GRADIENT, True, "the same value everywhere"),
        ([[0.0, 0]], GRADIENT, True, "no value was positive"),
        ([[np.nan, 1]], GRADIENT, True, "the layer holds NaN or infinite values"),
        ([[np.nan, 1]], np.array([np.inf, 1]), True, "the gradient holds NaN or infinite values"),
        ([[np.inf, 1]], None, False, "the layer holds NaN or infinite values"),
    ],
)
def test_a_blank_map_says_why(values: list[list[float]], gradient: Array | None, rectified: bool, reason: str) -> None:
    found = blank_reason(np.array(values), gradient, rectified=rectified)
    assert reason in found
    assert bool(found) == bool(reason)
