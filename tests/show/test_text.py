from __future__ import annotations

import math

import numpy as np
import pytest

from onnxvis.measure.channels import channel_statistics
from onnxvis.show import text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-1.5, "−1.5"),
        (1.23456e-5, "1.235e−5"),
        (1e300, "1e300"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "−inf"),
        (12345.6, "1.235e4"),
    ],
)
def test_numbers(value: float | None, expected: str) -> None:
    assert text.number(value).replace("e+", "e") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 %"), (1, "100 %"), (0.4567, "45.7 %"), (0.0004, "< 0.1 %"), (0.9996, "100 %"), (math.nan, "0 %")],
)
def test_percentages(value: float, expected: str) -> None:
    assert text.percent(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "unknown"),
        (940, "940"),
        (9_999, "9,999"),
        (12_345, "12.3 k"),
        (11_689_512, "11.7 M"),
        (999_999, "1 M"),
        (1_814_073_344, "1.81 G"),
    ],
)
def test_counts(value: int | None, expected: str) -> None:
    assert text.count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (46_832_113, "46.8 MB"), (2_400_000_000, "2.4 GB")],
)
def test_sizes(value: int, expected: str) -> None:
    assert text.size(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(0.0213, "21.3 ms"), (1.42, "1.42 s"), (185.0, "3 min 05 s")])
def test_durations(value: float, expected: str) -> None:
    assert text.seconds(value) == expected


def test_shapes() -> None:
    assert text.shape(("N", 3, None, 224)) == "N × 3 × ? × 224"
    assert text.shape(()) == "scalar"
    assert text.shape(None) == "unknown"
    assert text.shape((1,) * 500).count("×") == 8


def test_names_are_cut_in_the_middle_and_hold_no_control_characters() -> None:
    name = "/backbone/" + "block/" * 20_000 + "conv\n\u202eend"
    short = text.shorten(name, 40)
    assert len(short) == 40
    assert short.startswith("/backbone/")
    assert short.endswith("conv\\x0a\\x202eend")
    assert "…" in short
    assert text.shorten("short") == "short"
    assert len(text.clean("x" * 70_000)) == 2000
    assert text.clean("日本語 é") == "日本語 é"


def test_channel_lines_hold_every_number() -> None:
    maps = np.random.default_rng(0).standard_normal((12, 5, 5)).astype(np.float32) * 1e-3
    maps[3], maps[5, 0, 0] = 0, np.nan
    statistics = channel_statistics(maps)
    lines = text.channel_lines(statistics).split("\n")
    assert lines[0].split() == ["channel", "min", "max", "mean", "std", "zeros", "%", "remarks"]
    for index, line in enumerate(lines[1:]):
        fields = line.split()
        assert int(fields[0]) == index
        columns = (statistics.min, statistics.max, statistics.mean, statistics.std)
        for field, column in zip(fields[1:5], columns, strict=True):
            assert float(field) == pytest.approx(column[index], rel=1e-3)
    assert lines[4].endswith("100.0  constant")
    assert lines[6].endswith("1 NaN, 0 infinite")


def test_the_ending_of_a_dotted_name_is_its_last_parts_that_fit() -> None:
    assert text.ending("darknet.backbone.stage3", 13) == "stage3"
    assert text.ending("darknet.backbone.stage3", 15) == "backbone.stage3"
    assert text.ending("stage3", 13) == "stage3"
    assert text.ending("a" * 40, 13) == text.shorten("a" * 40, 13)
    assert text.ending("a." * 30_000, 13) == "a.a.a.a.a.a."
    assert text.ending("a" * 20 + ".", 13) == text.shorten("a" * 20 + ".", 13)
