"""`onnxvis make torch`: a file of one's own becomes a model, or one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxvis.cli.main import main
from onnxvis.run.hints import from_our_metadata

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"
NET = """
import torch
from torch import nn
from pieces import block

class TwoHeads(nn.Module):
    '''As detectors of tutorials are: a body, and a raw head at each of two strides.'''

    def __init__(self, num_classes, anchors=3, channels=3):
        super().__init__()
        self.body = nn.Sequential(block(channels, 8), block(8, 16))
        self.down = block(16, 16)
        self.head8 = nn.Conv2d(16, anchors * (5 + num_classes), 1)
        self.head4 = nn.Conv2d(16, anchors * (5 + num_classes), 1)

    def forward(self, x):
        x = self.body(x)
        return self.head4(self.down(x)), self.head8(x)

def classifier(classes=4):
    return nn.Sequential(block(1, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
"""
PIECES = """
from torch import nn

def block(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.1))

class Two(nn.Module):
    def forward(self, x, y):
        return x + y

class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(3)
"""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason=NEEDS_TORCH)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "pieces.py").write_text(PIECES)
    return folder / "net.py"


@pytest.fixture
def module(torch: Any, net: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file's content, imported by Python itself."""
    monkeypatch.syspath_prepend(net.parent)
    import importlib

    content = importlib.import_module("net")
    yield content
    for name in ("net", "pieces"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("fold", [[], ["--fold"]])
def test_a_detector_with_two_heads(
    torch: Any, net: Path, module: Any, tmp_path: Path, fold: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    network = module.TwoHeads(5).eval()
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "w.pth")
    out = tmp_path / "made" / "two.onnx"
    given = ["--args", "num_classes=5", "--checkpoint", str(tmp_path / "w.pth"), "--size", "64x96", "--opset", "13"]
    assert main(["make", "torch", f"{net}:TwoHeads", *given, *fold, "-o", str(out), "--quiet"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{out}\n", "")
    model = onnx.load(out)
    assert [output.name for output in model.graph.output] == ["output0", "output1"]
    assert model.opset_import[0].version == 13
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == (0 if fold else 3)
    assert "/body/body.0/body.0.0/Conv" in {node.name for node in model.graph.node}
    pictures = torch.randn(2, 3, 64, 96)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = network(pictures)
    for value, wanted in zip(session.run(None, {"image": pictures.numpy()}), expected, strict=True):
        np.testing.assert_allclose(value, wanted.numpy(), atol=1e-5)


def test_a_function_grey_input_labels_and_a_preset(torch: Any, net: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("zero\none\n")
    arguments = ["--args", "classes=2", "--channels", "1", "--size", "28", "--preprocess", "unit"]
    arguments += ["--labels", str(tmp_path / "labels.txt"), "-o", str(tmp_path / "small.onnx")]
    assert main(["make", "torch", f"{net}:classifier", *arguments]) == 0
    model = onnx.load(tmp_path / "small.onnx")
    dims = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert (dims, model.graph.output[0].name) == (["batch", 1, 28, 28], "output")
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["onnxvis.labels"]) == ["zero", "one"]
    flags = from_our_metadata(properties)
    assert flags is not None
    assert flags.said() == {"preset": "unit", "size": (28, 28)}


def test_labels_must_be_as_many_as_the_classes(
    torch: Any, net: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    """Of one of the outputs (batch, classes), where there is any; maps say nothing of their classes."""
    net.write_text(
        NET + "class Both(nn.Module):\n    def forward(self, x):\n        return x.mean((2, 3)), x[:, 0, 0, :5], x\n"
    )
    (tmp_path / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    given = ["--size", "28", "--labels", str(tmp_path / "labels.txt"), "-o", str(tmp_path / "x.onnx")]
    said = fails("make", "torch", f"{net}:classifier", "--channels", "1", *given)
    assert said == "5 labels do not go with the 4 classes of classifier"
    assert not (tmp_path / "x.onnx").exists()
    assert main(["make", "torch", f"{net}:Both", *given]) == 0
    assert main(["make", "torch", f"{net}:TwoHeads", "--args", "num_classes=9", *given]) == 0


def test_random_weights_come_from_the_seed(torch: Any, net: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{letter}.onnx" for letter in "abc"]
    for file, seed in zip(files, "112", strict=True):
        arguments = ["--args", "classes=2", "--channels", "1", "--size", "28", "--seed", seed, "-o", str(file)]
        assert main(["make", "torch", f"{net}:classifier", *arguments]) == 0
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["NET:Missing"], "net.py has no class Missing; its modules are TwoHeads"),
        (["NET:TwoHeads"], "TwoHeads in "),
        (["NET:classifier"], "classifier does not run on an input of 1x3x224x224 ("),
        (["NET:classifier", "--checkpoint", "NET"], "net.py is no checkpoint of PyTorch"),
        (["NET:classifier", "--checkpoint", "FOLDER"], "project is a folder; give the file of weights itself"),
        (["PIECES:Two"], "a module that takes more than one input, or none, is not supported here"),
        (["PIECES:Leaves"], "Leaves ended the process instead of running (sys.exit(3))"),
        (["PIECES:block", "--args", "a=1", "--args", "b='x'"], "block in "),
        (["FOLDER/absent.py:Net"], "absent.py; write it as FILE.py:CLASS"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    torch: Any, net: Path, tmp_path: Path, arguments: list[str], said: str, fails: Callable[..., str]
) -> None:
    places = {"NET": str(net), "PIECES": str(net.parent / "pieces.py"), "FOLDER": str(net.parent)}
    for short, place in places.items():
        arguments = [argument.replace(short, place) for argument in arguments]
    assert said in fails("make", "torch", *arguments, "-o", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["net.py"], "'net.py' names no class in a file"),
        (["NET:TwoHeads", "--args", "5"], "NAME=VALUE"),
        (["NET:TwoHeads", "--size", "native"], "--size native"),
        (["NET:TwoHeads", "--channels", "0"], "--channels 0"),
        (["NET:TwoHeads", "--channels", "99999999999"], "--channels 99999999999"),
        (["NET:TwoHeads", "--opset", "21"], "opsets 11 to 20, not 21"),
        (["NET:TwoHeads", "--seed", "-1"], "--seed -1"),
        (["NET:TwoHeads", "--preprocess", "nothing"], "no preset 'nothing'"),
        (["NET:TwoHeads", "--labels", "NET.absent"], "cannot read"),
    ],
)
def test_options_are_checked_before_anything_is_run(
    net: Path, tmp_path: Path, arguments: list[str], said: str, fails: Callable[..., str]
) -> None:
    net.write_text("raise RuntimeError('was run')")
    arguments = [argument.replace("NET", str(net)) for argument in arguments]
    assert said in fails("make", "torch", *arguments, "-o", tmp_path / "x.onnx")


def test_the_file_that_is_given_is_never_written_over(net: Path, fails: Callable[..., str]) -> None:
    assert "is one of the inputs" in fails("make", "torch", f"{net}:TwoHeads", "-o", net)
    assert net.read_text() == NET


def test_the_extra_is_named_where_pytorch_is_missing(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    said = fails("make", "torch", f"{net}:TwoHeads", "-o", tmp_path / "x.onnx")
    assert said == 'this needs torch, and torch is not installed: pip install "onnxvis[make]"'
