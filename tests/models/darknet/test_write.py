"""Models written weight by weight are read as the same models again."""

from __future__ import annotations

import io
from pathlib import Path

import onnx
import pytest

import onnxvis
from onnxvis.models.darknet.build import build
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.write import write_model
from tests.models.darknet.cfgs import plan_of


class Counting(io.BytesIO):
    """Remembers how long the longest piece was."""

    longest = 0

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.longest = max(self.longest, len(data))
        return super().write(data)


@pytest.fixture
def model() -> onnx.ModelProto:
    plan = plan_of(*["convolutional filters=64 size=3 batch_normalize=1"] * 6)
    made: onnx.ModelProto = build(plan, DrawnWeights(plan, 0))
    made.doc_string = "anything"
    made.graph.doc_string = "else"
    return made


def test_the_same_model_is_read_again(model: onnx.ModelProto) -> None:
    stream = Counting()
    write_model(model, stream)
    again = onnx.load_from_string(stream.getvalue())
    assert again == model
    assert len(stream.getvalue()) == model.ByteSize()
    assert stream.longest < len(stream.getvalue()) / 4


def test_a_model_without_weights_and_one_without_anything() -> None:
    for model in (onnx.ModelProto(), onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) {y = Relu(x)}')):  # fmt: skip
        stream = io.BytesIO()
        write_model(model, stream)
        assert onnx.load_from_string(stream.getvalue()).graph == model.graph


def test_onnxvis_maps_its_weights(model: onnx.ModelProto, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    with path.open("wb") as stream:
        write_model(model, stream)
    found = onnxvis.load(path)
    assert len(found.skeleton.SerializeToString()) < path.stat().st_size / 10
