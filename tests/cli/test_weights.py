from __future__ import annotations

import csv
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.measure.weights import measure_weights
from onnxvis.show.data import describe_weights
from tests.cli.conftest import Fails
from tests.show.test_tensorboard import events
from tests.tiny import Array, from_text, rename, tiny, write

CONVS = [f"stage{i}.{name}" for i in (1, 2) for name in ("first", "x.a", "x.b", "y.a", "y.b")]
SORTED = {"zeros": "zero_fraction"}
NAMES = [f"{name}.{end}" for name in [*CONVS, "fc"] for end in ("weight", "bias")]


def run(*arguments: str | Path) -> int:
    return main(["weights", *map(str, arguments)])


def stored(path: Path) -> dict[str, Array]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


def rows(out: str) -> list[str]:
    """The first word of each line between the titles and the summary."""
    return [line.split()[0] for line in out.splitlines()[1:-1]]


def test_the_table_has_every_weight_and_its_numbers(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model) == 0
    said = capsys.readouterr()
    assert said.err == "onnxvis: reading the weights of tiny.onnx\n"
    assert rows(said.out) == NAMES
    total = sum(value.size for value in stored(model).values())
    assert said.out.splitlines()[-1] == f"22 weights of {total:,} numbers, {total:,} parameters"
    for name, line in zip(NAMES, said.out.splitlines()[1:], strict=False):
        values = stored(model)[name].astype(np.float64)
        wanted = [
            f"{number:.3g}".replace("e-0", "e-").replace("1e+03", "1000")
            for number in (values.mean(), values.std(ddof=1), values.min())
        ]
        assert all(text in line.split() for text in wanted), line
        assert "×".join(map(str, values.shape)) in line.split()


def test_json_is_what_the_library_describes(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--json", "--bins", "7", "--threads", "2") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(describe_weights(measure_weights(load(model), bins=7))))
    assert [item["name"] for item in found["weights"]] == NAMES
    for item in found["weights"]:
        counts, edges = np.histogram(stored(model)[item["name"]].astype(np.float64), 7)
        assert item["histogram"]["counts"] == counts.tolist()
        np.testing.assert_allclose(item["histogram"]["edges"], edges, rtol=1e-12)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["fc.weight"], ["fc.weight"]),
        (["*.bias", "fc"], [name for name in NAMES if name.endswith("bias") or name.startswith("fc")]),
        (["conv kernel"], [f"{name}.weight" for name in CONVS]),
    ],
)
def test_weights_by_name_pattern_role_and_scope(
    words: list[str], wanted: list[str], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "--quiet", *(part for word in words for part in ("--tensor", word))) == 0
    said = capsys.readouterr()
    assert rows(said.out) == wanted
    assert "parameters" not in said.out
    assert said.err == ""


def sorted_by(order: str, item: dict[str, Any]) -> float | None:
    if order == "size":
        return float(np.prod(item["shape"]))
    if order == "abs":
        return None if item["min"] is None else max(abs(item["min"]), abs(item["max"]))
    return None if item[SORTED.get(order, order)] is None else float(item[SORTED.get(order, order)])


