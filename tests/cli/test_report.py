from __future__ import annotations

import json
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxvis.cli.main import main
from onnxvis.measure.heatmaps.explain import METHOD_NAMES
from onnxvis.show.render import Press
from tests.cli.conftest import Fails
from tests.show.detector import ANCHORS, SIDE, THREE, detector, segmenter
from tests.tiny import from_text, photo, tiny, write

UNIT = ("--preprocess", "unit", "--fit", "stretch", "--provider", "cpu", "--threads", "1")


def run(*arguments: str | Path) -> int:
    return main(["report", *map(str, arguments)])


def test_stdout_is_the_path_alone(
    model: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "r.html"
    assert run(model, picture, "-o", target, *UNIT) == 0
    said = capsys.readouterr()
    assert said.out == f"{target}\n"
    steps = said.err.splitlines()
    assert steps[0] == "onnxvis: opening tiny.onnx"
    assert steps[-1] == "onnxvis: writing the page"
    assert len(steps) == len(set(steps))
    assert target.read_text().startswith("<!doctype html>")
    assert run(model, picture, "-o", target, "--quiet", *UNIT) == 0
    assert capsys.readouterr() == (f"{target}\n", "")


def test_the_default_is_report_html_here(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(model) == 0
    assert "No picture was given" in (tmp_path / "report.html").read_text()


def test_options_reach_the_page(model: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(f"<kind> {index}" for index in range(10)))
    pictures = [photo(tmp_path, f"{seed}.png", seed=seed) for seed in range(2)]
    options = ("--labels", labels, "--colormap", "magma", "--stretch", "tensor", "--exact", "--budget", "2.5")
    assert run(model, *pictures, "-o", tmp_path / "r.html", *options, *UNIT) == 0
    html = (tmp_path / "r.html").read_text()
    assert "&lt;kind&gt; " in html
    assert "GUESSED" not in html
    assert 'value="magma"' in html
    assert "all channels min–max" in html
    assert "without graph optimisations" in html
    assert "0.png" in html
    assert "1.png" in html
    assert len(html.encode()) <= 2_500_000


def test_a_guess_is_at_the_top(model: Path, picture: Path, tmp_path: Path) -> None:
    assert run(model, picture, "-o", tmp_path / "r.html") == 0
    html = (tmp_path / "r.html").read_text()
    assert html.index("GUESSED") < html.index("<h1>")
    assert "--preprocess imagenet --size 32x32" in html


def test_a_model_that_takes_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        from_text("g (float[1,7] x) => (float[1,7] y) <float[7] w = {1,2,3,4,5,6,7}> { y = Mul(x, w) }"), tmp_path
    )
    assert run(path, "-o", tmp_path / "r.html") == 0
    assert "takes no picture" in (tmp_path / "r.html").read_text()


def test_open_shows_the_page(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    assert run(model, "-o", tmp_path / "a b.html", "--open") == 0
    assert shown == [(tmp_path / "a b.html").resolve().as_uri()]


def test_an_error_midway_leaves_the_old_page(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "r.html"
    target.write_text("old")
    before = sorted(item.name for item in tmp_path.iterdir())
    for error, code in ((KeyboardInterrupt(), 130), (MemoryError("no memory"), 2), (OSError(28, "disk full"), 2)):

        def fail(press: object, page: object, error: BaseException = error) -> str:
            raise error

        monkeypatch.setattr(Press, "render", fail)
        assert run(model, "-o", target) == code
        assert capsys.readouterr().out == ""
        assert target.read_text() == "old"
        assert sorted(item.name for item in tmp_path.iterdir()) == before


def test_json_file_has_the_numbers(model: Path, picture: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "r.json"
    assert run(model, picture, "-o", tmp_path / "r.html", "--json-file", target, "--bins", "7", "--quiet", *UNIT) == 0
    data = json.loads(target.read_text())
    assert set(data) >= {"schema_version", "onnxvis_version", "model", "stages", "tensors", "weights", "inputs", "run"}
    assert [len(item["histogram"]["counts"]) for item in data["weights"]] == [7] * len(data["weights"])
    assert [item["path"] for item in data["inputs"]] == [str(picture)]
    assert len(data["inputs"][0]["predictions"]) == 5
    assert data["run"]["provider"] == "CPUExecutionProvider"
    assert "7 bins from" in (tmp_path / "r.html").read_text()


def test_heatmaps_are_those_asked_for(model: Path, picture: Path, tmp_path: Path) -> None:
    page, numbers = tmp_path / "r.html", tmp_path / "r.json"
    wanted = {
        (): ["gradcam"],
        ("--heatmaps", "none"): [],
        ("--heatmaps", "layercam,saliency", "--classes", "2"): ["layercam", "layercam", "saliency"],
    }
    for words, methods in wanted.items():
        assert run(model, picture, "-o", page, "--json-file", numbers, *words) == 0
        (item,) = json.loads(numbers.read_text())["inputs"]
        assert [card["method"] for card in item["heatmaps"]] == methods
        assert page.read_text().count('<figure class="heatmap">') == len(methods)
        assert item["heatmaps_note"] == ""


def test_no_page_and_no_numbers_where_either_is_refused(
    model: Path, picture: Path, tmp_path: Path, fails: Fails
) -> None:
    page, same = tmp_path / "r.html", tmp_path / "x" / ".." / "r.html"
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        (("--json-file", model), "the model or its weights, which are never changed"),
        (("--json-file", picture), "one of the inputs"),
        (("--json-file", tmp_path), "it is a folder"),
        (("--json-file", page), "cannot both be"),
        (("--json-file", same), "cannot both be"),
        (("--heatmaps", "gradcam,nothing"), "no heatmap method is called 'nothing'; there are: gradcam, "),
        (("--classes", "0"), "--classes 0 is no number of classes to explain; give 1 to 20"),
        (("--bins", "0"), "--bins 0 is no number of bins; give 1 to"),
        (("--bins", "99999999"), "--bins 99999999 is no number of bins"),
    ]
    before = {path: path.read_bytes() for path in (model, picture)}
    for arguments, words in cases:
        assert words in fails("report", model, picture, "-o", page, *arguments)
        assert not page.exists()
    assert before == {path: path.read_bytes() for path in before}


def test_what_is_refused(model: Path, picture: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "r.html")
    (tmp_path / "bad.png").write_bytes(picture.read_bytes()[:100])
    (tmp_path / "empty").mkdir()
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        ((tmp_path / "none.png", *out), "cannot read"),
        ((tmp_path / "bad.png", *out), "bad.png"),
        ((tmp_path / "empty", *out), "nothing in"),
        ((picture, *out, "--size", "10"), "--size 10x10 does not fit"),
        ((picture, *out, "--std", "0"), "std and divide not zero"),
        ((picture, *out, "--labels", tmp_path / "none.txt"), "cannot read"),
        ((picture, *out, "--provider", "cuda9"), "provider 'cuda9'"),
        ((picture, *out, "--budget", "0"), "--budget 0 is no size for a page"),
        ((picture, *out, "--budget", "nan"), "--budget nan is no size for a page"),
        ((picture, *out, "--budget", "inf"), "--budget inf is no size for a page"),
        ((picture, "-o", model), "the model or its weights, which are never changed"),
        ((picture, "-o", picture), "one of the inputs"),
        ((picture, "-o", picture / "r.html"), "cannot write"),
        ((picture, "-o", tmp_path / "empty"), "cannot write"),
    ]
    for arguments, words in cases:
        assert words in fails("report", model, *arguments)
        assert not (tmp_path / "r.html").exists()
    assert (tmp_path / "empty").is_dir()


def test_links_and_weights_are_not_written_over(tmp_path: Path, fails: Fails) -> None:
    proto = tiny()
    onnx.external_data_helper.convert_model_to_external_data(proto, location="w.bin", size_threshold=0)
    onnx.save_model(proto, tmp_path / "m.onnx")
    before = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "link.html").symlink_to(tmp_path / "w.bin")
    (tmp_path / "hard.html").hardlink_to(tmp_path / "m.onnx")
    for name in ("w.bin", "link.html", "hard.html"):
        assert "never changed" in fails("report", tmp_path / "m.onnx", "-o", tmp_path / name)
    assert (tmp_path / "w.bin").read_bytes() == before


def test_arrays_of_another_shape(model: Path, tmp_path: Path, fails: Fails) -> None:
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 3, 16, 16), np.float32))
    assert "(1, 3, 16, 16)" in fails("report", model, tmp_path / "x.npz", "-o", tmp_path / "r.html")


