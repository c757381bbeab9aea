"""What a layer of a Darknet network computes: plain data, one class a kind, and the weights that each keeps."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "Activation", "BatchNorm", "Connected", "Convolution", "GlobalPool", "Layer", "Pool", "Region", "Reorg", "Route",
    "Same", "Scale", "Shape", "Shortcut", "Softmax", "Upsample", "What", "Yolo", "tensors",
]  # fmt: skip

Shape = tuple[int, int, int]
"""Channels, height, width of what a layer gives for one picture."""


@dataclass(frozen=True)
class Convolution:
    """`filters` kernels of (channels / groups, size, size), padded by `padding` on all four sides; strides (y, x)."""

    channels: int
    filters: int
    size: int
    strides: tuple[int, int]
    padding: int
    dilation: int
    groups: int
    normalised: bool
    activation: str


@dataclass(frozen=True)
class Connected:
    """A matrix (outputs, inputs) over the flattened map."""

    inputs: int
    outputs: int
    normalised: bool
    activation: str


@dataclass(frozen=True)
class BatchNorm:
    """Batch norm on its own."""

    channels: int


@dataclass(frozen=True)
class Activation:
    """An activation on its own."""

    activation: str


@dataclass(frozen=True)
class Shortcut:
    """The layer before, plus what the first channels of others have: y[c] = x[c] + sum of f[c, ::s, ::s] where c < C_f.

    `steps`: s for each of the others.
    """

    steps: tuple[int, ...]
    activation: str


@dataclass(frozen=True)
class Route:
    """Channels of several layers one after the other, of each only part `group` of `groups`."""

    groups: int
    group: int


@dataclass(frozen=True)
class Upsample:
    """Each pixel repeated `stride` times along both sides, times `scale`."""

    stride: int
    scale: float


@dataclass(frozen=True)
class Pool:
    """Maximum, or average over what is not padding, of a window; pads (top, left, bottom, right), strides (y, x)."""

    average: bool
    size: int
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True)
class GlobalPool:
    """The average of each channel."""


@dataclass(frozen=True)
class Softmax:
    """Over the flattened map, `groups` equal parts of it each on its own."""

    groups: int
    temperature: float


@dataclass(frozen=True)
class Reorg:
    """Space to depth. `shuffled`: in the odd order of Darknet's [reorg], which takes its input's channels for the
    output's; see `build`.
    """

    stride: int
    shuffled: bool


@dataclass(frozen=True)
class Scale:
    """One layer times another, of the same shape or (C, 1, 1)."""

    activation: str


@dataclass(frozen=True)
class Same:
    """What does nothing once training is over: dropout, cost."""


@dataclass(frozen=True)
class Yolo:
    """A raw head of YOLOv3 and later; see `onnxvis.models.describe.YoloHead`."""

    classes: int
    anchors: tuple[tuple[float, float], ...]
    scale_xy: float
    new_coords: bool


@dataclass(frozen=True)
class Region:
    """A raw head of YOLOv2. Its boxes are not decoded."""


What = (
    Activation | BatchNorm | Connected | Convolution | GlobalPool | Pool | Region | Reorg | Route | Same | Scale
    | Shortcut | Softmax | Upsample | Yolo
)  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A layer by Darknet's `number`: what it reads (numbers of layers, -1 for the picture) and the shape it gives."""

    number: int
    kind: str
    inputs: tuple[int, ...]
    shape: Shape
    what: What

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"section {self.number} [{self.kind}]"


def tensors(what: What) -> dict[str, tuple[int, ...]]:
    """The weights of a layer, name → shape, in the order in which Darknet's file has them.

    `load_convolutional_weights`, `load_connected_weights` and `load_batchnorm_weights` in Darknet's parser.c: biases
    first, then scales, means and variances, then kernels; of a connected layer the matrix stands before the scales.
    """
    if isinstance(what, Convolution):
        kernels = (what.filters, what.channels // what.groups, what.size, what.size)
        return {"bias": (what.filters,), **_statistics(what.filters, what.normalised), "weight": kernels}
    if isinstance(what, Connected):
        matrix = (what.outputs, what.inputs)
        return {"bias": (what.outputs,), "weight": matrix, **_statistics(what.outputs, what.normalised)}
    if isinstance(what, BatchNorm):
        return {"bias": (what.channels,), **_statistics(what.channels, True)}
    return {}


def _statistics(channels: int, normalised: bool) -> dict[str, tuple[int, ...]]:
    return dict.fromkeys(("scale", "mean", "variance"), (channels,)) if normalised else {}
