from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxvis.graph.load import load
from onnxvis.measure.statistics import summarise
from onnxvis.measure.weights import WeightNumbers
from onnxvis.show.depth import DepthChart, DepthPoint, depth_charts, reading_order
from tests.tiny import Array, from_text, tiny, write

INSET = 8


def weight(name: str, values: Sequence[float] | Array, role: str = "bias") -> WeightNumbers:
    array = np.asarray(values, np.float64)
    return WeightNumbers(name, role, "Conv", "raw_data", "", array.shape, "float64", summarise(array))


def spread(*ranges: tuple[float, float]) -> list[WeightNumbers]:
    return [weight(f"w{place}", [low, high]) for place, (low, high) in enumerate(ranges)]


def corners(path: str) -> list[tuple[int, int]]:
    assert re.fullmatch(r"(M\d+ \d+(L\d+ \d+)*z?)*", path)
    return [(int(x), int(y)) for x, y in re.findall(r"(\d+) (\d+)", path)]


def height(chart: DepthChart, value: float, low: float, high: float) -> float:
    """Where a value stands on a linear axis with `high` at the top."""
    return INSET + (chart.height - 2 * INSET) * (high - value) / (high - low)


def test_lines_follow_the_numbers() -> None:
    arrays = [np.random.default_rng(seed).normal(seed / 10, 1 + seed / 5, 50) for seed in range(7)]
    (chart,) = depth_charts([weight(f"w{place}", array) for place, array in enumerate(arrays)])
    low, high = min(array.min() for array in arrays), max(array.max() for array in arrays)
    for path, values in (
        (chart.mean_path, [array.mean() for array in arrays]),
        (chart.min_path, [array.min() for array in arrays]),
        (chart.max_path, [array.max() for array in arrays]),
    ):
        found = corners(path)
        assert [x for x, _ in found] == [point.x for point in chart.points]
        assert np.abs([y - height(chart, v, low, high) for (_, y), v in zip(found, values, strict=True)]).max() <= 0.5
    band = corners(chart.band_path)
    edges = [array.mean() + array.std(ddof=1) for array in arrays]
    edges += [array.mean() - array.std(ddof=1) for array in reversed(arrays)]
    assert chart.band_path.endswith("z")
    assert np.abs([y - height(chart, v, low, high) for (_, y), v in zip(band, edges, strict=True)]).max() <= 0.5
    for point, array in zip(chart.points, arrays, strict=True):
        assert (point.mean, point.std) == pytest.approx((array.mean(), array.std(ddof=1)))
        assert (point.min, point.max, point.clipped) == (array.min(), array.max(), False)
        assert abs(point.y - height(chart, float(array.mean()), low, high)) <= 0.5
    assert chart.notes == ()
    assert chart.marker_path == ""
    assert chart.view_box == f"0 0 {chart.width} {chart.height}"


def test_ticks_stand_at_their_values() -> None:
    ranges = ((-3, 1), (-1, 5), (0, 1))
    (chart,) = depth_charts(spread(*ranges))
    assert len(chart.ticks) >= 3
    for tick in chart.ticks:
        value = float(tick.label.replace("−", "-"))
        assert abs(tick.at - height(chart, value, *_range(*ranges))) <= 0.5
    assert "0" in {tick.label for tick in chart.ticks}


@given(st.integers(1, 1500))
def test_columns_tile_the_box(count: int) -> None:
    (chart,) = depth_charts([weight("w", [1.0, 2.0])] * count)
    lefts = [point.left for point in chart.points]
    if count <= chart.width:
        assert lefts == [0, *np.cumsum([point.width for point in chart.points])[:-1]]
        assert sum(point.width for point in chart.points) == chart.width
    assert all(point.left <= point.x <= point.left + point.width <= chart.width + 1 for point in chart.points)


def test_one_chart_a_role_kernels_first() -> None:
    names = ["embedding", "bias", "batch norm weight", "", "conv kernel", "bias", "fully connected weight"]
    charts = depth_charts([weight(f"{place}", [place, 9], role) for place, role in enumerate(names)])
    assert [chart.title for chart in charts] == [
        "conv kernel", "fully connected weight", "bias", "batch norm weight", "embedding", "",
    ]  # fmt: skip
    assert [point.name for point in charts[2].points] == ["1", "5"]
    assert depth_charts([]) == ()


def test_weights_stand_in_the_order_they_are_read() -> None:
    weights = [weight(name, [1, 2]) for name in "abcd"]
    (chart,) = depth_charts(weights, {"c": 0, "a": 7, "d": 3})
    assert [point.name for point in chart.points] == ["c", "d", "a", "b"]


PREPARED = """
net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
<float16[2, 2, 1, 1] late = {1, 2, 3, 4}, float16[2, 2, 1, 1] early = {1, 2, 3, 4},
 float[2] bias = {0, 1}, float[2, 2, 1, 1] twice = {1, 2, 3, 4}, float[1] unused = {0}>
{
    late_cast = Cast<to = 1>(late)
    late_turned = Transpose<perm = [1, 0, 2, 3]>(late_cast)
    early_cast = Cast<to = 1>(early)
    nothing = Neg(unused)
    a = Conv(x, early_cast)
    b = Conv(a, twice, bias)
    c = Conv(b, late_turned)
    y = Conv(c, twice)
}
"""


