from __future__ import annotations

import dataclasses
import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from onnxvis.graph.kernels import find_kernels, read_kernel
from onnxvis.graph.load import load
from onnxvis.measure.statistics import summarise
from onnxvis.measure.weights import WeightNumbers, WeightTable, measure_weights
from onnxvis.show.terminal import filter_lines, sparkline, summary_line, table_lines
from tests.tiny import Array, from_text, tiny, write

RNG = np.random.default_rng(3)
HOSTILE = "a\x1b[31m\nb\u202e" + "x" * 60_000 + "END"


def numbers(name: str, values: Array, role: str = "conv kernel", place: str = "") -> WeightNumbers:
    return WeightNumbers(name, role, "Conv", "raw_data", place, values.shape, str(values.dtype), summarise(values))


def some() -> list[WeightNumbers]:
    odd = RNG.standard_normal((64, 3, 7, 7)).astype(np.float32)
    odd[0, 0, 0, :3] = np.nan, np.inf, 0
    return [
        numbers("backbone/layer1/conv1/kernel", RNG.standard_normal((512, 512, 3, 3)).astype(np.float16) * 1e-3),
        numbers("odd", odd), numbers("one", np.array(2.5), "bias", "Constant 5"),
        numbers("名前/重み/畳み込み/カーネル/とても長い名前", np.zeros(4), "fully connected weight"),
        numbers(HOSTILE, np.array([np.nan])), numbers("signed", np.array([-1e-30, 5e20])),
    ]  # fmt: skip


