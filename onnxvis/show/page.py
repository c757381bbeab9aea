"""Everything the report's page shows, as frozen data. `onnxvis.show.render` lays it out and adds no facts of its own.

Names and texts are shown as they are: they may come from an untrusted model and hold anything. Nothing here is HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from onnxvis.graph.kernels import Kernel
    from onnxvis.measure.channels import ChannelStatistics
    from onnxvis.measure.weights import WeightNumbers
    from onnxvis.show.class_map import ClassMapCard
    from onnxvis.show.depth import DepthChart
    from onnxvis.show.excited import Excited
    from onnxvis.show.found import FoundCard, Outline
    from onnxvis.show.kernels import KernelPicture
    from onnxvis.show.text import Dim
    from onnxvis.show.trust import TrustCard

__all__ = [
    "Fact",
    "Guess",
    "HeatmapCard",
    "InputCard",
    "KernelCard",
    "LayerRow",
    "LeftOut",
    "MapCard",
    "ModelCard",
    "MosaicCard",
    "Notice",
    "OutputCard",
    "Page",
    "Picture",
    "Port",
    "RunCard",
    "Score",
]


@dataclass(frozen=True)
class Fact:
    """A labelled line of text: ('Fit', 'centre crop 224 × 224')."""

    label: str
    value: str


@dataclass(frozen=True)
class Port:
    """An input or an output of the model. `shape` is None where the rank is not known; `note`: 'filled with zeros'."""

    name: str
    shape: tuple[Dim, ...] | None
    dtype: str
    note: str = ""


@dataclass(frozen=True)
class ModelCard:
    """What the model is. Numbers that are not known are None and shown as such."""

    file: str
    size_bytes: int
    sha256: str
    producer: str
    opset: str
    parameters: int | None
    macs: int | None
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: int | None = None
    external_bytes: int = 0
    metadata: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class RunCard:
    """How it was run: the provider that really ran, why not another, and the versions that took part.

    `seconds`: label and duration of each step; `date`: as it shall be shown; `fallback`: nodes that the asked-for
    provider handed to the CPU.
    """

    provider: str
    versions: tuple[Fact, ...]
    date: str
    seconds: tuple[tuple[str, float], ...] = ()
    provider_note: str = ""
    fallback: tuple[str, ...] = ()
    exact: bool = False


@dataclass(frozen=True)
class Notice:
    """Something the reader should know before believing the page."""

    text: str
    level: Literal["info", "warning"] = "info"
    title: str = ""


@dataclass(frozen=True)
class Guess:
    """The preprocessing was guessed: `what` in words ('imagenet, RGB, 224 × 224'), `why`, and the settling flags."""

    what: str
    why: str
    flags: str


@dataclass(frozen=True)
class Picture:
    """An encoded picture: PNG or JPEG bytes, and the pixel size written on the page so that nothing jumps."""

    data: bytes
    width: int
    height: int
    alt: str
    media_type: Literal["image/png", "image/jpeg"] = "image/png"


@dataclass(frozen=True)
class Score:
    """One class of a prediction. `score` as the model gave it, or a probability: OutputCard.scores_are says which."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class OutputCard:
    """One raw output of the deployed run.

    `scores`: the top five where the output looks like class scores, highest first. `scores_are`: 'probabilities',
    'softmax of logits' … `max_abs_difference`: max |exposed − deployed|, `relative_difference`: that over
    max |deployed|; both None where the exposed run did not give this output.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scores: tuple[Score, ...] = ()
    scores_are: str = ""
    max_abs_difference: float | None = None
    relative_difference: float | None = None
    note: str = ""


@dataclass(frozen=True)
class MosaicCard:
    """A tensor's channels as one indexed PNG, `png`, from `png.encode_indexed`; its geometry as `Mosaic` has it.

    `stretch`: the mode, 'channel', 'tensor', 'clip99' or 'none'. `low`, `high`: the value behind index 0 and behind
    index 255, one for each channel.
    """

    png: bytes
    columns: int
    rows: int
    tile_height: int
    tile_width: int
    gap: int
    stretch: str
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class MapCard:
    """The feature maps of one tensor: a stage, a block in it, or any tensor that was asked for.

    `merged`: the merged map over the input, the thumbnail in the strip; `merged_how`: 'mean of the channels'.
    `mosaic` None: left out, `left_out` says why, and `left_out_bytes` how much it would have taken. `part`: 'stem',
    'backbone', 'neck', 'heads' or ''. `children`: the blocks of a stage, in depth order; they have none of their own.
    `strongest`: a stage's strongest channels and what they respond to, None where they are not shown.
    """

    name: str
    tensor: str
    kind: str
    channels: int
    height: int
    width: int
    part: str = ""
    statistics: ChannelStatistics | None = None
    merged: Picture | None = None
    merged_how: str = ""
    mosaic: MosaicCard | None = None
    left_out: str = ""
    left_out_bytes: int = 0
    notes: tuple[str, ...] = ()
    children: tuple[MapCard, ...] = ()
    strongest: Excited | None = None


@dataclass(frozen=True)
class HeatmapCard:
    """One heatmap over the input. `target`: what is explained, 'logits:285'; `label`: that in words; `score`: of the
    class, None where it is none. `layers`: the tensors it was made of, none where it is of the picture itself. `peak`:
    (row, column) of the map's maximum in the picture as it was fed, None where the map is blank. `box`: of the object
    that is explained, where it is one. `faithfulness`: the map tested by insertion and deletion, where asked for.
    """

    method: str
    definition: str
    layers: tuple[str, ...]
    target: str
    label: str
    score: float | None
    peak: tuple[int, ...] | None
    notes: tuple[str, ...]
    provider: str
    picture: Picture
    box: Outline | None = None
    faithfulness: TrustCard | None = None


@dataclass(frozen=True)
class InputCard:
    """One input and everything the model made of it.

    `picture`: as the model saw it, None for arrays that are fed as they are. `preparation`: how it was prepared, in
    the order it happened, as labelled lines. `stages`: stem, stages, neck and heads, in depth order. `path`: where it
    was read from, as it was given. `heatmaps_note`: why some heatmaps are not there. `found`: the boxes of a detector,
    None for other models; `class_maps`: of the outputs that give every place a class. `strongest_note`: why the
    strongest channels of its stages are not projected, where they are shown without.
    """

    name: str
    picture: Picture | None
    preparation: tuple[Fact, ...]
    outputs: tuple[OutputCard, ...]
    stages: tuple[MapCard, ...]
    notes: tuple[str, ...] = ()
    path: str = ""
    heatmaps: tuple[HeatmapCard, ...] = ()
    heatmaps_note: str = ""
    found: FoundCard | None = None
    class_maps: tuple[ClassMapCard, ...] = ()
    strongest_note: str = ""


@dataclass(frozen=True)
class KernelCard:
    """The kernels of one convolution as a picture: one tile a filter."""

    kernel: Kernel
    drawn: KernelPicture


@dataclass(frozen=True)
class LayerRow:
    """One tensor of the graph and the node that makes it."""

    name: str
    op: str
    shape: tuple[Dim, ...] | None
    dtype: str
    part: str
    stage: str
    block: str


@dataclass(frozen=True)
class LeftOut:
    """Something that did not fit in the budget, or could not be shown, and why."""

    name: str
    bytes: int
    reason: str


@dataclass(frozen=True)
class Page:
    """The whole report. `budget_bytes`: the limit the pictures were chosen under; `command`: how to make it again.

    `kernels`: of every convolution, in graph order; `depth`: the weights of each role over the depth of the network.
    """

    version: str
    model: ModelCard
    run: RunCard | None
    inputs: tuple[InputCard, ...]
    weights: tuple[WeightNumbers, ...]
    layers: tuple[LayerRow, ...]
    guess: Guess | None = None
    notices: tuple[Notice, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    budget_bytes: int | None = None
    colormap: str = "viridis"
    command: str = ""
    weights_note: str = ""
    layers_note: str = ""
    kernels: tuple[KernelCard, ...] = ()
    kernels_note: str = ""
    depth: tuple[DepthChart, ...] = ()
