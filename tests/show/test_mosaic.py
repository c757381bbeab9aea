from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.show.mosaic import STRETCHES, Stretch, mosaic, stretch, upscale

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(11)


def slow_index(value: float, low: float, high: float) -> int:
    """The nearest index, one value at a time; 0 where there is no range or no value."""
    if not np.isfinite(value) or high <= low:
        return 0
    return int(min(255, max(0, round((value - low) / (high - low) * 255))))


def ranges(maps: NDArray[Any], mode: Stretch) -> list[tuple[float, float]]:
    values = maps.astype(np.float64)
    if mode == "none":
        return [(0, 1)] * len(maps)
    if mode == "tensor":
        return [(values.min(), values.max())] * len(maps)
    if mode == "clip99":
        return [(np.percentile(channel, 1), np.percentile(channel, 99)) for channel in values]
    return [(channel.min(), channel.max()) for channel in values]


@pytest.mark.parametrize("mode", STRETCHES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int8, np.uint8, np.int32])
def test_each_mode_is_its_definition(mode: Stretch, dtype: type) -> None:
    maps: NDArray[Any] = (RNG.standard_normal((5, 9, 8)) * (1 if mode == "none" else 30) + 0.5).astype(dtype)
    result = stretch(maps, mode)
    for channel, (low, high) in enumerate(ranges(maps, mode)):
        assert (result.low[channel], result.high[channel]) == pytest.approx((low, high), rel=1e-12)
        expected = [slow_index(value, low, high) for value in maps[channel].astype(np.float64).ravel()]
        assert np.abs(result.indices[channel].ravel().astype(int) - expected).max() <= 1  # a tie may round either way
        assert (result.indices[channel].ravel() == expected).mean() > 0.97


def test_the_value_behind_an_index_is_within_half_a_step() -> None:
    maps = RNG.standard_normal((4, 20, 20)).astype(np.float32)
    result = stretch(maps)
    step = (result.high - result.low) / 255
    back = result.low[:, None, None] + result.indices * step[:, None, None]
    assert (np.abs(back - maps).max(axis=(1, 2)) <= 0.5001 * step).all()
    assert (result.indices.min(), result.indices.max()) == (0, 255)


def test_values_that_are_not_finite_become_0_and_are_counted() -> None:
    maps = RNG.standard_normal((4, 6, 6)).astype(np.float32)
    maps[0, 0, :3] = np.nan
    maps[1, 0, 0], maps[1, 0, 1] = np.inf, -np.inf
    maps[2] = np.nan
    for mode in STRETCHES:
        result = stretch(maps, mode)
        assert result.not_finite == 5 + 36
        assert result.indices[~np.isfinite(maps)].max() == 0
        assert np.isfinite([result.low, result.high]).all()
    assert stretch(maps).high[1] == maps[1][np.isfinite(maps[1])].max()


@pytest.mark.parametrize("mode", STRETCHES)
def test_constant_channels_are_defined(mode: Stretch) -> None:
    maps = np.array([[[0.0, 0.0]], [[-3.0, -3.0]], [[7.0, 7.0]]])
    result = stretch(maps, mode)
    if mode in ("channel", "clip99"):
        assert result.indices.max() == 0
        assert result.low.tolist() == result.high.tolist() == [0, -3, 7]


def test_symmetric_puts_zero_in_the_middle() -> None:
    maps = np.array([[[-1.0, 0.0, 4.0]], [[-8.0, 0.0, 2.0]], [[0.0, 0.0, 0.0]]])
    result = stretch(maps, "channel", symmetric=True)
    assert result.low.tolist() == [-4, -8, 0]
    assert result.high.tolist() == [4, 8, 0]
    assert result.indices[0].tolist() == [[96, 128, 255]]
    assert result.indices[1].tolist() == [[0, 128, 159]]


def test_clipping_is_counted() -> None:
    assert stretch(np.array([[[-0.5, 0.0, 0.5, 1.0, 1.5]]]), "none").clipped == 2
    assert stretch(np.arange(1000.0).reshape(1, 20, 50), "clip99").clipped == 20
    assert stretch(np.arange(1000.0).reshape(1, 20, 50), "channel").clipped == 0


@pytest.mark.parametrize(("low", "high"), [(-1.7e308, 1.7e308), (0.0, 1e-310), (1e30, 1.0000001e30)])
def test_extreme_ranges(low: float, high: float) -> None:
    result = stretch(np.array([[[low, high]]]))
    assert result.indices.tolist() == [[[0, 255]]]


def test_memory_is_bounded() -> None:
    maps = RNG.standard_normal((128, 120, 120)).astype(np.float32)
    tracemalloc.start()
    for mode in STRETCHES:
        stretch(maps, mode)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < maps.size + 2.5e7


def test_nothing_and_unknown() -> None:
    assert stretch(np.zeros((0, 3, 3))).indices.shape == (0, 3, 3)
    assert stretch(np.zeros((2, 0, 3)), "tensor").indices.shape == (2, 0, 3)
    with pytest.raises(UsageError, match="'full'; choose one of: channel, tensor, clip99, none"):
        stretch(np.zeros((1, 1, 1)), "full")  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12, 64, 100])
@pytest.mark.parametrize("gap", [0, 1, 3])
@pytest.mark.parametrize("columns", [None, 1, 5, 1000])
def test_every_channel_stands_in_its_place(count: int, gap: int, columns: int | None) -> None:
    indices = RNG.integers(1, 256, (count, 5, 7), dtype=np.uint8)
    result = mosaic(indices, columns, gap)
    expected = np.zeros((result.rows * (5 + gap) - gap, result.columns * (7 + gap) - gap), np.uint8)
    for channel in range(count):
        y, x = channel // result.columns * (5 + gap), channel % result.columns * (7 + gap)
        expected[y : y + 5, x : x + 7] = indices[channel]
    assert np.array_equal(result.pixels, expected)
    assert (result.tile_height, result.tile_width, result.gap) == (5, 7, gap)
    assert result.rows == -(-count // result.columns)


@pytest.mark.parametrize(("count", "columns"), [(64, 8), (128, 16), (256, 16), (512, 32), (1024, 32), (3, 3), (1, 1)])
def test_square_maps_lie_in_full_rows(count: int, columns: int) -> None:
    assert mosaic(np.zeros((count, 4, 4), np.uint8)).columns == columns


def test_nothing_cannot_be_laid_out() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        mosaic(np.zeros((0, 4, 4), np.uint8))


def test_upscaling_repeats_pixels() -> None:
    indices = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    large = upscale(indices, 10)
    assert large.shape == (6, 9)
    assert [[int(large[3 * y + 1, 3 * x + 2]) for x in range(3)] for y in range(2)] == indices.tolist()
    assert upscale(indices, 2) is not None
    assert upscale(indices, 2).shape == (2, 3)
    assert upscale(np.zeros((4, 4, 3), np.uint8), 9).shape == (8, 8, 3)


def test_a_sparse_channel_keeps_its_range_when_its_middle_is_empty() -> None:
    maps = np.zeros((1, 50, 50), np.float32)
    maps[0, 7, 9] = 0.031
    found = stretch(maps, "clip99")
    assert (found.low[0], found.high[0]) == (0, np.float32(0.031))
    assert found.indices[0, 7, 9] == 255
    assert found.clipped == 0
