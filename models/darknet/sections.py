"""Sections of a cfg as layers: what each kind says, checked against the shapes that it reads.

The rules are those of Darknet's src/parser.c (github.com/pjreddie/darknet, and the fork by AlexeyAB).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .before import Before, Read
from .cfg import Section
from .joins import route, scale, shortcut
from .layers import Activation, BatchNorm, Connected, GlobalPool, Layer, Region, Same, Shape, Softmax, Yolo
from .windows import convolutional, local_avgpool, maxpool, reorg, upsample

__all__ = ["SUPPORTED", "read_layer"]

_MAX_CELLS = 1 << 20
_MAX_VALUES = 1 << 31
_MAX_WIDTH = 1 << 20


def read_layer(section: Section, layers: Sequence[Layer], picture: Shape) -> Layer:
    """The layer that a section describes, after `layers`, in a network whose input has the shape `picture`.

    Raises ModelError naming file, line and section where it is not supported or does not fit what it reads.
    """
    if section.kind not in SUPPORTED:
        raise section.refuse(f"is not supported; supported are {', '.join(sorted(SUPPORTED))}")
    what, inputs, shape = _READERS[section.kind](section, Before(section, layers, picture))
    channels, height, width = shape
    if min(shape) < 1:
        raise section.refuse(f"leaves nothing: its output would be {channels} x {height} x {width}")
    if channels * height * width >= _MAX_VALUES or channels > _MAX_WIDTH:
        raise section.refuse(f"gives {channels:,} x {height:,} x {width:,} values a picture, which is too many")
    return Layer(section.number, section.kind, inputs, shape, what)


def _connected(section: Section, before: Before) -> Read:
    section.without("dontload", "dontloadscales")
    channels, height, width = before.shape
    outputs = section.integer("output", 1, 1)
    normalised = bool(section.integer("batch_normalize", 0))
    what = Connected(channels * height * width, outputs, normalised, before.activation("logistic"))
    return what, (section.number - 1,), (outputs, 1, 1)


def _batchnorm(section: Section, before: Before) -> Read:
    section.without("dontload", "dontloadscales")
    return BatchNorm(before.shape[0]), (section.number - 1,), before.shape


def _activation(section: Section, before: Before) -> Read:
    return Activation(before.activation("linear")), (section.number - 1,), before.shape


def _avgpool(section: Section, before: Before) -> Read:
    return GlobalPool(), (section.number - 1,), (before.shape[0], 1, 1)


def _softmax(section: Section, before: Before) -> Read:
    section.without("tree", "spatial")
    channels, height, width = before.shape
    groups = section.integer("groups", 1, 1)
    temperature = section.number_of("temperature", 1)
    if channels * height * width % groups or temperature < 1e-6:
        raise section.refuse(
            f"has groups={groups} and temperature={temperature:g} for {channels * height * width} values"
        )
    return Softmax(groups, temperature), (section.number - 1,), before.shape


def _same(section: Section, before: Before) -> Read:
    return Same(), (section.number - 1,), before.shape


def _yolo(section: Section, before: Before) -> Read:
    channels, height, width = before.shape
    classes, total = section.integer("classes", 20, 1), section.integer("num", 1, 1, 1024)
    mask = section.integers("mask", 0, total - 1)
    if not mask and "mask" in section.options:
        raise section.refuse("has an empty mask=; list the head's anchors there, or leave the line out for all of them")
    mask = mask or tuple(range(total))
    sides = section.numbers("anchors")
    if len(sides) < 2 * (max(mask) + 1) or min(sides) <= 0:
        raise section.refuse(f"has {len(sides)} numbers in anchors; two above 0 for each of num={total} are needed")
    anchors = tuple((sides[2 * index], sides[2 * index + 1]) for index in mask)
    if channels != len(mask) * (5 + classes):
        raise section.refuse(
            f"needs {len(mask)} x (5 + {classes}) = {len(mask) * (5 + classes)} channels and reads {channels}: filters "
            "of the layer before do not go with its classes and mask"
        )
    _, picture_height, picture_width = before.picture
    if height * width > _MAX_CELLS:
        raise section.refuse(f"has {height} x {width} cells, which is too many")
    if picture_height != picture_width // width * height or picture_width % width:
        raise section.refuse(
            f"has {height} x {width} cells for an input of {picture_height} x {picture_width}, so a cell is no whole "
            "number of pixels; take another size, such as a multiple of 32"
        )
    what = Yolo(classes, anchors, section.number_of("scale_x_y", 1), bool(section.integer("new_coords", 0)))
    return what, (section.number - 1,), before.shape


def _region(section: Section, before: Before) -> Read:
    return Region(), (section.number - 1,), before.shape


_READERS: dict[str, Callable[[Section, Before], Read]] = {
    "activation": _activation,
    "avgpool": _avgpool,
    "batchnorm": _batchnorm,
    "connected": _connected,
    "convolutional": convolutional,
    "cost": _same,
    "dropout": _same,
    "local_avgpool": local_avgpool,
    "maxpool": maxpool,
    "region": _region,
    "reorg": reorg,
    "reorg3d": reorg,
    "route": route,
    "sam": scale,
    "scale_channels": scale,
    "shortcut": shortcut,
    "softmax": _softmax,
    "upsample": upsample,
    "yolo": _yolo,
}
SUPPORTED = frozenset(_READERS)
"""The kinds of section that can be converted, besides [net]."""
