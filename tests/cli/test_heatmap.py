from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.measure.heatmaps.explain import METHOD_NAMES, explain
from onnxvis.measure.heatmaps.masked import RISE
from onnxvis.measure.heatmaps.method import METHODS
from onnxvis.run.flags import PreprocessFlags, flags_text
from onnxvis.run.reading import Reading
from tests.cli.conftest import Fails
from tests.measure.boxes.yolo import ANCHORS, FLAGS, SIDE, declared, raw, with_metadata
from tests.tiny import photo, rename, tiny, write

RAW = ("--preprocess", "raw", "--fit", "stretch", "--quiet")


def test_one_method_is_laid_over_the_picture(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "map.png"
    assert main(["heatmap", str(model), str(picture), "-o", str(target), *RAW]) == 0
    assert capsys.readouterr() == (f"{target}\n", "")
    drawn = cv2.imread(str(target))
    assert drawn is not None
    assert drawn.shape == (448, 448, 3)  # 32 pixels, 14 times


def test_arrays_are_those_of_the_library(model: Path, picture: Path, tmp_path: Path) -> None:
    target = tmp_path / "maps.npz"
    words = ["--method", "gradcam,saliency", "--method", "layercam", "--target", "4", "--npz", str(target)]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    arrays = np.load(target)
    names = ["gradcam", "saliency", "layercam"]
    assert sorted(arrays) == sorted(f"{name}/{kind}" for name in names for kind in ("map", "raw"))
    opened = load(model)
    flags = PreprocessFlags.parse(preset="raw", fit="stretch")
    feeds = next(Reading.of(opened, flags).read([picture])).feeds
    for found in explain(opened, feeds, names, target="4"):
        np.testing.assert_array_equal(arrays[f"{found.method}/map"], found.map)
        np.testing.assert_array_equal(arrays[f"{found.method}/raw"], found.raw)


def test_rise_takes_as_many_masks_as_are_asked_for(
    model: Path, picture: Path, tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "maps.npz"
    words = ["--method", "rise", "--masks", "40", "--target", "4", "--seed", "3", "--npz", str(target)]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    opened = load(model)
    feeds = next(Reading.of(opened, PreprocessFlags.parse(preset="raw", fit="stretch")).read([picture])).feeds
    (found,) = explain(opened, feeds, [RISE(masks=40)], target="4", random_seed=3)
    np.testing.assert_array_equal(np.load(target)["rise/raw"], found.raw)
    capsys.readouterr()
    said = fails("heatmap", model, picture, "--method", "rise", "--masks", "0", "-o", tmp_path / "x.png")
    assert "--masks 0 is no number of masks" in said


def test_what_was_computed_as_json(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"thing {number}" for number in range(10)))
    words = ["--json", "--target", "logits:7", "--layer", "stage1", "--layer", "stage2", "--labels", str(labels)]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    data = json.loads(capsys.readouterr().out)
    (item,) = data["inputs"]
    assert item["input"] == str(picture)
    (found,) = item["heatmaps"]
    assert (found["method"], found["target"], found["label"]) == ("gradcam", "logits:7", "7 thing 7")
    assert found["layers"] == ["stage1.y/relu", "stage2.y/relu"]
    assert found["layer"] == "stage1.y/relu"
    assert found["provider"] == "CPUExecutionProvider"
    assert "Selvaraju" in found["definition"]
    assert all(0 <= place < 32 for place in found["peak"])


def test_all_methods_on_one_page_and_a_folder_of_pictures(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        photo(folder, height=32, width=32).rename(folder / name)
    out = tmp_path / "out"
    assert main(["heatmap", str(model), str(folder), "--method", "all", "-o", str(out), *RAW]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png"]
    page = cv2.imread(str(out / "a.png"))
    assert page is not None
    assert page.shape[1] > 5 * 256


def test_pictures_of_a_folder_are_never_written_over(
    model: Path, tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    for each in (folder, out):
        each.mkdir()
    before = photo(folder, "a.png", 32, 32).read_bytes()
    assert main(["heatmap", str(model), str(folder), "-o", str(folder), *RAW]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "a.png.png"]
    assert capsys.readouterr().out == f"{folder / 'a.png.png'}\n"
    (folder / "a.png.png").unlink()
    (out / "a.png").symlink_to(folder / "a.png")
    assert "never changed" in fails("heatmap", model, folder, "-o", out, *RAW)
    assert (folder / "a.png").read_bytes() == before


def test_all_leaves_out_what_is_slow(
    model: Path, picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `cam`, which is defined for few networks."""
    monkeypatch.setattr(type(METHODS["layercam"]), "slow", True, raising=False)
    assert main(["heatmap", str(model), str(picture), "--method", "all", "--json", *RAW]) == 0
    (item,) = json.loads(capsys.readouterr().out)["inputs"]
    slow = {name for name, method in METHODS.items() if getattr(method, "slow", False)}
    assert "layercam" in slow
    assert [found["method"] for found in item["heatmaps"]] == [
        name for name in METHOD_NAMES if name != "cam" and name not in slow
    ]
    assert main(["heatmap", str(model), str(picture), "--method", "layercam", "--json", *RAW]) == 0
    assert json.loads(capsys.readouterr().out)["inputs"][0]["heatmaps"][0]["method"] == "layercam"


@pytest.mark.parametrize("words", [[], ["model.onnx"], ["model.onnx", "picture.png", "--method", "cam"]])
def test_methods_are_listed_with_their_definitions(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["heatmap", *words, "--list-methods"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(METHOD_NAMES)
    assert all(len(line.split()) > 3 for line in lines)


def test_hostile_names_stay_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "</script><img src=x>\n../../etc" + "A" * 60_000
    proto = rename(tiny(), {"logits": evil, "stage2.y/relu": f"{evil}2"})
    path, shown = write(proto, tmp_path, "evil.onnx"), photo(tmp_path, height=32, width=32)
    assert main(["heatmap", str(path), str(shown), "--method", "all", "-o", str(tmp_path / "h.png"), *RAW[:4]]) == 0
    said = capsys.readouterr()
    assert all(line.startswith("onnxvis: ") and len(line) < 1000 for line in said.err.splitlines())


def test_what_is_refused(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "h.png")
    assert "say where to" in fails("heatmap", model, picture)
    assert "no heatmap method is called 'nothing'; there are: gradcam, " in fails(
        "heatmap", model, picture, "--method", "nothing", *out
    )
    assert "'x' is no target" in fails("heatmap", model, picture, "--target", "x", *RAW, *out)
    assert "has no element 10" in fails("heatmap", model, picture, "--target", "10", *RAW, *out)
    assert "no tensor 'nothing'" in fails("heatmap", model, picture, "--layer", "nothing", *RAW, *out)
    assert "not a folder" in fails("heatmap", model, tmp_path, "--npz", tmp_path / "x.npz")
    assert "never changed" in fails("heatmap", model, picture, "-o", model, *RAW)
    assert "never changed" in fails("heatmap", model, picture, "-o", picture, *RAW)
    assert not (tmp_path / "h.png").exists()


def test_no_method_and_no_seed(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    start = ("heatmap", model, picture, "-o", tmp_path / "h.png", *RAW)
    modes: list[tuple[str, ...]] = [(), ("--faithfulness",), ("--layer", "stage2", "--channel", "1")]
    for mode in modes:
        for named in ("", ",", ",,"):
            assert f"--method '{named}' names no method; give one, such as " in fails(*start, *mode, "--method", named)
    for mode in [("--method", "rise"), ("--method", "smoothgrad"), ("--faithfulness",)]:
        for seed in ("-1", str(2**63)):
            assert f"--seed {seed} is no seed; give a whole number from 0" in fails(*start, *mode, "--seed", seed)
    assert not (tmp_path / "h.png").exists()


def test_the_largest_seed_is_taken(model: Path, picture: Path, tmp_path: Path) -> None:
    words = ["--method", "rise", "--masks", "8", "--seed", str(2**63 - 1), "--npz", str(tmp_path / "m.npz")]
    assert main(["heatmap", str(model), str(picture), *words, *RAW]) == 0
    assert np.ptp(np.load(tmp_path / "m.npz")["rise/raw"]) > 0


@pytest.mark.parametrize(
    "mode", [[], ["--faithfulness"], ["--layer", "stage2", "--whole"], ["--ladder"], ["--list-targets"]]
)
def test_a_guess_is_told_once_and_is_in_the_json(
    mode: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        photo(folder, name, 32, 32)
    settings = Reading.of(load(model)).preprocessing
    assert settings is not None
    assert settings.guessed
    guess = flags_text(settings)
    assert main(["heatmap", str(model), str(folder), *mode, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.count(f"onnxvis: how pictures are prepared was GUESSED; settle it with: {guess}\n") == 1
    assert [item["preprocessing_guess"] for item in json.loads(said.out)["inputs"]] == [guess, guess]
    assert main(["heatmap", str(model), str(folder), *mode, "--json", *guess.split()]) == 0
    said = capsys.readouterr()
    assert "GUESSED" not in said.err
    assert [item["preprocessing_guess"] for item in json.loads(said.out)["inputs"]] == [None, None]


def test_results_do_not_overwrite_each_other(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    one, page = tmp_path / "x.png", tmp_path / "out" / "page.png"
    start = ("heatmap", model, picture, *RAW)
    channel = ("--layer", "stage2", "--channel", "1")
    assert "-o and --npz cannot both be" in fails(*start, "-o", one, "--npz", one)
    assert "-o and --npz cannot both be" in fails(*start, *channel, "-o", one, "--npz", one)
    assert "-o and --npz cannot both be" in fails(*start, *channel, "-o", tmp_path / "out", "--npz", page)
    assert "-o and --csv cannot both be" in fails(*start, "--faithfulness", "-o", one, "--csv", one)
    assert not one.exists()
    assert not page.exists()


def test_options_that_would_do_nothing_are_refused(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    start = ("heatmap", model, picture, *RAW)
    cases: list[tuple[str | Path, ...]] = [
        ("--mask", picture), ("--box", "0,0,1,1"), ("--blur", "2"), ("--tolerance", "0"), ("--randomisation",),
        ("--csv", tmp_path / "x.csv"),
    ]  # fmt: skip
    modes: list[tuple[str | Path, ...]] = [
        ("-o", tmp_path / "x.png"),
        ("-o", tmp_path / "x.png", "--layer", "stage2", "--channel", "1"),
        ("--list-targets",),
    ]
    for words in cases:
        for mode in modes:
            said = fails(*start, *mode, *words)
            assert f"{words[0]} belongs to --faithfulness; give that too" in said
    for words in [("-o", tmp_path / "x.png"), ("--npz", tmp_path / "x.npz")]:
        assert f"--list-targets writes no file; leave {words[0]} out" in fails(*start, "--list-targets", *words)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no files")
@pytest.mark.parametrize("mode", [(), ("--faithfulness",), ("--layer", "stage2", "--channel", "1")])
def test_a_place_that_takes_no_file_is_found_before_the_work(
    mode: tuple[str, ...], model: Path, picture: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("nothing is read before")

    monkeypatch.setattr(Reading, "of", never)
    start = ("heatmap", model, picture, *mode, *RAW)
    assert "no file can be made in /proc" in fails(*start, "-o", "/proc/x.png")
    second = "--csv" if mode == ("--faithfulness",) else "--npz"
    assert "no file can be made in /proc" in fails(*start, second, "/proc/x.npz")


def test_a_box_of_a_detector(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Anchors from the command line, or from the metadata: the same box, at its own scale, with its class's name."""
    shown = photo(tmp_path, height=SIDE, width=SIDE)
    told = with_metadata(
        raw(), onnxvis__detector=json.dumps(declared()), onnxvis__labels=json.dumps(["star", "moon", "sun"])
    )
    flags = ["--anchors", ",".join(f"{side:g}" for pair in ANCHORS for side in pair)]
    wanted = []
    for name, proto, words in (("plain.onnx", raw(), flags), ("told.onnx", told, [])):
        path = write(proto, tmp_path, name)
        assert main(["heatmap", str(path), str(shown), "--target", "box:0", "--json", *words, *RAW]) == 0
        (found,) = json.loads(capsys.readouterr().out)["inputs"][0]["heatmaps"]
        wanted.append(found)
    plain, named = wanted
    assert plain["target"].startswith("box:0 (head")
    assert {key: value for key, value in plain.items() if key != "label"} == {
        key: value for key, value in named.items() if key != "label"
    }
    opened = load(tmp_path / "plain.onnx")
    settings = PreprocessFlags.parse(preset="raw", fit="stretch")
    feeds = next(Reading.of(opened, settings).read([shown])).feeds
    box = explain(opened, feeds, ["gradcam"], target="box:0", flags=FLAGS)[0].target.box
    assert box is not None
    end = f"{box.score:.2f} at row {box.row}, column {box.column}"
    assert plain["label"] == f"class {box.label} {end}"
    assert named["label"] == f"{['star', 'moon', 'sun'][box.label]} {end}"
    assert plain["layer"] == {8: "q3", 16: "q4"}[box.stride]


def test_what_is_no_detector_s_is_refused(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "h.png", *RAW)
    assert "they look like no known detector" in fails("heatmap", model, picture, "--target", "box:0", *out)
    assert "--anchors 'x' must be" in fails("heatmap", model, picture, "--anchors", "x", *out)
    assert "--anchors 'x' must be" in fails("heatmap", model, picture, "--anchors", "x", "--list-targets")
    assert "no output has the shape of yolov8's heads" in fails(
        "heatmap", write(raw(), tmp_path, "r.onnx"), picture, "--target", "box:0", "--detector", "yolov8", *out
    )
