"""`onnxvis make finetune`: a training from the command line, stopped, resumed, interrupted, and what it refuses."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from onnxvis.cli.main import main
from onnxvis.models.scenes import make_scene

NEEDS = "needs PyTorch and torchvision: pip install -e '.[test,make]'"
QUICK = ("--steps", 4, "--batch", 2, "--size", 32, "--threads", 1, "--device", "cpu", "--every", 2)

Finetune = Callable[..., int]


@pytest.fixture
def finetune() -> Finetune:
    """Runs the recipe, where PyTorch and torchvision are there."""
    pytest.importorskip("torch", reason=NEEDS)
    pytest.importorskip("torchvision", reason=NEEDS)

    def run(*arguments: object) -> int:
        return main(["make", "finetune", *map(str, arguments)])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five scenes each of two kinds, and a file that is no picture."""
    root = tmp_path / "pictures"
    for kind in ("disc", "star"):
        (root / kind).mkdir(parents=True)
        for seed in range(5):
            cv2.imwrite(str(root / kind / f"{seed}.png"), make_scene(seed, 48, kind).picture[..., ::-1])
    (root / "disc" / "broken.png").write_bytes(b"no picture")
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def weights(path: Path) -> dict[str, Any]:
    return {weight.name: onnx.numpy_helper.to_array(weight) for weight in onnx.load(path).graph.initializer}


