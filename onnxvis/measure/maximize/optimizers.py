"""Five ways to go uphill: what a gradient is made into before the parameters move by it.

g: the gradient, of any shape; r: the rate. Powers, roots and quotients are element by element.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line

__all__ = ["OPTIMIZERS", "Optimizer", "optimizer"]

Array = np.ndarray[Any, np.dtype[Any]]


class Optimizer(ABC):
    """One climb's memory. `name` is what users call it, `usual` the rate that it has unless one is given."""

    name: ClassVar[str] = ""
    usual: ClassVar[float]

    def __init__(self, rate: float | None = None) -> None:
        self.rate = self.usual if rate is None else rate

    @abstractmethod
    def step(self, gradient: Array) -> Array:
        """What to add to the parameters to raise what `gradient` is of; called once a step, with equal shapes."""


OPTIMIZERS: dict[str, type[Optimizer]] = {}
"""{name: class}, in the order in which lists show them."""


def optimizer(name: str, rate: float | None = None) -> Optimizer:
    """A new optimiser of this name. Raises UsageError, with all names there are."""
    if name not in OPTIMIZERS:
        raise UsageError(f"no optimiser is called '{one_line(name)}'; there are: {', '.join(OPTIMIZERS)}")
    return OPTIMIZERS[name](rate)


def _named(name: str) -> Callable[[type[Optimizer]], type[Optimizer]]:
    """Register a class under `name`."""

    def register(kind: type[Optimizer]) -> type[Optimizer]:
        if name in OPTIMIZERS:
            raise ValueError(f"an optimiser is called '{name}' already")
        kind.name = name
        OPTIMIZERS[name] = kind
        return kind

    return register


@_named("gd")
class GradientAscent(Optimizer):
    """Plain gradient ascent (Cauchy, 1847): r g."""

    usual = 0.005

    def step(self, gradient: Array) -> Array:
        """R g."""
        return self.rate * gradient


@_named("momentum")
class Momentum(Optimizer):
    """Gradient ascent with momentum (Polyak, 1964), as PyTorch's SGD: v ← 0.9 v + g; r v."""

    usual = 0.0005

    def __init__(self, rate: float | None = None) -> None:
        super().__init__(rate)
        self._velocity: Array | float = 0.0

    def step(self, gradient: Array) -> Array:
        """R v."""
        self._velocity = 0.9 * self._velocity + gradient
        return np.asarray(self.rate * self._velocity)


@_named("adagrad")
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan and Singer, 2011, JMLR 12): s ← s + g²; r g / (√s + 10⁻¹⁰)."""

    usual = 0.5

    def __init__(self, rate: float | None = None) -> None:
        super().__init__(rate)
        self._squares: Array | float = 0.0

    def step(self, gradient: Array) -> Array:
        """R g / (√s + 10⁻¹⁰)."""
        self._squares = self._squares + gradient**2
        return np.asarray(self.rate * gradient / (np.sqrt(self._squares) + 1e-10))


@_named("rmsprop")
class RMSprop(Optimizer):
    """RMSprop (Tieleman and Hinton, 2012, lecture 6.5), as PyTorch's: s ← 0.99 s + 0.01 g²; r g / (√s + 10⁻⁸)."""

    usual = 0.02

    def __init__(self, rate: float | None = None) -> None:
        super().__init__(rate)
        self._squares: Array | float = 0.0

    def step(self, gradient: Array) -> Array:
        """R g / (√s + 10⁻⁸)."""
        self._squares = 0.99 * self._squares + 0.01 * gradient**2
        return np.asarray(self.rate * gradient / (np.sqrt(self._squares) + 1e-8))


@_named("adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015, arXiv:1412.6980), at step t:

    m ← 0.9 m + 0.1 g, s ← 0.999 s + 0.001 g²; r (m / (1 − 0.9ᵗ)) / (√(s / (1 − 0.999ᵗ)) + 10⁻⁸).
    """

    usual = 0.05

    def __init__(self, rate: float | None = None) -> None:
        super().__init__(rate)
        self._mean: Array | float = 0.0
        self._squares: Array | float = 0.0
        self._steps = 0

    def step(self, gradient: Array) -> Array:
        """The mean of the gradients over the root of the mean of their squares, times r."""
        self._steps += 1
        self._mean = 0.9 * self._mean + 0.1 * gradient
        self._squares = 0.999 * self._squares + 0.001 * gradient**2
        mean, squares = self._mean / (1 - 0.9**self._steps), self._squares / (1 - 0.999**self._steps)
        return np.asarray(self.rate * mean / (np.sqrt(squares) + 1e-8))
