"""ONNX's own node tests as cases of differentiation."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase as Collected

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import Gradient, differentiate
from onnxvis.rewrite.rules.book import RULES
from tests.rewrite.differences import run
from tests.tiny import Array

__all__ = [
    "FIRST_OUTPUT",
    "LINEAR",
    "SETTINGS",
    "SLOW",
    "Form",
    "NodeCase",
    "Skipped",
    "case_of",
    "forms",
    "gradients_of",
    "limit",
    "names",
    "operator_of",
    "unfit",
]

Form = Literal["fed", "stored", "free"]
"""What is not differentiated by is fed, as in ONNX's test; or the model stores it, as models do; or that, and no size
of what is fed is known before the run."""

LINEAR = frozenset(
    (
        "Abs", "Add", "AveragePool", "Cast", "CastLike", "Clip", "Concat", "Conv", "ConvTranspose", "DepthToSpace",
        "DequantizeLinear", "Dropout", "Einsum", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Gemm",
        "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "Identity", "LeakyRelu", "MatMul", "Max", "MaxPool",
        "Mean", "Min", "Mod", "Mul", "Neg", "PRelu", "Pad", "QuantizeLinear", "ReduceL1", "ReduceMax", "ReduceMean",
        "ReduceMin", "ReduceSum", "Relu", "Reshape", "Resize", "ScatterElements", "ScatterND", "Slice",
        "SpaceToDepth", "Split", "Squeeze", "Sub", "Sum", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Unsqueeze",
        "Where",
    )
)  # fmt: skip
"""Operators that are linear, whole or piece by piece, in each of their inputs alone."""

SETTINGS = {"Resize": (1, 2), "Dropout": (1,), "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2), "CastLike": (1,)}
"""Inputs of floats that say how, not what: they are not differentiated by."""

FIRST_OUTPUT = frozenset(("BatchNormalization", "LayerNormalization"))
"""Operators whose other outputs of floats have no gradient."""

SLOW = frozenset(("test_averagepool_3d_default", "test_lppool_3d_default", "test_maxpool_3d_default"))
"""Cases of 32,768 values, on which the reference evaluator takes seconds."""

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)
_NEWEST = (26, 25, 24, 23, 22, 21)
_IR = 10


class Skipped(Exception):
    """A node test that says nothing about a gradient; the text says why."""


@dataclass(frozen=True, eq=False)
class NodeCase:
    """A model of one node, the `outputs` that are differentiated, and the inputs that they are differentiated by."""

    name: str
    op: str
    model: ModelProto
    feeds: dict[str, Array]
    outputs: tuple[str, ...]
    wrt: tuple[str, ...]

    @property
    def settings(self) -> list[str]:
        """The other inputs."""
        return [name for name in self.feeds if name not in self.wrt]


def limit(op: str) -> float:
    """The relative error that a gradient of that operator may have."""
    return 1e-5 if op in LINEAR else 1e-4


@cache
def _collected() -> dict[str, Collected]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows that the cases provoke while they are built
        cases = collect_testcases(None)
    found = {}
    for case in cases:
        assert case.model is not None
        nodes = case.model.graph.node
        if len(nodes) == 1 and (nodes[0].domain, nodes[0].op_type, "plain") in RULES:
            found[case.name] = case
    return found


@cache
def unfit() -> dict[str, str]:
    """{node test of an operator with a rule, of which there is no gradient to test: why}."""
    found = {}
    for name, case in _collected().items():
        wrt, outputs = _differentiable(case)
        if not wrt:
            found[name] = "no input of 32 or 64 bit floats to differentiate by"
        elif not outputs:
            found[name] = "no output of 32 or 64 bit floats"
        elif not all(value.size for key, value in _arrays(case).items() if key in (*wrt, *outputs)):
            found[name] = "an input or an output without values"
    return found


def names() -> list[str]:
    """The node tests of operators with a rule that have a gradient to test."""
    return [name for name in _collected() if name not in unfit()]


def operator_of(name: str) -> str:
    """The operator that the node test of that name is of."""
    model = _collected()[name].model
    assert model is not None
    return str(model.graph.node[0].op_type)


def _differentiable(case: Collected) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The inputs to differentiate by, and the outputs to differentiate."""
    assert case.model is not None
    graph = case.model.graph
    [node] = graph.node
    floats = {value.name for value in (*graph.input, *graph.output) if value.type.tensor_type.elem_type in _FLOATS}
    settings = {node.input[place] for place in SETTINGS.get(node.op_type, ()) if place < len(node.input)}
    wrt = (value.name for value in graph.input if value.name in node.input)
    outputs = tuple(value.name for value in graph.output if value.name in floats)
    chosen = outputs[:1] if node.op_type in FIRST_OUTPUT else outputs
    return tuple(name for name in wrt if name in floats - settings), chosen


def _arrays(case: Collected) -> dict[str, Array]:
    """What is fed and what is expected."""
    assert case.model is not None
    assert case.data_sets is not None
    named = (*case.model.graph.input, *case.model.graph.output)
    inputs, outputs = case.data_sets[0]
    return {
        value.name: numpy_helper.to_array(array) if isinstance(array, TensorProto) else np.asarray(array)
        for value, array in zip(named, (*inputs, *outputs), strict=True)
    }


@cache
def case_of(name: str) -> NodeCase:
    """The node test of that name, with the newest operator set that ONNX Runtime knows where its own is newer.

    Raises Skipped where ONNX Runtime does not run it.
    """
    case = _collected()[name]
    assert case.model is not None
    wrt, outputs = _differentiable(case)
    arrays = _arrays(case)
    feeds = {value.name: arrays[value.name] for value in case.model.graph.input}
    own = case.model.opset_import[0].version
    for version in (own, *(version for version in _NEWEST if _NEWEST[0] < own)):
        model = ModelProto.FromString(case.model.SerializeToString())
        model.opset_import[0].version = version
        model.ir_version = min(model.ir_version, _IR)
        try:
            run(model, feeds)
        except Exception:  # the runtime's errors have no type of their own
            continue
        return NodeCase(name, model.graph.node[0].op_type, model, feeds, outputs, wrt)
    raise Skipped(f"ONNX Runtime does not run {name}")


def forms(case: NodeCase) -> list[Form]:
    """The forms in which that case can be put."""
    return ["fed", "stored", "free"] if case.settings else ["fed", "free"]


def _formed(case: NodeCase, form: Form) -> ModelProto:
    model = ModelProto.FromString(case.model.SerializeToString())
    graph = model.graph
    if form != "fed":
        fed = [value for value in graph.input if value.name in case.wrt]
        del graph.input[:]
        graph.input.extend(fed)
        graph.initializer.extend(numpy_helper.from_array(case.feeds[name], name) for name in case.settings)
    if form == "free":
        kernels = {node.input[1] for node in graph.node if node.op_type == "ConvTranspose"}  # its size must be known
        for value in graph.input:
            for axis, size in enumerate(value.type.tensor_type.shape.dim if value.name not in kernels else ()):
                size.dim_param = f"{value.name}.{axis}"
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")
    return model


def gradients_of(case: NodeCase, form: Form, wrt: tuple[str, ...] = (), outputs: tuple[str, ...] = ()) -> Gradient:
    """The model with gradients; of and by all of the case unless told otherwise."""
    model = Model(Path("case.onnx"), _formed(case, form), Path.cwd())
    return differentiate(model, outputs or case.outputs, wrt or case.wrt)