def columns_of(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


@pytest.mark.parametrize("width", [80, 90, 100, 120, 160, 200])
def test_tables_fit_and_keep_the_numbers(width: int) -> None:
    lines = table_lines(some(), width)
    assert len(lines) == 7
    assert max(map(columns_of, lines)) <= width
    assert all(line.isprintable() for line in lines)
    titles = lines[0].split()
    assert titles[0] == "name"
    assert {"mean", "std", "min", "max", "remarks"} <= set(titles)
    assert "1 NaN, 1 Inf" in lines[2]
    assert "1 NaN" in lines[5]
    assert lines[1].startswith("backbone")
    if width >= 160:
        assert {"role", "shape", "dtype", "zeros", "histogram"} <= set(titles)
        assert "backbone/layer1/conv1/kernel" in lines[1]


def test_without_a_width_nothing_is_cut() -> None:
    every = some()
    lines = table_lines(every)
    assert lines[0].split() == [
        "name", "role", "shape", "dtype", "stored", "in", "mean", "std", "min", "max", "zeros", "histogram", "remarks",
    ]  # fmt: skip
    found = every[2].statistics
    assert found.min == 2.5
    assert lines[3].split() == [
        "one", "bias", "scalar", "float64", "raw_data,", "Constant", "5", "2.5", "-", "2.5", "2.5", "0%", "█",
    ]  # fmt: skip
    assert lines[4].startswith(every[3].name)
    assert lines[6].split()[-7:-2] == ["2.5e20", "3.54e20", "-1e-30", "5e20", "0%"]


def test_each_number_stands_in_its_column() -> None:
    values = RNG.normal(5, 3, (20, 30)).astype(np.float32)
    values[0, :15] = 0
    (titles, line) = table_lines([numbers("w", values)])
    wide = values.astype(np.float64)
    wanted = {
        "mean": f"{wide.mean():.3g}", "std": f"{wide.std(ddof=1):.3g}", "min": f"{wide.min():.3g}",
        "max": f"{wide.max():.3g}", "zeros": "2.5%",
    }  # fmt: skip
    for title, text in wanted.items():
        end = titles.index(title) + len(title)
        assert line[:end].split()[-1] == text
        assert line[end : end + 1] == " "


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1", "utf-8", "no-such-encoding"])
def test_any_encoding_is_kept_to(encoding: str) -> None:
    lines = table_lines(some()[:3], 100, encoding)
    assert ("histogram" in table_lines(some()[:3], None, encoding)[0]) == (encoding == "utf-8")
    if encoding != "no-such-encoding":
        with io.TextIOWrapper(io.BytesIO(), encoding=encoding) as stream:
            stream.write("\n".join(lines))
    assert "512x512x3x3" in lines[1] or encoding in ("utf-8", "latin-1")


def test_bars_are_as_high_as_the_counts() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == " ▂▃▄▅▆▇█"
    assert sparkline([1, 1000, 0]) == "▁█ "
    assert sparkline([5] * 24, 12) == "█" * 12
    assert sparkline([1, 0, 0, 0, 8, 8], 3) == "▁ █"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""


def test_the_summary_says_what_is_not_there() -> None:
    table = WeightTable(tuple(some()), 3, ("w cannot be read",))
    wanted = "6 weights of 2,368,712 numbers, 2,368,710 parameters"
    assert summary_line(table, 2_368_710) == (
        f"{wanted}; left out: 3 tensors of shapes, axes, indices, settings or text; not read: 1; NaN or infinity in 2"
    )
    assert summary_line(WeightTable(table.weights[2:3], 0, ())) == "1 weight of 1 numbers"
    assert table_lines([]) == []


def test_one_filter_whole(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    kernel = find_kernels(model)[1]
    weights = read_kernel(model, kernel)[3].astype(np.float64)
    lines = filter_lines(kernel, 3, weights, 10)
    assert lines[0] == "stage1.x.a.weight: filter 3 of 8"
    assert kernel.label in lines[1]
    assert "stage1.x.a/conv" in lines[1]
    assert "8×3×3, 72 weights" in lines[2]
    assert f"std {weights.std(ddof=1):9.3g}" in lines[3]
    assert sparkline(np.histogram(weights, 10)[0], 10) in lines[4]
    starts = [place for place, line in enumerate(lines) if "input channel" in line]
    assert len(starts) == 8
    for channel, start in enumerate(starts):
        assert f"input channel {channel} " in lines[start]
        assert f"min {weights[channel].min():9.3g}" in lines[start]
        matrix = [[float(cell) for cell in line.split()] for line in lines[start + 1 : start + 4]]
        np.testing.assert_allclose(matrix, weights[channel], rtol=5e-3)


def test_filters_of_other_shapes(tmp_path: Path) -> None:
    kernel = find_kernels(load(write(tiny(), tmp_path)))[0]
    hostile = dataclasses.replace(kernel, weight=HOSTILE, node=HOSTILE, output=HOSTILE)
    pointwise = filter_lines(hostile, 0, np.arange(20.0).reshape(20, 1, 1))
    assert [float(cell) for line in pointwise[6:] for cell in line.split()] == list(range(20))
    assert all(line.isprintable() and len(line) < 800 for line in pointwise)
    large = filter_lines(kernel, 0, np.ones((512, 3, 3)))
    assert len(large) == 5 + 512
    deep = filter_lines(kernel, 0, np.arange(24.0).reshape(2, 3, 2, 2))
    assert [line.split() for line in deep[6:9]] == [["0", "1"], ["2", "3"], ["4", "5"]]
    one = filter_lines(kernel, 0, np.arange(24.0).reshape(2, 12))
    assert [line.split() for line in one[6:8]] == [[str(i) for i in range(8)], ["8", "9", "10", "11"]]
    odd = filter_lines(kernel, 0, np.array([[[np.nan, 1], [np.inf, 0]]]), encoding="ascii")
    assert "1 NaN  1 Inf" in odd[3]
    assert odd[6].split() == ["-", "1"]
    assert odd[7].split() == ["inf", "0"]
    assert all(line.isascii() for line in odd[2:])


def test_quantised_weights_are_marked(tmp_path: Path) -> None:
    body = """g (float[1,1,4,4] x) => (float[1,2,2,2] y) <float s = {0.5}, int8 z = {1}> {
        real = DequantizeLinear(w, s, z)
        y = Conv(x, real)
    }"""
    proto = from_text(body)
    proto.graph.initializer.append(numpy_helper.from_array(np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3), "w"))
    table = measure_weights(load(write(proto, tmp_path)))
    lines = table_lines(table.weights)
    (line,) = (line for line in lines if line.startswith("w "))
    assert "int8 q" in line
    assert line.split()[-4:-2] == ["-5", "3.5"]
    assert summary_line(table).endswith("q: quantised, the numbers are in real units")


@pytest.mark.parametrize(("node", "said"), [
    ("Conv making 'y'", "Conv makes y"),
    ("/a/Conv", "Conv /a/Conv, makes y"),
])  # fmt: skip
def test_a_node_is_named_once(node: str, said: str, tmp_path: Path) -> None:
    kernel = dataclasses.replace(find_kernels(load(write(tiny(), tmp_path)))[0], node=node, op="Conv", output="y")
    assert filter_lines(kernel, 0, np.ones((1, 3, 3)))[1] == f"  {kernel.label}: {said}"
