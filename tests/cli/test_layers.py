from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxvis import __version__
from onnxvis.cli.main import main
from tests.graph.test_heads import suppressing
from tests.tiny import from_text, rename, tiny, write


def strict(text: str) -> Any:
    """JSON without the NaN and Infinity that Python alone would take."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def described(path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["layers", str(path), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return strict(said.out)


def test_json_has_the_keys_that_scripts_rely_on(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = described(model, capsys)
    assert set(found) >= {"schema_version", "onnxvis_version", "model", "stages", "tensors"}
    assert (found["schema_version"], found["onnxvis_version"]) == (1, __version__)
    facts = found["model"]
    assert {key: facts[key] for key in ("path", "sha256", "producer", "opset")} == {
        "path": str(model), "sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "producer": "tests 1",
        "opset": 17,
    }  # fmt: skip
    whole = onnx.load(model)
    assert facts["parameters"] == sum(numpy_helper.to_array(item).size for item in whole.graph.initializer)
    assert facts["macs"] > 0
    assert facts["inputs"] == [{"name": "image", "shape": [1, 3, 32, 32], "dtype": "float32"}]
    assert facts["outputs"] == [{"name": "logits", "shape": [1, 10], "dtype": "float32"}]
    first, last = found["stages"]
    assert {key: last[key] for key in ("name", "output", "channels", "height", "width")} == {
        "name": "stage2", "output": "stage2.y/relu", "channels": 16, "height": 8, "width": 8,
    }  # fmt: skip
    assert first["output"] == "stage1.y/relu"
    assert all(set(block) == {"name", "kind", "output"} for stage in found["stages"] for block in stage["blocks"])
    assert last["blocks"][-1]["output"] == last["output"]
    assert all(set(tensor) == {"name", "op", "shape", "dtype", "part", "stage", "block"} for tensor in found["tensors"])
    assert [(t["name"], t["op"]) for t in found["tensors"]] == [
        (name, node.op_type) for node in whole.graph.node for name in node.output
    ]


def test_tensors_of_functions_say_where_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proto = from_text("g (float[1] x) => (float[1] y) { y = Neg(x) }")
    proto.opset_import.add(domain="here", version=1)
    body = [onnx.helper.make_node("Neg", ["a"], ["hidden"]), onnx.helper.make_node("Relu", ["hidden"], ["b"])]
    proto.functions.append(onnx.helper.make_function("here", "F", ["a"], ["b"], body, proto.opset_import[:1]))
    proto.graph.node[0].CopyFrom(onnx.helper.make_node("F", ["x"], ["y"], domain="here"))
    hidden, y = described(write(proto, tmp_path), capsys)["tensors"]
    assert hidden["origin"] == "F[call 0]/hidden"
    assert (y["name"], "origin" in y) == ("y", False)


def test_the_table(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", str(model)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    assert lines[0].startswith("tiny.onnx: opset 17, ")
    table = {line.split()[0]: line for line in lines}
    assert "8 × 16 × 16" in table["stage1"]
    assert "16 × 8 × 8" in table["stage2"]
    assert "stage2.y/relu" in table["stage2"]
    assert "pooled" in said.out
    assert "stage1.x.a/conv" not in said.out
    assert all(len(line) <= 140 for line in lines)
    assert main(["layers", str(model), "--all"]) == 0
    assert "stage1.x.a/conv" in capsys.readouterr().out


def test_blocks_that_are_no_maps_show_their_own_shape(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["layers", str(model)])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.endswith("logits") and "head" in line)
    assert "1 × 10" in line


def test_free_sizes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tiny(batch="N", side="S"), tmp_path)
    assert main(["layers", str(path)]) == 0
    out = capsys.readouterr().out
    assert "float32 N × 3 × S × S" in out
    assert "sizes below are for image of 1 × 3 × 224 × 224" in out
    assert described(path, capsys)["model"]["assumed_shapes"] == {"image": [1, 3, 224, 224]}


def test_a_model_without_feature_maps_lists_its_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(from_text("g (float[N,7] x) => (float[N,7] y) { a = Relu(x)\n y = Tanh(a) }"), tmp_path)
    assert main(["layers", str(path)]) == 0
    out = capsys.readouterr().out
    assert "no feature maps" in out
    assert "Relu" in out
    assert described(path, capsys)["stages"] == []


def test_hostile_models_give_strict_json_and_single_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    attacks = {
        "stage1.y/relu": "\x1b[31mred\n\r\x00", "stage2.y/relu": "x" * 60_000, "logits": '"}],\u2028',
        "image": "<script>", "pooled": "NaN", "vector": "\u202e🐈",
    }  # fmt: skip
    proto = rename(tiny(batch="\x1b]0;title\x07"), attacks)
    bias = next(item for item in proto.graph.initializer if item.name == "fc.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(10, np.nan, np.float32), "fc.bias"))
    path = write(proto, tmp_path, "a\nb.onnx")
    found = described(path, capsys)
    assert {tensor["name"] for tensor in found["tensors"]} >= set(attacks.values()) - {"<script>"}
    for more in ([], ["--all"]):
        assert main(["layers", str(path), *more]) == 0
        out = capsys.readouterr().out
        assert not set(out) & {"\x1b", "\r", "\x07", "\x00", "\u202e", "\u2028"}
        assert max(map(len, out.splitlines())) < 250


def test_heads_before_a_suppression_are_said(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(suppressing(), tmp_path)
    heads = described(path, capsys)["raw_heads"]
    assert heads[0] == {"tensor": "boxes", "feeds": "NonMaxSuppression", "node": "nms", "role": "boxes"}
    assert [head["tensor"] for head in heads] == ["boxes", "scores", "box", "label"]
    assert main(["layers", str(path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "raw head" in line]
    assert len(lines) == 4
    assert " ".join(lines[2].split()) == "raw head convolution 1 × 4 × 8 × 8 box feeds NonMaxSuppression 'nms'"
    assert described(model, capsys)["raw_heads"] == []
    main(["layers", str(model)])
    assert "raw head" not in capsys.readouterr().out
