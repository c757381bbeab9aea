"""Weights drawn by chance, so that the values neither vanish nor explode on the way through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .layers import Connected, Convolution, Layer, Shortcut, Yolo, tensors
from .plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DrawnWeights"]

_SLOPES = {"leaky": 0.1, "relie": 0.01, "relu": 0.0, "relu6": 0.0, "mish": 0.0, "hard_mish": 0.0, "swish": 0.0}
_NOISE = 0.1
_QUIET, _RARE = 0.1, -4.6


class DrawnWeights:
    """Kernels are normal with variance 2 / ((1 + slope²) · inputs) (He et al., 2015, arXiv:1502.01852), 1 / inputs
    where no rectifier follows; batch norm is the identity with a little noise.

    What a shortcut adds is made smaller by √shortcuts, as each would otherwise double the variance. The same seed
    gives the same weights, layer by layer, whatever else the network has. `few_boxes`: raw heads begin as in training,
    near zero with an objectness of 1 %, instead of with thousands of boxes at random.
    """

    def __init__(self, plan: Plan, seed: int, few_boxes: bool = False) -> None:
        self._seed = seed
        heads = [layer for layer in plan.layers if isinstance(layer.what, Yolo)] if few_boxes else []
        self._heads = {plan.producer(layer.inputs[0]): layer.what for layer in heads}
        joins = [layer for layer in plan.layers if isinstance(layer.what, Shortcut)]
        self._added = {plan.producer(layer.inputs[0]) for layer in joins}
        self._less = 1 / math.sqrt(max(1, len(joins)))

    @property
    def notes(self) -> Sequence[str]:
        """Nothing is to be told of them."""
        return ()

    def of(self, layer: Layer) -> dict[str, NDArray[np.float32]]:
        """The weights of a layer, name → array."""
        rng = np.random.default_rng([self._seed, layer.number])
        drawn = {name: self._draw(rng, name, shape, layer) for name, shape in tensors(layer.what).items()}
        head = self._heads.get(layer.number)
        if isinstance(head, Yolo) and "bias" in drawn:
            drawn["weight"] *= _QUIET
            drawn["bias"].reshape(len(head.anchors), -1)[:, 4] += _RARE
        return drawn

    def _draw(self, rng: np.random.Generator, name: str, shape: tuple[int, ...], layer: Layer) -> NDArray[np.float32]:
        values = rng.standard_normal(shape, np.float32)
        if name == "weight":
            assert isinstance(layer.what, Convolution | Connected)
            slope = _SLOPES.get(layer.what.activation)
            gain = 1 if slope is None else 2 / (1 + slope**2)
            values *= math.sqrt(gain / math.prod(shape[1:])) * (self._less if layer.number in self._added else 1)
            return values
        if name == "variance":
            np.exp(np.float32(_NOISE) * values, out=values)
            return values
        values *= _NOISE
        if name == "scale":
            values += 1
        return values
