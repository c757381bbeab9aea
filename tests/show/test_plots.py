from __future__ import annotations

import io
import math
import time
import xml.etree.ElementTree as ElementTree
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnxvis.measure.statistics import TensorStatistics, summarise
from onnxvis.measure.weights import WeightNumbers
from onnxvis.show.depth import depth_charts
from onnxvis.show.plots import depth_svg, histogram_picture, histogram_png, histogram_svg
from tests.show import outline
from tests.show.hostile import HOSTILE, LONG
from tests.tiny import Array

SVG = "{http://www.w3.org/2000/svg}"
LEFT, TOP, WIDE, HIGH = 64, 76, 480, 176
BAR, BAND, MEAN = (74, 114, 176), (230, 236, 245), (240, 90, 40)


def numbers(seed: int = 0, count: int = 5000, shift: float = 0.2) -> TensorStatistics:
    return summarise(np.random.default_rng(seed).normal(shift, 1, count).astype(np.float32))


def parse(svg: str) -> ElementTree.Element:
    """The root, after a check that nothing in the file can run or be fetched."""
    root = ElementTree.fromstring(svg.encode())
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "title", "rect", "path", "text"}
    assert not {name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name}
    return root


def texts(root: ElementTree.Element) -> list[str]:
    return [str(element.text or "") for element in root.iter(f"{SVG}text")]


def bar_heights(root: ElementTree.Element) -> list[int]:
    """From the path in the plot's own box, whose sides are those of the plot."""
    (box,) = root.findall(f"{SVG}svg")
    assert [int(box.attrib[name]) for name in ("x", "y", "width", "height")] == [LEFT, TOP, WIDE, HIGH]
    view = box.attrib["viewBox"].split()
    (path,) = box.findall(f"{SVG}path")
    heights = outline.bar_heights(path.attrib["d"])
    assert int(view[2]) == 2 * len(heights)
    assert int(view[3]) == HIGH
    return heights


def place(value: float, statistics: TensorStatistics) -> float:
    first, last = float(statistics.edges[0]), float(statistics.edges[-1])
    return LEFT + WIDE * (value - first) / (last - first)


@pytest.mark.parametrize("bins", [1, 7, 50, 480, 2000])
def test_bars_are_as_high_as_their_counts(bins: int) -> None:
    statistics = summarise(np.random.default_rng(3).normal(0, 1, 4000), bins)
    share = statistics.counts / statistics.counts.max()
    heights = np.array(bar_heights(parse(histogram_svg("w", "note", statistics))))
    assert len(heights) == bins
    assert np.abs(heights - HIGH * share).max() <= 1
    assert ((heights > 0) == (statistics.counts > 0)).all()


@pytest.mark.parametrize("bins", [1, 7, 50, 480, 2000])
def test_the_picture_has_the_same_bars(bins: int) -> None:
    statistics = summarise(np.random.default_rng(3).normal(0, 1, 4000), bins)
    plot = histogram_picture("w", "note", statistics)[TOP : TOP + HIGH, LEFT : LEFT + WIDE]
    blue = (plot == BAR).all(axis=2) | (plot == MEAN).all(axis=2)
    heights = statistics.counts / statistics.counts.max() * HIGH
    for column in range(2, WIDE):
        first, last = column * bins // WIDE, max(column * bins // WIDE + 1, -(-(column + 1) * bins // WIDE))
        if abs(column - (place(statistics.mean, statistics) - LEFT)) < 1.5:
            continue
        found = int(blue[:, column].sum())
        assert heights[first:last].min() - 1 <= found <= heights[first:last].max() + 1


def test_the_png_is_the_picture() -> None:
    data = histogram_png("w", "note", numbers())
    pixels = histogram_picture("w", "note", numbers())
    assert pixels.shape == (320, 560, 3)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), pixels)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    np.testing.assert_array_equal(by_opencv[:, :, ::-1], pixels)


