from __future__ import annotations

import json
from pathlib import Path

import pytest

from onnxvis.cli.main import main
from tests.cli.conftest import Fails


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


def test_the_network_can_be_named(tmp_path: Path) -> None:
    assert main(["demo", "classifier", "-o", str(tmp_path / "d.html"), "--quiet"]) == 0
    with pytest.raises(SystemExit) as end:
        main(["demo", "unknown"])
    assert end.value.code == 2


def test_the_demo_has_the_reports_errors(tmp_path: Path, fails: Fails) -> None:
    assert "--budget 0" in fails("demo", "-o", tmp_path / "d.html", "--budget", "0")
