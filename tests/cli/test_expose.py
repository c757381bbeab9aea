from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxvis.cli.main import main
from tests.cli.conftest import Fails
from tests.tiny import Array, from_text, oracle, write

FEED = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}


def run(path: Path) -> dict[str, Array]:
    """All outputs of a written model, in order."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, FEED), strict=True))


def test_original_outputs_come_first(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out" / "exposed.onnx"
    assert main(["expose", str(model), "-o", str(target), "--tensor", "stage2", "--tensor", "*x/relu"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{target}\n"
    assert "onnxvis: stage2: the output of stage stage2: stage2.y/relu" in said.err
    assert "onnxvis: *x/relu: 2 tensors by pattern" in said.err
    onnx.checker.check_model(str(target), full_check=True)
    found = run(target)
    assert list(found) == ["logits", "stage1.x/relu", "stage2.x/relu", "stage2.y/relu"]
    wanted = oracle(model, list(found), FEED)
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-5)


def test_only_leaves_out_what_is_not_needed(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "cut.onnx"
    assert main(["expose", str(model), "-o", str(target), "--tensor", "stage1", "--only", "--quiet"]) == 0
    assert capsys.readouterr() == (f"{target}\n", "")
    assert list(run(target)) == ["stage1.y/relu"]
    graph = onnx.load(target).graph
    assert not [node.name for node in graph.node if node.name.startswith("stage2")]
    assert not [item.name for item in graph.initializer if item.name.startswith(("stage2", "fc"))]
    assert target.stat().st_size < model.stat().st_size / 2


def test_linked_models_share_the_weights(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "linked.onnx"
    assert main(["expose", str(model), "-o", str(target), "--tensor", "stage1", "--link"]) == 0
    assert target.stat().st_size < model.stat().st_size * 0.7
    whole, linked = run(model), run(target)
    np.testing.assert_allclose(linked["logits"], whole["logits"], rtol=1e-5, atol=1e-6)


def test_links_that_no_runtime_would_follow(model: Path, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "elsewhere").mkdir()
    said = fails("expose", model, "-o", tmp_path / "elsewhere/e.onnx", "--tensor", "stage1", "--link")
    assert "cannot link" in said
    assert "leave out --link" in said
    assert not list((tmp_path / "elsewhere").iterdir())


def test_wider_types_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = "g (float[1,2,2,2] x) => (float[1,2,2,2] y) { b = Cast<to = 16>(x)\n y = Cast<to = 1>(b) }"
    path = write(from_text(body), tmp_path)
    assert main(["expose", str(path), "-o", str(tmp_path / "e.onnx"), "--tensor", "b"]) == 0
    assert "b: bfloat16 is returned as float32, as 'b.float32'" in capsys.readouterr().err


def test_what_is_refused(model: Path, tmp_path: Path, fails: Fails) -> None:
    target = tmp_path / "e.onnx"
    said = fails("expose", model, "-o", target, "--tensor", "stage3")
    assert "has no tensor 'stage3'; nearest: " in said
    assert "'stage2'" in said
    assert "onnxvis layers tiny.onnx" in said
    assert "never changed" in fails("expose", model, "-o", model, "--tensor", "stage1")
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    assert "never changed" in fails("expose", model, "-o", link, "--tensor", "stage1")
    assert "never changed" in fails("expose", link, "-o", model, "--tensor", "stage1")
    assert "cannot write" in fails("expose", model, "-o", model / "e.onnx", "--tensor", "stage1")
    assert "is a folder" in fails("expose", model, "-o", tmp_path, "--tensor", "stage1")
    assert not target.exists()


def test_tensors_in_branches_are_refused_with_the_reason(tmp_path: Path, fails: Fails) -> None:
    body = """g (float[1] x, bool flag) => (float[1] y) {
        y = If(flag) <then_branch = a () => (float[1] t) { t = Relu(x) },
                      else_branch = b () => (float[1] e) { e = Tanh(x) }>
    }"""
    path = write(from_text(body), tmp_path)
    said = fails("expose", path, "-o", tmp_path / "e.onnx", "--tensor", "t")
    assert "lives inside a branch or body of If node" in said
