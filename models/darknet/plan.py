"""A whole Darknet network: its layers in order, with all shapes known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxvis.errors import ModelError, UsageError

from .cfg import Section
from .layers import Layer, Route, Same, Shape, Yolo, tensors
from .sections import read_layer

__all__ = ["Plan", "make_plan"]

_MAX_SIDE = 16384
_MAX_WEIGHTS = (1 << 29) - (1 << 22)
"""Floats that fit into an .onnx file, which protobuf ends at 2 GiB, with room for the graph."""


@dataclass(frozen=True)
class Plan:
    """A network called `name` for pictures of shape `picture`."""

    name: str
    picture: Shape
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """How many floats its weights are, as Darknet stores them: batch norm's statistics included."""
        return sum(math.prod(shape) for layer in self.layers for shape in tensors(layer.what).values())

    @property
    def heads(self) -> tuple[Layer, ...]:
        """The [yolo] layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer.what, Yolo))

    def producer(self, number: int) -> int:
        """The layer that makes what layer `number` gives: another where that only passes it on; -1 is the picture."""
        while number >= 0:
            layer = self.layers[number]
            alone = isinstance(layer.what, Route) and len(layer.inputs) == 1 and layer.what.groups == 1
            if not alone and not isinstance(layer.what, Same):
                break
            number = layer.inputs[0]
        return number


def make_plan(sections: Sequence[Section], size: tuple[int, int] | None = None, classes: int | None = None) -> Plan:
    """The network that a cfg describes; `size` (height, width) and `classes` take the place of its own.

    Another number of classes goes into every [yolo] section and, as filters, into the convolution before it.
    Raises ModelError for what is not supported or does not fit, UsageError for a size or classes that cannot be.
    """
    net, *rest = sections
    height, width = size or (net.integer("height", None, 1, _MAX_SIDE), net.integer("width", None, 1, _MAX_SIDE))
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise UsageError(f"the input cannot be {height} x {width}; sides go from 1 to {_MAX_SIDE}")
    picture = net.integer("channels", None, 1, 1024), height, width
    if not rest:
        raise ModelError(f"{net.file} has no layers after [net]")
    layers: list[Layer] = []
    for section in rest if classes is None else _with_classes(rest, classes):
        layers.append(read_layer(section, layers, picture))
    plan = Plan(net.file, picture, tuple(layers))
    if plan.parameters > _MAX_WEIGHTS:
        raise ModelError(f"{net.file} asks for {plan.parameters:,} weights, {plan.parameters / 2**28:.1f} GiB; "
                         f"an .onnx file holds less than 2 GiB")  # fmt: skip
    return plan


def _with_classes(sections: Sequence[Section], classes: int) -> list[Section]:
    if not 1 <= classes <= 1 << 16:
        raise UsageError(f"--classes is {classes}; it can be 1 to {1 << 16}")
    changed = list(sections)
    heads = [section.number for section in sections if section.kind == "yolo"]
    if not heads:
        raise UsageError(f"--classes goes with networks that have [yolo] sections; {sections[0].file} has none")
    for number in heads:
        head = sections[number]
        before = changed[number - 1] if number else None
        if before is None or before.kind != "convolutional":
            raise head.refuse("has no convolution before it, so --classes cannot change its channels")
        boxes = len(head.integers("mask", 0, 1024)) or head.integer("num", 1, 1, 1024)
        changed[number] = replace(head, options={**head.options, "classes": str(classes)})
        changed[number - 1] = replace(before, options={**before.options, "filters": str(boxes * (5 + classes))})
    return changed
