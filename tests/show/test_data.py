from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxvis.graph.load import load
from onnxvis.measure.weights import measure_weights
from onnxvis.run.session import RunOptions
from onnxvis.show.data import SCHEMA_VERSION, describe_layers, describe_page, describe_weights, to_json
from onnxvis.show.page import KernelCard, Page
from onnxvis.show.render import render
from onnxvis.show.report import ReportOptions, build_page, write_report
from onnxvis.version import __version__
from tests.show.detector import detector, segmenter
from tests.show.hostile import hostile_page
from tests.show.sample import sample_page
from tests.tiny import from_text, photo, tiny, write

ONE = RunOptions("cpu", 1)


def strict(text: bytes) -> Any:
    """JSON without the NaN and Infinity that Python alone would take."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def numbers(data: Any) -> Iterator[float]:
    """Every number anywhere in `data`."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        for item in data:
            yield from numbers(item)
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield data


def shown(text: str) -> float:
    """A number as the page writes it."""
    return float(text.replace("−", "-"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str, Any]:
    """The built-in classifier on one of its scenes: the page, its HTML, and its JSON."""
    data = Path(str(files("onnxvis.models") / "data"))
    scene = sorted((data / "scenes").glob("*.png"))[0]
    model = load(data / "classifier.onnx")
    page = build_page(model, [scene], ReportOptions(run=ONE))
    return page, render(page), strict(to_json(describe_page(model, page)))


def test_every_weight_of_the_page_is_in_the_json(demo: tuple[Page, str, Any]) -> None:
    _, html, data = demo
    (body,) = re.findall(r'<table id="weights-table".*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    rows = re.findall(r"<tr id=[^>]*>(.*?)</tr>", body, re.DOTALL)
    assert len(rows) == len(data["weights"]) == 102
    for row, item in zip(rows, data["weights"], strict=True):
        name, _, role, shape, *columns = (unescape(re.sub("<[^>]*>", " ", cell)).strip() for cell in row.split("</td>"))
        assert name == item["name"]
        assert role.split() == f"{item['role']} {item['op']}".split()
        assert shape.split() == [*" × ".join(map(str, item["shape"])).split(), item["dtype"], "·", item["storage"]]
        for text, key in zip(columns, ("mean", "std", "min", "max"), strict=False):
            assert shown(text) == pytest.approx(item[key], rel=5e-3), (name, key)
        assert shown(columns[4].removesuffix(" %").removeprefix("< ")) == pytest.approx(
            100 * item["zero_fraction"], rel=5e-3, abs=0.1
        )


def test_every_channel_of_the_page_is_in_the_json(demo: tuple[Page, str, Any]) -> None:
    page, html, data = demo
    tables = iter(re.findall(r"<pre [^>]*>(.*?)</pre>", html, re.DOTALL))
    compared = 0
    for item, described in zip(page.inputs, data["inputs"], strict=True):
        for stage in described["stages"]:
            for card in (stage, *stage["blocks"]):
                found = card["statistics"]
                for line in next(tables).split("\n")[1:]:
                    channel, *columns = line.split()[:6]
                    keys = ("min", "max", "mean", "std", "zero_fraction")
                    for text, key in zip(columns, keys, strict=True):
                        value = found[key][int(channel)] * (100 if key == "zero_fraction" else 1)
                        assert float(text) == pytest.approx(value, rel=1e-3, abs=0.06 if key == "zero_fraction" else 0)
                    assert ("constant" in line) == found["dead"][int(channel)]
                    compared += 1
        assert described["name"] == item.name
    assert next(tables, None) is None
    assert compared == 496  # channels of every stage and block


def test_predictions_outputs_and_facts_are_in_the_json(demo: tuple[Page, str, Any]) -> None:
    page, html, data = demo
    (described,) = data["inputs"]
    row = r'<td class="n">(\d+)</td><td class="label">.*?>([^<]*)</bdi>.*?<td class="n">([^<]*)</td></tr>'
    scores = re.findall(row, html)
    assert len(scores) == 5
    for (index, label, score), item in zip(scores, described["predictions"], strict=True):
        assert (int(index), unescape(label)) == (item["index"], item["label"])
        assert shown(score) == pytest.approx(item["score"], rel=1e-3)
    assert Path(described["path"]).is_file()
    assert described["outputs"][0]["scores"] == described["predictions"]
    gap = page.inputs[0].outputs[0].relative_difference
    assert described["outputs"][0]["relative_difference"] == gap
    for fact in page.inputs[0].preparation:
        assert {"label": fact.label, "value": fact.value} in described["preparation"]
    assert data["model"]["nodes"] == page.model.nodes
    assert data["model"]["size_bytes"] == page.model.size_bytes
    assert [tensor["name"] for tensor in data["tensors"]] == [row.name for row in page.layers]


def test_kernels_and_depth_are_in_the_json(demo: tuple[Page, str, Any]) -> None:
    page, html, data = demo
    figures = re.findall(r'<figure class="kernel[^"]*" [^>]*>(.*?)</figure>', html, re.DOTALL)
    assert len(figures) == len(data["kernels"]) == 20
    by_name = {item["name"]: item for item in data["weights"]}
    for figure, item in zip(figures, data["kernels"], strict=True):
        text = unescape(re.sub("<[^>]*>", " ", figure))
        assert item["label"] in text
        assert item["drawn"]["what"] in text
        assert by_name[item["weight"]]["shape"] == item["shape"]
        ends = re.findall(r'<span class="scale"><span>([^<]*)<.*?<span>([^<]*)</span></span>', figure)
        drawn = item["drawn"]
        if ends:
            np.testing.assert_allclose([shown(end) for end in ends[0]], (drawn["low"], drawn["high"]), rtol=5e-3)
        else:
            assert (drawn["low"], drawn["high"]) == (None, None)
    for chart in page.depth:
        for point in chart.points:
            found = by_name[point.name]
            assert (found["mean"], found["min"], found["max"]) == (point.mean, point.min, point.max)


def test_two_runs_differ_only_in_run(tmp_path: Path) -> None:
    model, picture = write(tiny(), tmp_path), photo(tmp_path, height=32, width=32)
    found = []
    for number in range(2):
        target = tmp_path / f"{number}.json"
        options = ReportOptions(run=ONE, command=f"run {number}")
        write_report(load(model), [picture], tmp_path / "r.html", options, json_file=target)
        found.append(strict(target.read_bytes()))
    first, second = found
    assert first["run"] != second["run"]
    assert set(first["run"]) >= {"date", "seconds", "versions", "provider", "command"}
    assert first.pop("run")["versions"] == second.pop("run")["versions"]
    assert to_json(first) == to_json(second)


def test_the_json_has_what_the_budget_left_out(tmp_path: Path) -> None:
    model, picture = write(tiny(), tmp_path), photo(tmp_path, height=32, width=32)
    small = ReportOptions(run=ONE, budget=60_000)
    write_report(load(model), [picture], tmp_path / "r.html", small, json_file=tmp_path / "small.json")
    write_report(load(model), [picture], tmp_path / "r.html", ReportOptions(run=ONE), json_file=tmp_path / "all.json")
    less, every = (strict((tmp_path / name).read_bytes()) for name in ("small.json", "all.json"))
    assert less["left_out"]
    assert not every["left_out"]
    for key in ("inputs", "weights", "kernels", "tensors"):
        assert less[key] == every[key]


def test_the_json_begins_like_that_of_layers(demo: tuple[Page, str, Any]) -> None:
    *_, data = demo
    layers = strict(to_json(describe_layers(load(Path(data["model"]["path"])))))
    assert (data["schema_version"], data["onnxvis_version"]) == (SCHEMA_VERSION, __version__)
    for key in ("stages", "parts"):
        assert data[key] == layers[key]
    assert {key: data["model"][key] for key in ("path", "sha256", "parameters", "inputs")} == {
        key: layers["model"][key] for key in ("path", "sha256", "parameters", "inputs")
    }


def test_weights_are_described_with_their_histograms(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    data = strict(to_json(describe_weights(measure_weights(load(path), bins=9))))
    arrays = {item.name: numpy_helper.to_array(item).astype(np.float64) for item in onnx.load(path).graph.initializer}
    assert [item["name"] for item in data["weights"]] == list(arrays)
    assert (data["left_out"], data["unread"]) == (0, [])
    for item in data["weights"]:
        values = arrays[item["name"]]
        counts, edges = np.histogram(values, 9)
        assert item["histogram"]["counts"] == counts.tolist()
        np.testing.assert_allclose(item["histogram"]["edges"], edges, rtol=1e-12)
        assert (item["min"], item["max"], item["count"]) == (values.min(), values.max(), values.size)
        assert item["shape"] == list(values.shape)
        assert set(item) == {
            "name", "role", "op", "storage", "place", "shape", "dtype", "count", "mean", "std", "min", "max",
            "zero_fraction", "nan", "inf", "histogram",
        }  # fmt: skip


def test_quantised_weights_have_their_codes(tmp_path: Path) -> None:
    body = """g (float[1,2] x) => (float[1,2] y) <int8[2,2] q = {-4, 2, 0, 6}, float s = {0.5}, int8 z = {2}> {
        w = DequantizeLinear(q, s, z)
        y = MatMul(x, w)
    }"""
    data = describe_weights(measure_weights(load(write(from_text(body), tmp_path))))
    found = {item["name"]: item for item in data["weights"]}["q"]
    assert (found["min"], found["max"]) == (-3, 2)
    assert (found["steps"]["min"], found["steps"]["max"]) == (-4, 6)
    assert found["quantization"]["zero_point"] == "z"
    assert list(found["quantization"]["scales"]) == ["s"]
    strict(to_json(data))


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    model = from_text("g (float[3] x) => (float[3] y) { a = Add(x, one)\n y = Add(a, none) }")
    for name, values in (("one", [np.nan, np.inf, 1]), ("none", [np.nan, np.nan, np.nan])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32), name))
    one, none = strict(to_json(describe_weights(measure_weights(load(write(model, tmp_path))))))["weights"]
    assert (one["min"], one["std"], one["nan"], one["inf"]) == (1, None, 1, 1)
    assert (none["mean"], none["min"], none["max"], none["nan"]) == (None, None, None, 3)
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": math.nan})


def test_nothing_on_a_page_is_too_odd(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    for page in (sample_page(), hostile_page(), replace(sample_page(), inputs=(), run=None, guess=None, weights=())):
        drawn = tuple(KernelCard(c.kernel, replace(c.drawn, low=-math.inf)) for c in page.kernels)
        data = strict(to_json(describe_page(model, replace(page, kernels=drawn))))
        assert all(math.isfinite(value) for value in numbers(data))
        assert [item["drawn"]["low"] for item in data["kernels"]] == [None] * len(drawn)
        assert len(data["weights"]) == len(page.weights)


def test_boxes_are_in_the_json_strongest_first(tmp_path: Path) -> None:
    model = load(write(detector(), tmp_path))
    page = build_page(model, [photo(tmp_path)], ReportOptions(run=ONE, heatmaps=()))
    (described,) = strict(to_json(describe_page(model, page)))["inputs"]
    (card,) = page.inputs
    assert card.found is not None
    found = described["detections"]
    assert {key: found[key] for key in ("kind", "classes", "least_score", "overlap", "found", "notes")} == {
        "kind": "YOLOv3 heads", "classes": 4, "least_score": 0.05, "overlap": 0.45, "found": 3, "notes": [],
    }  # fmt: skip
    for item, shown in zip(found["boxes"], card.found.boxes, strict=True):
        box = shown.box
        assert (item["index"], item["label"], item["score"]) == (box.label, shown.name, box.score)
        assert item["box"] == [box.x0, box.y0, box.x1, box.y1]
        place = [item[key] for key in ("output", "row", "column", "anchor", "stride")]
        assert place == [box.output, box.row, box.column, box.anchor, box.stride]
    assert described["predictions"] == []
    assert described["class_maps"] == []


def test_class_maps_are_in_the_json(tmp_path: Path, demo: tuple[Page, str, Any]) -> None:
    model = load(write(segmenter(), tmp_path))
    page = build_page(model, [photo(tmp_path)], ReportOptions(run=ONE, heatmaps=()))
    (described,) = strict(to_json(describe_page(model, page)))["inputs"]
    (card,) = page.inputs[0].class_maps
    (found,) = described["class_maps"]
    shares = [{"index": one.index, "label": one.label, "share": one.share} for one in card.shares]
    assert found.pop("shares") == shares
    how = "at each place the largest of 3 channels"
    assert found == {"output": "logits", "how": how, "classes": 3, "height": 16, "width": 16}
    assert described["detections"] is None
    (classified,) = demo[2]["inputs"]
    assert (classified["detections"], classified["class_maps"]) == (None, [])
