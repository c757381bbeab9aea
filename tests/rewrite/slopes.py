"""Gradients of any tensors by any others of a model, and central differences as their oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, helper
from onnx.reference import ReferenceEvaluator

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.differences import Case, central_differences, run
from tests.rewrite.running import from_text
from tests.tiny import Array

__all__ = ["agree", "as_model", "gradients", "model_from", "oracle", "seeds_for", "values_of"]


def model_from(body: str, opset: int = 17, header: str = "") -> Model:
    """A model from the text of its graph."""
    return as_model(from_text(body, opset, header))


def as_model(proto: ModelProto) -> Model:
    """A model that no file holds."""
    return Model(Path("model.onnx"), proto, Path.cwd())


def seeds_for(model: Model, feeds: Mapping[str, Array], of: Sequence[str], seed: int = 1) -> dict[str, Array]:
    """Random gradients for those tensors to start from."""
    rng = np.random.default_rng(seed)
    values = values_of(model.proto, feeds, of)
    return {name: rng.standard_normal(values[name].shape).astype(np.float32) for name in of}


def gradients(
    model: Model, feeds: Mapping[str, Array], wrt: Sequence[str], seeds: Mapping[str, Array], **options: Any
) -> dict[str, Array]:
    """{tensor: its gradient}, as ONNX Runtime computes it."""
    found = differentiate(model, list(seeds), wrt, **options)
    given = {**feeds, **{found.seeds[name]: seed for name, seed in seeds.items()}}
    present = {value.name for value in found.proto.graph.input}
    computed = run(found.proto, {name: value for name, value in given.items() if name in present})
    return {name: computed[found.gradients[name]] for name in wrt}


def oracle(
    model: Model, feeds: Mapping[str, Array], wrt: Sequence[str], seeds: Mapping[str, Array]
) -> dict[str, Array]:
    """The same by central differences. A tensor that a node makes becomes an input in its place."""
    found: dict[str, Array] = {}
    for name in wrt:
        proto = ModelProto()
        proto.CopyFrom(model.proto)
        graph = proto.graph
        given = dict(feeds)
        if name not in given:
            value = values_of(model.proto, feeds, [name])[name]
            nodes = [node for node in graph.node if name not in node.output]
            kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
            del graph.node[:]
            graph.node.extend(kept)
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.input.append(helper.make_tensor_value_info(name, kind, value.shape))
            given[name] = value
        del graph.output[:]
        graph.output.extend(helper.make_empty_tensor_value_info(output) for output in seeds)
        found |= central_differences(Case("", "", proto, given), seeds, [name])
    return found


def agree(
    model: Model,
    feeds: Mapping[str, Array],
    of: Sequence[str],
    wrt: Sequence[str],
    tolerance: float = 1e-4,
    **options: Any,
) -> dict[str, Array]:
    """Assert that both are the same, up to `tolerance` of the largest; returns the gradients."""
    seeds = seeds_for(model, feeds, of)
    found = gradients(model, feeds, wrt, seeds, **options)
    for name, expected in oracle(model, feeds, wrt, seeds).items():
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=tolerance * scale, err_msg=name)
        assert found[name].shape == expected.shape
    return found


def values_of(proto: ModelProto, feeds: Mapping[str, Array], names: Sequence[str]) -> dict[str, Array]:
    """The values of those tensors, by ONNX's reference evaluator."""
    shown = ModelProto()
    shown.CopyFrom(proto)
    del shown.graph.output[:]
    shown.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return dict(zip(names, ReferenceEvaluator(shown).run(None, dict(feeds)), strict=True))
