"""The classifier that ships: what its file holds, how well it sees, and that its recipe runs and exports faithfully."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import onnxvis.models
from onnxvis.models.classifier import FRESH_SEEDS, SIZE, accuracy, batch_of, export, metadata, train
from onnxvis.models.scenes import make_scene
from onnxvis.models.shapes import KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEEDS_TORCH = "needs PyTorch: pip install -e '.[test,torch]'"
MODEL = Path(onnxvis.models.__file__).parent / "data" / "classifier.onnx"


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(MODEL)


def run(model: str | bytes, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": pictures})
    return np.asarray(logits)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def test_it_names_fresh_scenes() -> None:
    assert accuracy(str(MODEL), range(FRESH_SEEDS, FRESH_SEEDS + 300)) >= 0.97


def test_accuracy_counts_what_is_right() -> None:
    """Against one scene at a time, through a model that always says `star`."""
    fixed = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        fixed (float[batch,3,{SIZE},{SIZE}] image) => (float[batch,10] logits)
        <int64[1] last = {{1}}, float[1] zero = {{0}}, float[1] one = {{1}},
         float[1,10] star = {{0, 0, 0, 0, 1, 0, 0, 0, 0, 0}}> {{
            means = ReduceMean <axes = [1, 2, 3], keepdims = 0> (image)
            nothing = Mul (means, zero)
            ones = Add (nothing, one)
            column = Unsqueeze (ones, last)
            logits = MatMul (column, star)
        }}
    """)
    seeds = range(120)
    expected = np.mean([make_scene(seed).name == "star" for seed in seeds])
    assert accuracy(fixed.SerializeToString(), seeds) == pytest.approx(expected)


def test_the_file_is_small_and_valid(model: onnx.ModelProto) -> None:
    assert MODEL.stat().st_size <= 4_000_000
    assert sum(np.prod(weight.dims) for weight in model.graph.initializer) <= 1_000_000
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    onnx.checker.check_model(model, full_check=True)


def test_inputs_and_outputs(model: onnx.ModelProto) -> None:
    (image,), (logits,) = model.graph.input, model.graph.output
    dims = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert (image.name, dims) == ("image", ["batch", 3, SIZE, SIZE])
    assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert logits.name == "logits"
    assert run(str(MODEL), batch_of(range(3))[0]).shape == (3, 10)


def test_batch_norm_is_kept_for_inference(model: onnx.ModelProto) -> None:
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts == {
        "Conv": 20, "BatchNormalization": 20, "Relu": 17, "Add": 8, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1
    }  # fmt: skip
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            assert len(node.output) == 1
            assert attributes(node).get("training_mode", 0) == 0


def test_scopes_are_kept_and_nothing_of_the_machine_is(model: onnx.ModelProto) -> None:
    names = {output for node in model.graph.node for output in node.output}
    assert {"/conv1/Conv_output_0", "/layer1/layer1.0/conv1/Conv_output_0", "/layer4/layer4.1/Add_output_0"} <= names
    assert not any(node.doc_string for node in model.graph.node)
    content = MODEL.read_bytes()
    assert not [place for place in (b"/tmp", b"/work", b"/root", b"/home", b"site-packages") if place in content]


def test_labels_and_preprocessing_are_in_the_file(model: onnx.ModelProto) -> None:
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties == metadata()
    assert json.loads(properties["onnxvis.labels"]) == list(KINDS)
    said = json.loads(properties["onnxvis.preprocess"])
    assert (said["size"], said["fit"], said["interpolation"], said["bgr"]) == ([SIZE, SIZE], "stretch", "area", False)
    # What the file says, applied to a scene, is what the network was trained on.
    picture = make_scene(11).picture.astype(np.float64)
    expected = ((picture / said["divide"] - said["mean"]) / said["std"]).transpose(2, 0, 1)
    pictures, labels = batch_of([11])
    np.testing.assert_allclose(pictures[0], expected, atol=1e-6)
    assert labels.tolist() == [make_scene(11).label]


def test_the_file_equals_the_network_in_pytorch(model: onnx.ModelProto) -> None:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    from onnxvis.models.resnet import SmallResNet

    torch.set_num_threads(1)
    network = SmallResNet(10).eval()
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer
    }
    # Batch norm's counters are not in the file; PyTorch fills those in itself.
    absent, unknown = network.load_state_dict(weights, strict=False)
    assert not absent
    assert not unknown
    pictures, _ = batch_of(range(FRESH_SEEDS, FRESH_SEEDS + 20))
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures)).numpy()
    assert np.abs(run(str(MODEL), pictures) - expected).max() < 1e-4


def test_the_recipe_repeats_itself_and_exports_what_it_trained() -> None:
    torch = pytest.importorskip("torch", reason=NEEDS_TORCH)
    network, again = train(steps=3, batch=8), train(steps=3, batch=8)
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    assert not network.training
    exported = export(network)
    pictures, _ = batch_of(range(4))
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures)).numpy()
    np.testing.assert_allclose(run(exported, pictures), expected, atol=1e-4)
    assert sum(node.op_type == "BatchNormalization" for node in onnx.load_from_string(exported).graph.node) == 20
