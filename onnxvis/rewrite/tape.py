"""What a rule of differentiation is given: the graph in the making, and what is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnxvis.rewrite.draft import Draft

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Choices", "NotDifferentiable", "Tape", "Variant"]

Variant = Literal["plain", "guided", "deconvnet"]
"""How the gradient passes units like Relu: the derivative; guided backpropagation's rule; deconvnet's rule."""


class NotDifferentiable(Exception):
    """A rule refuses a node; the text says why, after 'because'."""


@dataclass(frozen=True)
class Choices:
    """Between ways to compute the same gradient, by how fast they are.

    `flip_convolutions`: the gradient of a convolution of stride 1 as a convolution with the kernel turned around,
    instead of a transposed convolution. On the CPU that takes half the time, on CUDA both take the same.
    """

    flip_convolutions: bool = True


class Tape(Draft):
    """A draft in which gradients are written. Rules add nodes by its methods; the gradient of a tensor has that
    tensor's shape and type.

    `notes` gathers what the reader of a gradient should know of how it was computed; `altered` is set where a variant's
    rule took the place of the derivative.
    """

    def __init__(self, proto: ModelProto, folder: Path, choices: Choices | None = None) -> None:
        super().__init__(proto, folder, prefix="gradient")
        self.choices = choices or Choices()
        self.notes: dict[str, None] = {}
        self.altered = False
        self._wanted: frozenset[str] = frozenset()
        self._upstream: dict[str, list[str]] = {}

    def begin(self, wanted: frozenset[str], seeds: Mapping[str, str]) -> None:
        """Start a pass: gradients are wanted for these tensors, and given for those of `seeds`."""
        self._wanted = wanted
        self._upstream = {name: [seed] for name, seed in seeds.items()}

    def wants(self, name: str) -> bool:
        """Whether the gradient of that tensor is asked for, or leads to one that is."""
        return name in self._wanted

    def give(self, name: str, gradient: str) -> None:
        """Add to the gradient of a tensor: it is the sum over all that read it."""
        self._upstream.setdefault(name, []).append(gradient)

    def upstream(self, name: str) -> str | None:
        """The gradient of a tensor, summed over all that read it so far; None where there is none."""
        found = self._upstream.get(name)
        if not found:
            return None
        while len(found) > 1:  # two by two: ONNX Runtime's Sum of two takes half as long again as its Add
            found[:2] = [self.add("Add", found[:2])]
        return found[0]

    def note(self, text: str) -> None:
        """Say something of how the gradient is computed, once."""
        self.notes[text] = None
