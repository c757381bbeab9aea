"""A network that runs in a millisecond, pictures to feed it, and ONNX Runtime as the oracle of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, helper, numpy_helper, parser
from PIL import Image

__all__ = ["Array", "from_text", "oracle", "photo", "rename", "tiny", "write"]

Array = npt.NDArray[Any]

_SIDE, _CLASSES = 32, 10


def from_text(body: str, opset: int = 17) -> ModelProto:
    """A model from the text of its graph."""
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {body}')


def write(model: ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """The model as a file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def tiny(batch: int | str = 1, side: int | str = _SIDE, channels: int = 3, dtype: str = "float32") -> ModelProto:
    """Two stages, 8 maps of 16 × 16 and 16 of 8 × 8, two blocks in each, then ten logits; random weights.

    Channel 5 of the first stage's first convolution is zero throughout: its bias is below any input.
    """
    rng = np.random.default_rng(7)
    nodes, weights = [], []

    def conv(source: str, name: str, before: int, after: int, stride: int = 1) -> str:
        kernel = (rng.standard_normal((after, before, 3, 3)) * (2 / (9 * before)) ** 0.5).astype(dtype)
        bias = np.zeros(after, dtype)
        if name == "stage1.first":
            bias[5] = -1000
        weights.extend(
            [numpy_helper.from_array(kernel, f"{name}.weight"), numpy_helper.from_array(bias, f"{name}.bias")]
        )
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{name}.weight", f"{name}.bias"], [f"{name}/conv"], f"{name}/Conv",
                kernel_shape=[3, 3], pads=[1] * 4, strides=[stride] * 2,
            )
        )  # fmt: skip
        return f"{name}/conv"

    def relu(source: str, name: str) -> str:
        nodes.append(helper.make_node("Relu", [source], [f"{name}/relu"], f"{name}/Relu"))
        return f"{name}/relu"

    def residual(source: str, name: str, width: int) -> str:
        inner = conv(relu(conv(source, f"{name}.a", width, width), f"{name}.a"), f"{name}.b", width, width)
        nodes.append(helper.make_node("Add", [source, inner], [f"{name}/add"], f"{name}/Add"))
        return relu(f"{name}/add", name)

    here = relu(conv("image", "stage1.first", channels, 8, 2), "stage1.first")
    here = residual(residual(here, "stage1.x", 8), "stage1.y", 8)
    here = relu(conv(here, "stage2.first", 8, 16, 2), "stage2.first")
    here = residual(residual(here, "stage2.x", 16), "stage2.y", 16)
    nodes += [
        helper.make_node("GlobalAveragePool", [here], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["vector"], "flatten"),
        helper.make_node("Gemm", ["vector", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
    ]
    weights += [
        numpy_helper.from_array(rng.standard_normal((_CLASSES, 16)).astype(dtype), "fc.weight"),
        numpy_helper.from_array(rng.standard_normal(_CLASSES).astype(dtype), "fc.bias"),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("image", kind, [batch, channels, side, side])],
        [helper.make_tensor_value_info("logits", kind, [batch, _CLASSES])],
        weights,
    )  # fmt: skip
    return helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], producer_name="tests", producer_version="1"
    )


def rename(model: ModelProto, names: Mapping[str, str]) -> ModelProto:
    """A copy with tensors, nodes and the graph's ports renamed."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        node.name = names.get(node.name, node.name)
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
    for value in (*copy.graph.input, *copy.graph.output):
        value.name = names.get(value.name, value.name)
    for tensor in copy.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    return copy


def photo(folder: Path, name: str = "photo.png", height: int = 40, width: int = 48, seed: int = 0) -> Path:
    """A picture of smooth colours and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([rows * 200 / height, columns * 200 / width, (rows + columns) * 100 / (height + width)], axis=2)
    pixels = np.clip(smooth + rng.integers(0, 55, (height, width, 3)), 0, 255).astype(np.uint8)
    path = folder / name
    Image.fromarray(pixels).save(path)
    return path


def oracle(path: Path, tensors: Sequence[str], feeds: Mapping[str, Array], *, exact: bool = False) -> dict[str, Array]:
    """Every tensor's value by ONNX Runtime, the outputs appended by onnx alone; with the model's own outputs."""
    whole = onnx.load(path)
    present = {value.name for value in whole.graph.output}
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in present)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    if exact:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(None, dict(feeds))
    return {value.name: np.asarray(item) for value, item in zip(session.get_outputs(), found, strict=True)}
