"""`onnxvis make yolov3`: the network from our own description."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import onnxvis
from onnxvis.cli.main import main
from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.plan import make_plan
from onnxvis.models.darknet.structures import yolov3_tiny
from tests.references.make_darknet import weights_bytes


def outputs(path: Path) -> dict[str, list[int]]:
    return {
        port.name: [dim.dim_value for dim in port.type.tensor_type.shape.dim][1:]
        for port in onnx.load(path).graph.output
    }


def test_yolov3_has_five_stages_and_three_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "y.onnx"
    assert main(["make", "yolov3", "--random", "--classes", "500", "-o", str(path)]) == 0
    assert "yolov3: 107 sections, 64,263,457 parameters, input 3 x 416 x 416" in capsys.readouterr().err
    stages = onnxvis.load(path).stages()
    assert [(stage.channels, stage.height) for stage in stages] == [
        (64, 208), (128, 104), (256, 52), (512, 26), (1024, 13),
    ]  # fmt: skip
    assert [stage.output for stage in stages] == [
        f"darknet/stage{stage}/block{blocks}" for stage, blocks in enumerate((1, 2, 8, 8, 4), 1)
    ]
    assert outputs(path) == {"head13": [1515, 13, 13], "head26": [1515, 26, 26], "head52": [1515, 52, 52]}


def test_tiny_with_weights_at_another_size(tmp_path: Path) -> None:
    weights, path = tmp_path / "t.weights", tmp_path / "t.onnx"
    weights.write_bytes(weights_bytes(make_plan(parse_cfg(yolov3_tiny(), "x"))))
    options = ["--tiny", "--weights", str(weights), "--size", "320", "--decode"]
    assert main(["make", "yolov3", *options, "-o", str(path)]) == 0
    assert outputs(path) == {
        "head10": [255, 10, 10], "head20": [255, 20, 20], "boxes": [1500, 4], "scores": [1500, 80],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no weights were given: name a .weights file, or draw weights by chance with --random"),
        (["--random", "--weights", "x"], "both weights and --random were given"),
        (["--weights", "none.weights"], "none.weights does not exist; name a .weights file of Darknet"),
        (["--tiny", "--random", "--size", "100"], "section 20 [route] joins sections 19 and 8 of different sizes"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["make", "yolov3", *options, "-o", str(tmp_path / "y.onnx")]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory as Linux gives it")
def test_the_model_is_held_once_while_it_is_made(tmp_path: Path) -> None:
    """248 MB of weights, and what Python, NumPy and onnx take; twice the weights would be more."""
    code = (
        "from onnxvis.cli.main import main\n"
        f"main(['make', 'yolov3', '--random', '--quiet', '-o', {str(tmp_path / 'y.onnx')!r}])\n"
        "print(*[line for line in open('/proc/self/status') if line.startswith('VmHWM')])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(found.stdout.split()[-2]) * 1024 < 2 * 248e6
