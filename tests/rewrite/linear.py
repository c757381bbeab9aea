"""Gradients of what is linear, by its matrix: column by column, from what ONNX Runtime computes forward."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import ModelProto

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.tape import Choices
from tests.rewrite.differences import run
from tests.tiny import Array

__all__ = ["gradient_and_output", "linear_error"]


def gradient_and_output(
    model: ModelProto, feeds: Mapping[str, Array], wrt: str = "x", choices: Choices | None = None
) -> tuple[Array, Array, Array]:
    """The gradient of <seed, y> by `wrt` for a random seed, the seed, and y; in float32."""
    y = run(model, feeds, ["y"])["y"]
    seed = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], [wrt], choices=choices)
    given = run(found.proto, {**feeds, found.seeds["y"]: seed}, ["y", found.gradients[wrt]])
    np.testing.assert_array_equal(given["y"], y)
    return given[found.gradients[wrt]], seed, y


def linear_error(
    model: ModelProto, feeds: Mapping[str, Array], wrt: str = "x", choices: Choices | None = None
) -> float:
    """The largest difference between the gradient and Aᵀ seed, over its largest value, where y = A · wrt + constant."""
    gradient, seed, _ = gradient_and_output(model, feeds, wrt, choices)
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    point = np.zeros_like(feeds[wrt])

    def output() -> Array:
        found: Array = session.run(["y"], {**feeds, wrt: point})[0].astype(np.float64)
        return found

    start, expected = output(), np.empty(point.size)
    for place in range(point.size):
        point.reshape(-1)[place] = 1
        expected[place] = ((output() - start) * seed).sum()
        point.reshape(-1)[place] = 0
    assert gradient.shape == point.shape
    return float(np.abs(gradient - expected.reshape(point.shape)).max() / max(np.abs(expected).max(), 1e-3))
