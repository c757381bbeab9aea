"""Arithmetic of several operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.rewrite.differences import Case, apart, model_of, single
from tests.tiny import Array

__all__ = ["CASES"]

_LINEAR = ("Add", "Sub", "Sum", "Mean", "Where", "Min", "Max")
_FULL = (2, 3, 4)


def _operands(
    op: str,
    name: str,
    *shapes: Sequence[int],
    free: Sequence[Sequence[int | str]] = (),
    opset: int = 20,
    positive: bool = False,
    **attributes: Any,
) -> Case:
    """Operands a, b, … of these shapes, `free` as they are declared, differentiated by each."""
    names = "abcd"[: len(shapes)]
    feeds = {}
    for place, (key, shape) in enumerate(zip(names, shapes, strict=True)):
        values = np.asarray(apart(shape, 0.23, seed=place) + np.float32(0.007 * place))  # no two operands tie
        feeds[key] = np.asarray(np.abs(values) + np.float32(0.5)) if positive else values
    node = helper.make_node(op, list(names), ["y"], **attributes)
    declared = dict(zip(names, free or shapes, strict=True))
    return Case(op, name, model_of([node], declared, {}, opset=opset), feeds, linear=op in _LINEAR)


def _stored(op: str, name: str, inputs: Sequence[str], opset: int = 20, positive: bool = False, **weights: Any) -> Case:
    """Operand x, and others that the model stores."""
    x = apart(_FULL, 0.23)
    arrays = {
        key: value if isinstance(value, np.ndarray) else np.array(value, np.float32) for key, value in weights.items()
    }
    model = single(op, _FULL, arrays, inputs=inputs, opset=opset)
    return Case(op, name, model, {"x": np.abs(x) + np.float32(0.3) if positive else x}, linear=op in _LINEAR)


def _twice(op: str, linear: bool = False, positive: bool = False) -> Case:
    x = apart(_FULL, 0.23)
    feeds = {"x": np.abs(x) + np.float32(0.5) if positive else x}
    return Case(op, "an operand twice", single(op, _FULL, inputs=["x", "x"]), feeds, linear=linear)


def _where(name: str, shape: Sequence[int], a: Sequence[int], b: Sequence[int], free: bool = False) -> Case:
    """Chosen by whether a third input is positive, which has no gradient."""
    shapes = {"c": shape, "a": a, "b": b}
    feeds = {key: apart(size, 0.23, seed=place) for place, (key, size) in enumerate(shapes.items())}
    declared = {key: [f"{key}{axis}" for axis in range(len(size))] for key, size in shapes.items()} if free else shapes
    nodes = [
        helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])),
        helper.make_node("Greater", ["c", "zero"], ["chosen"]),
        helper.make_node("Where", ["chosen", "a", "b"], ["y"]),
    ]
    return Case("Where", name, model_of(nodes, declared, {}), feeds, ("a", "b"), linear=True)


def _power(name: str, exponent: float | Array, positive: bool = False, opset: int = 20) -> Case:
    return _stored("Pow", name, ["x", "e"], opset, positive, e=exponent)


_TWO = (("Add", False), ("Sub", False), ("Mul", False), ("Div", True), ("Pow", True), ("Min", False), ("Max", False))


def _broadcast(op: str, positive: bool) -> list[Case]:
    """The ways two shapes can meet, with sizes known and not."""
    image: tuple[int | str, ...] = ("n", 3, "w")
    return [
        _operands(op, "equal shapes", _FULL, _FULL, positive=positive),
        _operands(op, "a scalar", _FULL, (), positive=positive),
        _operands(op, "fewer dimensions", (3, 1), _FULL, positive=positive),
        _operands(op, "both repeated", (2, 1, 4), (3, 1), positive=positive),
        _operands(op, "equal free sizes", _FULL, _FULL, free=(image, image), positive=positive),
        _operands(op, "a free size of 1", _FULL, (3, 1), free=(image, ("c", "v")), positive=positive),
        _operands(op, "a free size against a known one", (1, 4), (3, 4), free=(("n", 4), (3, "w")), positive=positive),
        _operands(op, "free sizes that agree", (3, 4), (3, 4), free=(["n", "w"], ["m", "v"]), positive=positive),
        _operands(op, "operator set 9", (2, 1, 4), (3, 1), opset=9, positive=positive),
        _operands(op, "operator set 26", (2, 1, 4), (3, 1), opset=26, positive=positive),
    ]


_EXPONENTS = np.array([[0.0, 1.0, 2.0, -1.0], [0.5, -0.5, 3.0, 1.5], [2.5, 0.0, -2.0, 1.0]], np.float32)

CASES = [
    *(case for op, positive in _TWO for case in _broadcast(op, positive)),
    _twice("Add", linear=True),
    _twice("Mul"),
    _twice("Pow", positive=True),
    _twice("Max", linear=True),
    _stored("Add", "a bias", ["x", "w"], w=apart((3, 1), 1.0)),
    _stored("Sub", "from one", ["w", "x"], w=1.0),
    _stored("Mul", "by a stored number", ["x", "w"], w=-1.5),
    _stored("Mul", "by a stored tensor that is larger", ["x", "w"], w=apart((2, 2, 3, 4), 0.1)),
    _stored("Div", "by a stored number", ["x", "w"], w=3.0),
    _stored("Div", "of a stored number", ["w", "x"], positive=True, w=2.0),
    _stored("Max", "with zero", ["x", "w"], w=0.0),
    _stored("Min", "with three numbers", ["x", "u", "v", "w"], u=2.0, v=0.7, w=5.0),
    _operands("Max", "one operand", _FULL),
    _operands("Max", "three operands", (3, 1), (2, 1, 4), (1, 3, 4)),
    _operands(
        "Min", "four operands", (3, 1), (1, 4), (3, 4), (1, 1), free=(("p", "q"), ("r", 4), (3, "s"), ("t", "u"))
    ),
    _operands("Sum", "one operand", _FULL),
    _operands("Sum", "two operands", _FULL, (3, 1)),
    _operands("Sum", "three operands", (3, 1), (2, 1, 4), (1, 3, 4), opset=9),
    _operands("Sum", "free sizes", (2, 1), (1, 3), free=(["p", "q"], ["r", "s"])),
    _operands("Mean", "one operand", _FULL),
    _operands("Mean", "three operands", _FULL, (3, 1), (2, 1, 4)),
    _operands("Mean", "free sizes", (2, 3), (1, 3), free=(["p", "q"], ["r", "s"])),
    _operands("Mod", "both", (3, 4), (3, 4), positive=True, fmod=1),
    _operands("Mod", "a free size of 1", (3, 4), (3, 1), free=(["n", 4], [3, "v"]), positive=True, fmod=1),
    _where("equal shapes", _FULL, _FULL, _FULL),
    _where("a small condition", (2, 1, 1), _FULL, (3, 1)),
    _where("a large condition", _FULL, (4,), ()),
    _where("free sizes", (2, 3, 1), (3, 4), (1, 1), free=True),
    *(_power(f"to the {exponent}", exponent, True) for exponent in (1.0, 2.0, 3.0, 0.5, 1.7, -1.0, -2.5)),
    _power("a square of what is negative", 2.0),
    _power("a cube of what is negative", 3.0),
    _power("a square, the exponent of a higher rank", np.full((1, 1, 1, 1), 2.0, np.float32)),
    _power("a whole exponent", np.array(3, np.int64)),
    _power("an exponent an element", _EXPONENTS, True),
    _power("whole exponents", np.array([0, 1, 2, 3], np.int64)),
    _power("operator set 9", 2.0, opset=9),
]
