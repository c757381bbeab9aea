"""The graph of a Darknet network while its layers are added: which tensor a layer gave, what the next is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .activations import activate
from .draft import Draft
from .layers import Connected, Convolution, Layer
from .names import Output, scopes
from .plan import Plan
from .weights import Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EPSILON", "INPUT", "Builder", "Value"]

INPUT = "image"
EPSILON = 1e-6
"""Added to the variance in batch norm, as OpenCV does: the closest that an ONNX node comes to Darknet on the CPU, which
divides by √variance + 1e-6. (On CUDA it divides by √(variance + 1e-5).)"""


@dataclass(frozen=True)
class Value:
    """What a layer gives: (batch, C, H, W), or (batch, C · H · W) where `flat`."""

    tensor: str
    flat: bool = False


class Builder:
    """Adds the layers to a draft, in order."""

    def __init__(self, draft: Draft, plan: Plan, weights: Weights, ends: Sequence[Output]) -> None:
        self.draft, self.plan, self.weights, self.ends = draft, plan, weights, ends
        self.scopes = scopes(plan)
        self._finals: dict[int, str] = {}
        for end in ends:
            if not end.flattened:
                self._finals.setdefault(end.layer, end.name)
        self._values = {-1: Value(INPUT)}
        self._maps: dict[str, str] = {}

    def keep(self, layer: Layer, value: Value) -> None:
        """Remember what a layer gives, for those that read it."""
        self._values[layer.number] = value

    def name_outputs(self) -> None:
        """Add what gives the outputs their names where nothing has them yet."""
        for end in self.ends:
            value = self._values[end.layer]
            if value.tensor != end.name:
                self.draft.node("Flatten" if end.flattened and not value.flat else "Identity", [value.tensor], end.name)

    def name(self, layer: Layer, step: str = "", last: bool = True) -> str:
        """The tensor that a step of a layer gives; the last step of what feeds an output has that output's name."""
        scope = self.scopes[layer.number]
        own = f"{scope}/{step}" if step else scope
        return self._finals.get(layer.number, own) if last else own

    def value(self, number: int) -> Value:
        """What a layer gives, in whatever shape it is."""
        return self._values[number]

    def map(self, number: int) -> str:
        """What a layer gives as (batch, C, H, W)."""
        value = self._values[number]
        if not value.flat:
            return value.tensor
        if value.tensor not in self._maps:
            shape = self.draft.integers(f"{value.tensor}/map/shape", [0, *self.plan.layers[number].shape])
            self._maps[value.tensor] = self.draft.node("Reshape", [value.tensor, shape], f"{value.tensor}/map")
        return self._maps[value.tensor]

    def flat(self, layer: Layer) -> str:
        """What a layer reads as (batch, C · H · W)."""
        value = self._values[layer.inputs[0]]
        if value.flat:
            return value.tensor
        return self.draft.node("Flatten", [value.tensor], f"{self.scopes[layer.number]}/flat")

    def stored(self, layer: Layer, step: str, arrays: dict[str, NDArray[np.float32]], *names: str) -> list[str]:
        """Initializers of a step, under its own name."""
        return [self.draft.weight(f"{self.scopes[layer.number]}/{step}/{name}", arrays[name]) for name in names]

    def normalise(self, layer: Layer, x: str, arrays: dict[str, NDArray[np.float32]], output: str) -> str:
        """y = scale · (x − mean) / √(variance + EPSILON) + bias."""
        kept = self.stored(layer, "bn", arrays, "scale", "bias", "mean", "variance")
        return self.draft.node("BatchNormalization", [x, *kept], output, epsilon=EPSILON)

    def normalise_and_activate(
        self, layer: Layer, what: Convolution | Connected, step: str, product: Callable[[list[str], str], str]
    ) -> str:
        """`product` of the weights and a bias, or of the weights and then batch norm; then the activation.

        `product` gets the names of its weights and of its output.
        """
        arrays = self.weights.of(layer)
        ends_here = what.activation == "linear"
        own = ["weight"] if what.normalised else ["weight", "bias"]
        x = product(self.stored(layer, step, arrays, *own), self.name(layer, step, ends_here and not what.normalised))
        if what.normalised:
            x = self.normalise(layer, x, arrays, self.name(layer, "bn", ends_here))
        return self.activate(layer, what.activation, x)

    def activate(self, layer: Layer, activation: str, x: str, step: str | None = None) -> str:
        """The activation as the last step of a layer, called after itself unless `step` says otherwise."""
        return activate(self.draft, activation, x, self.name(layer, activation if step is None else step))
