"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from tests.rewrite.differences import Case, apart, single
from tests.tiny import Array

__all__ = ["CASES"]


def _values(*shape: int) -> Array:
    return apart(shape, 0.07)


def _case(op: str, name: str, opset: int = 20, shape: tuple[int | str, ...] = (2, 3, 4), **attributes: Any) -> Case:
    return Case(op, name, single(op, shape, opset=opset, **attributes), {"x": _values(2, 3, 4)})


CASES = [
    case
    for op in ("Softmax", "LogSoftmax")
    for case in (
        _case(op, "defaults"),
        _case(op, "newest operator set", opset=26),
        _case(op, "first axis", axis=0),
        _case(op, "negative axis", axis=-2),
        _case(op, "free batch, height and width", shape=("n", "h", "w"), axis=1),
        Case(op, "opset 11, last axis", single(op, (2, 5), opset=11), {"x": _values(2, 5)}),
        Case(op, "a vector", single(op, ("n",), axis=0), {"x": _values(6)}),
    )
]
