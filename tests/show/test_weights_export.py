from __future__ import annotations

import csv
import json
import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.errors import ModelError, OutputError, UsageError
from onnxvis.graph.kernels import find_kernels, read_kernel
from onnxvis.graph.load import Model, load
from onnxvis.measure.statistics import summarise
from onnxvis.measure.weights import WeightNumbers, WeightTable, measure_weights
from onnxvis.show import weights_export
from onnxvis.show.kernel_page import kernel_page
from onnxvis.show.kernels import kernel_tiles
from onnxvis.show.plots import histogram_picture
from onnxvis.show.weights_export import CSV_COLUMNS, WeightPictures, write_csv, write_weights
from tests.tiny import Array, rename, tiny, write

HOSTILE = (
    "../../etc/passwd", "<script>alert(1)</script>", "a\nb", "x" * 60_000, "con", ".", "🐈", "/", "..", "NUL.png",
    "C:\\x", "-rf", "\u202egnp", "  ",
)  # fmt: skip


def silent(done: int, of: int) -> None:
    assert 0 < done <= of


def opened(folder: Path, change: Callable[[Any], Any] = lambda model: model) -> Model:
    return load(write(change(tiny()), folder))


def pixels(path: Path) -> Array:
    """RGB, on which Pillow and OpenCV agree."""
    by_pillow = np.asarray(Image.open(path).convert("RGB"))
    by_opencv = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    np.testing.assert_array_equal(by_pillow, by_opencv[:, :, ::-1])
    return by_pillow


def export(model: Model, folder: Path, options: WeightPictures | None = None) -> tuple[dict[str, Any], list[str]]:
    skipped = write_weights(measure_weights(model), model, folder, options or WeightPictures(), silent)
    return json.loads((folder / "index.json").read_text()), skipped


def test_each_weight_has_its_files_in_the_index(tmp_path: Path) -> None:
    model = opened(tmp_path)
    index, skipped = export(model, tmp_path / "out")
    table = measure_weights(model)
    assert skipped == index["skipped"] == []
    assert [entry["name"] for entry in index["weights"]] == [item.name for item in table.weights]
    kernels = {kernel.weight: kernel for kernel in find_kernels(model)}
    assert len(kernels) == 10
    for item, entry in zip(table.weights, index["weights"], strict=True):
        assert (entry["role"], entry["shape"], entry["place"]) == (item.role, list(item.shape), item.place)
        drawn = pixels(tmp_path / "out" / entry["histogram"]["png"])
        note = " · ".join([item.role, " × ".join(map(str, item.shape)), item.dtype])
        np.testing.assert_array_equal(drawn, histogram_picture(item.name, note, item.statistics))
        svg = ElementTree.parse(tmp_path / "out" / entry["histogram"]["svg"]).getroot()
        assert svg.findtext("{http://www.w3.org/2000/svg}title") == item.name
        assert ("kernels" in entry) == (item.name in kernels)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"kernels", "histograms", "depth.svg", "index.json"}
    assert len(list((tmp_path / "out" / "kernels").iterdir())) == 10
    assert len(list((tmp_path / "out" / "histograms").iterdir())) == 2 * len(table.weights)


@pytest.mark.parametrize("options", [WeightPictures(), WeightPictures("norm"), WeightPictures(2, colormap="magma")])
def test_kernels_are_drawn_as_asked(options: WeightPictures, tmp_path: Path) -> None:
    model = opened(tmp_path)
    index, _ = export(model, tmp_path / "out", options)
    entries = {entry["name"]: entry for entry in index["weights"]}
    for kernel in find_kernels(model):
        entry = entries[kernel.weight]["kernels"]
        rgb = kernel.weight == "stage1.first.weight"
        tiles = kernel_tiles(read_kernel(model, kernel), rgb=rgb, slice_=options.slice_, colormap=options.colormap)
        page, _ = kernel_page(tiles, kernel.weight, f"{kernel.label} · {' × '.join(map(str, kernel.shape))}")
        np.testing.assert_array_equal(pixels(tmp_path / "out" / entry["file"]), page)
        assert entry["what"] == tiles.what
        assert entry["filters"] == entry["shown"] == kernel.shape[0]
        assert entry["high"] == (None if math.isnan(tiles.high) else tiles.high)


