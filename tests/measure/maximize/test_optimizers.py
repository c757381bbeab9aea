from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.measure.maximize.optimizers import OPTIMIZERS, optimizer


def bowl(size: int = 6) -> tuple[Any, Any]:
    """A random concave quadratic −½ xᵀ Q x + b · x, as Q and b."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((size, size))
    return root @ root.T / size + np.eye(size), rng.standard_normal(size)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize("rate", [0.05, None])
def test_twenty_steps_are_pytorch_s(name: str, rate: float | None) -> None:
    torch = pytest.importorskip("torch")
    matrix, vector = bowl()
    ours, climb = np.zeros(6), optimizer(name, rate)
    theirs = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    rates = {"lr": climb.rate, "maximize": True}
    made = {
        "gd": lambda: torch.optim.SGD([theirs], **rates),
        "momentum": lambda: torch.optim.SGD([theirs], momentum=0.9, **rates),
        "adagrad": lambda: torch.optim.Adagrad([theirs], **rates),
        "rmsprop": lambda: torch.optim.RMSprop([theirs], **rates),
        "adam": lambda: torch.optim.Adam([theirs], **rates),
    }[name]()
    for _ in range(20):
        ours = ours + climb.step(vector - matrix @ ours)
        made.zero_grad()
        (torch.from_numpy(vector) @ theirs - theirs @ torch.from_numpy(matrix) @ theirs / 2).backward()
        made.step()
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert np.abs(ours).max() > 1e-4


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_each_raises_a_quadratic(name: str) -> None:
    matrix, vector = bowl()
    x, climb = np.zeros(6), optimizer(name)
    for _ in range(50):
        x = x + climb.step(vector - matrix @ x)
    best = np.linalg.solve(matrix, vector)
    assert vector @ x - x @ matrix @ x / 2 > 0
    assert vector @ x - x @ matrix @ x / 2 <= vector @ best / 2


def test_climbs_share_no_memory() -> None:
    first, second = optimizer("momentum", 1.0), optimizer("momentum", 1.0)
    first.step(np.ones(2))
    np.testing.assert_array_equal(second.step(np.ones(2)), [1, 1])


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="'sgd'; there are: gd, momentum, adagrad, rmsprop, adam"):
        optimizer("sgd")
