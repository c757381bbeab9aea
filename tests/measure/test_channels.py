"""Numbers of each channel, against NumPy."""

from __future__ import annotations

import statistics
from dataclasses import fields
from functools import reduce

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxvis.errors import InputError
from onnxvis.measure.channels import ChannelStatistics, channel_statistics

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "float64"])
def test_channels_equal_numpy(dtype: str) -> None:
    maps = (RNG.standard_normal((37, 30, 21)) * 20).astype(dtype)
    maps[3], maps[4] = 0, 7
    result = channel_statistics(maps)
    for channel, values in enumerate(maps.astype(np.float64)):
        assert result.min[channel] == values.min()
        assert result.max[channel] == values.max()
        assert result.mean[channel] == pytest.approx(values.mean(), rel=1e-12)
        assert result.std[channel] == pytest.approx(values.std(), rel=1e-12)
        assert result.zero_fraction[channel] == (values == 0).mean()
    assert np.flatnonzero(result.dead).tolist() == [3, 4]
    assert result.zero_fraction[3] == 1


def test_channels_with_values_that_are_not_finite() -> None:
    maps = RNG.standard_normal((5, 4, 6)).astype(np.float32)
    maps[1, 0, :3], maps[2, 1, 1], maps[3] = np.nan, -np.inf, np.nan
    maps[4] = 2
    maps[4, 0, 0] = np.inf
    result = channel_statistics(maps)
    assert result.nan.tolist() == [0, 3, 0, 24, 0]
    assert result.inf.tolist() == [0, 0, 1, 0, 1]
    assert result.mean[1] == pytest.approx(np.nanmean(maps[1].astype(np.float64)))
    assert result.std[1] == pytest.approx(np.nanstd(maps[1].astype(np.float64)))
    finite = maps[2][np.isfinite(maps[2])].astype(np.float64)
    assert (result.min[2], result.max[2]) == (finite.min(), finite.max())
    assert result.mean[2] == pytest.approx(finite.mean())
    assert np.isnan([result.min[3], result.max[3], result.mean[3], result.std[3]]).all()
    assert result.dead.tolist() == [False] * 5


def test_channels_of_extreme_size() -> None:
    maps = np.array([[[1e200, 3e200]], [[1e308, 1.5e308]], [[1e-310, 3e-310]], [[1, 3]]])
    result = channel_statistics(maps)
    assert result.std[[0, 3]] == pytest.approx([1e200, 1])
    assert result.mean[1] == pytest.approx(1.25e308)
    assert result.std[2] == pytest.approx(1e-310, rel=1e-6)
    with pytest.raises(InputError, match="channels, height, width"):
        channel_statistics(np.zeros((2, 2)))


def test_no_channels_and_no_positions() -> None:
    assert channel_statistics(np.zeros((0, 3, 3))).mean.shape == (0,)
    empty = channel_statistics(np.zeros((2, 0, 3)))
    assert np.isnan(empty.mean).all()
    assert not empty.dead.any()


@pytest.mark.parametrize("shape", [(300, 1, 1), (700, 7, 7), (65, 32, 33), (2, 300, 400)])
@pytest.mark.parametrize("mean", [0, 6, 1000])
def test_channels_of_every_size_equal_fractions(shape: tuple[int, int, int], mean: float) -> None:
    maps = (RNG.standard_normal(shape) + mean).astype(np.float32)
    result = channel_statistics(maps)
    assert result.count == shape[1] * shape[2]
    for channel in range(0, shape[0], 1 + shape[0] // 3):
        values = maps[channel].astype(float).ravel().tolist()
        assert result.mean[channel] == pytest.approx(statistics.fmean(values), rel=1e-12, abs=1e-14)
        assert result.std[channel] == pytest.approx(statistics.pstdev(values), rel=1e-12)


@pytest.mark.parametrize("dtype", ["bool", "uint16", "int32", "int64", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "big-endian"])
def test_other_types_and_layouts(dtype: str, layout: str) -> None:
    maps = np.maximum(RNG.standard_normal((9, 14, 40)) * 3, 0).astype(dtype)
    if layout == "NHWC":
        maps = np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    elif layout == "big-endian":
        maps = maps.astype(maps.dtype.newbyteorder(">"))
    result, wide = channel_statistics(maps), maps.astype(np.float64)
    assert result.min.tolist() == wide.min(axis=(1, 2)).tolist()
    assert result.max.tolist() == wide.max(axis=(1, 2)).tolist()
    assert result.mean == pytest.approx(wide.mean(axis=(1, 2)), rel=1e-12)
    assert result.std == pytest.approx(wide.std(axis=(1, 2)), rel=1e-12)
    assert result.zero_fraction.tolist() == (wide == 0).mean(axis=(1, 2)).tolist()


@pytest.mark.parametrize("shape", [(64, 100, 90), (3, 700, 301), (500, 1, 700)])
def test_large_maps_with_channels_last(shape: tuple[int, int, int]) -> None:
    maps = np.maximum(RNG.standard_normal(shape) + 0.5, 0).astype(np.float32)
    maps[1], maps[2, 0, 0] = 0, np.nan
    last = np.ascontiguousarray(maps.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert_same(channel_statistics(last), channel_statistics(maps), 5)


def assert_same(found: ChannelStatistics, whole: ChannelStatistics, largest: float) -> None:
    for field in fields(ChannelStatistics):
        tolerance = 1e-13 * largest if field.name in ("mean", "std") else 0
        expected = getattr(whole, field.name)
        assert getattr(found, field.name) == pytest.approx(expected, rel=tolerance and 1e-9, abs=tolerance, nan_ok=True)


@given(
    hnp.arrays(np.float32, st.tuples(st.just(3), st.integers(1, 12), st.just(2)), elements=st.floats(width=32)),
    st.lists(st.integers(0, 12)),
    st.randoms(),
)
def test_any_pieces_join_to_the_whole(maps: np.ndarray, cuts: list[int], shuffle: object) -> None:
    pieces = [channel_statistics(piece) for piece in np.split(maps, sorted(cuts), axis=1)]
    shuffle.shuffle(pieces)  # type: ignore[attr-defined]
    finite = np.abs(maps[np.isfinite(maps)].astype(float))
    assert_same(reduce(ChannelStatistics.join, pieces), channel_statistics(maps), float(finite.max(initial=0)))


def test_a_channel_is_dead_over_two_inputs_where_it_is_constant_over_both() -> None:
    zero, one = np.zeros((2, 3, 3), np.float32), np.zeros((2, 5, 4), np.float32)
    one[1] = 1
    both = channel_statistics(zero).join(channel_statistics(one))
    assert both.dead.tolist() == [True, False]
    assert both.zero_fraction.tolist() == [1, 9 / 29]
    assert both.mean[1] == pytest.approx(20 / 29)


def test_joined_extremes_do_not_overflow() -> None:
    maps = np.array([[[1e308, -1.2e308, 3e307, 0]]])
    found = channel_statistics(maps[:, :, :2]).join(channel_statistics(maps[:, :, 2:]))
    assert found.std / 1e300 == pytest.approx((maps / 1e300).std())


def test_other_numbers_of_channels_are_not_joined() -> None:
    with pytest.raises(InputError, match="3 and of 4 channels"):
        channel_statistics(np.zeros((3, 2, 2))).join(channel_statistics(np.zeros((4, 2, 2))))
