"""Operators that move values about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from tests.rewrite.differences import Case, apart, model_of, single
from tests.tiny import Array

__all__ = ["CASES"]

_IMAGE = (2, 8, 4, 6)
_FREE = ("batch", 8, "height", "width")


def _case(
    op: str,
    name: str,
    shape: Sequence[int],
    free: Sequence[int | str] = (),
    weights: dict[str, Any] | None = None,
    **attributes: Any,
) -> Case:
    """Input x of `shape`, declared as `free`; weights of whole numbers."""
    arrays: dict[str, Array] = {key: np.asarray(value, np.int64) for key, value in (weights or {}).items()}
    return Case(op, name, single(op, free or shape, arrays, **attributes), {"x": apart(shape)}, linear=True)


def _sized_by(op: str, name: str, shape: Sequence[int], sizes: Sequence[int], free: Sequence[int | str] = ()) -> Case:
    """The second input, of whole numbers, is fed: nothing is known of it but how long it is."""
    model = single(op, free or shape, inputs=["x", "sizes"])
    model.graph.input.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [len(sizes)]))
    feeds = {"x": apart(shape), "sizes": np.array(sizes, np.int64)}
    return Case(op, name, model, feeds, linear=True)


def _concat(
    name: str, axis: int, *shapes: Sequence[int], free: Sequence[Sequence[int | str]] = (), opset: int = 20
) -> Case:
    names = [f"x{place}" for place in range(len(shapes))]
    node = helper.make_node("Concat", names, ["y"], axis=axis)
    feeds = {key: apart(shape, seed=place) for place, (key, shape) in enumerate(zip(names, shapes, strict=True))}
    declared = dict(zip(names, free or shapes, strict=True))
    return Case("Concat", name, model_of([node], declared, {}, opset=opset), feeds, linear=True)


def _split(
    name: str,
    parts: int,
    outputs: Sequence[int],
    free: Sequence[int | str] = (2, 7, 3),
    opset: int = 20,
    sizes: Sequence[int] = (),
    **attributes: Any,
) -> Case:
    """Of the parts only `outputs` have a gradient."""
    shape = [size if isinstance(size, int) else 6 for size in free]
    weights = {"sizes": np.array(sizes, np.int64)} if sizes else {}
    names = [f"part{place}" for place in range(parts)]
    node = helper.make_node("Split", ["x", *weights], names, **attributes)
    model = model_of([node], {"x": free}, weights, [names[place] for place in outputs], opset)
    return Case("Split", name, model, {"x": apart(shape)}, linear=True)


def _there_and_back(op: str) -> Case:
    """To float64, then to float32 again."""
    there: dict[str, Any] = {"to": TensorProto.DOUBLE} if op == "Cast" else {}
    back: dict[str, Any] = {"to": TensorProto.FLOAT} if op == "Cast" else {}
    nodes = [
        helper.make_node(op, ["x"] if there else ["x", "like"], ["wide"], **there),
        helper.make_node(op, ["wide"] if back else ["wide", "x"], ["y"], **back),
    ]
    model = model_of(nodes, {"x": (2, 3)}, {"like": np.zeros(1, np.float64)})
    return Case(op, "to double and back", model, {"x": apart((2, 3))}, linear=True)


def _dropout(name: str, ratio: float, training: bool) -> Case:
    weights: dict[str, Array] = {"ratio": np.array(ratio, np.float32), "training": np.array(training)}
    return Case("Dropout", name, single("Dropout", (2, 3), weights), {"x": apart((2, 3))}, linear=True)


CASES = [
    _case("Identity", "free sizes", (2, 3), ("n", "m")),
    _case("Reshape", "known sizes", (2, 3, 4), weights={"sizes": [4, 6]}),
    _case("Reshape", "0 and -1", (2, 3, 4), weights={"sizes": [0, -1]}),
    _case("Reshape", "0 and -1, free sizes", (2, 3, 4), ("n", "c", "w"), {"sizes": [0, -1]}),
    _case("Reshape", "allowzero", (2, 3, 4), ("n", 3, "w"), {"sizes": [4, -1]}, allowzero=1),
    _case("Reshape", "to a scalar", (1, 1), weights={"sizes": []}),
    _case("Reshape", "operator set 9", (2, 3, 4), ("n", 3, 4), {"sizes": [-1, 12]}, opset=9),
    _sized_by("Reshape", "sizes that are computed", (2, 3, 4), [4, 6], ("n", 3, "w")),
    _case("Flatten", "axis 1", (2, 3, 4), ("n", 3, "w")),
    _case("Flatten", "axis 0", (2, 3, 4), axis=0),
    _case("Flatten", "axis -1", (2, 3, 4), ("n", "c", "w"), axis=-1),
    _case("Squeeze", "axes", (2, 1, 4, 1), ("n", 1, "w", 1), {"axes": [1, -1]}),
    _case("Squeeze", "no axes", (2, 1, 4, 1)),
    _case("Squeeze", "operator set 9", (2, 1, 4), ("n", 1, "w"), opset=9, axes=[1]),
    _case("Unsqueeze", "axes", (2, 4), ("n", "w"), {"axes": [1, -1]}),
    _case("Unsqueeze", "operator set 9", (2, 4), ("n", 4), opset=9, axes=[0, 2]),
    _case("Transpose", "perm", (2, 3, 4, 5), ("n", 3, "h", "w"), perm=[0, 2, 3, 1]),
    _case("Transpose", "perm, operator set 26", (2, 3, 4, 5), perm=[3, 0, 1, 2], opset=26),
    _case("Transpose", "no perm", (2, 3, 4), ("n", 3, "w")),
    _case("Expand", "stored shape", (3, 1), weights={"sizes": [2, 1, 4]}),
    _case("Expand", "stored shape, a free size of 1", (3, 1), (3, "w"), {"sizes": [2, 3, 4]}),
    _case("Expand", "stored shape, a free size that is not 1", (3, 4), (3, "w"), {"sizes": [2, 3, 4]}),
    _case("Expand", "a smaller shape", (2, 3, 4), weights={"sizes": [3, 1]}),
    _sized_by("Expand", "shape that is computed", (3, 1), [2, 3, 4], ("n", "w")),
    _case("Tile", "stored repeats", (2, 3, 4), weights={"repeats": [1, 2, 3]}),
    _case("Tile", "stored repeats of 1", (2, 3), weights={"repeats": [1, 1]}),
    _case("Tile", "stored repeats, one free size", (2, 3, 4), ("n", 3, 4), {"repeats": [2, 1, 3]}),
    _case("Tile", "stored repeats, free sizes", (2, 3, 4), ("n", 3, "w"), {"repeats": [2, 1, 3]}),
    _case("Tile", "operator set 9", (2, 3), weights={"repeats": [3, 2]}, opset=9),
    _sized_by("Tile", "repeats that are computed", (2, 3, 4), [2, 1, 3], ("n", 3, "w")),
    _case("Dropout", "no ratio", (2, 3), ("n", "m")),
    _case("Dropout", "operator set 9", (2, 3), opset=9, ratio=0.4),
    _dropout("not in training", 0.3, False),
    _dropout("in training, ratio 0", 0.0, True),
    _there_and_back("Cast"),
    _there_and_back("CastLike"),
    _concat("one operand", 0, (2, 3)),
    _concat("known sizes", 1, (2, 3, 2), (2, 1, 2), (2, 4, 2)),
    _concat("negative axis", -1, (2, 3), (2, 1), opset=9),
    _concat("free sizes elsewhere", 1, (2, 3, 2), (2, 1, 2), free=(["n", 3, "w"], ["n", 1, "w"])),
    _concat("a free size along the axis", -2, (2, 3, 2), (2, 1, 2), free=(("n", "h", 2), ("n", 1, 2))),
    _concat("free sizes along the axis", 1, (2, 3), (2, 1), (2, 2), free=(("n", "p"), ("n", "q"), ("n", "r"))),
    _split("sizes", 3, (0, 1, 2), axis=1, sizes=(2, 4, 1)),
    _split("sizes, negative axis, operator set 13", 2, (0, 1), axis=-2, sizes=(2, 5), opset=13),
    _split("sizes as an attribute", 3, (0, 1, 2), axis=1, split=[2, 4, 1], opset=9),
    _split("equal parts, operator set 9", 3, (0, 1, 2), axis=2, opset=9),
    _split("num_outputs, the last smaller", 3, (0, 1, 2), axis=1, num_outputs=3),
    _split("num_outputs, one of them", 1, (0,), axis=1, num_outputs=1),
    _split("the first part alone", 3, (0,), axis=1, sizes=(2, 4, 1)),
    _split("the last part alone", 3, (2,), axis=1, sizes=(2, 4, 1)),
    _split("a free size along the axis", 3, (1, 2), ("n", 3, "w"), axis=2, num_outputs=3),
    _split("free sizes elsewhere", 2, (1,), ("n", 3, "w"), axis=1, sizes=(1, 2), opset=26),
    _case("DepthToSpace", "DCR", _IMAGE, _FREE, blocksize=2),
    _case("DepthToSpace", "CRD", _IMAGE, _FREE, blocksize=2, mode="CRD"),
    _case("DepthToSpace", "CRD, blocks of 3", (1, 18, 2, 1), blocksize=3, mode="CRD", opset=11),
    _case("DepthToSpace", "operator set 9", _IMAGE, blocksize=2, opset=9),
    _case("SpaceToDepth", "free sizes", _IMAGE, _FREE, blocksize=2),
    _case("SpaceToDepth", "operator set 9", (1, 2, 6, 3), blocksize=3, opset=9),
]
