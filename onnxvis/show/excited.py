"""What the strongest channels of each stage respond to, as cards: the channel over the input, its projection back to
the pixels, and the patches of other pictures that excite it most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.errors import InputError, ModelError, RewriteError, UsageError
from onnxvis.graph.cost import macs
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.session import RunOptions
from onnxvis.show.colormap import is_signed, palette
from onnxvis.show.merge import overlay
from onnxvis.show.mosaic import upscale
from onnxvis.show.png import encode_jpeg
from onnxvis.show.text import count as in_words

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.activations import Activations
    from onnxvis.measure.channels import ChannelStatistics
    from onnxvis.measure.patches import Patch
    from onnxvis.measure.projections import Projection
    from onnxvis.run.inputs import PreparedInput, Skipped
    from onnxvis.run.reading import Reading

__all__ = [
    "CHEAP_MACS",
    "ChannelCard",
    "Excited",
    "ExcitedOptions",
    "PatchCard",
    "Patches",
    "Strong",
    "excited_cards",
    "patches_in",
    "strong_in",
    "why_not",
]

Array = np.ndarray[Any, np.dtype[Any]]
Tell = Callable[[str, int, int], None]

CHEAP_MACS = 5_000_000_000
"""Up to so many multiply-accumulates, of all inputs together, channels are projected without being asked to."""

_SIDE, _PATCH, _QUALITY = 192, 64, 82
_TOP = 9
_ALPHA = 0.65
_RULES = {
    "deconvnet": "through a deconvnet (Zeiler and Fergus, 2014)",
    "guided": "by guided backpropagation (Springenberg et al., 2015): without a max-pool before the stage a deconvnet "
    "would show the same for every picture",
}


@dataclass(frozen=True)
class PatchCard:
    """A patch of another picture, `path`: the channel's `value` at `row`, `column` of its map there, and the `window`
    (y0, x0, y1, x1), half-open, of the picture as it is fed. `jpeg`: its pixels, `width` × `height`, empty where they
    are left out for the page's budget.
    """

    path: str
    value: float
    row: int
    column: int
    window: tuple[int, int, int, int]
    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class ChannelCard:
    """A strong channel: its highest `value`, at `row`, `column` of its map. `over`: the map over the input, and
    `projection`: what of the input excites it, JPEGs of `width` × `height` pixels, empty where they are left out
    for the page's budget. `patches`: strongest first.
    """

    channel: int
    row: int
    column: int
    value: float
    width: int
    height: int
    over: bytes
    projection: bytes = b""
    patches: tuple[PatchCard, ...] = ()


@dataclass(frozen=True)
class Excited:
    """The strongest channels of one stage, strongest first. `notes`: what is missing, and where patches are from;
    `how`: by which rule they are projected, and what else should be known, such as units that it was extended to.
    """

    channels: tuple[ChannelCard, ...]
    notes: tuple[str, ...] = ()
    how: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Strong:
    """A channel with one of the highest values of its tensor, and its map (h, w)."""

    channel: int
    activation: Array


@dataclass(frozen=True)
class Patches:
    """{(tensor, channel): its patches}, and {tensor: notes}."""

    cards: Mapping[tuple[str, int], tuple[PatchCard, ...]] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExcitedOptions:
    """How channels are shown. `projected`: back to the pixels, too; `folder`: of pictures to look for patches in, none
    of them with more than `max_pixels`.
    """

    run: RunOptions = field(default_factory=RunOptions)
    colormap: str = "viridis"
    projected: bool = True
    folder: Path | None = None
    max_pixels: int = MAX_PIXELS


def why_not(model: Model, asked: bool | None, inputs: int) -> str:
    """Why channels are not projected, a sentence; '' where they are.

    Unless it is `asked` for or refused, they are where `inputs` runs of the model cost at most `CHEAP_MACS`
    multiply-accumulates: a projection costs a few times as much as a run.
    """
    if asked:
        return ""
    if asked is not None:
        return "Without projections, as asked for."
    cost = macs(model.view)
    if cost is None:
        return "Without projections, as the model's cost is not known; ask for them with --projections."
    if cost * inputs > CHEAP_MACS:
        spent = f"{in_words(cost)} multiply–accumulates" + (f" for each of {inputs} inputs" if inputs > 1 else "")
        return f"Without projections, as they would take long ({spent}); ask for them with --projections."
    return ""


def strong_in(
    found: Activations, statistics: Mapping[str, ChannelStatistics], count: int
) -> dict[str, tuple[Strong, ...]]:
    """The `count` channels with the highest values, highest first, of each tensor whose `statistics` are given.

    Constant channels, and those with values that are not finite, are passed over.
    """
    chosen = {}
    for tensor, numbers in statistics.items():
        fit = np.flatnonzero(~numbers.dead & (numbers.nan + numbers.inf == 0))
        order = fit[np.argsort(-numbers.max[fit], kind="stable")][:count].tolist()
        maps = found.maps(tensor)
        if order:
            chosen[tensor] = tuple(Strong(channel, maps[channel].astype(np.float64)) for channel in order)
    return chosen


def patches_in(
    model: Model,
    strong: Iterable[Mapping[str, Sequence[Strong]]],
    reading: Reading,
    options: ExcitedOptions,
    progress: Tell,
) -> Patches:
    """The nine strongest patches, in the pictures of `options.folder`, of every channel that is strong on any input.

    One pass over the folder, and a second look at the pictures that patches are cut from; memory holds one picture, and
    the patches. Raises InputError where there is no picture, and the errors of running.
    """
    from onnxvis.measure.patches import locate_patches, read_pixels

    wanted: dict[str, set[int]] = {}
    for stages in strong:
        for tensor, channels in stages.items():
            wanted.setdefault(tensor, set()).update(item.channel for item in channels)
    if options.folder is None or not wanted:
        return Patches()
    skipped: list[Skipped] = []
    pictures = reading.read([options.folder], skipped, options.max_pixels)
    found = locate_patches(
        model, pictures, list(wanted), top=_TOP, options=options.run, total=sum(1 for _ in options.folder.iterdir()),
        progress=lambda _, done, of: progress("looking for patches", done, of),
    )  # fmt: skip
    kept = [
        replace(one, channels=tuple(item for item in one.channels if item.channel in wanted[one.tensor]))
        for one in found
    ]
    paths = sorted({patch.path for one in kept for item in one.channels for patch in item.patches})
    whole = read_pixels(kept, reading.read(paths, [], options.max_pixels))
    cards = {
        (one.tensor, item.channel): tuple(map(_patch_card, item.patches)) for one in whole for item in one.channels
    }
    left = f"; {len(skipped)} of the files there could not be read" if skipped else ""
    return Patches(cards, {one.tensor: (f"patches of {one.pictures} pictures{left}",) for one in whole})


def excited_cards(
    model: Model,
    item: PreparedInput,
    strong: Mapping[str, Sequence[Strong]],
    patches: Patches,
    options: ExcitedOptions,
    progress: Tell,
) -> dict[str, Excited]:
    """{tensor: its strong channels as cards} for one input with a picture; each is projected by one more run.

    Where a stage has no projection, for an operator without a gradient say, a note says why: the rest is there.
    """
    cards = {}
    for place, (tensor, channels) in enumerate(strong.items(), 1):
        found, reason = _projections(model, item, tensor, channels, options) if options.projected else ({}, "")
        if options.projected:
            progress("projecting channels", place, len(strong))
        drawn = tuple(
            _channel_card(
                one, item, found.get(one.channel), patches.cards.get((tensor, one.channel), ()), options.colormap
            )
            for one in channels
        )
        rules = dict.fromkeys(_RULES[one.variant] for one in found.values())
        how = rules | dict.fromkeys(note for one in found.values() for note in one.notes)
        cards[tensor] = Excited(drawn, (*([reason] if reason else []), *patches.notes.get(tensor, ())), tuple(how))
    return cards


def _projections(
    model: Model, item: PreparedInput, tensor: str, channels: Sequence[Strong], options: ExcitedOptions
) -> tuple[dict[int, Projection], str]:
    """{channel: its projection}, by the rule that tells pictures apart; none, with the reason, where there is no way
    back to the pixels.
    """
    from onnxvis.measure.patch_projections import telling_variant
    from onnxvis.measure.projections import project

    asked, variant = [one.channel for one in channels], telling_variant(model, tensor)
    try:
        found = project(model, item.feeds, tensor, asked, variant=variant, options=options.run)
    except (RewriteError, UsageError, InputError, ModelError) as error:
        return {}, f"no projection: {error}"
    return {one.channel: one for one in found if one.channel is not None}, ""


def _channel_card(
    strong: Strong, item: PreparedInput, found: Projection | None, patches: tuple[PatchCard, ...], colormap: str
) -> ChannelCard:
    from onnxvis.show.projections import projection_picture

    assert item.picture is not None
    ground = _fitted(item.picture, _SIDE)
    over = overlay(ground, strong.activation, palette(colormap), _ALPHA, is_signed(colormap), gray=True)
    row, column = np.unravel_index(int(strong.activation.argmax()), strong.activation.shape)
    projection = b""
    if found is not None:
        bgr = item.preprocessing is not None and item.preprocessing.bgr
        projection = encode_jpeg(_fitted(projection_picture(found.values, bgr=bgr), _SIDE), _QUALITY)
    return ChannelCard(
        strong.channel, int(row), int(column), float(strong.activation.max()), ground.shape[1], ground.shape[0],
        encode_jpeg(over, _QUALITY), projection, patches,
    )  # fmt: skip


def _patch_card(patch: Patch) -> PatchCard:
    pixels = _fitted(patch.pixels, _PATCH)
    data = encode_jpeg(pixels, _QUALITY)
    return PatchCard(
        patch.path, patch.value, patch.row, patch.column, patch.window, data, pixels.shape[1], pixels.shape[0]
    )  # fmt: skip


def _fitted(pixels: Array, side: int) -> Array:
    """`pixels` (H, W, 3) uint8 with the longer side brought to `side`, or near it: small ones by a whole factor."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return upscale(pixels, side)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
