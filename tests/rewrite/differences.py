"""Gradients by central differences, in float64, as the oracle of those that a rewritten graph computes.

The oracle runs the forward graph in ONNX's reference evaluator, after seeing that it computes there what it computes in
ONNX Runtime. What is tested runs in ONNX Runtime, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.tape import Variant
from tests.tiny import Array

__all__ = ["Case", "apart", "central_differences", "model_of", "run", "single", "worst_error"]

FLOAT32_ONLY = {"Resize": (2,), "Upsample": (1,)}
"""Inputs that stay float32 whatever the data's type is."""
_SMALL = 1e-3
_NARROW = ((1, 0.5), (-1, -0.5))
_WIDE = ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12))


@dataclass(frozen=True)
class Case:
    """A graph to differentiate. `feeds` are float32; gradients are taken of all outputs by `wrt` (default: the feeds
    of floats). `op`: what is tested. `step`: of the differences, any will do where the graph is `linear` in what it is
    differentiated by; above 0.001 they are of the fourth order, for operators that the evaluator computes in float32
    whatever it is given.
    """

    op: str
    name: str
    model: ModelProto
    feeds: dict[str, Array]
    wrt: tuple[str, ...] = ()
    linear: bool = False
    step: float = 1e-5

    def __str__(self) -> str:
        return f"{self.op}: {self.name}"


def apart(shape: Sequence[int], gap: float = 0.11, seed: int = 0) -> Array:
    """Values around 0, no two nearer to each other than `gap` and none nearer to 0 than half of it: no kink is near."""
    count = int(np.prod(shape))
    values = (np.arange(count) - count // 2 + 0.5) * gap
    return np.random.default_rng(seed).permutation(values).reshape(shape).astype(np.float32)


def single(
    op: str,
    shape: Sequence[int | str],
    weights: Mapping[str, Array] | None = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: int = 1,
    opset: int = 20,
    domain: str = "",
    **attributes: Any,
) -> ModelProto:
    """A model of one node: input `x` of that shape, then `weights` as initializers in order, or `inputs` by name.

    Outputs are y, y1, y2, …; dimensions given as texts are free.
    """
    weights = weights or {}
    names = ["y", *(f"y{number}" for number in range(1, outputs))]
    node = helper.make_node(op, inputs or ["x", *weights], names, "node", domain=domain, **attributes)
    return model_of([node], {"x": shape}, weights, names, opset)


def model_of(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    weights: Mapping[str, Array],
    outputs: Sequence[str] = ("y",),
    opset: int = 20,
) -> ModelProto:
    """A model of these nodes with float32 inputs of these shapes."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    ir = helper.OP_SET_ID_VERSION_MAP[("ai.onnx", opset)]
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=max(4, ir))


def run(proto: ModelProto, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
    """What ONNX Runtime computes, without optimisations."""
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(proto.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    names = list(outputs or (item.name for item in session.get_outputs()))
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def worst_error(case: Case, variant: Variant = "plain") -> float:
    """The largest difference between the rewritten graph's gradients and the oracle's, over the largest gradient.

    Asserts on the way that the reference evaluator and ONNX Runtime agree on the graph itself.
    """
    values = run(case.model, case.feeds)
    floats = [name for name, value in values.items() if value.dtype == np.float32]
    rng = np.random.default_rng(1)
    seeds = {name: rng.standard_normal(values[name].shape).astype(np.float32) for name in floats}
    wrt = case.wrt or tuple(name for name, value in case.feeds.items() if value.dtype == np.float32)
    model = Model(Path("case.onnx"), case.model, Path.cwd())
    found = differentiate(model, floats, wrt, variant=variant)
    feeds = {**case.feeds, **{found.seeds[name]: seed for name, seed in seeds.items()}}
    given = run(found.proto, feeds)
    for name in values:
        np.testing.assert_array_equal(given[name], values[name])
    expected = central_differences(case, seeds, wrt, values)
    error, scale = 0.0, 0.0
    for name in wrt:
        gradient = given[found.gradients[name]]
        assert gradient.shape == expected[name].shape
        assert gradient.dtype == np.float32
        error = max(error, float(np.abs(gradient - expected[name]).max(initial=0)))
        scale = max(scale, float(np.abs(expected[name]).max(initial=0)))
    assert scale > 0, "a gradient that is zero throughout tests nothing"
    return error / scale


def central_differences(
    case: Case, seeds: Mapping[str, Array], wrt: Sequence[str], values: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """d/dx of sum over the outputs of <seed, output>, element by element, in float64."""
    evaluator = ReferenceEvaluator(_double(case.model))
    names = [output.name for output in case.model.graph.output]
    feeds = {name: _as_double(value) for name, value in case.feeds.items()}

    def loss() -> tuple[float, dict[str, Array]]:
        outputs = dict(zip(names, evaluator.run(None, feeds), strict=True))
        return sum(float((seeds[name].astype(np.float64) * outputs[name]).sum()) for name in seeds), outputs

    _, outputs = loss()
    for name, value in (values or {}).items():
        scale = max(1.0, float(np.abs(value.astype(np.float64)).max(initial=0)))
        np.testing.assert_allclose(outputs[name], value, rtol=0, atol=1e-4 * scale)
    stencil = _WIDE if case.step > _SMALL else _NARROW
    found = {}
    for name in wrt:
        start = feeds[name]
        slopes = np.empty(start.size)
        for place in range(start.size):
            slopes[place] = 0
            for distance, weight in stencil:
                feeds[name] = start.copy()
                feeds[name].reshape(-1)[place] += distance * case.step
                slopes[place] += weight * loss()[0] / case.step
        feeds[name] = start
        found[name] = slopes.reshape(start.shape)
    return found


def _as_double(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _double(model: ModelProto) -> ModelProto:
    """The same model on float64."""
    double = ModelProto()
    double.CopyFrom(model)
    graph = double.graph
    fixed = {
        node.input[place]
        for node in graph.node
        for place in FLOAT32_ONLY.get(node.op_type, ())
        if place < len(node.input)
    }
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in fixed:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in graph.node:
        for item in node.attribute:
            if item.HasField("t") and item.t.data_type == TensorProto.FLOAT and node.output[0] not in fixed:
                item.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item.t).astype(np.float64)))
            if item.name == "to" and item.i == TensorProto.FLOAT:
                item.i = TensorProto.DOUBLE
    return double