def reported(folder: Path, proto: onnx.ModelProto, *arguments: str | Path) -> tuple[str, Any]:
    """The page and the numbers of a model on one picture."""
    page, numbers = folder / "r.html", folder / "r.json"
    path, seen = write(proto, folder, "model.onnx"), photo(folder, height=SIDE, width=SIDE)
    assert run(path, seen, "-o", page, "--json-file", numbers, "--quiet", "--threads", "1", *arguments) == 0
    return page.read_text(), json.loads(numbers.read_text())


def test_a_detectors_boxes_are_on_the_page(tmp_path: Path) -> None:
    html, data = reported(tmp_path, detector(), "--classes", "2")
    (item,) = data["inputs"]
    assert [box["index"] for box in item["detections"]["boxes"]] == [planted.label for planted in THREE]
    assert [card["target"].split()[0] for card in item["heatmaps"]] == ["box:0", "box:1"]
    assert [card["label"] for card in item["heatmaps"]] == ["star", "ring"]
    assert "2 of 3 boxes" in html
    assert html.count('<div class="over">') == 2
    assert all(not output["scores"] for output in item["outputs"])
    assert "Boxes are not decoded" not in html


def test_raw_heads_are_decoded_once_their_anchors_are_given(tmp_path: Path) -> None:
    html, data = reported(tmp_path, detector(declared=False))
    assert data["inputs"][0]["detections"] is None
    assert "Boxes are not decoded" in html
    assert "give --anchors" in html
    (notice,) = (item for item in data["notices"] if item["title"] == "Boxes are not decoded")
    assert notice["text"].endswith(".")
    anchors = ",".join(f"{side:g}" for head in ("fine", "coarse") for pair in ANCHORS[head] for side in pair)
    html, told = reported(tmp_path, detector(declared=False), "--anchors", anchors, "--heatmaps", "layercam")
    found = told["inputs"][0]["detections"]
    _, declared = reported(tmp_path, detector())
    assert found["boxes"] == declared["inputs"][0]["detections"]["boxes"]
    assert [card["target"].split()[0] for card in told["inputs"][0]["heatmaps"]] == ["box:0"]
    assert "Boxes are not decoded" not in html


