"""What the rewrite tests share: models from text, feeds, and ONNX Runtime as the oracle, used without our code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import ModelProto, parser

from onnxvis.graph.load import Model

__all__ = ["Array", "corpus", "feeds_for", "from_text", "oracle", "outputs_of", "unoptimised", "write"]

Array = npt.NDArray[Any]


def from_text(body: str, opset: int = 17, header: str = "") -> ModelProto:
    """A model from the text of its graph."""
    return parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}{header}]> {body}')


def write(model: ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def corpus() -> list[Path]:
    """The real models; none where the variable is not set."""
    folder = os.environ.get("ONNXVIS_CORPUS")
    return sorted((Path(folder) / "models").glob("*.onnx")) if folder else []


def feeds_for(model: Model, seed: int = 0) -> dict[str, Array]:
    """Random values for every input, at the shapes the model is seen with."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for tensor in model.inputs:
        declared = model.assumed_shapes.get(tensor.name) or tensor.shape or ()
        shape = [size if isinstance(size, int) else {"sequence": 512}.get(str(size), 1) for size in declared]
        scale = 16000 if tensor.name == "sr" else 1
        values = rng.standard_normal(shape) if tensor.dtype.startswith("float") else np.full(shape, scale)
        feeds[tensor.name] = np.asarray(values, np.dtype(tensor.dtype))
    return feeds


def oracle(model: ModelProto, *, exact: bool) -> ort.InferenceSession:
    """A session over a whole model on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if exact:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs_of(session: ort.InferenceSession, feeds: Mapping[str, Array]) -> dict[str, Any]:
    return dict(zip([item.name for item in session.get_outputs()], session.run(None, dict(feeds)), strict=True))


def unoptimised(path: Path, tensors: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Any]:
    """Every tensor's value by ONNX Runtime without optimisations, the file read whole and the outputs just appended."""
    whole = onnx.load(path)
    present = {value.name for value in whole.graph.output}
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in present)
    return outputs_of(oracle(whole, exact=True), feeds)
