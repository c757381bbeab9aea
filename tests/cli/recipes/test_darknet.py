"""`onnxvis make darknet`: from a cfg and weights to a model file, and what is said on the way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxvis
from onnxvis.cli.main import main
from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.plan import make_plan
from onnxvis.models.darknet.structures import yolov3_tiny
from tests.models.darknet.cfgs import cfg
from tests.references.make_darknet import weights_bytes

NET = cfg(
    "convolutional batch_normalize=1 filters=8 size=3 stride=4 pad=1 activation=leaky",
    "convolutional filters=14 activation=linear", "yolo mask=0,1 anchors=1,2,3,4 num=2 classes=2",
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """A cfg, its weights, and where the model goes."""
    config, weights = tmp_path / "x.cfg", tmp_path / "x.weights"
    config.write_text(NET)
    weights.write_bytes(weights_bytes(make_plan(parse_cfg(NET, "x.cfg"))))
    return str(config), str(weights), str(tmp_path / "out" / "x.onnx")


def metadata(path: str) -> dict[str, object]:
    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


def test_weights_become_a_model(files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    config, weights, output = files
    assert main(["make", "darknet", config, weights, "-o", output]) == 0
    said = capsys.readouterr()
    assert said.out == f"{output}\n"
    assert "onnxvis: x.cfg: 3 sections, 374 parameters, input 3 x 16 x 16, outputs head4" in said.err
    model = onnx.load(output)
    onnx.checker.check_model(model, full_check=True)
    floats = np.frombuffer(Path(weights).read_bytes()[20:], "<f4")
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    np.testing.assert_array_equal(kept["darknet/stage1/down/bn/bias"], floats[:8])
    np.testing.assert_array_equal(kept["darknet/stage1/down/bn/mean"], floats[16:24])
    np.testing.assert_array_equal(kept["head4/conv/conv/weight"].reshape(-1), floats[-14 * 8 :])
    assert set(metadata(output)) == {"onnxvis.preprocess", "onnxvis.detector"}


def test_all_options(files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, _, output = files
    labels = tmp_path / "names.txt"
    labels.write_text("cat\ndog\ncow\n")
    options = ["--random", "--seed", "7", "--classes", "3", "--size", "32x48", "--decode", "--labels", str(labels)]
    assert main(["make", "darknet", config, "-o", output, *options, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    shapes = {
        port.name: [dim.dim_value for dim in port.type.tensor_type.shape.dim][1:]
        for port in (*onnx.load(output).graph.input, *onnx.load(output).graph.output)
    }
    assert shapes == {"image": [3, 32, 48], "head8x12": [16, 8, 12], "boxes": [192, 4], "scores": [192, 3]}
    said = metadata(output)
    assert said["onnxvis.labels"] == ["cat", "dog", "cow"]
    assert isinstance(said["onnxvis.detector"], dict)
    assert said["onnxvis.detector"]["boxes"] == "boxes"


def test_a_seed_gives_the_same_file(files: tuple[str, str, str], tmp_path: Path) -> None:
    config = files[0]
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert main(["make", "darknet", config, "--random", "--seed", seed, "-o", str(tmp_path / name)]) == 0
    first, second, third = ((tmp_path / name).read_bytes() for name in "abc")
    assert first == second != third


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no weights were given: name a .weights file, or draw weights by chance with --random"),
        (["WEIGHTS", "--random"], "both weights and --random were given"),
        (["WEIGHTS", "--seed", "1"], "--seed goes with --random"),
        (["--random", "--seed", "-1"], "--seed is -1; it can be 0 to 2^63 - 1"),
        (["--random", "--size", "native"], "--size native is not possible"),
        (["--random", "--size", "18"], "has 5 x 5 cells for an input of 18 x 18"),
        (["--random", "--classes", "0"], "--classes is 0; it can be 1 to 65536"),
        (["--random", "--labels", "LABELS"], "3 labels do not go with the 2 classes of x.cfg"),
        (["PLAIN", "--random", "--decode"], "plain.cfg has no [yolo] section: there are no boxes to decode"),
        (["--random", "--labels", "HOLES"], "does not name every class from 0 on"),
        (["WEIGHTS", "--classes", "3"], "x.weights is cut off, or belongs to another cfg: section 1 [convolutional]"),
        (["WEIGHTS", "--classes", "1"], "x.weights has 72 bytes left after the last layer of x.cfg"),
        (["CUT"], "another cfg: section 0 [convolutional] needs 8 floats for its mean at 16, 4 are missing"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    files: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    config, weights, output = files
    (tmp_path / "labels.txt").write_text("a\nb\nc")
    (tmp_path / "holes.json").write_text('{"1": "b"}')
    (tmp_path / "plain.cfg").write_text(cfg("maxpool"))
    (tmp_path / "cut.weights").write_bytes(Path(weights).read_bytes()[:100])
    stand_for = {
        "WEIGHTS": weights, "LABELS": str(tmp_path / "labels.txt"), "HOLES": str(tmp_path / "holes.json"),
        "CUT": str(tmp_path / "cut.weights"),
    }  # fmt: skip
    given = [stand_for.get(option, option) for option in options if option != "PLAIN"]
    config = str(tmp_path / "plain.cfg") if "PLAIN" in options else config
    assert main(["make", "darknet", config, *given, "-o", output]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("onnxvis: ")
    assert message in said
    assert not Path(output).exists()


def test_files_that_are_given_are_not_overwritten(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config, weights, _ = files
    for target in (config, weights):
        before = Path(target).read_bytes()
        assert main(["make", "darknet", config, weights, "-o", target]) == 2
        assert "is one of the inputs, which are never changed" in capsys.readouterr().err
        assert Path(target).read_bytes() == before


def test_weights_that_are_no_numbers_are_warned_of_even_when_quiet(
    files: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    config, weights, output = files
    content = bytearray(Path(weights).read_bytes())
    content[20:24] = np.array(np.nan, "<f4").tobytes()
    Path(weights).write_bytes(content)
    assert main(["make", "darknet", config, weights, "-o", output, "--quiet"]) == 0
    assert capsys.readouterr().err == (
        "onnxvis: warning: x.weights: section 0 [convolutional] has 1 of 8 numbers that are not finite in its bias\n"
    )


def test_yolov3_tiny_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    config, weights, output = corpus / "darknet/yolov3-tiny.cfg", tmp_path / "t.weights", tmp_path / "t.onnx"
    weights.write_bytes(weights_bytes(make_plan(parse_cfg(yolov3_tiny(), "x"))))
    assert main(["make", "darknet", str(config), str(weights), "-o", str(output)]) == 0
    assert [port.name for port in onnx.load(output).graph.output] == ["head13", "head26"]


@pytest.mark.slow
def test_yolov3_of_the_corpus(corpus: Path, tmp_path: Path) -> None:
    config, weights, output = corpus / "darknet/yolov3.cfg", tmp_path / "y.weights", tmp_path / "y.onnx"
    weights.write_bytes(weights_bytes(make_plan(parse_cfg(config.read_text(), "x"))))
    assert weights.stat().st_size == 248_007_048
    assert main(["make", "darknet", str(config), str(weights), "-o", str(output)]) == 0
    model = onnxvis.load(output)
    assert [stage.channels for stage in model.stages()] == [64, 128, 256, 512, 1024]
