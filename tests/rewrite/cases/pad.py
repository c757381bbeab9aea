"""Pad in all its modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from tests.rewrite.differences import Case, apart, model_of, single
from tests.tiny import Array

__all__ = ["BY_MATRIX", "CASES"]

_SHAPE = (2, 3, 4, 5)
_FREE = ("batch", 3, "height", "width")
_AROUND = (0, 0, 1, 2, 0, 0, 3, 1)
"""One above and three below, two to the left and one to the right."""


def _ints(values: Sequence[int]) -> Array:
    return np.array(values, np.int64)


def _case(
    name: str,
    pads: Sequence[int] = _AROUND,
    *,
    shape: Sequence[int | str] = _SHAPE,
    axes: Sequence[int] = (),
    fill: float | None = None,
    opset: int = 20,
    **attributes: Any,
) -> Case:
    """A Pad of constant lengths."""
    weights = {"pads": _ints(pads)}
    inputs = ["x", "pads"]
    if fill is not None:
        weights["fill"] = np.array(fill, np.float32)
        inputs.append("fill")
    if axes:
        weights["axes"] = _ints(axes)
        inputs += [""] * (3 - len(inputs)) + ["axes"]
    model = single("Pad", shape, weights, inputs=inputs, opset=opset, **attributes)
    return Case("Pad", name, model, {"x": apart(_SHAPE)}, linear=True, step=1)


def _by_attribute(opset: int, **attributes: Any) -> Case:
    model = single("Pad", _SHAPE, opset=opset, pads=_AROUND, **attributes)
    name = f"{attributes.get('mode', 'constant')}, opset {opset}"
    return Case("Pad", name, model, {"x": apart(_SHAPE)}, linear=True, step=1)


def _fed(name: str, pads: Sequence[int] = _AROUND, *, shape: Sequence[int | str] = _SHAPE, **attributes: Any) -> Case:
    """A Pad whose lengths are fed."""
    model = model_of([helper.make_node("Pad", ["x", "pads"], ["y"], **attributes)], {"x": shape}, {})
    model.graph.input.append(helper.make_tensor_value_info("pads", TensorProto.INT64, [len(pads)]))
    return Case("Pad", name, model, {"x": apart(_SHAPE), "pads": _ints(pads)}, ("x",), linear=True, step=1)


def _fill_by_gradient() -> Case:
    """By the constant too."""
    model = model_of(
        [helper.make_node("Pad", ["x", "pads", "fill"], ["y"])], {"x": _FREE, "fill": ()}, {"pads": _ints(_AROUND)}
    )
    feeds = {"x": apart(_SHAPE), "fill": np.array(0.5, np.float32)}
    return Case("Pad", "by the constant", model, feeds, linear=True, step=1)


def _exported(mode: str, opset: int) -> Case:
    """Lengths as PyTorch's exporter computes them: (left, right, top, bottom) completed by zeros and turned around."""
    constants = {
        "given": _ints((2, 1, 1, 3)), "missing": _ints((4,)), "pairs": _ints((-1, 2)), "all": _ints((-1,)),
        "last": _ints((-1,)), "first": _ints((np.iinfo(np.int64).min,)), "zero": _ints((0,)),
    }  # fmt: skip

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        return helper.make_node(op, inputs, [output], **attributes)

    nodes = [
        node("ConstantOfShape", ["missing"], "rest", value=helper.make_tensor("value", TensorProto.INT64, [1], [0])),
        node("Concat", ["given", "rest"], "complete", axis=0),
        node("Reshape", ["complete", "pairs"], "rows"),
        node("Slice", ["rows", "last", "first", "zero", "last"], "turned"),
        node("Transpose", ["turned"], "columns", perm=[1, 0]),
        node("Reshape", ["columns", "all"], "flat"),
        node("Cast", ["flat"], "pads", to=TensorProto.INT64),
        node("Pad", ["x", "pads"], "y", mode=mode),
    ]
    model = model_of(nodes, {"x": _FREE}, constants, opset=opset)
    return Case("Pad", f"{mode} as exported, opset {opset}", model, {"x": apart(_SHAPE)}, linear=True, step=1)


CASES = [
    _case("zeros"),
    _case("zeros, free", shape=_FREE),
    _case("a constant", fill=0.7),
    _case("of channels and batch, free", (1, 2, 0, 0, 0, 1, 0, 0), shape=_FREE),
    _case("axes", (1, 2, 3, 0), axes=(2, -1), opset=18),
    _case("axes, a constant", (1, 2, 3, 0), axes=(-1, 1), fill=0.7, opset=21, shape=_FREE),
    _fed("computed, free", shape=_FREE),
    _fill_by_gradient(),
    *(
        case
        for mode in ("reflect", "edge", "wrap")
        for case in (
            _case(mode, mode=mode),
            _case(f"{mode}, free", mode=mode, shape=_FREE),
            _case(f"{mode}, axes", (1, 3, 2, 1), mode=mode, axes=(-1, 2), shape=_FREE),
            _fed(f"{mode}, computed", mode=mode),
            _fed(f"{mode}, computed, free", mode=mode, shape=_FREE),
        )
    ),
    _by_attribute(9),
    *(_by_attribute(opset, mode=mode) for opset in (9, 10) for mode in ("reflect", "edge")),
    *(_exported(mode, opset) for opset in (11, 13, 20) for mode in ("constant", "reflect")),
    *(
        _case(f"{mode}, opset {opset}", mode=mode, opset=opset)
        for opset in (11, 16, 26)
        for mode in ("constant", "edge")
    ),
]

BY_MATRIX = [
    _case("cut off", (0, 0, -1, -2, 0, 0, 0, -1)),
    _case("cut off here and padded there, free", (0, 0, -1, 2, 0, 0, 3, -1), shape=_FREE),
    _case("cut off, axes", (-1, 2, -1, -2), axes=(2, 3), fill=0.7),
    _fed("computed, cut off, free", (0, 0, -1, 2, 0, 0, 3, -1), shape=_FREE),
]
"""Those that cut off, which ONNX's reference evaluator does not know."""