def test_the_first_kernel_may_be_blue_first(tmp_path: Path) -> None:
    model = opened(tmp_path)
    kernel = find_kernels(model)[0]
    export(model, tmp_path / "out", WeightPictures(bgr=True))
    page, _ = kernel_page(
        kernel_tiles(read_kernel(model, kernel), rgb=True, bgr=True), kernel.weight, f"{kernel.label} · 8 × 3 × 3 × 3"
    )
    np.testing.assert_array_equal(pixels(next((tmp_path / "out" / "kernels").glob("*stage1.first*"))), page)


def test_a_kernel_without_the_slice_is_drawn_as_by_default(tmp_path: Path) -> None:
    index, _ = export(opened(tmp_path), tmp_path / "out", WeightPictures(slice_=5))
    whats = {entry["name"]: entry["kernels"]["what"] for entry in index["weights"] if "kernels" in entry}
    assert "RGB" in whats.pop("stage1.first.weight")
    assert set(whats.values()) == {"input channel 5 of each filter"}


def test_depth_follows_the_graph_not_the_file(tmp_path: Path) -> None:
    def backwards(model: Any) -> Any:
        tensors = list(model.graph.initializer)
        del model.graph.initializer[:]
        model.graph.initializer.extend(reversed(tensors))
        return model

    export(opened(tmp_path, backwards), tmp_path / "out")
    root = ElementTree.parse(tmp_path / "out" / "depth.svg").getroot()
    titles = [str(item.text) for item in root.iter("{http://www.w3.org/2000/svg}title")][1:]
    kernels = [title.split(",")[0] for title in titles if "× 3 × 3:" in title]
    assert kernels == [
        f"stage{s}.{name}.weight" for s in (1, 2) for name in ("first", "x.a", "x.b", "y.a", "y.b")
    ]  # fmt: skip


def test_names_never_become_paths(tmp_path: Path) -> None:
    names = dict(zip([tensor.name for tensor in tiny().graph.initializer], HOSTILE, strict=False))
    index, _ = export(opened(tmp_path, lambda model: rename(model, names)), tmp_path / "deep" / "out")
    assert set(HOSTILE) <= {entry["name"] for entry in index["weights"]}
    written = {path.relative_to(tmp_path / "deep" / "out").as_posix() for path in tmp_path.rglob("*.png")}
    files = [entry["histogram"]["png"] for entry in index["weights"]]
    files += [entry["kernels"]["file"] for entry in index["weights"] if "kernels" in entry]
    assert written == set(files)
    assert len(set(files)) == len(files)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "deep"}


def test_a_kernel_that_cannot_be_drawn_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: Model, kernel: Any) -> Array:
        if kernel.weight == "stage1.x.a.weight":
            raise ModelError("its bytes are missing")
        return read_kernel(model, kernel).reshape((8, 8, 1, 1, 3, 3) if kernel.weight == "stage1.x.b.weight" else -1)

    chosen = [kernel for kernel in find_kernels(opened(tmp_path)) if kernel.weight.startswith("stage1.x")]
    monkeypatch.setattr(weights_export, "read_kernel", broken)
    monkeypatch.setattr(weights_export, "find_kernels", lambda model: tuple(chosen))
    index, skipped = export(opened(tmp_path), tmp_path / "out")
    reason = "weights of shape [8, 8, 1, 1, 3, 3] are no kernels of one to three spatial dimensions"
    assert skipped == [
        "the kernels of 'stage1.x.a.weight' are not drawn: its bytes are missing",
        f"the kernels of 'stage1.x.b.weight' are not drawn: {reason}",
    ]
    assert index["skipped"] == skipped
    assert not list((tmp_path / "out" / "kernels").iterdir())
    assert len(list((tmp_path / "out" / "histograms").iterdir())) == 2 * len(index["weights"])