def test_the_axis_names_min_zero_and_max() -> None:
    statistics = numbers()
    root = parse(histogram_svg("w", "note", statistics))
    by_text = {element.text: element for element in root.iter(f"{SVG}text") if element.attrib["y"] == "271"}
    assert float(by_text["0"].attrib["x"]) == pytest.approx(place(0, statistics), abs=0.5)
    low, high = (f"{value:.4g}".replace("-", "−") for value in (statistics.min, statistics.max))
    assert (by_text[low].attrib["x"], by_text[high].attrib["x"]) == (f"{LEFT}", f"{LEFT + WIDE}")
    assert by_text[high].attrib["text-anchor"] == "end"
    assert f"{statistics.counts.max():,}" in texts(root)
    shifted = texts(parse(histogram_svg("w", "note", numbers(shift=20))))
    assert shifted.count("0") == 1  # of the counts alone


def test_mean_and_spread_are_marked() -> None:
    statistics = numbers()
    root = parse(histogram_svg("w", "note", statistics))
    band = next(rect for rect in root.findall(f"{SVG}rect") if rect.attrib["fill"] == "#e6ecf5")
    left, width = float(band.attrib["x"]), float(band.attrib["width"])
    assert left == pytest.approx(place(statistics.mean - statistics.std, statistics), abs=0.5)
    assert left + width == pytest.approx(place(statistics.mean + statistics.std, statistics), abs=0.5)
    dashed = next(path for path in root.findall(f"{SVG}path") if "stroke-dasharray" in path.attrib)
    assert float(dashed.attrib["d"][1:].split()[0]) - 0.5 == pytest.approx(place(statistics.mean, statistics), abs=0.5)
    summary = f"mean {statistics.mean:.4g} ± {statistics.std:.4g} (std) · zeros 0 % · 5,000 values"
    assert summary in texts(root)
    row = histogram_picture("w", "note", statistics)[TOP + 1]
    marked = np.flatnonzero((row == MEAN).all(axis=1))
    assert marked.tolist() == [round(place(statistics.mean, statistics))]
    shaded = np.flatnonzero((row == BAND).all(axis=1))
    assert shaded.min() == round(left)
    assert shaded.max() == round(left + width) - 1


def test_a_constant_stands_in_the_middle() -> None:
    root = parse(histogram_svg("w", "note", summarise(np.full(9, 0.25, np.float32))))
    constant = next(element for element in root.iter(f"{SVG}text") if element.text == "0.25")
    assert (constant.attrib["x"], constant.attrib["text-anchor"]) == (f"{LEFT + WIDE // 2}", "middle")
    assert "mean 0.25 ± 0 (std) · zeros 0 % · 9 values" in texts(root)
    alone = texts(parse(histogram_svg("w", "note", summarise(np.array(3.0)))))
    assert "mean 3 · zeros 0 % · 1 value" in alone


def test_what_is_not_finite_is_told() -> None:
    root = parse(histogram_svg("w", "note", summarise(np.array([1, 2, math.nan, math.inf, -math.inf]))))
    assert "1 NaN and 2 infinite of 5 left out" in texts(root)
    nothing = summarise(np.full(4, math.nan))
    root = parse(histogram_svg("w", "note", nothing))
    assert {"no finite value", "4 values", "4 NaN of 4 left out"} <= set(texts(root))
    assert not any(bar_heights(root))
    plot = histogram_picture("w", "note", nothing)[TOP : TOP + HIGH, LEFT : LEFT + WIDE]
    assert not (plot == BAR).all(axis=2).any()


ALL_CONTROLS = "".join(map(chr, [*range(32), 0x7F, 0x85, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x202E, 0x10FFFF]))


@pytest.mark.parametrize("name", ["", HOSTILE, LONG, ALL_CONTROLS, "]]><!DOCTYPE x [<!ENTITY a 'b'>]>&a;", "猫🐈"])
def test_hostile_names_stay_text(name: str) -> None:
    root = parse(histogram_svg(name, name, numbers()))
    assert all(text.isprintable() and len(text) <= 120 for text in texts(root))
    assert histogram_picture(name, name, numbers()).shape == (320, 560, 3)
    weight = WeightNumbers(name, name, name, "raw_data", name, (2,), "float32", summarise(np.array([1.0, 2.0])))
    root = parse(depth_svg(depth_charts([weight, weight]), name))
    assert len(list(root.iter(f"{SVG}title"))) == 3


