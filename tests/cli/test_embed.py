from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from onnxvis.cli.main import main
from tests.cli.conftest import Fails
from tests.tiny import from_text, write

FEED = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def test_a_model_that_explains_itself(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "explains.onnx"
    assert main(["embed", str(model), "-o", str(target), "--method", "layercam"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{target}\n"
    assert "output 'heatmap': (N, H, W) in 0-1; input 'target': int64" in said.err
    assert "of tiny.onnx are unchanged on a random input" in said.err or "moves by up to" in said.err
    session = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    logits, heatmap = session.run(["logits", "heatmap"], {"image": FEED, "target": np.array([-1])})
    assert heatmap.shape == (1, 32, 32)
    assert 0 <= heatmap.min() < heatmap.max() <= 1
    top = session.run(["heatmap"], {"image": FEED, "target": np.array([int(logits.argmax())])})[0]
    np.testing.assert_array_equal(top, heatmap)


def test_linked_models_share_the_weights(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "linked.onnx"
    assert main(["embed", str(model), "-o", str(target), "--link", "--quiet"]) == 0
    session = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    assert session.run(["heatmap"], {"image": FEED, "target": np.array([0])})[0].shape == (1, 32, 32)


def test_what_is_refused(model: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "e.onnx")
    assert "no tensor 'nothing'" in fails("embed", model, *out, "--layer", "nothing")
    assert "has no output 'nothing'; it has logits" in fails("embed", model, *out, "--of", "nothing")
    vector = write(from_text("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"), tmp_path, "vector.onnx")
    assert "takes no picture" in fails("embed", vector, *out)
    assert not (tmp_path / "e.onnx").exists()
