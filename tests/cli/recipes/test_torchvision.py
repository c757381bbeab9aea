"""`onnxvis make torchvision`: files, their names and contents, and refusals before and after torchvision is asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxvis.cli.main import main
from onnxvis.cli.recipes.torchvision import class_names, sides
from onnxvis.errors import InputError, UsageError

NEEDS_TORCHVISION = "needs torchvision: pip install -e '.[test,make]'"
NAME = "mobilenet_v3_small"


@pytest.fixture
def torch() -> Any:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCHVISION)
    pytest.importorskip("torchvision", reason=NEEDS_TORCHVISION)
    torch.set_num_threads(1)
    return torch


@pytest.fixture
def checkpoint(torch: Any, tmp_path: Path) -> Callable[[str, int], tuple[Path, Any]]:
    """A file with the weights of a network of so many classes, and the network."""
    from torchvision.models import mobilenet_v3_small

    def make(name: str, classes: int) -> tuple[Path, Any]:
        torch.manual_seed(classes)
        network = mobilenet_v3_small(num_classes=classes).eval()
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        torch.save({"state_dict": network.state_dict()}, path)
        return path, network

    return make


def differs(torch: Any, path: Path, network: Any, size: tuple[int, int]) -> float:
    """The largest difference between file and network on two random pictures, relative to the largest output."""
    given = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"image": given.numpy()})
    with torch.no_grad():
        expected = network(given).numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def test_random_weights_make_a_file_that_repeats_itself(
    torch: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / f"{letter}.onnx" for letter in "abc"]
    for file, seed in zip(files, ("3", "3", "4"), strict=True):
        assert main(["make", "torchvision", NAME, "--random", "--seed", seed, "-o", str(file), "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(file) for file in files]
    assert said.err == ""
    assert files[0].read_bytes() == files[1].read_bytes() != files[2].read_bytes()
    from torchvision.models import mobilenet_v3_small

    torch.manual_seed(3)
    assert differs(torch, files[0], mobilenet_v3_small().eval(), (224, 224)) <= 1e-4
    properties = {entry.key: entry.value for entry in onnx.load(files[0]).metadata_props}
    assert len(json.loads(properties["onnxvis.labels"])) == 1000
    assert json.loads(properties["onnxvis.preprocess"])["size"] == [224, 224]


def test_several_checkpoints_make_a_file_each(torch: Any, checkpoint: Any, tmp_path: Path) -> None:
    (first, one), (second, two) = checkpoint("epoch1.pth", 5), checkpoint("best.pt", 7)
    folder = tmp_path / "made"
    given = ["--checkpoint", str(first), "--checkpoint", str(second)]
    assert main(["make", "torchvision", NAME, *given, "-o", str(folder), "--size", "64x96", "--fold"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["best.onnx", "epoch1.onnx"]
    assert differs(torch, folder / "epoch1.onnx", one, (64, 96)) <= 1e-4
    assert differs(torch, folder / "best.onnx", two, (64, 96)) <= 1e-4
    model = onnx.load(folder / "best.onnx")
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    assert "onnxvis.labels" not in {entry.key for entry in model.metadata_props}


def test_labels_go_into_the_file_and_must_be_as_many_as_the_classes(
    torch: Any, checkpoint: Any, tmp_path: Path, fails: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = checkpoint("two.pth", 2)
    labels = tmp_path / "labels.txt"
    labels.write_text("cat\ndog\n")
    arguments = ("make", "torchvision", NAME, "--checkpoint", path, "--labels", labels, "-o", tmp_path / "two.onnx")
    assert main([*map(str, arguments), "--size", "64", "--quiet"]) == 0
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "two.onnx").metadata_props}
    assert json.loads(properties["onnxvis.labels"]) == ["cat", "dog"]
    capsys.readouterr()
    labels.write_text("cat\ndog\nbird\n")
    (tmp_path / "two.onnx").unlink()
    assert "labels.txt names 3 classes, the network has 2" in fails(*arguments)
    assert not (tmp_path / "two.onnx").exists()


def test_without_a_network_the_error_says_what_else_there_is(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    def offline(*_arguments: object, **_options: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    said = fails("make", "torchvision", "resnet18", "-o", tmp_path / "x.onnx")
    assert said.startswith("the pretrained weights of resnet18 could not be fetched (Name or service not known); ")
    assert "--checkpoint FILE.pth" in said
    assert "--random" in said
    assert not (tmp_path / "x.onnx").exists()


def test_no_network_is_made_where_one_of_the_names_is_unknown(
    torch: Any, tmp_path: Path, fails: Callable[..., str]
) -> None:
    said = fails("make", "torchvision", NAME, "resnet19", "--random", "-o", tmp_path / "made")
    assert said.startswith("torchvision has no classifier 'resnet19'; nearest: resnet1")
    assert not (tmp_path / "made").exists()


def test_a_size_that_the_network_cannot_take_is_told(torch: Any, tmp_path: Path, fails: Callable[..., str]) -> None:
    said = fails("make", "torchvision", "alexnet", "--random", "--size", "20", "-o", tmp_path / "x.onnx")
    assert said.startswith("alexnet does not run on an input of 1x3x20x20 (")


def test_files_that_are_given_are_never_written_over(
    torch: Any, checkpoint: Any, tmp_path: Path, fails: Callable[..., str]
) -> None:
    path, _ = checkpoint("weights.onnx", 2)
    before = path.read_bytes()
    for output in (path, tmp_path):
        said = fails("make", "torchvision", NAME, "--checkpoint", path, "-o", output)
        assert "is one of the inputs" in said
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet18", "alexnet", "--random", "-o", "x.onnx"], "-o x.onnx is one file, and 2 will be made"),
        (["resnet18", "resnet18", "--random", "-o", "made"], "two files would be called resnet18.onnx"),
        (["resnet18", "--checkpoint", "a/w.pth", "--checkpoint", "b/w.pth", "-o", "made"], "called w.onnx"),
        (["resnet18", "alexnet", "--checkpoint", "w.pth", "-o", "made"], "--checkpoint goes with one network"),
        (["resnet18", "--classes", "5", "-o", "x.onnx"], "onnxvis make finetune"),
        (["resnet18", "--random", "--seed", "-1", "-o", "x.onnx"], "--seed -1"),
        (["resnet18", "--random", "--seed", str(1 << 64), "-o", "x.onnx"], "is no seed"),
        (["resnet18", "--random", "--size", "native", "-o", "x.onnx"], "--size native"),
        (["resnet18", "--random", "--size", "0", "-o", "x.onnx"], "--size is '0'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    arguments: list[str], said: str, fails: Callable[..., str]
) -> None:
    assert said in fails("make", "torchvision", *arguments)


def test_random_weights_and_a_checkpoint_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["make", "torchvision", "resnet18", "--random", "--checkpoint", "w.pth", "-o", "x.onnx"])
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_the_extra_is_named_where_torchvision_is_missing(
    monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    said = fails("make", "torchvision", "resnet18", "--random", "-o", "x.onnx")
    assert said == 'this needs torch and torchvision, and torch is not installed: pip install "onnxvis[make]"'


def test_sides_are_height_and_width() -> None:
    assert sides(None) is None
    assert (sides("224"), sides("64x96")) == ((224, 224), (64, 96))
    with pytest.raises(UsageError):
        sides("1x2x3")


def test_class_names_come_from_lines_or_json(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text('{"0": "cat", "1": "dog"}')
    assert class_names(None, 3) is None
    assert class_names(file, 2) == class_names(file, None) == ["cat", "dog"]
    file.write_text('{"0": "cat", "7": "dog"}')
    for classes in (2, 8, None):
        with pytest.raises(UsageError, match="names 2 classes"):
            class_names(file, classes)
    with pytest.raises(InputError, match="cannot read"):
        class_names(tmp_path / "absent.txt", 2)
