"""Resize: y = M x along each axis that it changes, for a matrix M that interpolates: dL/dx = Mᵀ dL/dy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxvis.graph.types import element_type
from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []

_CARRIED = (
    "antialias",
    "coordinate_transformation_mode",
    "cubic_coeff_a",
    "exclude_outside",
    "mode",
    "nearest_mode",
)
"""The attributes that say what the matrix of one axis is."""


@rule("Resize")
def resize(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = Mᵀ dL/dy along each axis; a sum over blocks where each value was repeated a whole number of times."""
    _check(node)
    axes = _resized_axes(node, tape)
    factors = _whole_factors(node, axes, tape)
    if factors is not None:
        return [_block_sums(upstream, factors, node.inputs[0], tape)]
    for place, axis in reversed(axes.items()):
        upstream = _by_matrix(upstream, _matrix(node, place, axis, tape), axis, tape.rank(node.inputs[0]), tape)
    return [upstream]


def _check(node: Node) -> None:
    if node.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise NotDifferentiable("its coordinate_transformation_mode is tf_crop_and_resize, which also crops")
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if node.input(3) and policy != "stretch":
        raise NotDifferentiable(f"its keep_aspect_ratio_policy is '{policy}'; there is a rule for stretch")


def _resized_axes(node: Node, tape: Tape) -> dict[int, int]:
    """{place in the scales or sizes: axis} of those that may change."""
    x, y = node.inputs[0], node.outputs[0]
    rank = tape.rank(x)
    axes = [axis % rank for axis in node.ints("axes")] or list(range(rank))
    if not node.input(3):  # a scale near 1 may move values although the size stays
        return {place: axis for place, axis in enumerate(axes) if _scale(node.input(2), place, tape) != 1}
    sizes = list(zip(tape.shape(x), tape.shape(y), strict=True))
    return {
        place: axis for place, axis in enumerate(axes) if sizes[axis][0] is None or sizes[axis][0] != sizes[axis][1]
    }


def _whole_factors(node: Node, axes: dict[int, int], tape: Tape) -> list[int] | None:
    """How often each value is repeated along the dimensions after the first two; None where that is not all there is.

    Place i of the output is place floor(i / k) of the input, and i / k - (k - 1) / 2k rounded is that too.
    """
    x = node.inputs[0]
    rank = tape.rank(x)
    moved = node.text("coordinate_transformation_mode", "half_pixel")
    rounded = node.text("nearest_mode", "round_prefer_floor")
    floors = moved == "asymmetric" and rounded == "floor"
    halves = moved in ("half_pixel", "pytorch_half_pixel") and rounded.startswith("round")
    if node.text("mode", "nearest") != "nearest" or not (floors or halves) or not 3 <= rank <= 5:
        return None
    factors = [1] * rank
    for place, axis in axes.items():
        factor = _whole_factor(node, place, axis, tape)
        if factor is None or axis < 2:
            return None
        factors[axis] = factor
    return factors[2:]


def _whole_factor(node: Node, place: int, axis: int, tape: Tape) -> int | None:
    if node.input(3):
        small, large = tape.shape(node.inputs[0])[axis], tape.shape(node.outputs[0])[axis]
        if not isinstance(small, int) or not isinstance(large, int) or not small or large % small:
            return None
        return large // small
    scale = _scale(node.input(2), place, tape)
    return int(scale) if scale is not None and scale.is_integer() else None


def _scale(name: str, place: int, tape: Tape) -> float | None:
    """One of the scales, where it is known; it may be where others are computed and joined with it by Concat."""
    values = tape.value(name)
    if values is not None:
        return float(values[place])
    maker = tape.view.producer(name)
    for part in maker.inputs if maker is not None and maker.op == "Concat" else ():
        count = (tape.view.shape(part) or (None,))[0]
        if not isinstance(count, int):
            return None
        if place < count:
            return _scale(part, place, tape)
        place -= count
    return None


def _block_sums(upstream: str, factors: list[int], x: str, tape: Tape) -> str:
    if all(factor == 1 for factor in factors):
        return upstream
    mean = tape.add("AveragePool", [upstream], kernel_shape=factors, strides=factors)
    return tape.add("Mul", [mean, tape.number(math.prod(factors), x)])


def _matrix(node: Node, place: int, axis: int, tape: Tape) -> str:
    """Mᵀ of one axis, (its size in x, its size in y): what the same Resize makes of the rows of an identity matrix."""
    x = node.inputs[0]
    size, one = tape.size_of(x, axis), tape.ints([1])
    square = tape.add("ConstantOfShape", [tape.add("Concat", [size, size], axis=0)])
    identity = tape.add("EyeLike", [square], dtype=element_type(tape.dtype(x)))
    rows = tape.unsqueeze(identity, [0, 3])
    if node.input(3):
        shape = tape.add("Concat", [one, size, _entry(node.input(3), place, tape), one], axis=0)
        inputs = [rows, "", "", shape]
    else:
        unchanged = tape.constant(np.ones(1, np.float32))
        scales = [unchanged, unchanged, _entry(node.input(2), place, tape), _spare_scale(node, tape)]
        inputs = [rows, "", tape.add("Concat", scales, axis=0)]
    resized = tape.add("Resize", inputs, **_carried(node))
    return tape.add("Squeeze", [tape.add("Gather", [resized, tape.constant(np.int64(0))], axis=3), tape.ints([0])])


def _spare_scale(node: Node, tape: Tape) -> str:
    """A scale for the dimension of size 1 behind the matrix: 1 if no size changes by the node, else 2.

    ONNX Runtime copies where no size changes, whatever the scales; so it must copy the identity just then.
    """
    x, y = node.inputs[0], node.outputs[0]
    two = tape.constant(np.full(1, 2, np.float32))
    scales = tape.value(node.input(2))
    if scales is not None and ((scales < 1) | (scales >= 2)).any():
        return two
    same = tape.cast(tape.add("Equal", [tape.shape_of(x), tape.shape_of(y)]), "int32")
    return tape.add("Sub", [two, tape.cast(tape.add("ReduceMin", [same], keepdims=1), "float32")])


def _entry(name: str, place: int, tape: Tape) -> str:
    """One of the scales or sizes, as a vector."""
    values = tape.value(name)
    return (
        tape.add("Gather", [name, tape.ints([place])]) if values is None else tape.constant(values[place : place + 1])
    )


def _carried(node: Node) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.proto.attribute if item.name in _CARRIED}


def _by_matrix(source: str, matrix: str, axis: int, rank: int, tape: Tape) -> str:
    """`source` multiplied along `axis` by the matrix, whose second dimension is that of the axis."""
    if axis == rank - 2:
        return tape.add("MatMul", [matrix, source])
    turned = tape.add("Transpose", [matrix], perm=[1, 0])
    if axis == rank - 1:
        return tape.add("MatMul", [source, turned])
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    product = tape.add("MatMul", [tape.add("Transpose", [source], perm=order), turned])
    return tape.add("Transpose", [product], perm=order)
