"""Feature maps as cards: the merged map over the picture, the mosaic of all channels, each channel's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.graph.blocks import Block
from onnxvis.measure.channels import channel_statistics
from onnxvis.show.budget import block_priorities, page_bytes, top_priority
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
_SPENT = "stages and other blocks come first in the page's budget"
_SAFETY = 0.85


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
    model: Model, found: Activations, picture: Array | None, look: Look, limit: float = math.inf, threads: int = 1
) -> tuple[MapCard, ...]:
    """A card for stem, stages, neck and heads, the blocks inside as children. `picture` (H, W, 3) uint8 RGB or None.

    `limit`: bytes of the page. A mosaic that alone would take more is not kept, and that of a block for which there
    will be no room is not drawn; the card says so. `threads` tensors are drawn at a time.
    """
    tops = [(top, part) for top, part in _tops(model) if found.is_map(top.output)]
    inside = [
        [block for block in top.children if _is_its_own(block, top) and found.is_map(block.output)] for top, _ in tops
    ]

    def draw(block: Block, part: str, estimate: int | None = None) -> MapCard:
        card = _card(block, part, found.maps(block.output))
        if estimate is not None:
            return replace(card, left_out=f"{_SPENT} of {limit / 1e6:g} MB", left_out_bytes=estimate)
        return _within(_drawn(card, found.maps(block.output), picture, look), limit)

    with ThreadPoolExecutor(threads) as pool:
        outer = list(pool.map(lambda item: draw(*item), tops))
        hopeless = _without_room(outer, [[found.maps(block.output).size for block in row] for row in inside], limit)
        inner = [
            [pool.submit(draw, block, part, hopeless.get((i, j))) for j, block in enumerate(row)]
            for i, (row, (_, part)) in enumerate(zip(inside, tops, strict=True))
        ]
        return tuple(
            replace(card, children=tuple(child.result() for child in row))
            for card, row in zip(outer, inner, strict=True)
        )


def _without_room(outer: list[MapCard], inside: list[list[int]], limit: float) -> dict[tuple[int, int], int]:
    """{(stage, block): bytes} for blocks whose mosaics cannot fit on a page of `limit` bytes, with about their size.

    `inside` holds each block's number of values. Its mosaic is taken to compress as that of its stage does, to be on
    the safe side to 85 % of that.
    """
    sizes = [page_bytes(len(card.mosaic.png)) if card.mosaic else 0 for card in outer]
    density = [size / (card.channels * card.height * card.width) for size, card in zip(sizes, outer, strict=True)]
    priorities = block_priorities([len(row) for row in inside])
    order = sorted((priority, i, j) for i, row in enumerate(priorities) for j, priority in enumerate(row))
    left, hopeless = limit, {}
    for place in sorted(range(len(outer)), key=lambda place: top_priority(outer[place].part)):
        left -= sizes[place] if sizes[place] <= left else 0
    for _, i, j in order:
        expected = inside[i][j] * density[i]
        if _SAFETY * expected > left:
            hopeless[i, j] = round(expected)
        else:
            left -= _SAFETY * expected
    return hopeless


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


def _is_its_own(block: Block, top: Block) -> bool:
    """Whether a block inside ends in another tensor than `top` itself."""
    return block.output != top.output


def _card(block: Block, part: str, maps: Array) -> MapCard:
    """A card with numbers and no picture."""
    notes: tuple[str, ...] = ()
    if maps.dtype.kind in "iu":
        notes = (f"{maps.dtype} codes as the graph holds them, not dequantised: zero may be another code than 0",)
    channels, height, width = maps.shape
    return MapCard(
        block.name, block.output, block.kind, channels, height, width, part, channel_statistics(maps), notes=notes
    )


def _drawn(card: MapCard, maps: Array, picture: Array | None, look: Look) -> MapCard:
    """`card` with the mosaic of its channels, and all of them merged over the picture."""
    stretched = stretch(maps, look.stretch, look.symmetric)
    laid = mosaic(stretched.indices)
    shown = MosaicCard(
        encode_indexed(laid.pixels, palette(look.colormap)),
        laid.columns, laid.rows, laid.tile_height, laid.tile_width, laid.gap, look.stretch,
        tuple(stretched.low.tolist()), tuple(stretched.high.tolist()),
    )  # fmt: skip
    notes = [*card.notes]
    if stretched.not_finite:
        notes.append(f"{stretched.not_finite} values are NaN or infinite; they are drawn as the lowest")
    if stretched.clipped:
        notes.append(f"{stretched.clipped} values lie outside the stretch and are clipped")
    merged = _merged(maps, picture, look, f"{card.name} over the input")
    return replace(card, merged=merged, merged_how=_MERGED_HOW, mosaic=shown, notes=tuple(notes))


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
