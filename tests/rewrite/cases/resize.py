"""Resize in all its modes, and the Upsample of old operator sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from tests.rewrite.differences import Case, apart, model_of, single
from tests.tiny import Array

__all__ = ["BY_MATRIX", "CASES"]

_SHAPE = (1, 2, 4, 5)
_FREE = ("batch", 2, "height", "width")
_UP, _DOWN, _MIXED, _WHOLE = (1, 1, 1.7, 2.3), (1, 1, 0.6, 0.75), (1, 1, 2, 0.5), (1, 1, 2, 3)
_CUBIC: Mapping[str, Any] = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1}


def _case(
    name: str,
    scales: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    *,
    shape: Sequence[int | str] = _SHAPE,
    fed: Sequence[int] = _SHAPE,
    op: str = "Resize",
    opset: int = 20,
    **attributes: Any,
) -> Case:
    """A Resize by constant scales or to constant sizes; `fed`: the shape that x has."""
    if scales is not None:
        weights: dict[str, Array] = {"scales": np.array(scales, np.float32)}
        inputs = ["x", "scales"] if opset <= 10 else ["x", "none", "scales"]
    else:
        weights, inputs = {"sizes": np.array(sizes, np.int64)}, ["x", "none", "none", "sizes"]
    if 10 < opset < 13:  # there an empty tensor says what is left out
        weights["none"] = np.zeros(0, np.float32)
    inputs = [name if name in ("x", *weights) else "" for name in inputs]
    model = single(op, shape, weights, inputs=inputs, opset=opset, **attributes)
    return Case(op, name, model, {"x": apart(fed)}, linear=True, step=1)


def _nearest(moved: str, rounded: str, scales: Sequence[float], name: str) -> Case:
    """The nearest value, at free height and width."""
    full = f"nearest, {moved}, {rounded}, {name}"
    return _case(full, scales, shape=_FREE, coordinate_transformation_mode=moved, nearest_mode=rounded)


def _interpolated(moved: str, name: str, scales: Sequence[float], *, free: bool = False, **attributes: Any) -> Case:
    attributes = {"mode": "linear", **attributes}
    shape = _FREE if free else _SHAPE
    full = ", ".join(str(value) for value in (attributes["mode"], moved, name, *(["free"] if free else [])))
    return _case(full, scales, shape=shape, coordinate_transformation_mode=moved, **attributes)


def _to_the_size_of_another(mode: str) -> Case:
    """x resized to the height and width of z and added to it, as in feature pyramids: sizes by Shape and Concat."""
    nodes = [
        helper.make_node("Shape", ["x"], ["outer"], end=2),
        helper.make_node("Shape", ["z"], ["inner"], start=2),
        helper.make_node("Concat", ["outer", "inner"], ["sizes"], axis=0),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["resized"], mode=mode),
        helper.make_node("Add", ["resized", "z"], ["y"]),
    ]
    model = model_of(nodes, {"x": _FREE, "z": ("batch", 2, "high", "wide")}, {})
    return Case(
        "Resize",
        f"{mode}, to the size of another",
        model,
        {"x": apart(_SHAPE), "z": apart((1, 2, 7, 9))},
        ("x",),
        True,
        1,
    )


def _by_computed_scales(mode: str, *, joined: bool) -> Case:
    """Scales that are fed: all of them, or those of height and width, joined with ones."""
    scales = np.array([1.7, 0.8] if joined else [1, 1, 1.7, 0.8], np.float32)
    join = [helper.make_node("Concat", ["ones", "given"], ["scales"], axis=0)] if joined else []
    resize = helper.make_node("Resize", ["x", "", "scales" if joined else "given"], ["y"], mode=mode)
    weights = {"ones": np.ones(2, np.float32)} if joined else {}
    model = model_of([*join, resize], {"x": _FREE, "given": scales.shape}, weights)
    name = f"{mode}, by computed scales" + (" joined with ones" if joined else "")
    return Case("Resize", name, model, {"x": apart(_SHAPE), "given": scales}, ("x",), True, 1)


_ALL = [
    *(
        _nearest(moved, rounded, scales, name)
        for moved in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
        for rounded in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
        for name, scales in (("by whole factors", _WHOLE), ("by 1.7 and 2.3", _UP))
    ),
    _case("nearest, twice", (1, 1, 2, 2)),
    _case("nearest, to a multiple", sizes=(1, 2, 8, 15)),
    _case("nearest, to no multiple", sizes=(1, 2, 9, 15)),
    _case("nearest, down", _DOWN, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    _case("nearest, up and down", _MIXED),
    _case("nearest, every axis", (2, 1.5, 1, 2), shape=("batch", 2, "height", 5)),
    _case("nearest, half_pixel_symmetric", _UP, coordinate_transformation_mode="half_pixel_symmetric"),
    _case("nearest, tf_half_pixel_for_nn", _UP, opset=12, coordinate_transformation_mode="tf_half_pixel_for_nn"),
    *(
        _interpolated(moved, name, scales, free=free)
        for moved in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
        for name, scales, free in (("up", _UP, False), ("up", _UP, True), ("down", _DOWN, True))
    ),
    *(_interpolated(moved, "up", _UP, **_CUBIC) for moved in ("half_pixel", "align_corners", "asymmetric")),
    _interpolated("half_pixel", "down", _DOWN, free=True, mode="cubic"),
    _interpolated("half_pixel", "down, antialias", _DOWN, antialias=1),
    _interpolated("half_pixel", "down, antialias", _DOWN, free=True, mode="cubic", antialias=1),
    _case("linear, to sizes", sizes=(1, 2, 7, 3), mode="linear"),
    _case("linear, to sizes, free", sizes=(1, 2, 7, 3), mode="linear", shape=_FREE),
    _case("linear, one axis stays", sizes=(1, 2, 4, 9), mode="linear", coordinate_transformation_mode="align_corners"),
    _case("linear, to one value", sizes=(1, 2, 1, 1), mode="linear", coordinate_transformation_mode="align_corners"),
    _case("linear, a scale near 1 by which no size changes", (1, 1, 1.1, 1), mode="linear"),
    _case("linear, a scale near 1 by which no size changes, free", (1, 1, 1.1, 1.1), mode="linear", shape=_FREE),
    _case("linear, a scale near 1 by which one size changes", (1, 1, 1.1, 1.3), mode="linear"),
    _case("linear, a scale near 1 by which one size changes, free", (1, 1, 1.1, 1.3), mode="linear", shape=_FREE),
    _case("cubic, a scale near 1 beside a whole one, free", (1, 1, 1.1, 2), mode="cubic", shape=_FREE),
    _case(
        "linear, channels last",
        (1, 1.7, 0.6, 1),
        mode="linear",
        shape=("batch", "height", "width", 3),
        fed=(1, 4, 5, 3),
    ),
    _case("nearest, channels last", (1, 2, 2, 1), shape=("batch", "height", "width", 3), fed=(1, 4, 5, 3)),
    _case("nearest, rank 3", (1, 1, 3), shape=("batch", 3, "length"), fed=(2, 3, 5)),
    _case("linear, rank 3", (1, 1, 1.7), mode="linear", shape=("batch", 3, "length"), fed=(2, 3, 5)),
    _case("nearest, rank 5", (1, 1, 2, 3, 2), shape=(1, 2, "depth", "height", 2), fed=(1, 2, 3, 2, 2)),
    _case(
        "linear, rank 5", (1, 1, 1.5, 2.5, 0.8), mode="linear", shape=(1, 1, "depth", "height", 4), fed=(1, 1, 3, 2, 4)
    ),
    _case("axes", (1.7, 2.3), axes=[3, 2], mode="linear"),
    _case("axes to sizes, free", sizes=(7, 3), axes=[-2, -1], shape=_FREE),
    _case("axes, whole factors", (2, 3), axes=[2, 3], shape=_FREE),
    _to_the_size_of_another("nearest"),
    _to_the_size_of_another("linear"),
    _by_computed_scales("nearest", joined=False),
    _by_computed_scales("linear", joined=True),
    _case("opset 9", (1, 1, 2, 2), op="Upsample", opset=9),
    _case("linear, opset 9", (1, 1, 2, 3), op="Upsample", opset=9, mode="linear"),
    _case("nearest, opset 10", _WHOLE, opset=10),
    _case("linear, opset 10", _UP, opset=10, mode="linear"),
    _case(
        "linear, opset 11", sizes=(1, 2, 7, 3), opset=11, mode="linear", coordinate_transformation_mode="align_corners"
    ),
    _case("nearest, opset 13", _WHOLE, opset=13, coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    _case("cubic, opset 16", _UP, opset=16, mode="cubic"),
    _case("linear, opset 18", sizes=(7, 3), axes=[2, 3], opset=18, mode="linear", antialias=1),
    _case("linear, the newest opset", _UP, opset=26, mode="linear"),
]

_OTHERWISE = {
    "nearest, align_corners, floor, by 1.7 and 2.3",
    "nearest, align_corners, round_prefer_floor, by 1.7 and 2.3",
    "nearest, align_corners, round_prefer_ceil, by 1.7 and 2.3",
    "nearest, tf_half_pixel_for_nn",
    "linear, align_corners, up",
    "linear, align_corners, up, free",
    "linear, align_corners, down, free",
    "cubic, align_corners, up",
    "linear, a scale near 1 by which no size changes",
    "linear, a scale near 1 by which no size changes, free",
    "axes to sizes, free",
    "linear, opset 9",
    "nearest, opset 10",
    "linear, opset 10",
}
"""Those of which ONNX's reference evaluator computes something else than ONNX Runtime, or nothing."""

CASES = [case for case in _ALL if case.name not in _OTHERWISE]
BY_MATRIX = [case for case in _ALL if case.name in _OTHERWISE]
