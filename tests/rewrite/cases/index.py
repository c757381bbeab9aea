"""Operators that pick values, and that put them into others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from tests.rewrite.differences import Case, apart, model_of, single
from tests.tiny import Array

__all__ = ["BY_MATRIX", "CASES"]

_SHAPE = (2, 3, 4, 5)
_BIGGEST, _LEAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_FREE = ("batch", 3, "height", "width")


def _ints(*values: Any) -> Array:
    return np.array(values, np.int64)


def _fed(op: str, name: str, model: ModelProto, feeds: Mapping[str, Array], *wrt: str) -> Case:
    return Case(op, name, model, dict(feeds), wrt, linear=op != "TopK", step=1e-5 if op == "TopK" else 1)


def _slice(
    name: str,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] = (),
    steps: Sequence[int] = (),
    *,
    shape: Sequence[int | str] = _SHAPE,
    opset: int = 20,
    dtype: type[np.signedinteger[Any]] = np.int64,
) -> Case:
    """A Slice of constant bounds."""
    bounds = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    weights = {key: np.array(value, dtype) for key, value in bounds.items() if value}
    inputs = ["x", *(key if key in weights else "" for key in bounds)]
    while not inputs[-1]:
        inputs.pop()
    return _fed("Slice", name, single("Slice", shape, weights, inputs=inputs, opset=opset), {"x": apart(_SHAPE)})


def _computed_slice(name: str, *, shape: Sequence[int | str] = _SHAPE, step: int = 1, axes: bool = True) -> Case:
    """A Slice whose bounds are fed."""
    bounds: dict[str, tuple[int, ...]] = {"starts": (1, -3), "ends": (3, -1), "axes": (2, 3), "steps": (step, 1)}
    if step < 0:
        bounds |= {"starts": (-1, 1), "ends": (_LEAST, 4)}
    if not axes:
        bounds = {"starts": (0, 1, 1), "ends": (1, 3, _BIGGEST)}
    given = {key: _ints(*value) for key, value in bounds.items()}
    fed = {key: given[key] for key in given if key != "axes"}
    node = helper.make_node("Slice", ["x", *given], ["y"])
    model = model_of([node], {"x": shape}, {key: value for key, value in given.items() if key == "axes"})
    model.graph.input.extend(helper.make_tensor_value_info(key, 7, value.shape) for key, value in fed.items())
    return _fed("Slice", name, model, {"x": apart(_SHAPE), **fed})


def _cropped_like() -> Case:
    """x cut to the height and width of another input, as U-Nets do."""
    nodes = [
        helper.make_node("Shape", ["z"], ["ends"], start=2),
        helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["cut"]),
        helper.make_node("Add", ["cut", "z"], ["y"]),
    ]
    shapes = {"x": ("batch", 3, "high", "wide"), "z": ("batch", 3, "height", "width")}
    model = model_of(nodes, shapes, {"starts": _ints(0, 0), "axes": _ints(2, 3)})
    return _fed("Slice", "to the size of another, free", model, {"x": apart(_SHAPE), "z": apart((2, 3, 3, 2))}, "x")


def _picked(
    op: str,
    name: str,
    places: Array,
    *,
    shape: Sequence[int | str] = _SHAPE,
    fed: bool = False,
    opset: int = 20,
    **attributes: Any,
) -> Case:
    """A Gather or its like, of constant places or places that are fed."""
    feeds = {"x": apart(_SHAPE)}
    if not fed:
        return _fed(op, name, single(op, shape, {"places": places}, opset=opset, **attributes), feeds)
    model = model_of([helper.make_node(op, ["x", "places"], ["y"], **attributes)], {"x": shape}, {}, opset=opset)
    kind = helper.np_dtype_to_tensor_dtype(places.dtype)
    free: list[int | str] = [f"places{axis}" for axis in range(places.ndim)]
    if op == "GatherND":
        free[-1] = places.shape[-1]
    model.graph.input.append(helper.make_tensor_value_info("places", kind, free))
    return _fed(op, name, model, {**feeds, "places": places})


def _put(
    op: str, name: str, places: Array, updates: Sequence[int], *, free: bool = False, opset: int = 20, **attributes: Any
) -> Case:
    """A ScatterElements or ScatterND, by the data and by the updates."""
    shapes: dict[str, Sequence[int | str]] = {"x": _FREE if free else _SHAPE, "updates": updates}
    if free:
        shapes["updates"] = [f"update{axis}" for axis in range(len(updates))]
    nodes = [helper.make_node(op, ["x", "places", "updates"], ["y"], **attributes)]
    model = model_of(nodes, shapes, {"places": places}, opset=opset)
    return _fed(op, name, model, {"x": apart(_SHAPE), "updates": apart(updates, seed=1)})


def _largest(name: str, count: int, *, shape: Sequence[int | str] = _SHAPE, opset: int = 20, **attributes: Any) -> Case:
    model = single("TopK", shape, {"count": _ints(count)}, outputs=2, opset=opset, **attributes)
    return _fed("TopK", name, model, {"x": apart(_SHAPE)})


def _orders(axis: int, count: int) -> Array:
    """For each line along the axis, places that differ from each other, some counted from the end."""
    lines = np.broadcast_to(np.arange(_SHAPE[axis]), (*_SHAPE[:axis], *_SHAPE[axis + 1 :], _SHAPE[axis]))
    places = np.moveaxis(np.random.default_rng(2).permuted(lines, axis=-1)[..., :count], -1, axis)
    return np.where(places % 2, places - _SHAPE[axis], places)


_FEWER = np.random.default_rng(3).integers(-5, 5, (2, 2, 4, 7))
_POINTS = np.stack([np.random.default_rng(4).integers(-size, size, (3, 2)) for size in _SHAPE], axis=-1)

CASES = [
    _slice("step 1", [1], [3], [2]),
    _slice("a channel", [1], [2], [1]),
    _slice("several axes", [1, 0, 2], [2, 2, 4], [0, 1, 3]),
    _slice("axes left out", [0, 1, 1, 2], [2, 3, 3, 5]),
    _slice("counted from the end", [-3, -2], [-1, _BIGGEST], [-1, -2]),
    _slice("bounds beyond the ends", [-99, 2], [2, 99], [2, 3]),
    _slice("steps", [0, 1], [_BIGGEST, _BIGGEST], [2, 3], [2, 3]),
    _slice("every second of every second, free", [1, 0], [_BIGGEST, _BIGGEST], [2, 3], [2, 2], shape=_FREE),
    _slice("flipped", [-1], [_LEAST], [3], [-1]),
    _slice("flipped, free", [-1, 0], [_LEAST, 1], [3, 0], [-1, 1], shape=_FREE),
    _slice("backwards in steps", [3, 4], [0, -99], [2, 3], [-1, -2]),
    _slice("32 bits", [1, -1], [np.iinfo(np.int32).max, np.iinfo(np.int32).min], [2, 3], [1, -1], dtype=np.int32),
    _slice("step 1, free", [1, 0, -4], [-1, 3, 2], [2, 0, 3], shape=_FREE),
    _slice("to the end, free", [1], [_BIGGEST], [3], shape=_FREE, opset=13),
    _slice("opset 10", [1, 0], [3, 5], [2, 3], [1, 2], opset=10),
    _slice("the newest opset", [1, 0], [3, 5], [2, 3], [1, 2], opset=26),
    _fed(
        "Slice",
        "attributes, opset 9",
        single("Slice", _SHAPE, opset=9, starts=[1, -2], ends=[_BIGGEST, 2**31 - 1], axes=[1, 2]),
        {"x": apart(_SHAPE)},
    ),
    _computed_slice("computed bounds"),
    _computed_slice("computed bounds, free", shape=_FREE),
    _computed_slice("computed bounds and steps, free", shape=_FREE, step=2),
    _computed_slice("computed bounds and backwards", step=-2),
    _computed_slice("computed bounds, axes left out", axes=False),
    _cropped_like(),
    _picked("Gather", "one", np.array(2), axis=2),
    _picked("Gather", "one from the end", np.array(-2), axis=-1),
    _picked("Gather", "one of a free batch", np.array(1), shape=_FREE),
    _picked("Gather", "one from the end, free", _ints(-2), axis=3, shape=_FREE),
    _picked("Gather", "one in a matrix, free", _ints([1]), axis=2, shape=_FREE),
    _picked("Gather", "some", _ints(3, 1), axis=2),
    _picked("Gather", "repeated", _ints(0, 4, -1, 2, -5, 4), axis=3),
    _picked("Gather", "repeated, free", _ints(0, 3, -1, 2, -4, 3), axis=2, shape=_FREE),
    _picked("Gather", "a matrix", _ints([0, 2, -1], [1, 2, 2]), axis=1),
    _picked("Gather", "a matrix, first axis, 32 bits", _ints([0, 1, -1], [1, 1, 0]).astype(np.int32)),
    _picked("Gather", "a matrix, free", _ints([0, 2, -1], [1, 2, 2]), axis=2, shape=_FREE),
    _picked("Gather", "computed", _ints(0, 4, -1, 4), axis=3, fed=True, shape=_FREE),
    _picked("Gather", "a computed scalar", np.array(-2), axis=2, fed=True),
    _picked("Gather", "a computed matrix of 32 bits", _ints([3, -1], [3, 0]).astype(np.int32), axis=2, fed=True),
    _picked("Gather", "opset 9", _ints(2, 0), axis=1, opset=9),
    _picked("Gather", "the newest opset", _ints(2, 0, 2), axis=1, opset=26),
    _picked("GatherElements", "repeated", np.tile(_orders(3, 3), 2), axis=3),
    _picked("GatherElements", "computed, 32 bits, free", _orders(1, 2).astype(np.int32), axis=1, fed=True, shape=_FREE),
    _picked("GatherElements", "opset 11", _orders(2, 3), axis=2, opset=11),
    _picked("GatherND", "values", _POINTS),
    _picked("GatherND", "rows", _POINTS[..., :2]),
    _picked("GatherND", "repeated slices, free", _ints([1], [0], [-1], [1]), shape=_FREE),
    _picked("GatherND", "computed, free", _POINTS[..., :3], fed=True, shape=_FREE),
    _picked("GatherND", "a batch", np.stack([_POINTS[0, :, 1:3], _POINTS[1, :, 1:3]]), batch_dims=1),
    _picked("GatherND", "two dimensions of batch, free", np.stack([_POINTS[:, :, 2:]] * 2), batch_dims=2, shape=_FREE),
    _picked("GatherND", "opset 11", _POINTS[..., :1], opset=11),
    _put("ScatterElements", "put", _orders(2, 3), (2, 3, 3, 5), axis=2),
    _put("ScatterElements", "put, free", _orders(3, 2), (2, 3, 4, 2), axis=-1, free=True),
    _put("ScatterElements", "added", _FEWER, _FEWER.shape, axis=3, reduction="add"),
    _put("ScatterElements", "added, free", _FEWER, _FEWER.shape, axis=3, reduction="add", free=True),
    _put("ScatterElements", "opset 11", _orders(1, 1), (2, 1, 4, 5), axis=1, opset=11),
    _put("ScatterND", "values", np.unique(_POINTS.reshape(-1, 4) % _SHAPE, axis=0), (4,)),
    _put("ScatterND", "slices", _ints([[1, 2]], [[-1, 0]]), (2, 1, 4, 5)),
    _put("ScatterND", "slices, free", _ints([[1, 2]], [[-1, 0]]), (2, 1, 4, 5), free=True),
    _put("ScatterND", "added", _POINTS[..., :3], (3, 2, 5), reduction="add"),
    _put("ScatterND", "opset 11", _ints([1]), (1, 3, 4, 5), opset=11),
    _largest("of the last axis", 3),
    _largest("smallest of a middle axis", 2, axis=1, largest=0),
    _largest("free", 2, axis=2, shape=_FREE),
    _largest("opset 10", 1, axis=1, opset=10),
    _largest("opset 11", 1, axis=-1, opset=11),
    _largest("the newest opset", 2, opset=26),
]

BY_MATRIX = [
    _picked("GatherElements", "fewer than there are", _FEWER, axis=3),
    _picked("GatherElements", "an axis from the end, free", _FEWER, axis=-1, fed=True, shape=_FREE),
]
"""Linear ones that ONNX's reference evaluator gets wrong."""