@pytest.mark.parametrize("order", ["name", "role", "size", "mean", "std", "min", "max", "zeros", "abs"])
@pytest.mark.parametrize("reverse", [False, True])
def test_orders(order: str, reverse: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = tiny()
    odd = np.array([np.nan, np.inf], np.float32)
    index = next(place for place, item in enumerate(proto.graph.initializer) if item.name == "stage1.y.a.bias")
    proto.graph.initializer[index].CopyFrom(numpy_helper.from_array(odd, "stage1.y.a.bias"))
    path = write(proto, tmp_path)
    assert run(path, "--json", "--sort", order, *(["--reverse"] if reverse else [])) == 0
    items = json.loads(capsys.readouterr().out)["weights"]
    assert sorted(item["name"] for item in items) == sorted(NAMES)
    if order in ("name", "role"):
        keys = [item[order] for item in items]
        assert keys == sorted(keys, reverse=reverse)
        return
    numbers = [sorted_by(order, item) for item in items]
    known = [number for number in numbers if number is not None]
    assert known == sorted(known, reverse=not reverse)
    assert len(known) == len(NAMES) or numbers[-1] is None
    if order not in ("size", "zeros"):
        assert items[-1]["name"] == "stage1.y.a.bias"


def test_the_file_the_other_way_round(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--reverse") == 0
    assert rows(capsys.readouterr().out) == NAMES[::-1]


def test_files_of_every_kind_at_once(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, table, board = tmp_path / "out", tmp_path / "w.csv", tmp_path / "board"
    assert run(model, "-o", out, "--csv", table, "--tensorboard", board, "--sort", "size") == 0
    said = capsys.readouterr()
    (file,) = board.iterdir()
    assert said.out == f"{table}\n{out}\n{file}\n"
    with open(table, encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    sizes = [stored(model)[row["name"]].size for row in found]
    assert sorted(row["name"] for row in found) == sorted(NAMES)
    assert sizes == sorted(sizes, reverse=True)
    assert len(list((out / "kernels").glob("*.png"))) == 10
    assert len(list((out / "histograms").glob("*.svg"))) == 22
    values = {value.tag: value for _, value in events(file)}
    kernels = {name for name in values if name.startswith("kernels/")}
    assert kernels == {f"kernels/{name}.weight" for name in CONVS}
    assert len(values) == 10 + 22
    histogram = values["weights/fully_connected_weight/fc.weight"].histo
    counts, edges = np.histogram(stored(model)["fc.weight"].astype(np.float64), 50)
    assert list(histogram.bucket) == counts.tolist()
    np.testing.assert_allclose(list(histogram.bucket_limit), edges[1:], rtol=1e-12)


def test_json_beside_files_is_nothing_but_json(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--json", "--csv", tmp_path / "w.csv", "--tensor", "fc.bias") == 0
    said = capsys.readouterr()
    assert [item["name"] for item in json.loads(said.out)["weights"]] == ["fc.bias"]
    assert f"onnxvis: wrote {tmp_path / 'w.csv'}" in said.err


def test_slices_and_swapped_colours_change_the_kernels(model: Path, tmp_path: Path) -> None:
    def pictures(*flags: str) -> dict[str, bytes]:
        folder = tmp_path / "-".join(["out", *flags])
        assert run(model, "-o", folder, "--quiet", "--tensor", "*.weight", *flags) == 0
        return {path.name: path.read_bytes() for path in (folder / "kernels").iterdir()}

    usual, fifth, norm, swapped = (
        pictures(*flags) for flags in ((), ("--slice", "5"), ("--slice", "norm"), ("--bgr",))
    )
    assert len(usual) == 10
    first = next(name for name in usual if "stage1.first" in name)
    assert {name for name in usual if usual[name] != fifth[name]} == set(usual) - {first}
    assert {name for name in usual if usual[name] != norm[name]} == set(usual)
    assert {name for name in usual if usual[name] != swapped[name]} == {first}


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_histograms_of_one_format(kind: str, start: bytes, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(model, "-o", out, "--draw", "histograms", "--format", kind, "--quiet") == 0
    files = sorted((out / "histograms").iterdir())
    assert len(files) == len(NAMES)
    assert all(path.suffix == f".{kind}" and path.read_bytes().startswith(start) for path in files)
    entries = json.loads((out / "index.json").read_text())["weights"]
    assert sorted(entry["histogram"][kind] for entry in entries) == [f"histograms/{path.name}" for path in files]
    assert all(len(entry["histogram"]) == 1 for entry in entries)


@pytest.mark.parametrize(("draw", "folders"), [("kernels", ["kernels"]), ("histograms", ["histograms"])])
def test_only_some_pictures(draw: str, folders: list[str], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(model, "-o", out, "--draw", draw, "--quiet") == 0
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == folders
    entries = json.loads((out / "index.json").read_text())["weights"]
    assert len(entries) == len(NAMES)
    assert any("kernels" in entry for entry in entries) == (draw == "kernels")
    assert all("histogram" in entry for entry in entries) == (draw == "histograms")
    for entry in entries:
        named = [*entry.get("histogram", {}).values(), *([entry["kernels"]["file"]] if "kernels" in entry else [])]
        assert all((out / name).is_file() for name in named)


def test_one_filter(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--filter", "4", "--bins", "9") == 0
    out = capsys.readouterr().out
    weights = stored(model)["stage1.first.weight"][4].astype(np.float64)
    assert out.startswith("stage1.first.weight: filter 4 of 8\n")
    assert f"mean {weights.mean():9.3g}" in out
    assert out.count("input channel") == 3
    assert run(model, "--filter", "0", "--tensor", "stage2.y.b.weight") == 0
    assert capsys.readouterr().out.startswith("stage2.y.b.weight: filter 0 of 16\n")
    assert run(model, "--filter", "0", "--tensor", "stage2.y.b", "-o", tmp_path / "out") == 0
    path = tmp_path / "out" / "stage2.y.b.weight-filter-0000.png"
    assert capsys.readouterr().out == f"{path}\n"
    with Image.open(path) as picture:
        assert min(picture.size) > 300


def test_a_weight_that_cannot_be_read_is_said(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxvis.errors import ModelError
    from onnxvis.graph.weights import Weights

    read = Weights.read

    def failing(self: Weights, name: str) -> Array:
        if name == "fc.bias":
            raise ModelError("tensor 'fc.bias' was cut short")
        return read(self, name)

    monkeypatch.setattr(Weights, "read", failing)
    assert run(model, "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == "onnxvis: not read: tensor 'fc.bias' was cut short\n"
    assert rows(said.out) == [name for name in NAMES if name != "fc.bias"]
    assert said.out.splitlines()[-1].endswith("; not read: 1")


def test_names_that_attack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacks = {
        "fc.weight": "../../etc/passwd", "fc.bias": "=1+1", "stage1.first.weight": "a\x1b[31m\nb\u202e",
        "stage1.first.bias": "x" * 60_000, "stage1.x.a.weight": "<script>alert(1)</script>",
    }  # fmt: skip
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    path = write(rename(tiny(), attacks), inside)
    assert run(path) == 0
    said = capsys.readouterr()
    assert len(rows(said.out)) == 22
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())
    files = ("-o", inside / "out", "--csv", inside / "w.csv", "--tensorboard", inside / "board")
    assert run(path, "--json", *files) == 0
    said = capsys.readouterr()
    assert set(attacks.values()) <= {item["name"] for item in json.loads(said.out)["weights"]}
    assert sorted(item.name for item in (tmp_path / "deep").iterdir()) == ["er"]
    assert sorted(item.name for item in inside.iterdir()) == ["board", "model.onnx", "out", "w.csv"]


def test_a_model_without_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str], fails: Fails) -> None:
    path = write(from_text("g (float[1,7] x) => (float[1,7] y) { y = Relu(x) }"), tmp_path)
    assert run(path) == 0
    assert capsys.readouterr().out == "0 weights of 0 numbers, 0 parameters\n"
    assert "has no convolution whose kernel is stored in it" in fails("weights", path, "--filter", "0")
    assert "has no convolution" in fails("weights", path, "--slice", "norm", "-o", tmp_path / "out")


def test_what_is_refused(model: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "out")
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        (("--tensor", "fc.weigth"), "stores no weight 'fc.weigth'; nearest: 'fc.weight'"),
        (("--filter", "8"), "--filter 8: stage1.first.weight has 8 filters, 0 to 7"),
        (("--filter", "-1"), "--filter -1: stage1.first.weight has 8 filters, 0 to 7"),
        (("--filter", "0", "--tensor", "fc.weight"), "needs a convolution's kernel, and 'fc.weight' is none"),
        (("--filter", "0", "--tensor", "*.weight"), "--tensor names 10: 'stage1.first.weight'"),
        (("--filter", "0", "--json"), "leave --json out"),
        (("--filter", "0", "--csv", tmp_path / "w.csv"), "leave --csv out"),
        (("--slice", "2"), "add -o DIR or --tensorboard DIR"),
        (("--bgr",), "add -o DIR or --tensorboard DIR"),
        (("--draw", "kernels"), "--draw kernels says which pictures are written; add -o DIR"),
        (("--format", "png"), "--format png says what histograms are drawn as; draw them with -o DIR"),
        (("--format", "svg", "--draw", "kernels", *out), "--format svg says what histograms are drawn as"),
        (("--filter", "0", "--format", "png", *out), "leave --format out"),
        (("--slice", "x", *out), "--slice is 'x'; give the number of an input channel, or norm"),
        (("--slice", "16", *out), "the widest, stage2.x.a.weight, has 16, 0 to 15"),
        (("--bins", "0"), "a histogram cannot have 0 bins"),
        (("--threads", "-1"), "--threads -1"),
        (("--threads", "100000"), "--threads 100000"),
        (("-o", model), "is not a folder"),
        (("--tensorboard", model / "x"), "is not a folder"),
        (("--csv", model), "is the model or its weights, which are never changed"),
        (("--csv", tmp_path), "it is a folder"),
    ]
    before = sorted(tmp_path.iterdir())
    for arguments, words in cases:
        assert words in fails("weights", model, "--quiet", *arguments)
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_terminal_is_not_overrun(columns: int, tmp_path: Path) -> None:
    path = write(rename(tiny(), {"fc.weight": "a/very/long/name/" * 20}), tmp_path)
    ours, theirs = pty.openpty()
    code = "import sys; from onnxvis.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "weights", str(path), "--quiet"]
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONUTF8": "1"}
    done = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert (done.wait(), done.communicate()[1]) == (0, b"")
    lines = shown.decode().splitlines()
    assert len(lines) == 24
    assert max(map(len, lines)) <= columns
    assert any("a/very" in line and "…" in line for line in lines)


def test_elsewhere_than_on_a_terminal_names_are_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a/very/long/name/" * 15
    path = write(rename(tiny(), {"fc.weight": name}), tmp_path)
    assert run(path) == 0
    assert name in rows(capsys.readouterr().out)
