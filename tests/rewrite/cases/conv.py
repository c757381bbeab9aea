"""Convolutions and transposed convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from onnx import helper

from tests.rewrite.differences import Case, apart, model_of

__all__ = ["CASES", "MISJUDGED"]

_FREE = ("batch", 4, "height", "width")
_FED = (2, 4, 6, 5)


def _case(
    op: str,
    name: str,
    kernel: Sequence[int],
    shape: Sequence[int | str] = (1, 4, 5, 6),
    *,
    bias: bool = False,
    wrt: tuple[str, ...] = ("x",),
    opset: int = 20,
    **attributes: Any,
) -> Case:
    """The kernel and the bias are fed where they are differentiated by, else stored."""
    rng = np.random.default_rng(2)
    weights = {"w": rng.standard_normal(tuple(kernel)).astype(np.float32)}
    if bias:
        outputs = kernel[0] if op == "Conv" else kernel[1] * attributes.get("group", 1)
        weights["b"] = rng.standard_normal(outputs).astype(np.float32)
    fed = {key: value for key, value in weights.items() if key in wrt}
    stored = {key: value for key, value in weights.items() if key not in wrt}
    node = helper.make_node(op, ["x", *weights], ["y"], "node", **attributes)
    model = model_of([node], {"x": shape, **{key: value.shape for key, value in fed.items()}}, stored, opset=opset)
    sizes = [size if isinstance(size, int) else known for size, known in zip_longest(shape, _FED[: len(shape)])]
    return Case(op, name, model, {"x": apart(sizes), **fed}, wrt, linear=True, step=1.0)


CASES = [
    _case("Conv", "defaults", (3, 4, 2, 3)),
    _case("Conv", "opset 9, with a bias", (3, 4, 3, 3), opset=9, bias=True, pads=[1, 1, 1, 1]),
    _case("Conv", "opset 26", (3, 4, 3, 3), opset=26, pads=[1, 1, 1, 1]),
    _case("Conv", "kernel of one pixel", (3, 4, 1, 1)),
    _case("Conv", "kernel of one row", (3, 4, 1, 3), pads=[0, 1, 0, 1]),
    _case("Conv", "stride 2, kernel of one pixel", (3, 4, 1, 1), strides=[2, 2]),
    _case("Conv", "stride 2", (3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("Conv", "strides that leave rows unread", (3, 4, 2, 2), strides=[3, 4]),
    _case("Conv", "pads that differ", (3, 4, 3, 2), pads=[2, 0, 1, 1]),
    _case("Conv", "pads that differ, stride 2", (3, 4, 3, 3), strides=[2, 2], pads=[0, 1, 2, 0]),
    _case("Conv", "pads wider than the kernel", (3, 4, 2, 2), pads=[3, 2, 2, 3]),
    _case("Conv", "dilations", (3, 4, 2, 3), dilations=[3, 2], pads=[1, 2, 0, 1]),
    _case("Conv", "dilations and strides", (3, 4, 2, 2), dilations=[2, 3], strides=[2, 3], pads=[1, 2, 1, 0]),
    _case("Conv", "two groups", (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    _case("Conv", "two groups, stride 2", (6, 2, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("Conv", "depthwise", (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    _case("Conv", "depthwise, two outputs each, stride 2", (8, 1, 3, 3), group=4, strides=[2, 2]),
    _case("Conv", "depthwise, two outputs each", (8, 1, 3, 3), group=4),
    _case("Conv", "VALID", (3, 4, 3, 3), auto_pad="VALID", strides=[2, 1]),
    _case("Conv", "SAME_UPPER", (3, 4, 2, 3), auto_pad="SAME_UPPER"),
    _case("Conv", "SAME_LOWER", (3, 4, 2, 4), auto_pad="SAME_LOWER"),
    _case("Conv", "SAME_UPPER, stride 2", (3, 4, 3, 2), auto_pad="SAME_UPPER", strides=[2, 2]),
    _case("Conv", "SAME_LOWER, stride 2", (3, 4, 3, 3), auto_pad="SAME_LOWER", strides=[2, 3]),
    _case("Conv", "SAME_UPPER, free sizes", (3, 4, 2, 3), _FREE, auto_pad="SAME_UPPER"),
    _case("Conv", "free sizes", (3, 4, 3, 3), _FREE, pads=[1, 1, 1, 1]),
    _case("Conv", "free sizes, stride 2", (3, 4, 3, 3), _FREE, strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("Conv", "free sizes, all at once", (6, 2, 2, 3), _FREE, group=2, strides=[3, 2], pads=[0, 2, 1, 0]),
    _case("Conv", "free height", (3, 4, 3, 3), (2, 4, "height", 5), strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("Conv", "one axis", (3, 4, 3), (2, 4, 7), strides=[2], pads=[1, 0]),
    _case("Conv", "one axis, stride 1", (3, 4, 3), (2, 4, 7), dilations=[2]),
    _case("Conv", "three axes", (3, 2, 2, 3, 2), (1, 2, 3, 4, 3), pads=[1, 0, 1, 0, 1, 0]),
    _case("Conv", "three axes, strides", (2, 2, 2, 3, 2), (1, 2, 3, 5, 4), strides=[1, 2, 2], pads=[1, 1, 0, 0, 1, 1]),
    _case("Conv", "by the kernel", (3, 4, 3, 2), wrt=("w",), pads=[1, 0, 1, 1]),
    _case("Conv", "by the kernel, strides", (3, 4, 2, 2), (2, 4, 6, 5), wrt=("w",), strides=[3, 2], dilations=[1, 2]),
    _case("Conv", "by the kernel, groups, free sizes", (6, 2, 3, 3), _FREE, wrt=("w",), group=2, strides=[2, 1]),
    _case("Conv", "by the kernel, depthwise", (4, 1, 3, 3), (1, 4, 5, 5), wrt=("w",), group=4),
    _case("Conv", "by the bias", (3, 4, 3, 3), wrt=("b",), bias=True),
    _case("ConvTranspose", "defaults", (4, 3, 2, 3)),
    _case("ConvTranspose", "opset 9, with a bias", (4, 3, 3, 3), opset=9, bias=True, strides=[2, 2]),
    _case("ConvTranspose", "opset 26", (4, 3, 3, 3), opset=26, strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("ConvTranspose", "pads that differ", (4, 3, 3, 2), strides=[2, 1], pads=[2, 0, 1, 1]),
    _case("ConvTranspose", "dilations", (4, 3, 2, 3), dilations=[3, 2], strides=[1, 2]),
    _case("ConvTranspose", "output_padding", (4, 3, 3, 3), strides=[2, 3], pads=[1, 1, 1, 1], output_padding=[1, 2]),
    _case("ConvTranspose", "VALID", (4, 3, 3, 3), strides=[2, 2], auto_pad="VALID"),
    _case("ConvTranspose", "free sizes", (4, 3, 3, 3), _FREE, strides=[2, 3], pads=[1, 0, 1, 1]),
    _case("ConvTranspose", "one axis", (4, 3, 3), (2, 4, 5), strides=[2], pads=[1, 0]),
    _case("ConvTranspose", "by the kernel", (4, 3, 3, 2), (2, 4, 4, 3), wrt=("w",), strides=[2, 3], pads=[1, 0, 2, 0]),
    _case("ConvTranspose", "by the bias", (4, 3, 3, 3), wrt=("b",), bias=True, strides=[2, 2]),
    _case("ConvTranspose", "SAME_UPPER", (4, 3, 3, 2), strides=[2, 1], auto_pad="SAME_UPPER"),
    _case("ConvTranspose", "SAME_LOWER, free sizes", (4, 3, 3, 2), _FREE, strides=[2, 1], auto_pad="SAME_LOWER"),
    _case("ConvTranspose", "depthwise", (4, 1, 4, 4), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("ConvTranspose", "three axes", (2, 2, 2, 3, 2), (1, 2, 2, 3, 2), strides=[2, 1, 2]),
]
MISJUDGED = [
    _case("ConvTranspose", "output_shape", (4, 3, 3, 3), strides=[2, 2], output_shape=[10, 11]),
    _case(
        "ConvTranspose",
        "output_shape, SAME_UPPER",
        (4, 3, 3, 3),
        strides=[2, 2],
        output_shape=[9, 12],
        auto_pad="SAME_UPPER",
    ),
    _case("ConvTranspose", "SAME_UPPER, kernel below the stride", (4, 3, 2, 2), strides=[3, 2], auto_pad="SAME_UPPER"),
    _case("ConvTranspose", "two groups", (4, 3, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
    _case("ConvTranspose", "by the kernel, groups", (4, 3, 3, 3), _FREE, wrt=("w",), group=2, strides=[2, 2]),
]
"""Cases on which ONNX's reference evaluator is wrong: it is no oracle of them."""
