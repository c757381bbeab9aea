from __future__ import annotations

import math
import mmap
import statistics
import time
import tracemalloc
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from onnxvis.errors import InputError
from onnxvis.measure.statistics import TensorStatistics, summarise

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
@pytest.mark.parametrize("size", [7, 100_001])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_is_exact(value: float, size: int, dtype: str) -> None:
    array = np.full(size, value, dtype)
    result = summarise(array)
    exact = float(array[0])
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


@given(hnp.arrays(np.float32, st.integers(1, 3000), elements=st.floats(-1000, 1000, width=32)), st.integers(1, 1 << 16))
@settings(max_examples=30)
def test_any_number_of_bins(array: NDArray[np.float32], bins: int) -> None:
    check(array, bins)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "float16"])
@pytest.mark.parametrize("bins", [1, 63, 64, 65, 256, 65536])
def test_numbers_of_bins_on_many_values(dtype: str, bins: int) -> None:
    check((RNG.standard_normal(70_001) * 30).astype(dtype), bins)


@pytest.mark.parametrize("bins", [0, -3, 65537])
def test_bins_out_of_range_are_refused(bins: int) -> None:
    with pytest.raises(InputError, match="choose 1 to 65536"):
        summarise(np.zeros(3), bins)


@pytest.mark.parametrize("size", [5, 2047, 2048, 2049, 65_536, 65_537, 131_073])
def test_numbers_equal_fractions_at_every_size(size: int) -> None:
    """The short way, the long way, and pieces of odd lengths, against exact arithmetic."""
    array = (RNG.standard_normal(size) * 0.1 + 0.05).astype(np.float32)
    result = summarise(array)
    values = array.astype(np.float64).tolist()
    mean = math.fsum(values) / size
    assert result.mean == pytest.approx(mean, rel=1e-12)
    assert result.std == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert result.counts.sum() == size


def test_far_outliers_and_far_means_cost_no_digits() -> None:
    spread = RNG.standard_normal(80_000).astype(np.float32)
    cases: list[NDArray[Any]] = [np.append(spread, np.float32(1e7)), spread * np.float32(1e-3) + 3000, spread + 8]
    for array in cases:
        result = summarise(array)
        assert result.std == pytest.approx(statistics.stdev(array.astype(float).tolist()), rel=1e-12)
        check(array)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "int32", "float64"])
@pytest.mark.parametrize("size", [30, 90_000])
def test_a_span_gives_the_edges(dtype: str, size: int) -> None:
    array = np.round(RNG.standard_normal(size) * 20).astype(dtype)
    result = summarise(array, 16, (-10, 22))
    counts, edges = np.histogram(array.astype(np.float64), 16, (-10, 22))
    assert result.counts.tolist() == counts.tolist()
    assert result.edges.tolist() == edges.tolist()
    assert (result.min, result.max) == (array.min(), array.max())
    assert result.mean == pytest.approx(array.astype(np.float64).mean(), rel=1e-12)


@pytest.mark.parametrize("span", [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_spans_that_do_not_rise_are_refused(span: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="two finite numbers"):
        summarise(np.zeros(3), span=span)


def test_a_value_repeated_beyond_counting_is_never_walked_through() -> None:
    array = np.broadcast_to(np.float32(0.1), (10**6, 10**6, 3))
    before = time.perf_counter()
    result = summarise(array)
    assert time.perf_counter() - before < 1
    exact = float(np.float32(0.1))
    assert (result.count, result.mean, result.std, result.min, result.max) == (3 * 10**12, exact, 0, exact, exact)
    assert result.counts.tolist() == [0] * 25 + [3 * 10**12] + [0] * 24
    for value, found in ((0, (1, 0, 0)), (np.nan, (0, 12, 0)), (np.inf, (0, 0, 12))):
        other = summarise(np.broadcast_to(np.float64(value), (3, 4)))
        assert (other.zero_fraction, other.nan, other.inf) == found


@pytest.mark.parametrize("shape", [(1, 5), (4, 1), (1, 1)])
def test_rows_and_columns_repeated_by_strides(shape: tuple[int, int]) -> None:
    check(np.broadcast_to(RNG.standard_normal(shape), (3, 4, 5)))
    assert summarise(np.broadcast_to(np.ones((1, 0)), (7, 0))).count == 0


def assert_same(found: TensorStatistics, whole: TensorStatistics) -> None:
    """Exact but for mean and std, which rounding may touch."""
    for name in ("count", "min", "max", "nan", "inf", "zeros", "finite"):
        assert getattr(found, name) == pytest.approx(getattr(whole, name), rel=0, abs=0, nan_ok=True), name
    assert found.counts.tolist() == whole.counts.tolist()
    assert found.edges.tolist() == whole.edges.tolist()
    largest = max(abs(whole.min), abs(whole.max))
    assert found.mean == pytest.approx(whole.mean, rel=1e-12, abs=1e-14 * largest, nan_ok=True)
    assert found.std == pytest.approx(whole.std, rel=1e-9, abs=1e-14 * largest, nan_ok=True)
    assert found.zero_fraction == whole.zero_fraction


@given(
    hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(width=32)), st.lists(st.integers(0, 50)), st.randoms()
)
def test_any_pieces_join_to_the_whole(array: NDArray[np.float32], cuts: list[int], shuffle: object) -> None:
    pieces = [summarise(piece, 9, (-100, 1000)) for piece in np.split(array, sorted(cuts))]
    shuffle.shuffle(pieces)  # type: ignore[attr-defined]
    assert_same(reduce(TensorStatistics.join, pieces), summarise(array, 9, (-100, 1000)))


def test_many_pieces_of_many_types_join() -> None:
    array = np.round(RNG.standard_normal(200_000) * 30).clip(-128, 127).astype(np.int8)
    kinds: list[NDArray[Any]] = [
        array[:70_000],
        array[70_000:70_001].astype(np.float64),
        array[70_001:].astype(np.float32),
    ]
    assert_same(
        reduce(TensorStatistics.join, [summarise(k, 40, (-128, 127)) for k in kinds]), summarise(array, 40, (-128, 127))
    )
    one_by_one = reduce(
        TensorStatistics.join, [summarise(part, 40, (-128, 127)) for part in np.array_split(array, 2000)]
    )
    assert_same(one_by_one, summarise(array, 40, (-128, 127)))


def test_joined_extremes_of_float64_do_not_overflow() -> None:
    array = np.array([1e308, -1.2e308, 3e307, 0])
    found = summarise(array[:2], span=(-1e308, 1e308)).join(summarise(array[2:], span=(-1e308, 1e308)))
    assert found.std / 1e300 == pytest.approx((array / 1e300).std(ddof=1))


def test_histograms_with_other_edges_are_not_joined() -> None:
    with pytest.raises(InputError, match="50 bins from 0 to 1 and of 50 from 0 to 2 cannot be joined"):
        summarise(np.array([0.0, 1])).join(summarise(np.array([0.0, 2])))