def test_a_detector_can_be_left_raw(tmp_path: Path) -> None:
    html, data = reported(tmp_path, detector(), "--detector", "none")
    assert data["inputs"][0]["detections"] is None
    assert "2 of 3 boxes" not in html
    assert "Boxes are not decoded" not in html


def test_labels_that_do_not_fit_the_boxes_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("only\nthese")
    html, data = reported(tmp_path, detector(), "--labels", tmp_path / "few.txt")
    assert "few.txt has 2 labels, the model 4 classes" in html
    assert [box["label"] for box in data["inputs"][0]["detections"]["boxes"]] == ["only", "these", "class 2"]


def test_arrays_have_boxes_without_a_picture(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((1, 3, SIDE, SIDE), 0.5, np.float32))
    path = write(detector(), tmp_path)
    assert run(path, tmp_path / "x.npy", "-o", tmp_path / "r.html", "--quiet") == 0
    html = (tmp_path / "r.html").read_text()
    assert f'viewBox="0 0 {SIDE} {SIDE}"' in html
    assert "2 of 3 boxes" in html
    assert "<image" not in html


def test_a_segmentation_has_a_map_of_classes(tmp_path: Path) -> None:
    html, data = reported(tmp_path, segmenter(4))
    (found,) = data["inputs"][0]["class_maps"]
    assert sum(item["share"] for item in found["shares"]) == pytest.approx(1)
    assert (found["classes"], found["height"], found["width"]) == (4, 16, 16)
    assert "Class map" in html


@pytest.mark.parametrize("shapes", [[(1, 18, 4, 4)], [(1, 64, 1), (1, 64, 1), (1, 64, 4)], [(1, 3, SIDE, SIDE)]])
def test_outputs_of_no_known_kind_have_their_shapes_alone(shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    """One coarse grid, as FastestDet has, YuNet's scores and boxes side by side, and a picture."""
    proto = tiny(side=SIDE)
    for place, shape in enumerate(shapes):
        values = np.abs(np.random.default_rng(place).standard_normal(shape)) + 0.1
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(np.float32), f"w{place}"))
        proto.graph.node.append(helper.make_node("Identity", [f"w{place}"], [f"raw{place}"]))
        proto.graph.output.append(helper.make_tensor_value_info(f"raw{place}", TensorProto.FLOAT, shape))
    _, data = reported(tmp_path, proto)
    (item,) = data["inputs"]
    assert item["detections"] is None
    assert item["class_maps"] == []
    found = {output["name"]: output for output in item["outputs"]}
    for place, shape in enumerate(shapes):
        assert found[f"raw{place}"]["shape"] == list(shape)
        assert found[f"raw{place}"]["scores"] == []
    assert len(found["logits"]["scores"]) == 5


