from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxvis.cli.main import main
from onnxvis.cli.targets import find_targets, targets_table
from onnxvis.graph.load import Model, load
from onnxvis.measure.boxes.detections import detect
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.target import resolve_target
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.labels import Labels
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from tests.measure.boxes.yolo import ANCHORS, FLAGS, SIDE, declared, outputs_of, raw, with_metadata
from tests.tiny import photo, rename, tiny, write

WORDS = ",".join(f"{side:g}" for pair in ANCHORS for side in pair)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return write(raw(), tmp_path, "detector.onnx")


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    return photo(tmp_path, "shown.png", SIDE, SIDE)


def prepared(path: Path, picture: Path) -> tuple[Model, PreparedInput]:
    model = load(path)
    return model, next(Reading.of(model, None).read([picture]))


def listed(path: Path, picture: Path, labels: Labels | None = None, flags: DetectorFlags = NO_FLAGS) -> dict[str, Any]:
    model, item = prepared(path, picture)
    return find_targets(model, item, labels, flags, RunOptions("cpu"))


def test_boxes_are_those_that_a_target_means(detector: Path, shown: Path) -> None:
    model, item = prepared(detector, shown)
    outputs = outputs_of(raw(), dict(item.feeds))
    found = listed(detector, shown, Labels({0: "star"}, "a file"), FLAGS)
    wanted = detect(model, item.feeds, outputs, FLAGS)
    assert wanted is not None
    assert (found["kind"], len(found["boxes"])) == ("YOLOv3 heads", len(wanted.boxes))
    assert found["classes"] == []
    for said in found["boxes"][:20]:
        box = resolve_target(model, said["target"], outputs, feeds=item.feeds, flags=FLAGS).box
        assert box is not None
        place = (said["index"], said["output"], said["row"], said["column"], said["anchor"], said["stride"])
        assert place == (box.label, box.output, box.row, box.column, box.anchor, box.stride)
        assert said["label"] == {0: "star"}.get(box.label, str(box.label))
        assert said["score"] == pytest.approx(box.score, rel=1e-4)
        np.testing.assert_allclose(said["box"], [box.x0, box.y0, box.x1, box.y1], rtol=1e-3, atol=1e-3)


def test_classes_and_outputs_of_a_classifier(model: Path, picture: Path) -> None:
    found = listed(model, picture, Labels({3: "cat"}, "a file"))
    assert found["boxes"] == []
    assert found["classes"][0]["target"] == "top"
    for said in found["classes"][1:]:
        assert said["target"] == str(said["index"])
    assert [said["label"] for said in found["classes"]] == ["cat" if c["index"] == 3 else "" for c in found["classes"]]
    assert found["outputs"] == [{"target": "logits:0–9", "output": "logits", "shape": [1, 10]}]
    first = targets_table(found)[0].split()
    assert first[:2] == ["top", str(found["classes"][0]["index"])]


def test_the_table_has_a_line_for_each(detector: Path, shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["heatmap", str(detector), str(shown), "--list-targets", "--anchors", WORDS, "--quiet"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    found = listed(detector, shown, None, FLAGS)
    assert len(lines) == len(found["boxes"]) + 2
    box = found["boxes"][0]
    assert lines[0].split() == [
        "box:0", "class", str(box["index"]), f"{box['score']:.2f}", *(f"{side:.1f}" for side in box["box"]),
        box["output"], "row", str(box["row"]), "column", str(box["column"]),
    ]  # fmt: skip
    assert lines[-2].split("  ")[0] == "head8:0–15,0–7,0–7"
    assert lines[-1].endswith("1 × 16 × 4 × 4")


def test_where_no_box_is_sure_the_strongest_candidate_is_listed(
    detector: Path, shown: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its score by hand: the largest product of objectness and class over all cells, in words too."""
    model, item = prepared(detector, shown)
    doubtful = {name: value - 8 for name, value in outputs_of(raw(), dict(item.feeds)).items()}
    scores = []
    for value in doubtful.values():
        shares = 1 / (1 + np.exp(-value[0].reshape(2, 8, *value.shape[2:]).astype(np.float64)))
        scores.append((shares[:, 4:5] * shares[:, 5:]).max())
    monkeypatch.setattr("onnxvis.measure.activations.run_deployed", lambda *_: ([doubtful], None))
    assert main(["heatmap", str(detector), str(shown), "--list-targets", "--anchors", WORDS]) == 0
    said = capsys.readouterr()
    first, *others = said.out.splitlines()
    assert first.split()[0] == "box:0"
    assert float(first.split()[3]) == pytest.approx(max(scores), rel=0.05)
    assert [line.split(":")[0] for line in others] == ["head8", "head16"]
    assert "no box reaches a score of 0.05: box:0 is the strongest candidate" in said.err
    (box,) = find_targets(model, item, None, FLAGS, RunOptions("cpu"))["boxes"]
    assert box["score"] == pytest.approx(max(scores), rel=1e-4)


def test_where_every_box_is_broken_none_is_listed(detector: Path, shown: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, item = prepared(detector, shown)
    empty = {name: np.full_like(value, np.nan) for name, value in outputs_of(raw(), dict(item.feeds)).items()}
    monkeypatch.setattr("onnxvis.measure.activations.run_deployed", lambda *_: ([empty], None))
    found = find_targets(model, item, None, FLAGS, RunOptions("cpu"))
    assert found["boxes"] == []
    assert any("found no box 0" in note for note in found["notes"])


def test_json_of_a_folder_and_a_reason(tmp_path: Path, shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write(with_metadata(raw(), onnxvis__detector=json.dumps(declared(classes=7))), tmp_path, "broken.onnx")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        photo(folder, name, SIDE, SIDE)
    assert main(["heatmap", str(broken), str(folder), "--list-targets", "--json"]) == 0
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert [Path(item["input"]).name for item in data["inputs"]] == ["a.png", "b.png"]
    assert all("metadata onnxvis.detector" in item["notes"][0] for item in data["inputs"])
    assert "metadata onnxvis.detector" in said.err
    assert main(["heatmap", str(broken), str(folder), "--list-targets"]) == 0
    assert capsys.readouterr().out.count("b.png:\n") == 1


def test_hostile_names_stay_on_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(rename(tiny(), {"logits": "\x1b[31m\n" + "x" * 60_000}), tmp_path)
    labels = tmp_path / "labels.txt"
    labels.write_text("\u202e\x07bad\n" * 10)
    words = ["--list-targets", "--quiet", "--labels", str(labels)]
    assert main(["heatmap", str(path), str(photo(tmp_path, height=32, width=32)), *words]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 6
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert max(map(len, out.splitlines())) < 200
