"""What a heatmap method is, and the register of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

if TYPE_CHECKING:
    from onnxvis.measure.heatmaps.probe import GradientProbe

__all__ = ["METHODS", "HeatmapMethod", "LayerMethod", "Needs", "PixelMethod", "Raw", "method"]

Array = np.ndarray[Any, np.dtype[Any]]


class Needs(Flag):
    """What a method asks a model for.

    `LAYER`: a layer's values. `GRADIENT`: the target's gradient by it. `INPUT`: the picture as it is fed. `RUNS`: many
    runs on changed pictures or layers, where methods of the picture have its gradients otherwise.
    """

    LAYER = auto()
    GRADIENT = auto()
    INPUT = auto()
    RUNS = auto()


@dataclass(frozen=True, eq=False)
class Raw:
    """A method's result before it is made a map: `values` as the method defines them, and `notes`."""

    values: Array
    notes: tuple[str, ...] = ()


class HeatmapMethod(ABC):
    """A way to tell which part of a picture a result comes from.

    `name` is what users call it, `definition` one line with the formula and where it is from.
    """

    name: ClassVar[str] = ""
    definition: ClassVar[str] = ""
    needs: ClassVar[Needs]
    slow: ClassVar[bool] = False
    """Whether it takes hundreds of runs, so that 'all methods' may leave it out."""


class LayerMethod(HeatmapMethod):
    """A method that weighs the channels of one layer: a class activation map."""

    needs = Needs.LAYER | Needs.GRADIENT
    rectified: ClassVar[bool] = True
    """Whether what is negative is cut off before the map is stretched to 0–1."""

    def worth(self, probe: GradientProbe, layer: str) -> Array:
        """What `combine` weighs a layer of the probe by: the gradient of the target by it, unless a method finds out in
        another way what channels (K, 1, 1) or positions (1, h, w) are worth.
        """
        return probe.layers[layer][1]

    @abstractmethod
    def combine(self, activation: Array, gradient: Array) -> Array:
        """The map (h, w) of one layer. `activation`: (K, h, w) float64; `gradient`: its `worth`, that is, unless said
        otherwise, the gradient of the target by it, (K, h, w) float64.
        """


class PixelMethod(HeatmapMethod):
    """A method that weighs the numbers that the model is fed."""

    needs = Needs.INPUT

    @abstractmethod
    def explain(self, probe: GradientProbe) -> Raw:
        """The method's values (C, H, W), signed, or (H, W)."""

    def flatten(self, values: Array) -> Array:
        """(H, W) values from 0 up, of what `explain` gave: the largest magnitude over the channels."""
        return np.abs(values).max(axis=0) if values.ndim == 3 else values


METHODS: dict[str, HeatmapMethod] = {}
"""{name: method}, in the order in which lists show them."""

_Class = TypeVar("_Class", bound=type[HeatmapMethod])


def method(name: str) -> Callable[[_Class], _Class]:
    """Register a class under `name`. Raises ValueError where that is taken."""

    def register(kind: _Class) -> _Class:
        if name in METHODS:
            raise ValueError(f"a heatmap method is called '{name}' already")
        kind.name = name
        METHODS[name] = kind()
        return kind

    return register
