"""What a section may read: the layers before it, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxvis.files import one_line

from .activations import ACTIVATIONS
from .cfg import Section
from .layers import Layer, Region, Shape, What, Yolo

__all__ = ["Before", "Read"]

Read = tuple[What, tuple[int, ...], Shape]
"""What a section computes, the layers that it reads, the shape of what it gives."""


@dataclass(frozen=True)
class Before:
    """The section that is read, and the layers before it."""

    section: Section
    layers: Sequence[Layer]
    picture: Shape

    @property
    def shape(self) -> Shape:
        """Shape of what the layer before gives."""
        return self.shape_of(self.section.number - 1)

    def shape_of(self, number: int) -> Shape:
        """Shape of a layer's output. Raises ModelError where it cannot be read."""
        if number < 0:
            return self.picture
        layer = self.layers[number]
        if isinstance(layer.what, Yolo | Region):
            raise self.section.refuse(f"reads {layer.title}, an output of the network that no section can read")
        return layer.shape

    def named(self, key: str) -> tuple[int, ...]:
        """The layers that an option names, by number from the start or, where negative, back from here."""
        here = self.section.number
        given = self.section.integers(key, -(1 << 30), 1 << 30)
        if not given:
            raise self.section.refuse(f"lacks {key}")
        there = f"the sections before it are 0 to {here - 1}" if here else "there is no section before it"
        for value in given:
            if not 0 <= (value if value >= 0 else here + value) < here:
                raise self.section.refuse(f"has {key}={value}; {there}")
        return tuple(value if value >= 0 else here + value for value in given)

    def activation(self, default: str, *without: str) -> str:
        """The name of the activation, one of ACTIVATIONS but for `without`. Raises ModelError."""
        name = self.section.text("activation", default)
        if name not in ACTIVATIONS or name in without:
            known = ", ".join(entry for entry in ACTIVATIONS if entry not in without)
            raise self.section.refuse(
                f"has activation={one_line(name, 40)}, which is not supported; supported are {known}"
            )
        return name
