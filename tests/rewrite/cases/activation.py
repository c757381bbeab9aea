"""Elementwise nonlinearities."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.rewrite.differences import Case, apart, single

__all__ = ["CASES"]

_SHAPE = (2, 3, 4)


def _case(op: str, name: str = "defaults", opset: int = 20, step: float = 1e-5, **attributes: Any) -> Case:
    return Case(op, name, single(op, _SHAPE, opset=opset, **attributes), {"x": apart(_SHAPE, 0.31)}, step=step)


def _weighted(op: str, name: str, weights: dict[str, Any], wrt: tuple[str, ...] = ("x",), **attributes: Any) -> Case:
    arrays = {key: np.asarray(value, np.float32) for key, value in weights.items()}
    inputs = attributes.pop("inputs", None)
    return Case(op, name, single(op, _SHAPE, arrays, inputs=inputs, **attributes), {"x": apart(_SHAPE, 0.31)}, wrt)


CASES = [
    _case("Relu"),
    _case("Relu", "opset 9", opset=9),
    _case("LeakyRelu"),
    _case("LeakyRelu", "alpha 0.1", alpha=0.1),
    _case("LeakyRelu", "alpha 0", alpha=0.0),
    _case("LeakyRelu", "alpha above 1", alpha=1.7),
    _case("LeakyRelu", "negative alpha", alpha=-0.4),
    _weighted("PRelu", "a slope a channel", {"slope": np.array([0.1, -0.2, 1.5]).reshape(3, 1)}),
    _weighted("PRelu", "one slope", {"slope": [0.25]}),
    _case("ThresholdedRelu"),
    _case("ThresholdedRelu", "alpha 0.1", alpha=0.1),
    _case("Elu"),
    _case("Elu", "alpha 0.5", alpha=0.5),
    _case("Selu"),
    _case("Selu", "alpha 2, gamma 1.2", alpha=2.0, gamma=1.2),
    _case("Celu"),
    _case("Celu", "alpha 2", alpha=2.0),
    _case("Gelu", step=0.02),
    _case("Gelu", "tanh", step=0.02, approximate="tanh"),
    _weighted("Clip", "both bounds", {"low": -1, "high": 2}),
    _weighted("Clip", "only low", {"low": 0}),
    _weighted("Clip", "only high", {"high": 0.5}, inputs=["x", "", "high"]),
    _case("Clip", "no bounds"),
    _case("Clip", "attributes, opset 9", opset=9, min=-1.0, max=1.0),
    _case("HardSigmoid"),
    _case("HardSigmoid", "alpha 0.3, beta 0.4", alpha=0.3, beta=0.4),
    _case("HardSwish"),
    _case("Swish", opset=24),
    _case("Swish", "alpha 1.5", opset=24, alpha=1.5),
    _case("Mish"),
    _case("Softplus"),
    _case("Softsign"),
    _case("Sigmoid"),
    _case("Tanh"),
]
