"""Feature maps as cards: the merged map over the picture, the mosaic of all channels, each channel's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.graph.blocks import Block
from onnxvis.measure.channels import channel_statistics
from onnxvis.show.budget import page_bytes
from onnxvis.show.colormap import is_signed, palette
from onnxvis.show.merge import merge, overlay
from onnxvis.show.mosaic import Stretch, mosaic, stretch, upscale
from onnxvis.show.page import MapCard, MosaicCard, Picture
from onnxvis.show.png import encode_indexed, encode_jpeg, encode_rgb

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.activations import Activations

__all__ = ["Look", "map_cards", "picture_of", "shown_tensors"]

Array = np.ndarray[Any, np.dtype[Any]]

_THUMBNAIL = 224
_MERGED_HOW = "mean of the channels"


@dataclass(frozen=True)
class Look:
    """How maps are drawn: the colormap's name and the stretch of each channel."""

    colormap: str = "viridis"
    stretch: Stretch = "channel"

    @property
    def symmetric(self) -> bool:
        """Whether zero lies in the middle of the colours."""
        return is_signed(self.colormap)


def shown_tensors(model: Model) -> tuple[str, ...]:
    """The tensors the report looks at: the output of every part, stage and block that is a feature map."""
    return tuple(dict.fromkeys(block.output for top, _ in _tops(model) for block in (top, *top.children)))


def map_cards(
    model: Model, found: Activations, picture: Array | None, look: Look, limit: float = math.inf
) -> tuple[MapCard, ...]:
    """A card for stem, stages, neck and heads, the blocks inside as children. `picture` (H, W, 3) uint8 RGB or None.

    A mosaic that alone would take more than `limit` bytes of a page is not kept; its card says so.
    """
    cards = []
    for top, part in _tops(model):
        children = [block for block in top.children if block.output != top.output]
        inner = tuple(_within(card, limit) for block in children for card in _card(block, part, found, picture, look))
        cards += [replace(_within(card, limit), children=inner) for card in _card(top, part, found, picture, look)]
    return tuple(cards)


def _within(card: MapCard, limit: float) -> MapCard:
    """`card` without its mosaic where that is larger than the whole page may be."""
    size = page_bytes(len(card.mosaic.png)) if card.mosaic is not None else 0
    if size <= limit:
        return card
    reason = f"it alone is larger than the page's budget of {limit / 1e6:g} MB"
    return replace(card, mosaic=None, left_out=reason, left_out_bytes=size)


def picture_of(pixels: Array, alt: str) -> Picture:
    """An (H, W, 3) uint8 RGB picture as it stands on the page."""
    return Picture(encode_rgb(pixels), pixels.shape[1], pixels.shape[0], alt)


def _tops(model: Model) -> Iterator[tuple[Block, str]]:
    """Stem, stages, neck and heads, those that end in a feature map; heads by the last map in them."""
    for part in model.parts:
        if part.name == "backbone":
            yield from ((stage, "backbone") for stage in part.children)
        elif part.kind == "head":
            maps = [name for name in part.tensors if (size := model.maps.chw(name)) and size[1:] != (1, 1)]
            if maps:
                yield replace(part, output=maps[-1], children=()), "heads"
        else:
            yield part, part.name


def _card(block: Block, part: str, found: Activations, picture: Array | None, look: Look) -> Iterator[MapCard]:
    if not found.is_map(block.output):
        return
    maps = found.maps(block.output)
    numbers = channel_statistics(maps)
    stretched = stretch(maps, look.stretch, look.symmetric)
    laid = mosaic(stretched.indices)
    png = encode_indexed(laid.pixels, palette(look.colormap))
    drawn = MosaicCard(
        png, laid.columns, laid.rows, laid.tile_height, laid.tile_width, laid.gap, look.stretch,
        tuple(stretched.low.tolist()), tuple(stretched.high.tolist()),
    )  # fmt: skip
    notes = []
    if maps.dtype.kind in "iu":
        notes.append(f"{maps.dtype} codes as the graph holds them, not dequantised: zero may be another code than 0")
    if stretched.not_finite:
        notes.append(f"{stretched.not_finite} values are NaN or infinite; they are drawn as the lowest")
    if stretched.clipped:
        notes.append(f"{stretched.clipped} values lie outside the stretch and are clipped")
    channels, height, width = maps.shape
    yield MapCard(
        block.name, block.output, block.kind, channels, height, width, part, numbers,
        _merged(maps, picture, look, f"{block.name} over the input"), _MERGED_HOW, drawn, notes=tuple(notes),
    )  # fmt: skip


def _merged(maps: Array, picture: Array | None, look: Look, alt: str) -> Picture:
    merged, colours = merge(maps, "mean"), palette(look.colormap)
    if picture is None:
        pixels = upscale(colours[stretch(merged[None], "tensor", look.symmetric).indices[0]], _THUMBNAIL)
        return Picture(encode_rgb(pixels), pixels.shape[1], pixels.shape[0], alt)
    pixels = overlay(_thumbnail(picture), merged, colours, 0.65, look.symmetric, gray=True)
    return Picture(encode_jpeg(pixels), pixels.shape[1], pixels.shape[0], alt, "image/jpeg")


def _thumbnail(picture: Array) -> Array:
    height, width = picture.shape[:2]
    shrink = min(1.0, _THUMBNAIL / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)) if shrink < 1 else picture
