from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.measure.patches import find_patches
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from tests.cli.conftest import Fails

RAW = ("--preprocess", "raw", "--provider", "cpu", "--quiet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve pictures of noise that have the network's size."""
    path = tmp_path / "pictures"
    path.mkdir()
    for seed in range(12):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(path / f"{seed:02d}.png")
    return path


def test_the_json_says_what_the_library_finds(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--tensor", "stage2.y/relu", "--top", "3", "-o", str(out), "--json"]
    assert main(["patches", str(model), str(folder), *words, *RAW]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads((out / "patches.json").read_text())
    opened = load(model)
    reading = Reading.of(opened, PreprocessFlags.parse(preset="raw"))
    options = RunOptions("cpu", os.cpu_count() or 1)
    (one,) = find_patches(opened, lambda: reading.read([folder]), ["stage2.y/relu"], top=3, options=options)
    (said,) = data["tensors"]
    assert (said["tensor"], said["pictures"]) == ("stage2.y/relu", 12)
    assert said["channels"] == [
        {
            "channel": channel.channel,
            "patches": [
                {"path": p.path, "value": p.value, "row": p.row, "column": p.column, "window": list(p.window)}
                for p in channel.patches
            ],
        }
        for channel in one.channels
    ]
    pages = {path.name for path in out.glob("*.png")}
    assert pages == {"overview.png", *(f"channel-{c.channel:03d}.png" for c in one.channels if c.patches)}


def test_several_tensors_have_a_folder_each(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["--tensor", "stage1", "--tensor", "stage2", "--channel", "1", "--channel", "2", "-o", str(out)]
    assert main(["patches", str(model), str(folder), *words, *RAW, "--no-projections"]) == 0
    places = [out / "000-stage1.y_relu", out / "001-stage2.y_relu"]
    assert capsys.readouterr() == ("".join(f"{place}\n" for place in places), "")
    data = json.loads((out / "patches.json").read_text())
    for place, tensor in zip(places, data["tensors"], strict=True):
        assert [channel["channel"] for channel in tensor["channels"]] == [1, 2]
        shown = {f"channel-{c['channel']:03d}.png" for c in tensor["channels"] if c["patches"]}
        assert {path.name for path in place.iterdir()} == {"overview.png", *shown}
        assert all(cv2.imread(str(path)) is not None for path in place.iterdir())


def test_json_alone_writes_nothing(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["patches", str(model), str(folder), "--tensor", "stage1.x/relu", "--json", *RAW]) == 0
    assert json.loads(capsys.readouterr().out)["tensors"][0]["pictures"] == 12
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_left_out_is_told(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "notes\x1b[31m.txt").write_text("no picture")
    np.save(folder / "array.npy", np.zeros((1, 3, 32, 32), np.float32))
    words = ["--tensor", "stage1.first/relu", "--channel", "5", "-o", str(tmp_path / "out"), *RAW[:-1]]
    assert main(["patches", str(model), str(folder), *words]) == 0
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "broken.png" in said
    assert "notes\\x1b[31m.txt" in said
    assert "stage1.first/relu: one array was passed over: patches are cut from pictures" in said
    assert "stage1.first/relu: channel 5 never responds: it is the same everywhere" in said
    assert "onnxvis: pictures" in said


@pytest.mark.skipif(sys.platform == "win32", reason="names that Windows does not have")
def test_hostile_names_of_files_go_through_every_output(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(folder.iterdir()):
        path.unlink()
    names = [b"\xff.png", "a\n\u202eb<script>.png".encode(), b"%2f..%5c.png"]
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "plain.png")
        (tmp_path / "plain.png").rename(folder / os.fsdecode(name))
    words = ["--tensor", "stage1.x/relu", "-o", str(tmp_path / "out"), "--json"]
    assert main(["patches", str(model), str(folder), *words, *RAW]) == 0
    (tensor,) = json.loads(capsys.readouterr().out)["tensors"]
    found = {patch["path"] for channel in tensor["channels"] for patch in channel["patches"]}
    assert found == {str(folder / os.fsdecode(name)) for name in names}


def test_wrong_use_is_one_sentence(model: Path, folder: Path, tmp_path: Path, fails: Fails) -> None:
    base = ("patches", model, folder, "--tensor", "stage1", *RAW)
    out = ("-o", tmp_path / "out")
    assert "say where to" in fails(*base)
    assert "has no channel 99; choose from 0 to 7" in fails(*base, *out, "--channel", "99")
    assert "0 is no number of patches a channel" in fails(*base, *out, "--top", "0")
    assert "no tensor 'stagee'" in fails("patches", model, folder, "--tensor", "stagee", *out)
    assert "whatever is fed" in fails("patches", model, folder, "--tensor", "fc.weight", *out, *RAW)
    assert "--no-projections leaves nothing for --variant guided" in fails(
        *base, *out, "--no-projections", "--variant", "guided"
    )
    assert "holds the pictures" in fails(*base, "-o", folder)
    assert "holds the pictures" in fails("patches", model, folder / "00.png", "--tensor", "stage1", "-o", folder, *RAW)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "nothing in" in fails("patches", model, empty, "--tensor", "stage1", *out, *RAW)
    assert "cannot read" in fails("patches", model, tmp_path / "none", "--tensor", "stage1", *out, *RAW)
    assert not (tmp_path / "out").exists()
