from __future__ import annotations

import math

import numpy as np
import pytest

from onnxvis.measure.predictions import class_scores
from tests.tiny import Array


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in values)
    return [math.exp(value) / total for value in values]


def test_logits_go_through_a_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (1, 20)).astype(np.float32)
    found = class_scores(logits)
    assert found is not None
    wanted = softmax([float(value) for value in logits[0]])
    order = sorted(range(20), key=lambda index: -wanted[index])[:5]
    assert [item.index for item in found.best] == order
    np.testing.assert_allclose([item.score for item in found.best], [wanted[index] for index in order], rtol=1e-12)
    assert (found.kind, found.classes) == ("softmax of logits", 20)


def test_probabilities_stay() -> None:
    values = np.array([softmax([1.0, 4.0, 2.0])], np.float32)
    found = class_scores(values, count=2)
    assert found is not None
    assert [(item.index, item.score) for item in found.best] == [(1, float(values[0, 1])), (2, float(values[0, 2]))]
    assert found.kind == "probabilities"


def test_independent_scores_stay() -> None:
    found = class_scores(np.array([[0.9, 0.2, 0.8]]))
    assert found is not None
    assert [(item.index, item.score) for item in found.best] == [(0, 0.9), (2, 0.8), (1, 0.2)]
    assert found.kind == "independent scores"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0.334, 0.333, 0.334]], "probabilities"),
        ([[0.5, 0.4]], "independent scores"),
        ([[0.0, 0.0]], "independent scores"),
        ([[1.0, 0.0]], "probabilities"),
        ([[1.5, 0.0]], "softmax of logits"),
        ([[-0.1, 0.5]], "softmax of logits"),
    ],
)
def test_which_kind(values: list[list[float]], kind: str) -> None:
    found = class_scores(np.array(values))
    assert found is not None
    assert found.kind == kind


def test_huge_logits_do_not_overflow() -> None:
    found = class_scores(np.array([[1e4, 1e4, -1e30]], np.float32))
    assert found is not None
    assert [item.score for item in found.best] == [0.5, 0.5, 0.0]


def test_equal_scores_come_in_order_and_only_the_first_picture_counts() -> None:
    found = class_scores(np.array([[1.0, 3.0, 3.0, 1.0], [9.0, 0.0, 0.0, 0.0]]))
    assert found is not None
    assert [item.index for item in found.best] == [1, 2, 0, 3]


def test_half_precision_and_trailing_ones() -> None:
    values = np.array(softmax([0.1 * index for index in range(1000)]), np.float16).reshape(1, 1000, 1, 1)
    found = class_scores(values)
    assert found is not None
    assert found.best[0].index == 999
    assert found.kind == "probabilities"


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((1, 5, 4)), np.zeros((5,)), np.zeros(()), np.zeros((1, 1)), np.zeros((0, 5)), np.zeros((1, 0)),
        np.zeros((1, 5), np.int64), np.array([[1.0, np.nan]]), np.array([[1.0, np.inf]]), [1.0, 2.0], None,
        np.array([["a", "b"]], dtype=object), np.zeros((1, 5), np.uint8),
    ],
    ids=lambda value: str(getattr(value, "shape", value)),
)  # fmt: skip
def test_what_holds_no_scores(output: Array) -> None:
    assert class_scores(output) is None


@pytest.mark.parametrize("shape", [(1, 6400, 1), (1, 10, 2, 1), (1, 10, 1, 1, 1), (10,), (1, 1)])
def test_other_shapes_are_no_class_scores(shape: tuple[int, ...]) -> None:
    assert class_scores(np.zeros(shape, np.float32)) is None
