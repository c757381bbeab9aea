"""Products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper

from tests.rewrite.differences import Case, apart, model_of
from tests.tiny import Array

__all__ = ["CASES", "product"]

_Shape = Sequence[int | str]


def _values(shape: Sequence[int], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def product(
    op: str,
    name: str,
    shapes: Sequence[Sequence[int]],
    wrt: str = "ab",
    declared: Sequence[_Shape] = (),
    opset: int = 20,
    **attributes: Any,
) -> Case:
    """A node that reads a, b, c, … of these shapes, as inputs where they are in `wrt`, else as weights.

    `declared`: the shapes that the model gives for them, where these are others.
    """
    names = "abc"[: len(shapes)]
    arrays = {key: _values(shape, seed) for seed, (key, shape) in enumerate(zip(names, shapes, strict=True))}
    inputs = {key: shape for key, shape in zip(names, declared or shapes, strict=True) if key in wrt}
    weights = {key: value for key, value in arrays.items() if key not in wrt}
    nodes = [helper.make_node(op, list(names), ["y"], "node", **attributes)]
    model = model_of(nodes, inputs, weights, opset=opset)
    linear = len(wrt) == 1
    return Case(op, name, model, {key: arrays[key] for key in inputs}, linear=linear, step=0.5 if linear else 1e-5)


def _gemm(turned_a: int, turned_b: int, wrt: str) -> Case:
    shapes = ((4, 2) if turned_a else (2, 4), (3, 4) if turned_b else (4, 3), (3,))
    name = f"transA {turned_a}, transB {turned_b}, by {wrt}"
    return product("Gemm", name, shapes, wrt, alpha=0.7, beta=-1.3, transA=turned_a, transB=turned_b)


def _behind_flatten() -> Case:
    """A classifier's end: rows of features, a weight that is turned, a bias."""
    nodes = [
        helper.make_node("Flatten", ["x"], ["rows"]),
        helper.make_node("Gemm", ["rows", "w", "bias"], ["y"], transB=1),
    ]
    weights = {"w": _values((3, 8), 0), "bias": _values((3,), 1)}
    model = model_of(nodes, {"x": ("n", 2, 2, 2)}, weights)
    return Case("Gemm", "behind Flatten, free batch", model, {"x": apart((2, 2, 2, 2))}, linear=True, step=0.5)


CASES = [
    *(_gemm(first, second, wrt) for first in (0, 1) for second in (0, 1) for wrt in ("a", "b", "abc")),
    product("Gemm", "by the bias", ((2, 4), (4, 3), (2, 1)), "c", beta=0.5),
    product("Gemm", "one number as bias", ((2, 4), (4, 3), ()), "c"),
    product("Gemm", "no bias", ((2, 4), (4, 3)), "ab"),
    product("Gemm", "no bias, opset 11", ((2, 4), (4, 3)), "a", opset=11),
    product("Gemm", "opset 9", ((2, 4), (4, 3), (3,)), "a", opset=9),
    product("Gemm", "free sizes", ((2, 4), (4, 3), (1, 3)), "abc", (("n", "k"), ("k", "m"), ("c", "m"))),
    product("Gemm", "newest operator set", ((2, 4), (4, 3), (3,)), "abc", opset=26),
    _behind_flatten(),
    product("MatMul", "matrices", ((2, 4), (4, 3))),
    product("MatMul", "opset 9", ((2, 4), (4, 3)), "a", opset=9),
    product("MatMul", "newest operator set", ((2, 4), (4, 3)), "b", opset=26),
    product("MatMul", "a batch by a matrix", ((2, 2, 3, 4), (4, 2))),
    product("MatMul", "a free batch by a weight", ((2, 3, 4), (4, 2)), "a", (("n", "t", 4), (4, 2))),
    product("MatMul", "a matrix by a batch", ((3, 4), (2, 2, 4, 2))),
    product("MatMul", "a weight by a free batch", ((3, 4), (2, 4, 2)), "b", ((3, 4), ("n", 4, "w"))),
    product("MatMul", "batches", ((2, 3, 4), (2, 4, 2))),
    product("MatMul", "free batches", ((2, 3, 4), (2, 4, 2)), "ab", (("n", "t", "k"), ("n", "k", "m"))),
    product("MatMul", "the left repeated", ((2, 1, 3, 2), (2, 3, 2, 2))),
    product("MatMul", "the right repeated", ((2, 3, 2, 2), (1, 2, 3))),
    product("MatMul", "both repeated", ((2, 1, 2, 3), (3, 3, 2))),
    product("MatMul", "repeated or not is free", ((2, 1, 2, 3), (3, 3, 2)), "ab", (("n", "p", 2, 3), ("q", 3, "w"))),
    product("MatMul", "not repeated is free too", ((2, 2, 3), (2, 3, 2)), "ab", (("n", 2, 3), ("m", 3, 2))),
    product("MatMul", "free sizes by a free matrix", ((2, 3, 4), (4, 2)), "ab", (("n", "t", "k"), ("k", "m"))),
    product("MatMul", "a vector by a matrix", ((4,), (4, 3))),
    product("MatMul", "a vector by a batch", ((4,), (2, 2, 4, 3))),
    product("MatMul", "a matrix by a vector", ((3, 4), (4,))),
    product("MatMul", "a batch by a vector", ((2, 3, 4), (4,))),
    product("MatMul", "a free batch by a free vector", ((2, 3, 4), (4,)), "ab", (("n", "t", "k"), ("k",))),
    product("MatMul", "vectors", ((4,), (4,))),
    product("Einsum", "a product", ((2, 3), (3, 4)), equation="ij,jk->ik"),
    product("Einsum", "turned, with spaces", ((2, 3), (4, 3)), equation="ij, kj -> ki"),
    product("Einsum", "free", ((2, 3, 4), (2, 2, 4)), "ab", (("n", "t", 4), ("n", 2, 4)), equation="bid,bjd->bij"),
    product("Einsum", "an index in one operand alone", ((2, 3), (3, 4)), equation="ij,jk->k"),
    product("Einsum", "one operand", ((2, 3),), "a", equation="ij->j"),
    product("Einsum", "three operands", ((2, 3), (3, 2), (2,)), "abc", equation="ij,jk,k->i"),
    product("Einsum", "all summed", ((2, 3), (2, 3)), equation="ij,ij->", opset=26),
]  # fmt: skip
