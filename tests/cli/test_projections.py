from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import numpy_helper

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.measure.ladder import ladder
from onnxvis.measure.projections import SeededProbe, project, strongest_channels
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.reading import Reading
from onnxvis.show.projections import projection_picture, step_pictures
from tests.cli.conftest import Fails
from tests.tiny import Array, from_text, photo, rename, tiny, write

RAW = ("--preprocess", "raw", "--fit", "stretch", "--quiet")
LAYER = ("--layer", "stage2")
TENSOR = "stage2.y/relu"


def feeds(model: Path, picture: Path) -> dict[str, Array]:
    flags = PreprocessFlags.parse(preset="raw", fit="stretch")
    return next(Reading.of(load(model), flags).read([picture])).feeds


def rgb(path: Path) -> Array:
    drawn = cv2.imread(str(path))
    assert drawn is not None
    return np.asarray(drawn[..., ::-1])


def test_channels_on_one_page(model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out" / "page.png"
    words = [*LAYER, "--channel", "3", "--channel", "7,3", "-o", str(target)]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    assert capsys.readouterr() == (f"{target}\n", "")
    assert [path.name for path in target.parent.iterdir()] == ["page.png"]
    assert rgb(target).shape[:2] == (44 + 2 * (224 + 44 + 10), 2 * 20 + 3 * 224 + 2 * 6)  # two rows


@pytest.mark.parametrize(
    ("method", "variant"), [("deconvnet", "deconvnet"), ("guidedbackprop", "guided"), ("saliency", "plain")]
)
def test_pictures_and_arrays_are_those_of_the_library(
    method: str, variant: str, model: Path, picture: Path, tmp_path: Path
) -> None:
    folder, arrays = tmp_path / "folder", tmp_path / "p.npz"
    words = ["--method", method, *LAYER, "--strongest", "2", "--position", "strongest", "--bgr"]
    files = ["-o", str(folder), "--npz", str(arrays)]
    assert main(["heatmap", str(model), str(picture), *words, *files, *RAW]) == 0
    flags = PreprocessFlags.parse(preset="raw", fit="stretch", bgr=True)
    fed = next(Reading.of(load(model), flags).read([picture])).feeds
    channels = strongest_channels(SeededProbe(load(model), fed, TENSOR).activation, 2)
    stored = np.load(arrays)
    assert len(stored.files) == 4
    found = project(load(model), fed, TENSOR, channels, variant=variant, position="strongest")  # type: ignore[arg-type]
    for one in found:
        np.testing.assert_array_equal(stored[f"projection/{one.channel}/values"], one.values)
        np.testing.assert_array_equal(stored[f"projection/{one.channel}/activation"], one.activation)
        drawn = rgb(folder / f"channel-{one.channel:04d}.png")
        np.testing.assert_array_equal(drawn, projection_picture(one.values, bgr=True))
    assert len(list(folder.iterdir())) == 3


def test_the_whole_layer_as_json(model: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heatmap", str(model), str(picture), *LAYER, "--whole", "--json", *RAW]) == 0
    (item,) = json.loads(capsys.readouterr().out)["inputs"]
    assert item["input"] == str(picture)
    (found,) = item["projections"]
    assert (found["layer"], found["channel"], found["variant"], found["position"]) == (TENSOR, None, "guided", "all")
    layer = SeededProbe(load(model), feeds(model, picture), TENSOR).activation
    assert found["max"] == layer.max()
    assert layer[:, found["peak"][0], found["peak"][1]].max() == layer.max()


def test_a_ladder_has_a_file_a_step(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, arrays = tmp_path / "steps", tmp_path / "l.npz"
    words = ["--ladder", "--strongest", "1", "-o", str(folder), "--npz", str(arrays), "--json"]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    said = json.loads(capsys.readouterr().out)["inputs"][0]["ladder"]
    fed = feeds(model, picture)
    (channel,) = strongest_channels(SeededProbe(load(model), fed, TENSOR).activation, 1)
    found = ladder(load(model), fed, TENSOR, channel, variant="guided")
    assert (said["layer"], said["channel"]) == (TENSOR, channel)
    stored = np.load(arrays)
    for step in found.steps:
        np.testing.assert_array_equal(stored[f"ladder/{step.tensor}"], step.values)
    drawn = sorted(path for path in folder.iterdir() if path.name != "page.png")
    for path, pixels in zip(drawn, step_pictures(found), strict=True):
        np.testing.assert_array_equal(rgb(path), pixels)
    assert [step["tensor"] for step in said["steps"]] == [step.tensor for step in found.steps]


def test_the_first_channels_of_each_step(model: Path, picture: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.png"
    words = ["--ladder", "--first", "4", *LAYER, "--channel", "0", "-o", str(target)]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    assert rgb(target).shape[1] == 2 * 20 + 4 * 224 + 3 * 6


def test_a_folder_of_pictures_has_a_page_each(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.png")):
        photo(folder, height=32, width=32, seed=seed).rename(folder / name)
    assert main(["heatmap", str(model), str(folder), *LAYER, "--strongest", "3", "-o", str(out), *RAW]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]


def test_what_is_noteworthy_is_told(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--layer", "stage1.first/relu", "--channel", "5", "-o", str(tmp_path / "x.png")]
    assert main(["heatmap", str(model), str(picture), *words, *RAW[:4]]) == 0
    assert "onnxvis: channel 5 is 0 everywhere on this picture" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [["--channel", "1"], ["--ladder"]])
def test_the_rule_follows_the_max_pools_and_is_told(
    mode: list[str], picture: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny network has no max-pool; the other one has one before its last map."""
    proto = from_text(
        "g (float[1, 3, 32, 32] x) => (float[1, 3, 16, 16] y) "
        "{ a = Relu (x)  b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)  c = Conv (b, w)  y = Relu (c) }"
    )
    weights = np.random.default_rng(0).standard_normal((3, 3, 1, 1)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    pooled = write(proto, tmp_path, "pooled.onnx")
    for path, layer, words, variant, told in (
        (model, TENSOR, [], "guided", True),
        (pooled, "y", [], "deconvnet", False),
        (model, TENSOR, ["--method", "deconvnet"], "deconvnet", False),
    ):
        line = ["heatmap", str(path), str(picture), "--layer", layer, *mode, *words, "--json", *RAW[:4]]
        assert main(line) == 0
        said = capsys.readouterr()
        (item,) = json.loads(said.out)["inputs"]
        (found,) = item["projections"] if "projections" in item else [item["ladder"]]
        assert found["variant"] == variant
        note = f"onnxvis: projected by guidedbackprop: no max-pool lies before '{TENSOR}'"
        assert (said.err.count(note), said.err.count("projected by")) == ((1, 1) if told else (0, 0))


def test_a_page_that_would_be_too_large_is_not_made(
    model: Path, picture: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxvis.show.projections._MOST_PIXELS", 1e6)
    out, arrays = tmp_path / "l.png", tmp_path / "l.npz"
    said = fails("heatmap", model, picture, "--ladder", "--first", "999", "-o", out, "--npz", arrays, *RAW)
    assert "give a smaller --first" in said
    assert not out.exists()
    assert not arrays.exists()


def test_hostile_names_stay_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "</script>\n../../etc" + "A" * 60_000
    path = write(rename(tiny(), {TENSOR: evil, "stage2.y.a/relu": f"{evil}2", "stage2.y.b/Conv": f"{evil}3"}), tmp_path)
    shown, out = photo(tmp_path, height=32, width=32), tmp_path / "out"
    for words in (["--channel", "1"], ["--ladder"]):
        assert main(["heatmap", str(path), str(shown), "--layer", evil, *words, "-o", str(out), *RAW[:4]]) == 0
    said = capsys.readouterr()
    assert all(line.startswith("onnxvis: ") and len(line) < 1000 for line in said.err.splitlines())
    assert {path.parent for path in tmp_path.rglob("*.png")} == {tmp_path, out}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--channel", "3"], "--channel is of a layer; name it with --layer"),
        ([*LAYER, "--channel", "16"], "'stage2.y/relu' has 16 channels, 0 to 15; there is no channel 16"),
        ([*LAYER, "--channel", "x"], "--channel 'x' is no channel"),
        ([*LAYER, "--channel", "-1"], "--channel '-1' is no channel"),
        ([*LAYER, "--channel", "1", "--whole"], "--channel and --whole contradict each other"),
        ([*LAYER, "--strongest", "-2"], "--strongest -2 is no number of channels; give 1 or more"),
        ([*LAYER, "--strongest", "0"], "--strongest 0 is no number of channels"),
        (["--ladder", "--first", "0"], "--first 0 is no number of channels"),
        (["--first", "0"], "--first 0 is no number of channels"),
        ([*LAYER, "--position", "all"], "say what to project"),
        ([*LAYER, "--channel", "1", "--first", "2"], "--first goes with --ladder"),
        ([*LAYER, "--channel", "1,2", "--ladder"], "--ladder starts from one channel"),
        ([*LAYER, "--channel", "1", "--method", "gradcam"], "method 'gradcam' explains what a model returns"),
        ([*LAYER, "--channel", "1", "--method", "saliency,deconvnet"], "one method at a time"),
        ([*LAYER, "--channel", "1", "--target", "4"], "--target is what a model returns"),
        ([*LAYER, "--channel", "1", "--faithfulness"], "--faithfulness judges heatmaps of a target"),
        (["--layer", "*relu", "--channel", "1"], "--layer names 10 tensors"),
        (["--layer", "nothing", "--channel", "1"], "no tensor 'nothing'"),
        (["--layer", "fc.bias", "--whole"], "'fc.bias' is no feature map"),
    ],
)
def test_what_is_refused(
    words: list[str], reason: str, model: Path, picture: Path, tmp_path: Path, fails: Fails
) -> None:
    target = tmp_path / "x.png"
    assert reason in fails("heatmap", model, picture, *words, "-o", target, *RAW)
    assert not target.exists()


def test_where_nothing_can_be_written(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    channel = (*LAYER, "--channel", "1", *RAW)
    assert "say where to" in fails("heatmap", model, picture, *channel)
    assert "not a folder" in fails("heatmap", model, tmp_path, *channel, "--npz", tmp_path / "x.npz")
    assert "is not a folder" in fails("heatmap", model, picture, *channel, "-o", picture / "below")
    assert "never changed" in fails("heatmap", model, picture, *channel, "-o", picture)
    assert "never changed" in fails("heatmap", model, picture, *channel, "--npz", model)
    before = picture.rename(tmp_path / "channel-0001.png").read_bytes()
    assert "never changed" in fails("heatmap", model, tmp_path / "channel-0001.png", *channel, "-o", tmp_path)
    assert (tmp_path / "channel-0001.png").read_bytes() == before