def test_a_name_is_shown_and_kept_whole_in_the_title() -> None:
    name = "model/" + "layer/" * 20 + "weight<0>"
    root = parse(histogram_svg(name, "conv kernel · 64 × 3 × 7 × 7", numbers()))
    assert root.findtext(f"{SVG}title") == name
    assert texts(root)[0].startswith("model/")
    assert texts(root)[0].endswith("weight<0>")
    assert len(texts(root)[0]) == 62
    assert texts(root)[1] == "conv kernel · 64 × 3 × 7 × 7"


def test_texts_of_the_picture_are_dark_on_white() -> None:
    page = histogram_picture("a name", "a note", numbers())
    assert (page[10:30] < 60).any()
    assert (page[34:50] < 90).any()
    assert (page[:, 0] == 255).all()
    assert (page[:, -1] == 255).all()
    different = histogram_picture("a game", "a note", numbers())
    assert (page[10:30] != different[10:30]).any()
    np.testing.assert_array_equal(page[34:], different[34:])


@pytest.mark.parametrize("name", ["W" * 62, "i" * 62, "W" * 500])
def test_long_names_end_before_the_edge(name: str) -> None:
    page = histogram_picture(name, name, numbers())
    assert (page[:60, 552:] == 255).all()
    assert (page[:60, 200:400] < 90).any()


def weight(name: str, values: Any, role: str) -> WeightNumbers:
    array = np.asarray(values, np.float64)
    return WeightNumbers(name, role, "Conv", "raw_data", "", array.shape, "float64", summarise(array))


def test_depth_charts_stand_below_each_other() -> None:
    rng = np.random.default_rng(2)
    weights = [weight(f"w{i}", rng.normal(0, 1, 9), ("conv kernel", "bias")[i % 2]) for i in range(8)]
    weights.append(weight("far", [0, 1e9], "bias"))
    charts = depth_charts(weights)
    root = parse(depth_svg(charts, "net.onnx: weights over depth"))
    boxes = root.findall(f"{SVG}svg")
    assert len(boxes) == 2
    for box, chart in zip(boxes, charts, strict=True):
        paths = [path.attrib["d"] for path in box.findall(f"{SVG}path")]
        assert paths[1:] == [chart.band_path, chart.min_path + chart.max_path, chart.mean_path, chart.marker_path]
        assert [title.text for title in box.iter(f"{SVG}title")] == [point.label for point in chart.points]
    tops = [int(box.attrib["y"]) for box in boxes]
    assert tops[1] >= tops[0] + charts[0].height + 40
    assert int(root.attrib["height"]) >= tops[1] + charts[1].height
    assert "conv kernel: 4 weights, in order of depth" in texts(root)
    assert "beyond the chart: far, 0 to 1e+9" in [text.replace("1e9", "1e+9") for text in texts(root)]
    (zero, *_) = [item for item in root.iter(f"{SVG}text") if item.text == "0"]
    tick = next(tick for tick in charts[0].ticks if tick.label == "0")
    assert int(zero.attrib["y"]) - 4 == tops[0] + tick.at
    assert texts(parse(depth_svg([], "empty")))[0] == "empty"


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=30),
    st.integers(1, 90),
    st.text(max_size=40),
)
def test_any_numbers_can_be_drawn(values: list[float], bins: int, name: str) -> None:
    statistics = summarise(np.array(values, np.float64), bins)
    assert len(bar_heights(parse(histogram_svg(name, name, statistics)))) == bins
    picture: Array = histogram_picture(name, name, statistics)
    assert picture.shape == (320, 560, 3)


def test_hundreds_of_charts_take_a_second_or_two() -> None:
    every = [numbers(seed, 500) for seed in range(20)]
    histogram_png("warm", "up", every[0])
    start = time.process_time()
    for place_, statistics in enumerate(every):
        histogram_png(f"layer{place_}.weight", "conv kernel · 64 × 3 × 7 × 7", statistics)
        histogram_svg(f"layer{place_}.weight", "conv kernel · 64 × 3 × 7 × 7", statistics)
    assert (time.process_time() - start) / len(every) < 0.02
