"""Histograms against numpy.histogram in float64, above all at the edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.errors import InputError
from onnxvis.measure.histogram import MAX_BINS, Histogram, check_bins, equal_edges, exact_bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(11)


def check(values: NDArray[Any], bins: int, span: tuple[float, float] | None = None) -> None:
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    histogram = Histogram(equal_edges(*(span or (low, high)), bins), low, high, values.dtype)
    for piece in np.array_split(wide.copy(), 3):
        histogram.add(piece)
    counts, edges = np.histogram(wide, bins, span)
    assert histogram.edges.tolist() == edges.tolist()
    assert histogram.counts.tolist() == counts.tolist()
    assert histogram.counts.tolist() == counts.tolist(), "asking twice changes nothing"


def neighbours(edges: NDArray[np.float64], dtype: str) -> NDArray[Any]:
    """Every edge in that type, with the values next to it on both sides."""
    near: NDArray[Any] = edges.astype(dtype)
    if near.dtype.kind in "iu":
        down, up = near - 1, near + 1
    else:
        down, up = np.nextafter(near, near.dtype.type(-np.inf)), np.nextafter(near, near.dtype.type(np.inf))
    around: NDArray[Any] = np.concatenate([down, near, up])
    inside: NDArray[Any] = around[(around >= near[0]) & (around <= near[-1])]
    return inside


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "float16", "uint16"])
@pytest.mark.parametrize("bins", [1, 2, 7, 50, 63, 64, 255, 256, 1000])
@pytest.mark.parametrize(("low", "high"), [(0, 60_000), (1, 40), (3, 1000), (16, 17), (32_000, 32_003)])
def test_values_next_to_every_edge(dtype: str, bins: int, low: float, high: float) -> None:
    check(neighbours(equal_edges(low, high, bins), dtype), bins)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-5, 5), (-0.25, 0.75), (-1e-3, 2e-3), (-100, 0), (-7, 9)])
@pytest.mark.parametrize("bins", [3, 10, 50, 100])
def test_values_next_to_edges_around_zero(dtype: str, low: float, high: float, bins: int) -> None:
    values = neighbours(equal_edges(low, high, bins), dtype)
    tiny = np.array([0, 1e-45, -1e-45, 1e-38, -1e-38, 1e-20, -1e-20]).astype(dtype)
    check(np.concatenate([values, tiny[(tiny >= values.min()) & (tiny <= values.max())]]), bins)


@given(
    st.sampled_from(["float32", "float64", "int32"]),
    st.floats(-1e4, 1e4, width=32),
    st.floats(0.0001220703125, 1e4, width=32),
    st.integers(1, MAX_BINS),
)
def test_any_range_and_any_number_of_bins(dtype: str, low: float, width: float, bins: int) -> None:
    first, last = np.array([low, low + width]).astype(dtype).astype(float).tolist()
    sample = np.concatenate([equal_edges(first, last, min(bins, 400)), RNG.uniform(first, last, 300)]).astype(dtype)
    check(sample, bins)
    check(np.clip(neighbours(equal_edges(sample.min(), sample.max(), bins), dtype), sample.min(), sample.max()), bins)


@pytest.mark.parametrize("bins", [10, 200])
@pytest.mark.parametrize("span", [(-0.5, 0.5), (-9.0, 9.0), (0.1, 0.2), (50.0, 60.0)])
def test_what_lies_outside_a_span_is_in_no_bin(bins: int, span: tuple[float, float]) -> None:
    check(np.round(RNG.standard_normal(5000), 2).astype(np.float32), bins, span)


def test_a_type_with_gaps_is_proven_and_others_are_looked_at() -> None:
    """The quick way is taken where it should be: were it not, nothing else would show it but time."""
    values = RNG.standard_normal(1000)
    edges = equal_edges(float(values.min()), float(values.max()), 50)
    quick = {dtype: Histogram(edges, edges[0], edges[-1], np.dtype(dtype))._sure for dtype in ("f4", "f8", "f2")}
    assert quick == {"f4": True, "f8": False, "f2": True}
    assert Histogram(equal_edges(-100, 10_000, 50), -100, 10_000, np.dtype("i4"))._sure


def test_integers_beyond_what_float64_holds() -> None:
    check(np.array([2**53, 2**53 + 2, 2**53 + 4, 2**60, 2**61 + 1], np.int64), 7)
    check(np.array([-(2**62), 0, 5, 2**62], np.int64), 50)


def test_ends_that_are_equal_or_missing() -> None:
    assert equal_edges(3, 3, 4).tolist() == np.histogram([3.0], 4)[1].tolist()
    assert equal_edges(np.nan, np.nan, 4).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_ends_far_apart_make_finite_edges() -> None:
    edges = equal_edges(-1.7e308, 1.7e308, 8)
    assert np.isfinite(edges).all()
    assert np.diff(edges / 2) == pytest.approx(np.full(8, 1.7e308 / 8))


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.integers(1, 20))
def test_a_search_finds_the_bin_of_each(values: list[float], bins: int) -> None:
    edges = np.linspace(0, 10, bins + 1)
    for value, place in zip(values, exact_bins(edges, np.array(values)), strict=True):
        assert edges[place] <= value
        assert value < edges[place + 1] or (place == bins - 1 and value == 10)


@pytest.mark.parametrize("bins", [0, -1, MAX_BINS + 1])
def test_numbers_of_bins_that_cannot_be(bins: int) -> None:
    with pytest.raises(InputError, match=f"cannot have {bins} bins; choose 1 to 65536"):
        check_bins(bins)


@pytest.mark.parametrize("bins", [1, MAX_BINS])
def test_the_least_and_the_most_bins(bins: int) -> None:
    check_bins(bins)
