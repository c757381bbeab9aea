from __future__ import annotations

import importlib.resources
import json
from pathlib import Path

import pytest

from onnxvis.cli.main import main
from tests.cli.conftest import Fails
from tests.show.detector import SIDE, THREE, detector
from tests.tiny import photo, write


@pytest.fixture(autouse=True)
def trained(classifier: Path) -> None:
    """The demo's network must be there."""
    if not classifier.exists():
        pytest.skip(f"{classifier.name} is not there; it is trained and committed on its own")


def test_the_demo_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str], classifier: Path) -> None:
    target = tmp_path / "demo.html"
    before = classifier.read_bytes()
    assert main(["demo", "-o", str(target), "--threads", "1", "--provider", "cpu"]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    html = target.read_text()
    assert "classifier.onnx" in html
    assert "GUESSED" not in html
    assert html.count("As the model saw it") == 3
    assert len(html.encode()) < 10_000_000
    assert classifier.read_bytes() == before


def test_the_demos_numbers_can_be_had(tmp_path: Path) -> None:
    target = tmp_path / "demo.json"
    assert main(["demo", "-o", str(tmp_path / "d.html"), "--quiet", "--json-file", str(target)]) == 0
    data = json.loads(target.read_text())
    assert len(data["inputs"]) == 3
    assert all(Path(item["path"]).suffix == ".png" for item in data["inputs"])
    assert len(data["kernels"]) == 20
    for item in data["inputs"]:
        methods = ["gradcam"] * 3 + ["layercam", "integratedgradients", "guidedbackprop", "guided-gradcam"]
        assert [card["method"] for card in item["heatmaps"]] == methods
        assert item["heatmaps"][0]["label"].endswith(item["predictions"][0]["label"])
        stages = [stage for stage in item["stages"] if stage["part"] == "backbone"]
        assert len(stages) == 4
        assert all(card["projected"] for stage in stages for card in stage["strongest"])
        assert [len(stage["strongest"]) for stage in stages] == [3] * 4


def test_the_network_can_be_named(tmp_path: Path) -> None:
    assert main(["demo", "classifier", "-o", str(tmp_path / "d.html"), "--quiet"]) == 0
    with pytest.raises(SystemExit) as end:
        main(["demo", "unknown"])
    assert end.value.code == 2


def test_the_demo_of_the_detector(tmp_path: Path, data: Path) -> None:
    if not (data / "detector.onnx").exists():
        pytest.skip("detector.onnx is not there; it is trained and committed on its own")
    page, numbers = tmp_path / "d.html", tmp_path / "d.json"
    assert main(["demo", "detector", "-o", str(page), "--quiet", "--json-file", str(numbers)]) == 0
    found = json.loads(numbers.read_text())["inputs"]
    assert len(found) == 3
    for item in found:
        boxes = item["detections"]["boxes"]
        assert boxes[0]["score"] > 0.5
        explained = [f"box:{place}" for place in range(min(3, len(boxes)))]
        assert [card["target"].split()[0] for card in item["heatmaps"]] == [*explained, "box:0"]
        assert [card["method"] for card in item["heatmaps"]] == ["gradcam"] * len(explained) + ["layercam"]
    html = page.read_text()
    assert "GUESSED" not in html
    assert len(html.encode()) < 10_000_000


def test_the_demo_of_a_detector_explains_its_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another detector in the place of the built-in one."""
    (tmp_path / "data" / "crowds").mkdir(parents=True)
    write(detector(), tmp_path / "data", "detector.onnx")
    for name in "abcd":
        photo(tmp_path / "data" / "crowds", f"{name}.png", SIDE, SIDE)
    real = importlib.resources.files
    monkeypatch.setattr("importlib.resources.files", lambda name: tmp_path if name == "onnxvis.models" else real(name))
    target = tmp_path / "d.json"
    assert main(["demo", "detector", "-o", str(tmp_path / "d.html"), "--quiet", "--json-file", str(target)]) == 0
    found = json.loads(target.read_text())["inputs"]
    assert [item["name"] for item in found] == ["a.png", "b.png", "c.png"]
    for item in found:
        assert len(item["detections"]["boxes"]) == len(THREE)
        assert [card["method"] for card in item["heatmaps"]] == ["gradcam"] * 3 + ["layercam"]
        assert [card["target"].split()[0] for card in item["heatmaps"]] == ["box:0", "box:1", "box:2", "box:0"]


def test_a_demo_that_is_not_installed_names_the_others(
    tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path)
    said = fails("demo", "detector", "-o", tmp_path / "d.html")
    assert said == "this installation has no detector.onnx; the other demos are: onnxvis demo classifier"


def test_a_demos_defaults_give_way_to_what_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "d.json"
    words = ("--heatmaps", "layercam", "--classes", "1", "--quiet", "--json-file", str(target))
    assert main(["demo", "-o", str(tmp_path / "d.html"), *words]) == 0
    for item in json.loads(target.read_text())["inputs"]:
        assert [card["method"] for card in item["heatmaps"]] == ["layercam"]


def test_the_demo_has_the_reports_errors(tmp_path: Path, fails: Fails) -> None:
    assert "--budget 0" in fails("demo", "-o", tmp_path / "d.html", "--budget", "0")
