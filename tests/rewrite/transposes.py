"""Linear operators whose gradient is tested by their matrix: what ONNX's reference evaluator does not compute as ONNX
Runtime does, and nodes at random.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from onnx import helper

from tests.rewrite.differences import Case, apart, model_of
from tests.rewrite.linear import linear_error
from tests.tiny import Array

__all__ = ["linear_case", "matrix_error"]


def linear_case(
    op: str,
    shape: tuple[int, ...],
    others: Mapping[str, Array],
    *,
    fed: Collection[str] = (),
    free: bool = False,
    opset: int = 20,
    **attributes: Any,
) -> Case:
    """A node that reads x and `others`, the empty ones left out: by x. `fed`: those that are inputs, not stored.
    `free`: no size of x and of y is known before the run.
    """
    present = {name: value for name, value in others.items() if value.size}
    inputs = ["x", *(name if name in present else "" for name in others)]
    node = helper.make_node(op, inputs, ["y"], **attributes)
    stored = {name: value for name, value in present.items() if name not in fed}
    model = model_of([node], {"x": [f"d{axis}" for axis in range(len(shape))] if free else shape}, stored, opset=opset)
    given = {name: value for name, value in present.items() if name in fed}
    for name, value in given.items():
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        model.graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
    return Case(op, "at random", model, {"x": apart(shape), **given}, ("x",), linear=True)


def matrix_error(case: Case) -> float:
    """The largest difference between a gradient and Aᵀ s over its largest value, where y is A times what it is by."""
    wrt = case.wrt or tuple(name for name, value in case.feeds.items() if value.dtype == np.float32)
    return max(linear_error(case.model, case.feeds, name) for name in wrt)
