"""Sections that read several layers: shortcut, route, scale_channels, sam."""

from __future__ import annotations

from .before import Before, Read
from .cfg import Section
from .layers import Route, Scale, Shortcut

__all__ = ["route", "scale", "shortcut"]


def shortcut(section: Section, before: Before) -> Read:
    """The shape of the layer before; others may have other channels, and sides a whole multiple of its own."""
    section.without("weights_type", "weights_normalization", "weights_normalizion")
    if (section.number_of("alpha", 1), section.number_of("beta", 1)) != (1, 1):
        raise section.refuse("has alpha or beta other than 1, which is not supported")
    _, height, width = before.shape
    others = before.named("from")
    steps = []
    for other in others:
        _, rows, columns = before.shape_of(other)
        step = rows // height
        if step < 1 or columns // width != step:
            raise section.refuse(
                f"adds section {other}, {rows} x {columns} pixels, to {height} x {width}; it can only add what has the "
                "same sides or a whole multiple of them"
            )
        steps.append(step)
    what = Shortcut(tuple(steps), before.activation("linear"))
    return what, (section.number - 1, *others), before.shape


def route(section: Section, before: Before) -> Read:
    """Channels of all, divided by `groups`."""
    inputs = before.named("layers")
    groups = section.integer("groups", 1, 1)
    group = section.integer("group_id", 0, 0, groups - 1)
    shapes = [before.shape_of(number) for number in inputs]
    for number, shape in zip(inputs, shapes, strict=True):
        if shape[1:] != shapes[0][1:]:
            sides = f"{shape[1]} x {shape[2]} and {shapes[0][1]} x {shapes[0][2]}"
            raise section.refuse(
                f"joins sections {inputs[0]} and {number} of different sizes, {sides}; the size of the input may have "
                "to be a multiple of 32"
            )
        if shape[0] % groups:
            raise section.refuse(f"has groups={groups}, which must divide the {shape[0]} channels of section {number}")
    return Route(groups, group), inputs, (sum(shape[0] for shape in shapes) // groups, *shapes[0][1:])


def scale(section: Section, before: Before) -> Read:
    """The shape of `from`: [sam] multiplies it by a map as large, [scale_channels] by one number a channel."""
    section.without("scale_wh")
    given, others = before.shape, before.named("from")
    shape = before.shape_of(others[0])
    if len(others) != 1 or given != (shape if section.kind == "sam" else (shape[0], 1, 1)):
        raise section.refuse(f"cannot multiply {' x '.join(map(str, shape))} by {' x '.join(map(str, given))}")
    what = Scale(before.activation("linear", "swish", "mish", "hard_mish"))
    return what, (section.number - 1, *others), shape
