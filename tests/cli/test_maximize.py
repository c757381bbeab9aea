from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.measure.maximize.objective import Objective
from onnxvis.measure.maximize.run import maximize
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.warp import Wobble
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.reading import Reading
from onnxvis.show.maximized import COLOURS
from tests.cli.conftest import Fails
from tests.measure.boxes.yolo import declared, raw, with_metadata
from tests.tiny import rename, tiny, write

RAW = ("--preprocess", "unit", "--threads", "1")
SHORT = ("--steps", "6", "--quiet", *RAW)


def pixels(path: Path) -> np.ndarray[Any, np.dtype[Any]]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_picture_is_that_of_the_library(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out" / "made.png"
    words = ["--tensor", "stage1", "--channel", "3", "--position", "4,9", "--parameters", "pixels", "--no-decorrelate"]
    more = ["--optimizer", "rmsprop", "--rate", "0.1", "--jitter", "2", "--scale", "0.05", "--rotate", "3"]
    last = ["--l2", "0.5", "--tv", "0.25", "--blur", "4", "--seed", "7", "-o", str(target)]
    assert main(["maximize", str(model), *words, *more, *last, *SHORT]) == 0
    assert capsys.readouterr() == (f"{target}\n", "")
    opened = load(model)
    settings = Settings(
        kind="pixels", decorrelated=False, optimizer="rmsprop", rate=0.1, steps=6, seed=7, wobble=Wobble(2, 0.05, 3),
        l2=0.5, tv=0.25, blur=4,
    )  # fmt: skip
    found = maximize(
        opened,
        Objective("stage1", 3, (4, 9)),
        settings,
        reading=Reading.of(opened, PreprocessFlags.parse(preset="unit")),
    )
    np.testing.assert_array_equal(pixels(target), found.picture)


def test_several_channels_make_a_page_or_a_folder(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, folder, arrays = tmp_path / "page.png", tmp_path / "each", tmp_path / "all.npz"
    words = ["--tensor", "stage2.y/add", "--channel", "3", "--channel", "12"]
    assert main(["maximize", str(model), *words, "-o", str(page), "--npz", str(arrays), *SHORT]) == 0
    assert main(["maximize", str(model), *words, "-o", str(folder), *SHORT]) == 0
    assert capsys.readouterr().out == f"{arrays}\n{page}\n{folder}\n"
    files = sorted(folder.iterdir())
    assert [file.name for file in files] == ["000-stage2.y_add_3.png", "001-stage2.y_add_12.png"]
    loaded = np.load(arrays)
    for file, channel in zip(files, (3, 12), strict=True):
        np.testing.assert_array_equal(pixels(file), loaded[f"stage2.y/add:{channel}/picture"])
    tile = loaded["stage2.y/add:3/picture"].repeat(7, axis=0).repeat(7, axis=1)
    np.testing.assert_array_equal(pixels(page)[40:264, 12:236], tile)


def test_curves_and_facts_agree(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, table, chart = tmp_path / "labels.txt", tmp_path / "curve.csv", tmp_path / "curve.png"
    labels.write_text("\n".join(f"thing {number}" for number in range(10)))
    words = ["--target", "7", "--target", "2", "--json", "--labels", str(labels)]
    assert main(["maximize", str(model), *words, "--curve", str(table), "--curve", str(chart), *SHORT]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema_version"] == 1
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0] == ["step", "7 thing 7", "2 thing 2"]
    assert len(rows) == 7
    assert [one["label"] for one in said["pictures"]] == rows[0][1:]
    for column, one in enumerate(said["pictures"], 1):
        assert one["steps"] == 6
        assert float(rows[1][column]) == pytest.approx(one["start"], rel=1e-6)
    with Image.open(chart) as drawn:
        line = np.abs(np.asarray(drawn).astype(int) - COLOURS[0]).max(axis=2) < 12
        assert line.any()


def test_channels_may_stand_in_one_word(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tensor", "stage1", "--channel", "3,4", "--channel", "4", "--json"]
    assert main(["maximize", str(model), *words, *SHORT]) == 0
    found = json.loads(capsys.readouterr().out)["pictures"]
    assert [one["label"].rpartition(":")[2] for one in found] == ["3", "4"]


def test_channels_of_a_long_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(rename(tiny(), {"stage1.y/relu": "deep/" * 60}), tmp_path)
    words = ["--tensor", "deep/" * 60, "--channel", "3,4", "--json", "--steps", "2"]
    assert main(["maximize", str(path), *words, *RAW]) == 0
    told = [line.split(": activation")[0] for line in capsys.readouterr().err.splitlines() if ": activation" in line]
    assert [line[-2:] for line in told] == [":3", ":4"]
    assert max(map(len, told)) < 140


def test_a_detector_s_class_stands_in_a_cell(fails: Fails, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(with_metadata(raw(), onnxvis__detector=json.dumps(declared())), tmp_path, "detector.onnx")
    words = ("maximize", path, "--json", *SHORT)
    for place in ("box:0", "box:7"):
        assert "no box before there is a picture; name a class in a cell" in fails(*words, "--target", place)
    assert "give class:2@ROW,COLUMN" in fails(*words, "--target", "2")
    assert main([*map(str, words), "--target", "class:2@1,3@8", "--target", "head8:2"]) == 0
    labels = [one["label"] for one in json.loads(capsys.readouterr().out)["pictures"]]
    assert labels == ["class:2@1,3@8 (head8:7,1,3)", "head8:2"]


def test_until_stops(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["maximize", str(model), "--target", "3", "--json", "--until", "-1000", *SHORT]) == 0
    (found,) = json.loads(capsys.readouterr().out)["pictures"]
    assert found["steps"] == 1


def test_optimisers_are_compared_as_a_picture_and_two_animations(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("still.png", "moving.gif", "moving.apng")
    words = [word for name in names for word in ("--compare-optimizers", str(tmp_path / name))]
    assert main(["maximize", str(model), "--target", "3", "--json", *words, "--steps", "4", "--quiet", *RAW]) == 0
    said = json.loads(capsys.readouterr().out)["comparison"]
    assert [one["name"] for one in said["optimizers"]] == ["gd", "momentum", "adagrad", "rmsprop", "adam"]
    for name, count in zip(names, (1, 5, 5), strict=True):
        with Image.open(tmp_path / name) as drawn:
            assert getattr(drawn, "n_frames", 1) == count


def test_progress_has_the_activation(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["maximize", str(model), "--target", "3", "--json", "--steps", "40", *RAW]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " of 40, activation " in line]
    assert len(lines) == 11, "the first step, and each tenth"
    assert lines[-1].startswith("onnxvis: step 40 of 40, activation ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "3"], "say where to"),
        (["--json"], "say what to excite"),
        (["--json", "--tensor", "stage1"], "add --channel K"),
        (["--json", "--target", "1", "--channel", "2"], "--target names a class by itself"),
        (["--json", "--target", "99"], "has no element 99"),
        (["--json", "--tensor", "stage1", "--channel", "8"], "has 8 channels; 8 is not one of 0 to 7"),
        (["--json", "--tensor", "stage1", "--channel", "1", "--position", "3"], "--position takes a row and a column"),
        (["--json", "--tensor", "stage1", "--channel", "1", "--position", "3,77"], "has 16 × 16 positions"),
        (["--json", "--target", "1", "--steps", "0"], "--steps 0"),
        (["--json", "--target", "1", "--optimizer", "lion"], "no optimiser is called 'lion'"),
        (["--target", "1", "--curve", "curve.svg"], "'curve.svg' should end in .png or .csv"),
        (["--target", "1", "--compare-optimizers", "a.mp4"], "'a.mp4' should end in .gif or .apng or .png"),
        (["--target", "1", "--compare-optimizers", "a.png", "-o", "b.png"], "writes nothing else but --json"),
        (["--target", "1", "--target", "2", "--compare-optimizers", "a.png"], "name one channel or class"),
        (["--json", "--tensor", "stage1.first/relu", "--channel", "5"], "nothing excites 'stage1.first/relu:5'"),
        (["--json", "--tensor", "stage1", "--channel", "-1"], "has 8 channels; -1 is not one of 0 to 7"),
        (["--json", "--tensor", "stage1", "--channel", "1,x"], "--channel '1,x' is no channel; give a number from 0"),
        (
            ["--json", "--target", "1", "--steps", "2000000"],
            "--steps 2,000,000 is out of range; give a number from 1 to",
        ),
        (["--target", "1", "-o", "m.png", "--curve", "m.png"], "two results cannot both be m.png; name another file"),
        (["--target", "1", "--npz", "m.csv", "--curve", "./m.csv"], "two results cannot both be m.csv"),
        (["--target", "1", "--curve", "m.csv", "--curve", "m.csv"], "two results cannot both be m.csv"),
        (["--target", "1", *["--compare-optimizers", "m.gif"] * 2], "two results cannot both be m.gif"),
        (["--target", "1", "-o", "m.onnx"], "'m.onnx' should end in .png, or have no ending, for a folder"),
        (["--json", "--tensor", "conv1.weight", "--channel", "5"], "has no tensor 'conv1.weight'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(fails: Fails, model: Path, words: list[str], message: str) -> None:
    steps = () if "--steps" in words else ("--steps", "12")
    assert message in fails("maximize", model, *words, *steps, *RAW)


def test_neither_the_model_nor_the_labels_are_written_over(fails: Fails, model: Path, tmp_path: Path) -> None:
    assert "never changed" in fails("maximize", model, "--target", "1", "--npz", model, *SHORT)
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join("abcdefghij"))
    words = ("--target", "1", "--labels", labels, "--curve", labels)
    assert "never changed" in fails("maximize", model, *words, *SHORT)
    assert labels.read_text().startswith("a\nb")


def test_a_real_half_precision_model(corpus: Path, tmp_path: Path) -> None:
    model = corpus / "models" / "winml_squeezenet_fp16.onnx"
    arrays = tmp_path / "cat.npz"
    words = ["--target", "285", "--npz", str(arrays), "--preprocess", "caffe", "--steps", "12"]
    assert main(["maximize", str(model), *words, "--threads", "1", "--quiet"]) == 0
    curve = np.load(arrays)["softmaxout_1:285/curve"]
    assert curve[-3:].mean() > curve[:3].mean() + 2


def test_a_real_quantised_model(corpus: Path, tmp_path: Path) -> None:
    model = corpus / "models" / "efficientnet_lite0_ort_qdq_int8.onnx"
    arrays = tmp_path / "cat.npz"
    words = ["--target", "285", "--npz", str(arrays), "--preprocess", "half", "--steps", "8"]
    assert main(["maximize", str(model), *words, "--threads", "1", "--quiet"]) == 0
    (name,) = [name for name in np.load(arrays) if name.endswith("/curve")]
    curve = np.load(arrays)[name]
    assert curve[-2:].mean() > curve[0] + 0.5
