"""The scenes that ship: they are what the generator draws, and the classifier is sure of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnxruntime
import pytest

import onnxvis.models
from onnxvis.models.classifier import MEAN, STD
from onnxvis.models.classifier import SIZE as INPUT_SIZE
from onnxvis.models.crowds import make_crowd
from onnxvis.models.samples import CROWDS, SAMPLES, SIZE, write_crowds, write_samples
from onnxvis.models.scenes import make_scene
from onnxvis.models.shapes import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(onnxvis.models.__file__).parent / "data"


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads((DATA / "scenes.json").read_text(encoding="utf-8"))
    return listed


def read(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return np.asarray(picture[..., ::-1] if picture.ndim == 3 else picture, np.uint8)


def test_every_file_is_listed(entries: list[dict[str, Any]]) -> None:
    assert [entry["name"] for entry in entries] == sorted(SAMPLES)
    assert sorted(path.name for path in (DATA / "scenes").iterdir()) == [f"{kind}.png" for kind in sorted(SAMPLES)]
    assert sorted(path.name for path in (DATA / "masks").iterdir()) == [f"{kind}.png" for kind in sorted(SAMPLES)]
    assert sorted(path.name for path in (DATA / "crowds").iterdir()) == [f"{name}.png" for name in sorted(CROWDS)]
    assert sum(path.stat().st_size for path in DATA.glob("*/*.png")) < 1_200_000


def test_the_files_are_the_scenes_of_their_seeds(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        scene = make_scene(entry["seed"], SIZE, entry["name"])
        picture, mask = read(DATA / entry["file"]), read(DATA / entry["mask"])
        assert set(np.unique(mask)) == {0, 255}
        # Another release of NumPy or OpenCV may round a value differently, not more.
        assert np.abs(picture.astype(int) - scene.picture).max() <= 2
        assert ((mask > 0) != scene.mask).sum() <= 5
        assert KINDS[entry["label"]] == entry["name"]
        rows, columns = np.nonzero(mask)
        assert entry["box"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (mask > 0).mean() <= 0.2


def test_the_classifier_is_sure_of_each(entries: list[dict[str, Any]]) -> None:
    session = onnxruntime.InferenceSession(str(DATA / "classifier.onnx"), providers=["CPUExecutionProvider"])
    for entry in entries:
        small = cv2.resize(read(DATA / entry["file"]), (INPUT_SIZE, INPUT_SIZE), interpolation=cv2.INTER_AREA)
        fed = ((small / np.float64(255) - MEAN) / STD).transpose(2, 0, 1)[None].astype(np.float32)
        (logits,) = session.run(None, {"image": fed})
        scores = np.exp(logits[0]) / np.exp(logits[0]).sum()
        assert scores.argmax() == entry["label"]
        assert scores.max() > 0.9


def test_writing_them_gives_the_same_files(tmp_path: Path) -> None:
    write_samples(tmp_path)
    listed = json.loads((tmp_path / "scenes.json").read_text(encoding="utf-8"))
    assert listed == json.loads((DATA / "scenes.json").read_text(encoding="utf-8"))
    for entry in listed:
        np.testing.assert_array_equal(read(tmp_path / entry["mask"]) > 0, read(DATA / entry["mask"]) > 0)


def test_the_scenes_of_several_subjects_are_those_of_their_seeds(tmp_path: Path) -> None:
    listed = json.loads((DATA / "crowds.json").read_text(encoding="utf-8"))
    assert [entry["file"] for entry in listed] == [f"crowds/{name}.png" for name in CROWDS]
    for entry in listed:
        crowd = make_crowd(entry["seed"], SIZE)
        assert np.abs(read(DATA / entry["file"]).astype(int) - crowd.picture).max() <= 2
        told = [(member["name"], member["label"], tuple(member["box"])) for member in entry["members"]]
        assert told == [(member.name, member.label, member.box) for member in crowd.members]
    write_crowds(tmp_path)
    assert json.loads((tmp_path / "crowds.json").read_text(encoding="utf-8")) == listed
    for name in CROWDS:
        np.testing.assert_array_equal(read(tmp_path / f"crowds/{name}.png"), read(DATA / f"crowds/{name}.png"))
