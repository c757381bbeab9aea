"""How far a rewrite moved a model's own outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.activations import differences, run_deployed
from onnxvis.run.session import RunOptions, Session

if TYPE_CHECKING:
    from onnx import ModelProto

    from onnxvis.graph.load import Model

__all__ = ["moved_outputs"]

Array = np.ndarray[Any, np.dtype[Any]]


def moved_outputs(
    model: Model, proto: ModelProto, extra: Mapping[str, Array], options: RunOptions | None = None
) -> dict[str, float]:
    """{output of `model`: the largest difference to `proto`, a rewrite of it, over its largest value}; 0 where all
    values are the same, infinite where they differ and cannot be compared (other shapes, NaN in other places).

    Both run optimised as deployed, once, on normal noise in the shapes assumed for `model`; `extra` are the further
    inputs of `proto`. Raises the errors of running.
    """
    options = options or RunOptions()
    feeds = _noise(model)
    before, _ = run_deployed(model, [feeds], options)
    with Session(proto, model.folder, replace(options, exact=False), model.name) as session:
        after = session.run({**feeds, **extra}, list(before[0]))
    gaps = {gap.output: gap.relative for gap in differences(after, before[0])}
    moved = (name for name, value in before[0].items() if not _same(value, after[name]))
    return dict.fromkeys(before[0], 0.0) | {name: gaps.get(name) or math.inf for name in moved}


def _same(one: object, other: object) -> bool:
    """Whether two outputs hold the same values, NaN counting as itself."""
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return bool(one == other)
    return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


def _noise(model: Model) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    feeds = {}
    for tensor in model.inputs:
        shape = model.assumed_shapes.get(tensor.name) or tensor.shape or ()
        sizes = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
        dtype = np.dtype(tensor.dtype or "float32")
        noise = rng.standard_normal(sizes) if dtype.kind == "f" else rng.integers(0, 2, sizes)
        feeds[tensor.name] = noise.astype(dtype)
    return feeds
