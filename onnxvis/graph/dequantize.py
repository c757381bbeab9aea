"""From the codes of a quantised tensor to real numbers: real = (code - zero point) · scale.

Formulas: DequantizeLinear, QLinearConv, QLinearMatMul and ConvInteger of https://onnx.ai/onnx/operators and QGemm of
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.graph.bodies import Bodies, Body, Use

if TYPE_CHECKING:
    from onnx import NodeProto

__all__ = ["Codes", "dequantized", "find_codes", "spread"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Codes:
    """Names of what turns a tensor's codes into real numbers, as `body` knows them; '' for no zero point.

    Where the scale has more than one value it runs along `axis`, which counts from the end where it is negative; None:
    nobody can tell along which, because the codes are reshaped on the way.
    """

    body: Body
    scales: tuple[str, ...]
    zero_point: str
    axis: int | None
    block_size: int = 0


# Operator → input with codes → its scales, its zero point (-1: none) and the axis that a list of scales runs along.
_PLACES: dict[str, dict[int, tuple[tuple[int, ...], int, int]]] = {
    "QLinearConv": {3: ((4,), 5, 0), 8: ((1, 4), -1, 0)},
    "QLinearMatMul": {0: ((1,), 2, -2), 3: ((4,), 5, -1)},
    "QGemm": {0: ((1,), 2, 0), 3: ((4,), 5, 1), 6: ((1, 4), -1, -1)},
    "MatMulIntegerToFloat": {0: ((2,), 4, -2), 1: ((3,), 5, -1)},
    "DynamicQuantizeMatMul": {1: ((2,), 3, -1)},
    "QAttention": {1: ((4,), 7, -1)},
    "QLinearAdd": {0: ((1,), 2, 0), 3: ((4,), 5, 0)},
    "QLinearMul": {0: ((1,), 2, 0), 3: ((4,), 5, 0)},
}
_INTEGER_PRODUCTS = {"ConvInteger": {1: (3, 0)}, "MatMulInteger": {0: (2, -2), 1: (3, -1)}}
_THROUGH = frozenset({"Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather"})
_SAME_AXES = frozenset({"Identity", "Transpose"})


def find_codes(bodies: Bodies, body: Body, name: str) -> Codes | None:
    """What makes real numbers of a tensor's codes, by the first of its readers that does; None for other tensors."""
    for use, trail in bodies.ends(body, name, _THROUGH):
        codes = _codes(use)
        if codes is not None:
            return _moved_back(codes, trail)
    return None


def dequantized(
    codes: Array, scales: Sequence[Array], zero_point: Array | None, axis: int | None, block_size: int
) -> Array:
    """(codes - zero_point) · (product of `scales`) as float32, in the shape of `codes`.

    Scales and zero point are one number, a list along `axis`, or with `block_size` an array of as many axes as `codes`
    whose values each serve `block_size` codes along `axis`. Raises ValueError where they do not fit.
    """
    if zero_point is not None and zero_point.dtype.itemsize > 2:
        wide = codes.astype(np.int64) - spread(zero_point, codes.shape, axis, block_size)
        real = wide.astype(np.float32)
    else:
        real = codes.astype(np.float32)
        if zero_point is not None:
            real -= spread(zero_point.astype(np.float32), codes.shape, axis, block_size)
    for scale in scales:
        real *= spread(scale.astype(np.float32), codes.shape, axis, block_size)
    real.flags.writeable = False
    return real


def spread(values: Array, shape: tuple[int, ...], axis: int | None, block_size: int) -> Array:
    """A scale or zero point in a shape that broadcasts to the codes' `shape`. Raises ValueError where it does not."""
    if values.size == 1:
        return values.reshape(())
    if axis is None or not shape:
        raise ValueError(f"a scale of shape {list(values.shape)}")
    if block_size:
        fitted = np.repeat(values, min(block_size, shape[axis]), axis)[(slice(None),) * axis + (slice(shape[axis]),)]
    elif values.size == max(values.shape) == shape[axis]:
        fitted = values.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    else:
        fitted = values
    if fitted.shape != shape if block_size else _broadcast(fitted.shape, shape) != shape:
        raise ValueError(f"a scale of shape {list(values.shape)} along axis {axis}")
    return fitted


def _broadcast(values: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return np.broadcast_shapes(values, shape) if len(values) == len(shape) else ()


def _codes(use: Use) -> Codes | None:
    node, op = use.node, use.node.op_type
    if op == "DequantizeLinear" and use.place == 0:
        numbers = {item.name: item.i for item in node.attribute}
        return _named(use, (1,), 2, numbers.get("axis", 1), numbers.get("block_size", 0))
    if op in _PLACES and use.place in _PLACES[op]:
        scales, zero_point, axis = _PLACES[op][use.place]
        if op == "QGemm" and use.place == 3 and any(item.name == "transB" and item.i for item in node.attribute):
            axis = 0
        return _named(use, scales, zero_point, axis, 0)
    if op in _INTEGER_PRODUCTS and use.place in _INTEGER_PRODUCTS[op]:
        zero_point, axis = _INTEGER_PRODUCTS[op][use.place]
        scale = _scale_after(use.body, node)
        return Codes(use.body, (scale,), _input(node, zero_point), axis) if scale else None
    return None


def _named(use: Use, scales: tuple[int, ...], zero_point: int, axis: int, block_size: int) -> Codes | None:
    names = tuple(_input(use.node, place) for place in scales)
    zero = _input(use.node, zero_point) if zero_point >= 0 else ""
    return Codes(use.body, names, zero, axis, block_size) if all(names) else None


def _input(node: NodeProto, place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _scale_after(body: Body, node: NodeProto) -> str:
    """The weights' scale after dynamic quantisation: Mul(Cast(product), Mul(scale of the input, scale of the weights)).

    '' where the graph looks otherwise. The scale of the input is computed at run time, the other is what remains.
    """
    cast = _only_reader(body, node.output[0], "Cast")
    product = _only_reader(body, cast.output[0], "Mul") if cast is not None else None
    if cast is None or product is None:
        return ""
    factor = next((name for name in product.input if name != cast.output[0]), "")
    maker = body.makers.get(factor)
    if maker is None or maker.op_type != "Mul":
        return ""
    fixed = [name for name in maker.input if body.makers.get(name) is None or body.makers[name].op_type == "Constant"]
    return fixed[0] if len(fixed) == 1 else ""


def _only_reader(body: Body, name: str, op: str) -> NodeProto | None:
    uses = body.uses.get(name, [])
    return uses[0].node if len(uses) == 1 and uses[0].node.op_type == op else None


def _moved_back(codes: Codes, trail: Sequence[NodeProto]) -> Codes:
    """The same for the tensor as it is stored, before the nodes of `trail` moved its axes."""
    axis = codes.axis
    for node in reversed(trail):
        perm = next((list(item.ints) for item in node.attribute if item.name == "perm"), None)
        if axis is None or node.op_type not in _SAME_AXES or (perm and not -len(perm) <= axis < len(perm)):
            axis = None
        elif node.op_type == "Transpose":
            axis = perm[axis] if perm else -1 - axis
    return Codes(codes.body, codes.scales, codes.zero_point, axis, codes.block_size)
