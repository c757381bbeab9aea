from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxvis.cli.main import main
from tests.cli.conftest import Fails
from tests.tiny import from_text, write

FEED = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def test_the_gradient_of_the_first_output_by_the_picture(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "gradient.onnx"
    assert main(["gradient", str(model), "-o", str(target)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{target}\n"
    assert "feed 'seed.logits' with the gradient that starts at logits" in said.err
    assert "'grad.image' is the gradient by image" in said.err
    onnx.checker.check_model(str(target), full_check=True)
    session = ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    seed = np.zeros((1, 10), np.float32)
    seed[0, 3] = 1
    logits, gradient = session.run(["logits", "grad.image"], {"image": FEED, "seed.logits": seed})
    original = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(original.run(None, {"image": FEED})[0], logits, rtol=1e-5, atol=1e-5)
    # Along the gradient the logit rises by its squared length, to first order.
    step = gradient * (1e-2 / float((gradient**2).sum()) ** 0.5)
    ends = [original.run(None, {"image": FEED + sign * step})[0][0, 3] for sign in (1, -1)]
    assert ends[0] - ends[1] == pytest.approx(2 * float((gradient * step).sum()), rel=0.02)


def test_several_tensors_and_nothing_else(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "g.onnx"
    words = ["--of", "logits", "--wrt", "stage1", "--wrt", "stage2", "--only", "--rule", "guided", "--quiet"]
    assert main(["gradient", str(model), "-o", str(target), *words]) == 0
    graph = onnx.load(target).graph
    assert [value.name for value in graph.output] == ["grad.stage1.y/relu", "grad.stage2.y/relu"]
    assert [value.name for value in graph.input] == ["image", "seed.logits"]


def test_linked_models_share_the_weights(model: Path, tmp_path: Path) -> None:
    whole, linked = tmp_path / "whole.onnx", tmp_path / "linked.onnx"
    assert main(["gradient", str(model), "-o", str(whole), "--quiet"]) == 0
    assert main(["gradient", str(model), "-o", str(linked), "--link", "--quiet"]) == 0
    assert linked.stat().st_size < whole.stat().st_size - 20_000
    ort.InferenceSession(linked, providers=["CPUExecutionProvider"])


def test_check_says_that_all_is_well(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gradient", str(model), "--check"]) == 0
    assert capsys.readouterr().out == "every node on the way has a gradient\n"


def test_check_lists_every_obstacle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = (
        "g (float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,3] a) "
        "{ a = Det(x)\n b = Relu(x)\n c = Hardmax(b)\n d = Mul(b, c)\n y = Hardmax(d) }"
    )
    words = ["gradient", str(write(from_text(body), tmp_path)), "--check", "--of", "y", "--of", "a", "--wrt", "x"]
    assert main(words) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["Det", "Hardmax", "Hardmax"]
    assert main([*words, "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert [item["op"] for item in data["obstacles"]] == ["Det", "Hardmax", "Hardmax"]
    assert data["schema_version"] == 1
    assert (sorted(data["of"]), data["wrt"]) == (["a", "y"], ["x"])


def test_what_is_refused(model: Path, tmp_path: Path, fails: Fails) -> None:
    out = ("-o", tmp_path / "g.onnx")
    assert "give -o OUT.onnx" in fails("gradient", model)
    assert "give -o OUT.onnx" in fails("gradient", model, *out, "--check")
    assert "--json goes with --check" in fails("gradient", model, *out, "--json")
    assert "no tensor 'nothing'" in fails("gradient", model, *out, "--of", "nothing")
    assert "is a weight" in fails("gradient", model, *out, "--wrt", "fc.weight")
    assert "does not depend on 'logits'" in fails("gradient", model, *out, "--of", "stage1", "--wrt", "logits")
    assert "which are never changed" in fails("gradient", model, "-o", model)
    assert not (tmp_path / "g.onnx").exists()