def test_a_weight_stands_where_it_meets_the_data(tmp_path: Path) -> None:
    order = reading_order(load(write(from_text(PREPARED), tmp_path)).view)
    assert [order[name] for name in ("early", "twice", "bias", "late", "late_cast", "x")] == [4, 5, 5, 6, 6, 4]
    assert order["unused"] == 3


def test_reading_order_is_not_that_of_the_file(tmp_path: Path) -> None:
    model = tiny()
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    model.graph.initializer.extend(reversed(tensors))
    order = reading_order(load(write(model, tmp_path)).view)
    first: dict[str, int] = {}
    for place, node in enumerate(model.graph.node):
        for name in node.input:
            first.setdefault(name, place)
    assert {tensor.name for tensor in tensors} <= order.keys()
    assert order == first


def test_one_layer_is_a_short_level_line() -> None:
    (chart,) = depth_charts([weight("w", [-1.0, 0.0, 4.0])])
    for path in (chart.mean_path, chart.min_path, chart.max_path):
        (left, y), (right, other) = corners(path)
        assert y == other
        assert left < chart.points[0].x < right
        assert 0 <= left < right <= chart.width
    assert len(corners(chart.band_path)) == 4


@pytest.mark.parametrize("value", [0.0, 1.0, -3e-9, 1e308, 5e-324])
def test_constants_stand_in_the_middle(value: float) -> None:
    (chart,) = depth_charts([weight("a", [value] * 4), weight("b", [value])])
    middle = chart.height / 2
    assert all(abs(y - middle) <= (72 if value == 5e-324 else 40) for _, y in corners(chart.mean_path))
    assert len({y for _, y in corners(chart.mean_path)}) == 1
    assert chart.notes == ()


def test_weights_without_a_finite_value_break_the_lines() -> None:
    weights = [weight("a", [1, 2]), weight("b", [math.nan] * 3), weight("c", [0, 1]), weight("d", [1, 3])]
    (chart,) = depth_charts(weights)
    assert chart.mean_path.count("M") == 2
    assert len(corners(chart.mean_path)) == 4  # a short line for a, and one from c to d
    assert chart.notes == ("without a finite value: b",)
    assert math.isnan(chart.points[1].mean)
    assert depth_charts(weights[1:2]) == ()


def markers(chart: DepthChart) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in re.findall(r"M(-?\d+) (\d+)l4 -?6l4 -?6z", chart.marker_path)]


def test_a_layer_that_would_flatten_all_others_is_clipped() -> None:
    (chart,) = depth_charts(spread((-1, 1), (-0.5, 2), (-500, 1.5), (-1, 1)))
    assert [point.clipped for point in chart.points] == [False, False, True, False]
    assert corners(chart.max_path)[1][1] == round(height(chart, 2, *_range((-1, 1), (-0.5, 2), (-1, 1))))
    assert corners(chart.min_path)[2][1] == chart.height - INSET
    assert markers(chart) == [(chart.points[2].x - 4, chart.height - 6)]
    assert chart.notes == ("beyond the chart: w2, −500 to 1.5",)


def _range(*ranges: tuple[float, float]) -> tuple[float, float]:
    """All of min, max and mean ± std."""
    arrays = [np.array(pair) for pair in ranges]
    low = min(min(a.min(), a.mean() - a.std(ddof=1)) for a in arrays)
    return low, max(max(a.max(), a.mean() + a.std(ddof=1)) for a in arrays)


@pytest.mark.parametrize(
    ("highs", "clipped"),
    [
        ([1, 1, 21, 1], [2]),
        ([1, 1, 19, 1], []),
        ([1, 30], []),
        ([1, 1, 30], [2]),
        ([1, 30, 30, 1], []),
        ([1, 1, 1, 1, 1, 1, 30, 900], [6, 7]),
        ([0, 0, 0, 5], []),
        ([math.nan, 1, 1, 30], [3]),
    ],
)
def test_only_a_few_far_ones_are_clipped(highs: list[float], clipped: list[int]) -> None:
    (chart,) = depth_charts([weight(f"w{place}", [0, high]) for place, high in enumerate(highs) if high == high])
    places = [place for place, high in enumerate(highs) if high == high]
    assert [places[place] for place, point in enumerate(chart.points) if point.clipped] == clipped
    assert len(markers(chart)) == len(clipped)
    assert all(y == 6 for _, y in markers(chart))


def test_labels_carry_the_numbers_on_one_line() -> None:
    point = DepthPoint("a\n\u202eb", (3, 4), 0.5, 0.25, -1.0, 2.0, 0, 0, 0, 1, False)
    assert point.label == "a\\x0a\\x202eb, 3 × 4: mean 0.5, std 0.25, −1 to 2"


values = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(st.lists(st.lists(values, min_size=1, max_size=4), min_size=1, max_size=12))
def test_anything_gives_whole_numbers_inside_the_box(rows: list[list[float]]) -> None:
    for chart in depth_charts([weight(f"w{place}", row) for place, row in enumerate(rows)]):
        for path in (chart.mean_path, chart.band_path, chart.min_path, chart.max_path):
            assert all(0 <= x <= chart.width and 0 <= y <= chart.height for x, y in corners(path))
        assert re.fullmatch(r"(M-?\d+ \d+l4 -?6l4 -?6z)*", chart.marker_path)
        assert all(INSET <= tick.at <= chart.height - INSET for tick in chart.ticks)
        assert len(chart.points) == len(rows)
