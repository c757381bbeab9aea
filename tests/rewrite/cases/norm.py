"""Normalisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.rewrite.differences import Case, apart, model_of, single
from tests.tiny import Array

__all__ = ["CASES", "parameters"]

_FREE = ("n", 4, "h", "w")
_IMAGE = (2, 4, 2, 3)


def parameters(count: int, *, statistics: bool = False) -> dict[str, Array]:
    """A scale and a bias, and a mean and a variance, of so many numbers."""
    steps = np.arange(count, dtype=np.float32)
    found = {"scale": 1.5 - 0.7 * steps, "bias": 0.2 * steps - 0.3}
    if statistics:
        found |= {"mean": 0.4 * steps - 0.5, "variance": 0.6 + 0.9 * steps}
    return {name: value.astype(np.float32) for name, value in found.items()}


def _case(
    op: str,
    name: str,
    shape: Sequence[int] = _IMAGE,
    weights: Mapping[str, Array] | None = None,
    declared: Sequence[int | str] = (),
    **rest: Any,
) -> Case:
    linear = op == "BatchNormalization"
    model = single(op, declared or shape, weights, **rest)
    return Case(op, name, model, {"x": apart(shape, 0.09)}, linear=linear, step=0.5 if linear else 0.03)


def _by_all(case: Case, name: str, wrt: str = "") -> Case:
    """The same with what are weights as inputs; by those named, by default by all."""
    given = {item.name: item for item in case.model.graph.initializer}
    feeds = dict(case.feeds)
    for key, item in given.items():
        feeds[key] = np.frombuffer(item.raw_data, np.float32).reshape(tuple(item.dims)).copy()
    shapes = {key: value.shape for key, value in feeds.items()}
    opset = case.model.opset_import[0].version
    model = model_of(case.model.graph.node, shapes, {}, opset=opset)
    return Case(case.op, name, model, feeds, tuple(wrt.split()), step=0.03)


def _batch(name: str, shape: Sequence[int] = _IMAGE, **rest: Any) -> Case:
    return _case("BatchNormalization", name, shape, parameters(shape[1], statistics=True), **rest)


def _layer(op: str, name: str, shape: Sequence[int], scale: Sequence[int], bias: bool = True, **rest: Any) -> Case:
    weights = {"scale": 1.5 - 0.3 * apart(scale)}
    if bias:
        weights["bias"] = apart(scale, 0.2)
    return _case(op, name, shape, {key: value.astype(np.float32) for key, value in weights.items()}, **rest)


_LAYER, _RMS, _GROUP = "LayerNormalization", "RMSNormalization", "GroupNormalization"

CASES = [
    _batch("defaults"),
    _batch("opset 14", opset=14),
    _batch("newest operator set", opset=26),
    _batch("epsilon 0.1", epsilon=0.1),
    _batch("rows", (3, 4)),
    _batch("sequences", (2, 3, 4)),
    _batch("volumes", (2, 3, 2, 2, 2)),
    _batch("free batch, height and width", declared=_FREE),
    _batch("free rows", (3, 4), declared=("n", 4)),
    _by_all(_batch(""), "computed parameters, by x", "x"),
    _by_all(_batch("", epsilon=0.1), "by all parameters"),
    _by_all(_batch("", (3, 4)), "rows, by all parameters"),
    _case("InstanceNormalization", "defaults", weights=parameters(4)),
    _case("InstanceNormalization", "opset 9, epsilon 0.1", weights=parameters(4), opset=9, epsilon=0.1),
    _case("InstanceNormalization", "newest operator set", weights=parameters(4), opset=26),
    _case("InstanceNormalization", "sequences", (2, 3, 4), parameters(3)),
    _case("InstanceNormalization", "free batch, height and width", weights=parameters(4), declared=_FREE),
    _by_all(_case("InstanceNormalization", "", weights=parameters(4)), "by scale and bias"),
    _layer(_LAYER, "defaults", (2, 3, 4), (4,)),
    _layer(_LAYER, "opset 17, no bias", (2, 3, 4), (4,), bias=False, opset=17),
    _layer(_LAYER, "newest operator set", (2, 3, 4), (4,), opset=26),
    _layer(_LAYER, "axis 1, epsilon 0.1", (2, 3, 4), (3, 4), axis=1, epsilon=0.1),
    _layer(_LAYER, "axis -2", (2, 3, 4), (3, 4), axis=-2),
    _layer(_LAYER, "axis 0", (2, 3), (2, 3), axis=0),
    _layer(_LAYER, "a scale that is repeated", (2, 3, 4), (3, 1), axis=1),
    _layer(_LAYER, "free batch and length", (2, 3, 4), (4,), declared=("n", "t", 4)),
    _by_all(_layer(_LAYER, "", (2, 3, 4), (3, 4), axis=1), "by scale and bias"),
    _case(_GROUP, "opset 18, a scale a group", weights=parameters(2), opset=18, num_groups=2),
    _case(_GROUP, "opset 20, free batch, height and width", weights=parameters(2), declared=_FREE, num_groups=2),
    _case(_GROUP, "opset 21, a scale a channel", weights=parameters(4), opset=21, num_groups=2, stash_type=1),
    _case(
        _GROUP, "opset 21, free batch, height and width", weights=parameters(4), declared=_FREE, opset=21, num_groups=2
    ),
    _case(_GROUP, "newest operator set, epsilon 0.1", weights=parameters(4), opset=26, num_groups=1, epsilon=0.1),
    _case(_GROUP, "a group a channel", weights=parameters(4), opset=21, num_groups=4),
    _by_all(_case(_GROUP, "", weights=parameters(2), opset=18, num_groups=2), "opset 18, by scale and bias"),
    _by_all(_case(_GROUP, "", weights=parameters(4), opset=21, num_groups=2), "opset 21, by scale and bias"),
    # the reference evaluator's LRN is right only for as many pictures as channels
    _case("LRN", "alpha 1", (5, 5, 1, 2), size=3, alpha=1.0),
    _case("LRN", "all attributes", (5, 5, 1, 2), size=5, alpha=0.8, beta=0.6, bias=1.5),
    _case("LRN", "opset 9, wider than the channels", (3, 3, 2, 2), opset=9, size=7, alpha=1.3),
    _case("LRN", "one channel a window", (3, 3, 2, 2), opset=26, size=1, alpha=0.5),
    _case("LRN", "free sizes", (4, 4, 1, 2), declared=("n", "c", "h", "w"), size=3, alpha=1.0),
    _case("LpNormalization", "defaults"),
    _case("LpNormalization", "newest operator set, axis 1", opset=26, axis=1),
    _case("LpNormalization", "free batch, height and width", declared=_FREE, axis=1, p=2),
    _layer(_RMS, "defaults", (2, 3, 4), (4,), bias=False, opset=23),
    _layer(_RMS, "axis 1, epsilon 0.1", (2, 3, 4), (3, 4), bias=False, opset=24, axis=1, epsilon=0.1),
    _layer(_RMS, "free batch and length", (2, 3, 4), (4,), bias=False, opset=23, declared=("n", "t", 4)),
    _by_all(_layer(_RMS, "", (2, 3, 4), (4,), bias=False, opset=23), "by scale"),
]
