"""Heatmaps from changing a layer and running what comes after it.

A: activation of the layer (K, h, w), y: the target, y(A'): the target where the layer holds A' instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.heatmaps.method import LayerMethod, Needs, method

if TYPE_CHECKING:
    from onnxvis.measure.heatmaps.probe import GradientProbe

__all__ = ["AblationCAM", "ReciproCAM"]

Array = np.ndarray[Any, np.dtype[Any]]


@method("ablationcam")
class AblationCAM(LayerMethod):
    """Ablation-CAM (Desai and Ramaswamy, 2020, doi:10.1109/WACV45572.2020.9093360): K + 1 runs behind the layer."""

    needs = Needs.LAYER | Needs.RUNS
    slow = True
    definition = (
        "relu(sum_k w_k A_k), w_k = (y - y_k) / y, y_k the target with channel k at 0 (Desai and Ramaswamy, 2020)"
    )

    def worth(self, probe: GradientProbe, layer: str) -> Array:
        """(y - y_k) / y, (K, 1, 1); zeros where y is 0."""
        activation = probe.layers[layer][0]
        found = probe.by_changes(layer, _ablated(activation), 1 + len(activation))
        whole, without = found[0], found[1:]
        shares = (whole - without) / whole if whole else np.zeros_like(without)
        return np.asarray(shares[:, None, None])

    def combine(self, activation: Array, gradient: Array) -> Array:
        """sum_k w_k A_k, `gradient` the weights."""
        return np.asarray((gradient * activation).sum(axis=0))


@method("reciprocam")
class ReciproCAM(LayerMethod):
    """Recipro-CAM (Byun and Lee, 2022, arXiv:2209.14074): h w runs behind the layer."""

    needs = Needs.LAYER | Needs.RUNS
    slow = True
    rectified = False
    definition = "the target where the layer keeps one position alone, position by position (Byun and Lee, 2022)"

    def worth(self, probe: GradientProbe, layer: str) -> Array:
        """y of each position alone, (1, h, w)."""
        activation = probe.layers[layer][0]
        size = activation.shape[1:]
        return probe.by_changes(layer, _alone(activation), size[0] * size[1]).reshape(1, *size)

    def combine(self, activation: Array, gradient: Array) -> Array:
        """`gradient`, which is what positions are worth."""
        del activation
        return np.asarray(gradient[0])


def _ablated(activation: Array) -> Iterator[Array]:
    """The layer as it is, then without each of its channels."""
    values = activation.astype(np.float32)
    yield values
    for channel in range(len(values)):
        changed = values.copy()
        changed[channel] = 0
        yield changed


def _alone(activation: Array) -> Iterator[Array]:
    """The layer with one position alone, row by row."""
    values = activation.astype(np.float32)
    for row, column in np.ndindex(values.shape[1:]):
        changed = np.zeros_like(values)
        changed[:, row, column] = values[:, row, column]
        yield changed