def test_a_table_without_weights(tmp_path: Path) -> None:
    model = opened(tmp_path)
    table = WeightTable((), 3, ("tensor 'a' is odd",))
    assert write_weights(table, model, tmp_path / "out", WeightPictures(), silent) == ["tensor 'a' is odd"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"depth.svg", "index.json"}


def test_progress_ends_at_all(tmp_path: Path) -> None:
    model = opened(tmp_path)
    table = measure_weights(model)
    seen: list[tuple[int, int]] = []
    write_weights(table, model, tmp_path / "out", WeightPictures(), lambda done, of: seen.append((done, of)))
    total = len(table.weights) + 10
    assert seen == [(done, total) for done in range(1, total + 1)]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    model = opened(tmp_path)
    with pytest.raises(UsageError, match="no colormap"):
        export(model, tmp_path / "out", WeightPictures(colormap="rainbow"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        export(model, tmp_path / "file")
    with pytest.raises(OutputError):
        write_csv(WeightTable((), 0, ()), tmp_path)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_the_table_holds_every_digit(tmp_path: Path) -> None:
    model = opened(tmp_path)
    table = measure_weights(model)
    write_csv(table, tmp_path / "w.csv")
    found = rows(tmp_path / "w.csv")
    assert tuple(found[0]) == CSV_COLUMNS
    assert len(found) == len(table.weights)
    for row, item in zip(found, table.weights, strict=True):
        values = model.weights.read(item.name).astype(np.float64)
        assert float(row["min"]) == values.min()
        assert float(row["max"]) == values.max()
        assert float(row["mean"]) == item.statistics.mean == pytest.approx(values.mean(), rel=1e-9, abs=1e-12)
        assert float(row["std"]) == item.statistics.std == pytest.approx(values.std(ddof=1), rel=1e-9)
        assert (row["name"], row["role"], row["dtype"]) == (item.name, item.role, "float32")
        assert row["shape"] == "x".join(map(str, values.shape))
        assert (row["nan"], row["inf"], row["zero_fraction"]) == ("0", "0", repr(item.statistics.zero_fraction))
    assert (tmp_path / "w.csv").read_bytes().count(b"\r\n") == len(found) + 1


def weight(name: str, values: Any) -> WeightNumbers:
    array = np.asarray(values, np.float64)
    return WeightNumbers(name, "bias", "Conv", "raw_data", "=place", array.shape, "float64", summarise(array))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\tx", "'\tx"), ("\rx", "'\rx"),
        ("'x", "''x"), ("", ""), ('a,"b"\r\nc', 'a,"b"\r\nc'), ("a;b", "a;b"), ("猫🐈\u202e", "猫🐈\u202e"),
        ("a=b", "a=b"), ("\0", "\0"), ("\ud800", "\\ud800"),
    ],
)  # fmt: skip
def test_texts_are_no_formulas_and_come_back(name: str, cell: str, tmp_path: Path) -> None:
    write_csv(WeightTable((weight(name, [1.0]), weight("next", [2.0])), 0, ()), tmp_path / "w.csv")
    found = rows(tmp_path / "w.csv")
    assert [row["name"] for row in found] == [cell, "next"]
    assert found[0]["place"] == "'=place"


def test_numbers_that_are_not_there_are_empty(tmp_path: Path) -> None:
    weights = (weight("none", [math.nan, math.inf]), weight("one", 3.5))
    write_csv(WeightTable(weights, 0, ()), tmp_path / "w.csv")
    none, one = rows(tmp_path / "w.csv")
    assert [none[key] for key in ("mean", "std", "min", "max", "nan", "inf")] == ["", "", "", "", "1", "1"]
    assert [one[key] for key in ("shape", "mean", "std", "min", "max")] == ["", "3.5", "", "3.5", "3.5"]
