"""Reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from tests.rewrite.differences import Case, apart, model_of, single

__all__ = ["CASES", "OPERATORS"]

OPERATORS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip
_LINEAR = ("ReduceSum", "ReduceMean")
_SHAPE = (2, 3, 4)
_FREE = ("n", "h", "w")


def _case(
    op: str,
    name: str,
    axes: list[int] | None = None,
    opset: int = 20,
    shape: tuple[int | str, ...] = _SHAPE,
    **rest: Any,
) -> Case:
    """`axes` go in as the operator set takes them."""
    weights = None
    if axes is not None and opset < (13 if op == "ReduceSum" else 18):
        rest["axes"] = axes
    elif axes is not None:
        weights = {"axes": np.array(axes, np.int64)}
    return _of(op, name, single(op, shape, weights, opset=opset, **rest))


def _computed(op: str, name: str, keepdims: int) -> Case:
    """Axes that depend on the run: all but the last."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], end=-1),
        helper.make_node("Sub", ["shape", "sizes"], ["axes"]),
        helper.make_node(op, ["x", "axes"], ["y"], keepdims=keepdims),
    ]
    return _of(op, name, model_of(nodes, {"x": _FREE}, {"sizes": np.array([2, 2], np.int64)}))


def _computed_empty(op: str, name: str, **rest: Any) -> Case:
    """Axes that turn out to be none at the run."""
    nodes = [
        helper.make_node("Shape", ["x"], ["axes"], start=0, end=0),
        helper.make_node(op, ["x", "axes"], ["y"], **rest),
    ]
    return _of(op, name, model_of(nodes, {"x": _FREE}, {}))


def _of(op: str, name: str, model: Any) -> Case:
    x = apart(_SHAPE, 0.11)
    if op == "ReduceLogSum":
        x = np.abs(x) + np.float32(0.1)
    return Case(op, name, model, {"x": x}, linear=op in _LINEAR, step=0.5 if op in _LINEAR else 1e-5)


CASES = [
    case
    for op in OPERATORS
    for case in (
        _case(op, "defaults"),
        _case(op, "no axes, keepdims 0", keepdims=0),
        _case(op, "one axis", [1]),
        _case(op, "negative axes, keepdims 0", [-1, 0], keepdims=0),
        _case(op, "opset 9", [0, 2], opset=9),
        _case(op, "opset 13, keepdims 0", [-2], opset=13, keepdims=0),
        _case(op, "opset 17, no axes, keepdims 0", opset=17, keepdims=0),
        _case(op, "newest operator set", [1, 2], opset=26),
        _case(op, "free batch, height and width", [1, 2], shape=_FREE, keepdims=0),
        _case(op, "free batch, height and width, no axes", shape=_FREE, keepdims=0),
        _case(op, "free batch", [1, 2], shape=("n", 3, 4)),
        _case(op, "no axes reduce nothing", shape=_FREE, noop_with_empty_axes=1, opset=18),
        _case(op, "empty axes reduce nothing", [], noop_with_empty_axes=1),
        _case(op, "empty axes reduce all", [], keepdims=0),
        _computed(op, "computed axes", 1),
        _computed(op, "computed axes, keepdims 0", 0),
        _computed_empty(op, "no computed axes", keepdims=0),
        _computed_empty(op, "no computed axes reduce nothing", keepdims=0, noop_with_empty_axes=1),
    )
]