def test_stopping_and_going_on_equals_one_run(
    finetune: Finetune, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole.onnx", tmp_path / "parts.onnx"
    common = ("--data", folder, *QUICK, "--lr", 0.001, "--lr", "conv1=0", "--lr", "bn1=0")
    assert finetune("-o", whole, *common) == 0
    said = capsys.readouterr()
    last = float(rows_of(tmp_path / "whole.curves.csv")[-1]["held_out_accuracy"])
    assert re.fullmatch(r"accuracy on 2 training pictures: (0|50|100)\.00%", said.out.splitlines()[0])
    assert said.out.splitlines()[1:] == [f"accuracy on 2 held-out pictures: {last:.2%}", str(whole)]
    assert "left out: " in said.err
    assert "broken.png" in said.err

    assert finetune("-o", parts, *common, "--stop-at", 2) == 0
    stopped = weights(parts)
    assert (
        finetune("-o", parts, "--data", folder, "--resume", tmp_path / "parts.pth", "--threads", 1, "--every", 2) == 0
    )
    expected, found = weights(whole), weights(parts)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    assert (tmp_path / "parts.curves.csv").read_bytes() == (tmp_path / "whole.curves.csv").read_bytes()
    assert {row["step"] for row in rows_of(tmp_path / "whole.curves.csv")} == {"2", "4"}
    assert np.array_equal(stopped["conv1.weight"], expected["conv1.weight"])
    assert not np.array_equal(stopped["layer1.0.conv1.weight"], expected["layer1.0.conv1.weight"])
    assert weights(tmp_path / "whole-step000004.onnx").keys() == expected.keys()
    picture = cv2.imread(str(tmp_path / "whole.curves.png"))
    assert picture is not None
    assert picture.shape == (360, 1000, 3)


def test_interrupting_leaves_the_last_checkpoint_whole(
    finetune: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from onnxvis.models.finetune.train import Trainer

    advance = Trainer.advance

    def interrupted(self: Trainer, *given: Any) -> Any:
        if self.step == 3:
            raise KeyboardInterrupt
        return advance(self, *given)

    monkeypatch.setattr(Trainer, "advance", interrupted)
    output = tmp_path / "a.onnx"
    assert finetune("-o", output, "--shapes", "--kinds", "disc,star", "--held-out", 4, *QUICK) == 130
    assert f"go on from the last checkpoint with --resume {tmp_path / 'a.pth'}" in capsys.readouterr().err
    assert not output.exists()
    assert torch.load(tmp_path / "a.pth", weights_only=True)["step"] == 2
    onnx.checker.check_model(onnx.load(tmp_path / "a-step000002.onnx"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a-step000002.onnx", "a.curves.csv", "a.curves.png", "a.pth",
    ]  # fmt: skip


class Refused:
    """Runs the recipe with options that must be refused in one sentence, before anything is written."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder, self._capsys = tmp_path / "out", capsys

    def __call__(self, *arguments: object) -> str:
        given = ["make", "finetune", "-o", str(self._folder / "a.onnx"), *map(str, arguments)]
        code = 2
        with contextlib.suppress(SystemExit):
            code = main(given)
        assert code == 2
        said = self._capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert "fault of onnxvis" not in said.err
        assert not self._folder.exists()
        return said.err.splitlines()[-1]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    return Refused(tmp_path, capsys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "one of the arguments --data --cifar10 --shapes is required"),
        (("--shapes", "--every", 0), "--every 0 is no number of steps"),
        (("--shapes", "--stop-at", -1), "--stop-at -1 is no number of steps"),
        (("--shapes", "--lr", "fast"), "'fast' is no number"),
        (("--shapes", "--size", 8), "--size 8 is out of range"),
        (("--shapes", "--momentum", 0.5), "--momentum goes with --optimizer sgd"),
        (("--shapes", "--network", "vgg16", "--head", "append"), "--head append keeps"),
        (("--cifar10", "x", "--kinds", "disc,star"), "--kinds chooses the shapes of --shapes"),
        (("--shapes", "--threads", -1), "--threads -1"),
        (("--shapes", "-o", "cats"), "ends in .onnx"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(refused: Refused, arguments: Any, said: str) -> None:
    """Also where PyTorch is not installed."""
    assert said in refused(*arguments)


def test_what_needs_pytorch_says_so(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    assert "onnxvis[make]" in refused("--shapes")


def test_data_that_cannot_be_trained_on_is_refused(
    finetune: Finetune, refused: Refused, folder: Path, tmp_path: Path
) -> None:
    assert "there is no file or folder" in refused("--data", tmp_path / "none")
    assert "one class only, '1'" in refused("--data", write(tmp_path / "a.txt", f"{folder}/disc/0.png 1\n"))
    (folder / "heart").mkdir()
    assert "class 'heart' has no picture" in refused("--data", folder)
    assert "there is no shape 'blob'" in refused("--shapes", "--kinds", "disc,blob")
    assert "give their number" in refused("--shapes", "--held-out", 0.2)
    assert "there is no file" in refused("--shapes", "--resume", tmp_path / "none.pth")
    assert "is one of the inputs" in refused("--data", folder, "--curves", folder / "star" / "0")
    assert "--lr layer9=… names no layer" in refused("--shapes", "--lr", "layer9=1")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_cuda_that_is_not_there_is_refused(
    finetune: Finetune, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cuda: PyTorch finds no CUDA device" in refused("--shapes", "--device", "cuda")


@pytest.mark.slow
def test_shapes_are_learnt_and_the_checkpoints_open_in_a_report(
    finetune: Finetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A random ResNet-18 learns to tell drawn shapes apart in a few minutes on one core."""
    output = tmp_path / "shapes.onnx"
    assert finetune(
        "-o", output, "--shapes", "--kinds", "disc,star", "--size", 64, "--steps", 700, "--batch", 16,
        "--every", 350, "--held-out", 400, "--threads", 1, "--device", "cpu",
    ) == 0  # fmt: skip
    assert "accuracy on 400 held-out pictures" in capsys.readouterr().out
    assert float(rows_of(tmp_path / "shapes.curves.csv")[-1]["held_out_accuracy"]) >= 0.95
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [3, 64, 64]
    picture = tmp_path / "disc.png"
    cv2.imwrite(str(picture), make_scene(1_000_000_000, 64, "disc").picture[..., ::-1])
    for model in (output, tmp_path / "shapes-step000350.onnx"):
        report = tmp_path / f"{model.stem}.html"
        assert main(["report", str(model), str(picture), "-o", str(report), "--heatmaps", "none", "--quiet"]) == 0
        assert "star" in report.read_text(encoding="utf-8")
