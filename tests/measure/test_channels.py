"""Numbers of each channel, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from onnxvis.errors import InputError
from onnxvis.measure.channels import channel_statistics

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
