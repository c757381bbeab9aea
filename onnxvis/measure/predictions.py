"""The classes a model names, where its outputs look like class scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Prediction", "Predictions", "class_scores"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Prediction:
    """One class and its score in 0–1, or the raw value where the scores are neither probabilities nor logits."""

    index: int
    score: float


@dataclass(frozen=True)
class Predictions:
    """The best classes, best first. `kind` says what the scores are; `classes` is how many there were."""

    best: tuple[Prediction, ...]
    kind: str
    classes: int


def class_scores(output: object, count: int = 5) -> Predictions | None:
    """The `count` best classes of an output that looks like class scores, of the first picture; None for any other.

    It looks so when it is (batch, K) or (batch, K, 1, 1) with K ≥ 2. Values in [0, 1] that sum to 1 (± 1 %) are
    probabilities, shown as they are. Others are taken for logits and shown after a softmax, exp(v − max) / sum, unless
    all lie in [0, 1]: then they are independent scores.
    """
    values = _vector(output)
    if values is None:
        return None
    if values.min() >= 0 and values.max() <= 1 + 1e-6:
        kind = "probabilities" if abs(values.sum() - 1) <= 0.01 else "independent scores"
    else:
        kind = "softmax of logits"
        values = np.exp(values - values.max())
        values /= values.sum()
    best = np.argsort(-values, kind="stable")[:count]
    return Predictions(tuple(Prediction(int(i), float(values[i])) for i in best), kind, values.size)


def _vector(output: object) -> Array | None:
    if not isinstance(output, np.ndarray) or not output.size or output.dtype.kind != "f":
        return None
    if output.ndim not in (2, 4) or output.shape[1] < 2 or output.shape[2:] not in ((), (1, 1)):
        return None
    values = output[0].reshape(-1).astype(np.float64)
    return values if np.isfinite(values).all() else None
