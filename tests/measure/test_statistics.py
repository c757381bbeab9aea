from __future__ import annotations

import mmap
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxvis.errors import InputError
from onnxvis.measure.statistics import summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(7)


def slow_histogram(values: NDArray[np.float64], edges: NDArray[np.float64]) -> list[int]:
    """One value at a time, by comparing it with the edges."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        for bin_ in range(len(counts)):
            last = bin_ == len(counts) - 1
            if edges[bin_] <= value and (value < edges[bin_ + 1] or (last and value <= edges[-1])):
                counts[bin_] += 1
                break
    return counts


def check(array: NDArray[Any], bins: int = 50) -> None:
    """`summarise` against numpy in float64 on the finite values."""
    result = summarise(array, bins)
    every = array.astype(np.float64).ravel()
    values = every[np.isfinite(every)]
    assert result.count == every.size
    assert result.nan == np.isnan(every).sum()
    assert result.inf == np.isinf(every).sum()
    assert result.zero_fraction == pytest.approx((every == 0).mean())
    counts, edges = np.histogram(values, bins)
    assert result.counts.tolist() == counts.tolist()
    assert result.edges == pytest.approx(edges, rel=1e-14, abs=1e-300)
    assert (result.min, result.max) == (values.min(), values.max())
    assert result.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-14 * np.abs(values).max())
    if values.size > 1:
        assert result.std == pytest.approx(values.std(ddof=1), rel=1e-9, abs=1e-14 * np.abs(values).max())


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"])
@pytest.mark.parametrize("size", [1, 2, 7, 1000, 200_001])
def test_every_dtype_equals_numpy(dtype: str, size: int) -> None:
    check((RNG.standard_normal(size) * 40).astype(dtype))


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4])
@pytest.mark.parametrize("size", [3, 70_000])
def test_the_small_types_of_ml_dtypes(dtype: type, size: int) -> None:
    check(np.clip(RNG.standard_normal(size) * 3, -7, 7).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("bins", "step"), [(50, 0.02), (10, 0.1), (7, 1 / 7), (50, 0.25)])
def test_values_on_the_edges_fall_where_numpy_puts_them(dtype: str, bins: int, step: float) -> None:
    check((np.arange(-150_000, 150_000) % 101 * step - 1).astype(dtype), bins)


def test_the_histogram_is_the_definition() -> None:
    array = np.round(RNG.standard_normal(3000) * 8).astype(np.float32) / 8
    result = summarise(array, 16)
    assert result.counts.tolist() == slow_histogram(array.astype(np.float64), result.edges)


@given(
    hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-(2.0**100), 2.0**100, width=32)), st.integers(1, 60)
)
@settings(max_examples=150, deadline=None)
def test_any_floats_are_counted_once_in_the_right_bin(array: NDArray[np.float32], bins: int) -> None:
    result = summarise(array, bins)
    assert result.counts.tolist() == slow_histogram(array.astype(np.float64), result.edges)
    assert result.counts.sum() == array.size


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    array = RNG.standard_normal(100_000).astype(np.float32)
    array[::7], array[1::1000], array[2::1000] = np.nan, np.inf, -np.inf
    check(array)
    check(array.astype(np.float16))


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("size", [4, 100_000])
def test_nothing_finite_gives_nan_and_an_empty_histogram(dtype: str, size: int) -> None:
    result = summarise(np.full(size, np.nan, dtype))
    assert result.nan == size
    assert np.isnan([result.mean, result.std, result.min, result.max]).all()
    assert result.counts.sum() == 0
    assert result.edges[[0, -1]].tolist() == [0, 1]


def test_an_empty_array() -> None:
    result = summarise(np.empty((0, 3), np.float32))
    assert (result.count, result.zero_fraction, result.nan, result.inf) == (0, 0, 0, 0)
    assert np.isnan([result.mean, result.std, result.min, result.max]).all()
    assert result.counts.tolist() == [0] * 50


@pytest.mark.parametrize("value", [0.0, 0.1, -3.5, 3e38])
def test_a_constant_is_exact(value: float) -> None:
    array = np.full(100_001, value, np.float32)
    result = summarise(array)
    exact = float(np.float32(value))
    assert (result.mean, result.std, result.min, result.max) == (exact, 0, exact, exact)
    assert result.counts.sum() == array.size
    if abs(value) < 1e10:
        assert result.counts.tolist() == np.histogram(array.astype(np.float64), 50)[0].tolist()


def test_one_value_has_no_standard_deviation() -> None:
    assert np.isnan(summarise(np.array([2.5], np.float32)).std)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float32", -3e38, 3e38), ("float32", 1e-45, 1e-38), ("float64", -1.7e308, 1.7e308), ("float64", 0, 1e-300)],
)
def test_ranges_that_overflow_or_vanish(dtype: str, low: float, high: float) -> None:
    share = RNG.random(5000)
    array = (share * high + (1 - share) * low).astype(dtype)
    result = summarise(array, 20)
    assert result.counts.sum() == array.size
    assert np.isfinite(result.edges).all()
    assert result.counts.tolist() == slow_histogram(array.astype(np.float64), result.edges)
    scale = 2.0 ** -np.frexp(max(abs(low), abs(high)))[1]
    scaled = array.astype(np.float64) * (scale if np.isfinite(scale) else 2.0**900)
    assert result.mean * scale == pytest.approx(scaled.mean(), rel=1e-9)
    assert result.std * scale == pytest.approx(scaled.std(ddof=1), rel=1e-9)


def test_a_large_mean_costs_no_digits() -> None:
    array = 1e8 + RNG.standard_normal(300_000)
    assert summarise(array).std == pytest.approx(array.std(ddof=1), rel=1e-9)
    single = (1000 + RNG.standard_normal(300_000) * 1e-3).astype(np.float32)
    check(single)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_an_unaligned_read_only_view_of_a_file(tmp_path: Path, dtype: str) -> None:
    array = (RNG.standard_normal(150_000) * 50).astype(dtype)
    file = tmp_path / "weights"
    file.write_bytes(b"\x01\x02\x03" + array.tobytes())
    with open(file, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = np.frombuffer(mapped, dtype, array.size, 3)
        assert not view.flags.aligned
        assert not view.flags.writeable
        result = summarise(view)
        del view
    assert result.counts.tolist() == summarise(array).counts.tolist()
    assert result.mean == pytest.approx(array.astype(np.float64).mean())


@pytest.mark.parametrize("order", ["F", "strided", "big-endian"])
def test_any_layout(order: str) -> None:
    array = RNG.standard_normal((60, 50, 40)).astype(np.float32)
    layouts = {"F": np.asfortranarray(array), "strided": array[::2, :, 1::3], "big-endian": array.astype(">f4")}
    check(layouts[order])
    check(layouts[order].astype(layouts[order].dtype.newbyteorder("=").str.replace("4", "2")))


def test_memory_does_not_grow_with_the_tensor() -> None:
    array = RNG.standard_normal((1500, 2000)).astype(np.float32)[:, ::2]
    tracemalloc.start()
    summarise(array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


@pytest.mark.parametrize("array", [np.zeros(3, np.complex64), np.array(["a"]), np.array([None])])
def test_values_without_order_are_refused(array: NDArray[Any]) -> None:
    with pytest.raises(InputError, match="no order"):
        summarise(array)