def test_what_a_detector_cannot_be_is_refused(tmp_path: Path, fails: Fails) -> None:
    path, seen = write(detector(), tmp_path), photo(tmp_path)
    for arguments, words in ((("--anchors", "1,2,x"), "--anchors '1,2,x'"), (("--scale-xy", "0"), "--scale-xy 0")):
        assert words in fails("report", path, seen, "-o", tmp_path / "r.html", *arguments)
    assert not (tmp_path / "r.html").exists()


def test_all_heatmaps_are_every_method_and_lists_have_each_once(
    model: Path, picture: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "'nothing'" in fails("report", model, picture, "--heatmaps", "all,nothing", "-o", tmp_path / "r.html")
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr("onnxvis.show.report.write_report", lambda *given: asked.append(given[3].heatmaps))
    for words in ("all", "all,rise", "rise,gradcam,rise", "none"):
        assert run(model, picture, "-o", tmp_path / "r.html", "--heatmaps", words, "--quiet") == 0
    assert asked == [METHOD_NAMES, METHOD_NAMES, ("rise", "gradcam"), ()]
    assert {"scorecam", "ablationcam", "reciprocam", "rise", "occlusion"} < set(METHOD_NAMES)


def test_channels_patches_and_faithfulness_reach_page_and_numbers(model: Path, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        photo(folder, f"{seed}.png", 32, 32, seed)
    page, numbers = tmp_path / "r.html", tmp_path / "r.json"
    words = ("--channels", "2", "--patches", folder, "--faithfulness", "--heatmaps", "saliency", "--json-file", numbers)
    assert run(model, picture, "-o", page, *words, *UNIT) == 0
    html, data = page.read_text(), json.loads(numbers.read_text())
    stages = [stage for stage in data["inputs"][0]["stages"] if stage["part"] == "backbone"]
    assert len(stages) == html.count("What its strongest channels respond to") == 2
    for stage in stages:
        assert [len(card["patches"]) for card in stage["strongest"]] == [3, 3]
        for card in stage["strongest"]:
            assert f"<b>Channel {card['channel']}</b>" in html
            assert card["peak"]["value"] == pytest.approx(stage["statistics"]["max"][card["channel"]], rel=1e-6)
    assert html.count("its projection</span>") == 4
    assert html.count("strongest patches</span>") == 4
    said = data["inputs"][0]["heatmaps"][0]["faithfulness"]
    assert f"insertion {said['insertion']['area']:.3g}" in html
    assert f"deletion {said['deletion']['area']:.3g}" in html
    assert "style=" not in html.split("</style>")[1]


def test_channels_can_be_left_out(model: Path, picture: Path, tmp_path: Path) -> None:
    assert run(model, picture, "-o", tmp_path / "r.html", "--channels", "0", *UNIT) == 0
    assert "strongest channels" not in (tmp_path / "r.html").read_text().split("</style>")[1]
    assert run(model, picture, "-o", tmp_path / "r.html", "--no-projections", *UNIT) == 0
    html = (tmp_path / "r.html").read_text()
    assert "its map over the input" in html
    assert "its projection</span>" not in html
    assert "Without projections, as asked for." in html


def test_settings_of_channels_that_cannot_be_are_refused(
    model: Path, picture: Path, tmp_path: Path, fails: Fails
) -> None:
    target = ("-o", tmp_path / "r.html")
    for words, said in (
        (("--channels", "-1"), "--channels -1 is no number"),
        (("--channels", "99"), "--channels 99 is no number"),
        (("--channels", "0", "--projections"), "--channels 0 shows no channels"),
        (("--channels", "0", "--patches", tmp_path), "--channels 0 shows no channels"),
        (("--patches", picture), "photo.png is no folder"),
        (("--patches", tmp_path / "none"), "none is no folder"),
        (("--faithfulness", "--heatmaps", "none"), "--faithfulness tests heatmaps"),
        (("--heatmaps", ""), "--heatmaps '' names no method"),
        (("--heatmaps", ","), "--heatmaps ',' names no method"),
    ):
        assert said in fails("report", model, picture, *target, *words)
    assert "--patches go beside the strongest channels of an INPUT" in fails(
        "report", model, *target, "--patches", tmp_path
    )
    (tmp_path / "empty").mkdir()
    assert "can be read" in fails("report", model, picture, *target, "--patches", tmp_path / "empty")
    assert not (tmp_path / "r.html").exists()
