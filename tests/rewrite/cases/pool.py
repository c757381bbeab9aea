"""Pools over windows and over the whole map."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from tests.rewrite.differences import Case, apart, single

__all__ = ["CASES", "MISJUDGED"]

_SHAPE = (2, 2, 5, 6)
_FREE = ("batch", "channels", "height", "width")
_ROWS = (2, 3, 6, 5)
_COUNTED: dict[str, Any] = {"count_include_pad": 1}
_LINEAR = ("AveragePool", "GlobalAveragePool")


def _case(op: str, name: str = "defaults", shape: Sequence[int | str] = _SHAPE, **attributes: Any) -> Case:
    sizes = [size if isinstance(size, int) else known for size, known in zip_longest(shape, _ROWS[: len(shape)])]
    linear = op in _LINEAR
    model = single(op, shape, **attributes)
    return Case(op, name, model, {"x": apart(sizes)}, linear=linear, step=1.0 if linear else 1e-5)


def _square(op: str, name: str, side: int = 3, shape: Sequence[int | str] = _SHAPE, **attributes: Any) -> Case:
    return _case(op, name, shape, kernel_shape=[side, side], **attributes)


CASES = [
    _square("MaxPool", "stride 1"),
    _square("MaxPool", "opset 9", 2, opset=9, strides=[2, 2]),
    _square("MaxPool", "opset 26", 2, opset=26, strides=[2, 2]),
    _square("MaxPool", "overlapping windows", strides=[2, 2], pads=[1, 1, 1, 1]),
    _square("MaxPool", "pads that differ", strides=[2, 1], pads=[2, 0, 1, 1]),
    _square("MaxPool", "ceil_mode", strides=[2, 2], ceil_mode=1),
    _square("MaxPool", "dilations", 2, dilations=[2, 3]),
    _square("MaxPool", "SAME_UPPER", 2, auto_pad="SAME_UPPER", strides=[2, 2]),
    _square("MaxPool", "SAME_LOWER", auto_pad="SAME_LOWER"),
    _square("MaxPool", "VALID", auto_pad="VALID"),
    _square("MaxPool", "free sizes", 3, _FREE, strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    _square("MaxPool", "free sizes, SAME_UPPER", 3, _FREE, strides=[2, 2], auto_pad="SAME_UPPER"),
    _square("MaxPool", "free sizes, dilations", 2, _FREE, dilations=[2, 1]),
    _case("MaxPool", "one axis", (2, 3, 7), kernel_shape=[3], strides=[2], storage_order=1),
    _case("MaxPool", "three axes", (1, 2, 3, 4, 3), kernel_shape=[2, 3, 2], strides=[1, 2, 1]),
    _square("MaxPool", "columns first", strides=[2, 2], pads=[1, 0, 1, 1], storage_order=1),
    _square("MaxPool", "columns first, free sizes", 2, _FREE, strides=[2, 1], storage_order=1),
    _case("MaxPool", "three axes, columns first", (2, 1, 3, 4, 3), kernel_shape=[2, 3, 2], storage_order=1),
    _square("MaxPool", "with its places asked for", 2, outputs=2, strides=[2, 2]),
    _square("MaxPool", "with its places, columns first", 2, outputs=2, strides=[2, 2], storage_order=1),
    _square("AveragePool", "stride 1"),
    _square("AveragePool", "opset 9", 2, opset=9, strides=[2, 2]),
    _square("AveragePool", "opset 26", opset=26, strides=[2, 2], pads=[1, 1, 1, 1]),
    _square("AveragePool", "one pixel", 1),
    _square("AveragePool", "every pixel once", 2, (2, 3, 4, 6), strides=[2, 2]),
    _square("AveragePool", "every pixel once, free sizes", 2, _FREE, strides=[2, 2]),
    _case("AveragePool", "the whole map", (2, 3, 4, 5), kernel_shape=[4, 5]),
    _square("AveragePool", "a rest that no window reads", 2, strides=[3, 3]),
    _square("AveragePool", "stride 1, padding left out", pads=[1, 1, 1, 1]),
    _square("AveragePool", "stride 1, padding counted", pads=[1, 2, 1, 0], **_COUNTED),
    _square("AveragePool", "stride 2, padding left out", strides=[2, 2], pads=[1, 0, 2, 1]),
    _square("AveragePool", "stride 2, padding counted", strides=[2, 2], pads=[1, 0, 2, 1], **_COUNTED),
    _square("AveragePool", "ceil_mode", strides=[2, 2], ceil_mode=1),
    _square("AveragePool", "ceil_mode, padding left out", opset=22, strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
    _square("AveragePool", "dilations", 2, dilations=[2, 3], pads=[1, 0, 1, 1]),
    _square("AveragePool", "dilations, stride 2", 2, dilations=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    _square("AveragePool", "SAME_UPPER", 2, auto_pad="SAME_UPPER", strides=[2, 2]),
    _square("AveragePool", "SAME_LOWER", auto_pad="SAME_LOWER", strides=[1, 2]),
    _square("AveragePool", "VALID", auto_pad="VALID", strides=[2, 1]),
    _square("AveragePool", "free sizes", 3, _FREE, strides=[2, 2], pads=[1, 1, 0, 1]),
    _square("AveragePool", "free sizes, stride 1", 3, _FREE, pads=[1, 1, 1, 1]),
    _square("AveragePool", "free sizes, SAME_UPPER", 2, _FREE, auto_pad="SAME_UPPER"),
    _square("AveragePool", "free sizes, padding counted", 3, _FREE, strides=[2, 3], pads=[1, 0, 1, 2], **_COUNTED),
    _square("AveragePool", "free sizes, ceil_mode", 3, _FREE, strides=[2, 2], ceil_mode=1),
    _square("AveragePool", "free sizes, dilations", 2, _FREE, strides=[2, 1], dilations=[2, 2], pads=[1, 1, 1, 0]),
    _square("AveragePool", "free height", 3, ("batch", 3, "height", 5), strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("AveragePool", "one axis", (2, 3, 7), kernel_shape=[3], strides=[2], pads=[1, 1]),
    _case("AveragePool", "one axis, every pixel once", (2, 3, 6), kernel_shape=[3], strides=[3]),
    _case("AveragePool", "three axes", (1, 2, 3, 4, 3), kernel_shape=[2, 3, 2], strides=[1, 2, 1], pads=[1, 1, 0] * 2),
    _case("AveragePool", "three axes, every pixel once", (1, 2, 2, 4, 3), kernel_shape=[2, 2, 3], strides=[2, 2, 3]),
    _square("LpPool", "stride 2", strides=[2, 2]),
    _square("LpPool", "opset 9", 2, opset=9, strides=[1, 2]),
    _square("LpPool", "opset 26", opset=26, strides=[2, 1]),
    _square("LpPool", "p 1", p=1, strides=[2, 2]),
    _square("LpPool", "p 3", p=3, strides=[2, 2]),
    _square("LpPool", "free sizes", 3, _FREE, strides=[2, 2]),
    _square("LpPool", "dilations", 2, dilations=[2, 3]),
    _square("LpPool", "pads", strides=[2, 2], pads=[1, 1, 0, 1]),
    _square("LpPool", "SAME_LOWER", 2, auto_pad="SAME_LOWER", strides=[2, 2]),
    _case("GlobalMaxPool"),
    _case("GlobalMaxPool", "opset 9", opset=9),
    _case("GlobalMaxPool", "free sizes", _FREE),
    _case("GlobalAveragePool"),
    _case("GlobalAveragePool", "opset 9", opset=9),
    _case("GlobalAveragePool", "opset 26", opset=26),
    _case("GlobalAveragePool", "free sizes", _FREE),
    _case("GlobalAveragePool", "three axes", (2, 3, 2, 3, 2)),
]  # fmt: skip
MISJUDGED = [
    _square("LpPool", "ceil_mode", strides=[2, 2], ceil_mode=1),
    _case("GlobalMaxPool", "one axis", (2, 3, 4)),
    _case("GlobalMaxPool", "three axes", (2, 3, 2, 3, 2)),
    _case("GlobalLpPool"),
    _case("GlobalLpPool", "p 1", p=1),
    _case("GlobalLpPool", "p 3", p=3),
    _case("GlobalLpPool", "free sizes", _FREE),
    _square("LpPool", "free sizes, ceil_mode, dilations", 2, _FREE, strides=[3, 2], dilations=[1, 3], ceil_mode=1),
]  # fmt: skip
"""Cases that ONNX's reference evaluator gets wrong, or does not know."""
