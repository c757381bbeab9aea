from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.show.colormap import palette
from onnxvis.show.merge import MERGES, Merge, merge, overlay

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(2)


def slow_merge(maps: NDArray[np.float64], how: Merge) -> NDArray[np.float64]:
    if how == "blend":
        total = np.zeros(maps.shape[1:])
        for channel in maps:
            span = channel.max() - channel.min()
            total += (channel - channel.min()) / span if span else 0
        total -= total.min()
        total /= total.max()
        return total
    result: NDArray[np.float64] = {"mean": maps.mean(0), "sum": maps.sum(0), "max": maps.max(0)}[how]
    return result


@pytest.mark.parametrize("how", MERGES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("shape", [(1, 4, 5), (7, 300, 301)])
def test_each_merge_is_its_definition(how: Merge, dtype: str, shape: tuple[int, int, int]) -> None:
    maps = (RNG.standard_normal(shape) * 20).astype(dtype)
    maps[-1] = maps[-1] * 0 + 3 if shape[0] > 1 else maps[-1]
    np.testing.assert_allclose(merge(maps, how), slow_merge(maps.astype(np.float64), how), rtol=1e-12, atol=1e-12)


def test_what_is_not_finite_counts_as_nothing() -> None:
    maps = np.array([[[np.nan, 1.0]], [[2.0, np.inf]], [[3.0, -4.0]]])
    assert merge(maps, "sum").tolist() == [[5, -3]]
    assert merge(maps, "mean").tolist() == [[5 / 3, -1]]
    assert merge(maps, "max").tolist() == [[3, 1]]
    assert np.isfinite(merge(maps, "blend")).all()
    for how in MERGES:
        assert merge(np.full((2, 2, 2), np.nan), how).tolist() == [[0, 0], [0, 0]]


def test_refusals() -> None:
    with pytest.raises(UsageError, match="'median'; choose one of: mean, sum, max, blend"):
        merge(np.zeros((1, 1, 1)), "median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no channel"):
        merge(np.zeros((0, 2, 2)))


def bilinear(small: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Bilinear upsampling with pixel centres at half-integers and clamped edges, one pixel at a time."""
    result = np.empty((height, width))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * small.shape[0] / height - 0.5, 0), small.shape[0] - 1)
            u = min(max((x + 0.5) * small.shape[1] / width - 0.5, 0), small.shape[1] - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, small.shape[0] - 1), min(left + 1, small.shape[1] - 1)
            upper = small[top, left] * (1 - u + left) + small[top, right] * (u - left)
            lower = small[bottom, left] * (1 - u + left) + small[bottom, right] * (u - left)
            result[y, x] = upper * (1 - v + top) + lower * (v - top)
    return result


@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e300])
def test_an_overlay_is_the_mixture_of_the_upsampled_map_and_the_picture(scale: float) -> None:
    picture = RNG.integers(0, 256, (24, 30, 3), dtype=np.uint8)
    heat = RNG.standard_normal((4, 5))
    large = bilinear(heat, 24, 30)
    indices = np.rint((large - large.min()) / (large.max() - large.min()) * 255).astype(int)
    expected = 0.4 * palette("jet")[indices] + 0.6 * picture
    result = overlay(picture, heat * scale, palette("jet"), 0.4)
    assert result.shape == picture.shape
    assert result.dtype == np.uint8
    assert np.abs(result - expected).max() < 3  # one index of the colormap


def test_a_gray_picture_takes_only_the_maps_colours() -> None:
    picture = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    result = overlay(picture, np.zeros((2, 2)), palette("gray"), 0.5, gray=True)
    luma = picture.astype(float) @ (0.299, 0.587, 0.114)
    assert np.abs(result - luma[:, :, None] / 2).max() <= 1.5
    assert (result.max(axis=2) == result.min(axis=2)).all()


def test_an_overlay_of_nothing_finite_is_defined() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    assert overlay(picture, np.full((2, 2), np.nan), palette("gray"), 1.0).max() == 0
