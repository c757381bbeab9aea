"""Sections whose output's size follows from their own numbers: convolutions, pools, upsample, reorg."""

from __future__ import annotations

from .before import Before, Read
from .cfg import Section
from .layers import Convolution, Pool, Reorg, Upsample

__all__ = ["convolutional", "local_avgpool", "maxpool", "reorg", "upsample"]


def _strides(section: Section) -> tuple[int, int]:
    """Strides (y, x); `stride` where one of its own is missing or below 1."""
    both = section.integer("stride", 1, 1)
    across, down = (section.integer(f"stride_{axis}", -1, -1) for axis in "xy")
    return (down if down >= 1 else both), (across if across >= 1 else both)


def convolutional(section: Section, before: Before) -> Read:
    """Output sides (side + 2 padding − size) // stride + 1; `pad` stands for a padding of size // 2."""
    section.without(
        "antialiasing", "binary", "xnor", "bin_output", "sway", "rotate", "stretch", "stretch_sway", "flipped",
        "dontload", "dontloadscales",
    )  # fmt: skip
    if "share_index" in section.options:
        raise section.refuse("has share_index, the weights of another layer, which is not supported")
    channels, height, width = before.shape
    filters, size = section.integer("filters", 1, 1), section.integer("size", 1, 1)
    strides, groups = _strides(section), section.integer("groups", 1, 1)
    dilation = 1 if size == 1 else section.integer("dilation", 1, 1)
    padding = size // 2 if section.integer("pad", 0) else section.integer("padding", 0)
    if channels % groups or filters % groups:
        raise section.refuse(f"has groups={groups}, which must divide its {channels} channels and {filters} filters")
    if dilation > 1 and 2 * padding != size - 1:
        raise section.refuse(f"has dilation={dilation} and size={size}; with a dilation it needs pad=1 and an odd size")
    normalised = bool(section.integer("batch_normalize", 0) or section.integer("cbn", 0))
    kernel = size, strides, padding * dilation, dilation, groups
    what = Convolution(channels, filters, *kernel, normalised, before.activation("logistic"))
    rows = (height + 2 * padding - size) // strides[0] + 1
    columns = (width + 2 * padding - size) // strides[1] + 1
    return what, (section.number - 1,), (filters, rows, columns)


def upsample(section: Section, before: Before) -> Read:
    """Sides times `stride`."""
    channels, height, width = before.shape
    stride = section.integer("stride", 2, 1)
    what = Upsample(stride, section.number_of("scale", 1))
    return what, (section.number - 1,), (channels, height * stride, width * stride)


def maxpool(section: Section, before: Before) -> Read:
    """Sides (side + padding − size) // stride + 1, the first window from −(padding // 2); padding is size − 1 where
    nothing is said.
    """
    section.without("maxpool_depth", "antialiasing")
    return _pool(section, before, average=False)


def local_avgpool(section: Section, before: Before) -> Read:
    """As `maxpool`, the average of what is not padding."""
    return _pool(section, before, average=True)


def _pool(section: Section, before: Before, average: bool) -> Read:
    channels, height, width = before.shape
    strides = _strides(section)
    size = section.integer("size", section.integer("stride", 1, 1), 1)
    padding = section.integer("padding", size - 1)
    first = padding // 2
    sides, ends = [], []
    for side, stride in zip((height, width), strides, strict=True):
        sides.append((side + padding - size) // stride + 1)
        ends.append(max(0, (sides[-1] - 1) * stride + size - first - side))
    if max(first, *ends) >= size:
        raise section.refuse(f"has padding={padding} with size={size}: windows with nothing but padding")
    what = Pool(average, size, strides, (first, first, ends[0], ends[1]))
    return what, (section.number - 1,), (channels, sides[0], sides[1])


def reorg(section: Section, before: Before) -> Read:
    """Sides divided by `stride`, channels times stride²."""
    section.without("reverse", "flatten", "extra")
    channels, height, width = before.shape
    stride, shuffled = section.integer("stride", 1, 1), section.kind == "reorg"
    if height % stride or width % stride or (shuffled and channels % stride**2):
        raise section.refuse(f"has stride={stride}, which does not divide {channels} x {height} x {width}")
    return Reorg(stride, shuffled), (section.number - 1,), (channels * stride**2, height // stride, width // stride)
