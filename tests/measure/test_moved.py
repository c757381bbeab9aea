from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxvis
from onnxvis.graph.protos import copied
from onnxvis.measure.moved import moved_outputs
from tests.tiny import from_text, tiny, write


def test_an_unchanged_model_has_not_moved(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(batch="N"), tmp_path))
    assert moved_outputs(model, model.proto, {}) == {"logits": 0.0}


def test_a_bias_moves_the_output_by_its_share(tmp_path: Path) -> None:
    nodes = "y = Identity(x)\n f = Cast<to = 1>(k)\n z = Add(f, x)"
    body = f"g (float[2] x, int64[2] k) => (float[2] y, float[2] z) {{ {nodes} }}"
    model = onnxvis.load(write(from_text(body), tmp_path))
    changed = copied(model.proto)
    changed.graph.initializer.append(numpy_helper.from_array(np.array([0.5, 0.5], np.float32), "half"))
    changed.graph.node[0].op_type = "Add"
    changed.graph.node[0].input.append("half")
    gaps = moved_outputs(model, changed, {})
    noise = np.random.default_rng(0).standard_normal(2).astype(np.float32)
    assert gaps["y"] == pytest.approx(0.5 / np.abs(noise).max(), rel=1e-5)
    assert gaps["z"] == 0


def test_values_that_are_no_numbers_count_too(tmp_path: Path) -> None:
    body = "g (float[2] x) => (float[2] y) <float[2] w = {1, 0}> { y = Add(x, w) }"
    model = onnxvis.load(write(from_text(body), tmp_path))

    def with_weight(*values: float) -> onnx.ModelProto:
        changed = copied(model.proto)
        changed.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(values, np.float32), "w"))
        return changed

    assert moved_outputs(model, with_weight(1, 0), {}) == {"y": 0.0}
    assert moved_outputs(model, with_weight(1, np.nan), {}) == {"y": np.inf}


def test_further_inputs_are_fed(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(), tmp_path))
    found = onnxvis.embed(model)
    gaps = moved_outputs(model, found.proto, {found.target: np.array([-1])})
    assert list(gaps) == ["logits"]
    assert gaps["logits"] < 1e-5
