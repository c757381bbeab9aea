"""Maps of classes as cards of the page: coloured over the picture, with a legend. The colours of classes everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from onnxvis.measure.class_map import ClassMap, class_maps
from onnxvis.run.picture_input import image_input, image_layout
from onnxvis.show.mosaic import upscale
from onnxvis.show.png import encode_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from onnxvis.graph.load import Model
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels

__all__ = [
    "CLASS_COLOURS",
    "ClassMapCard",
    "ClassShare",
    "class_colour",
    "class_colours",
    "class_map_cards",
    "class_map_picture",
    "class_maps_in",
    "fed_size",
]

Array = np.ndarray[Any, np.dtype[Any]]

CLASS_COLOURS = 256
"""So many classes have a colour of their own; the numbers after them begin again."""

_FIRST = "3b9df2 ff9f1c 2ecc71 ff5fa2 a78bfa f4d35e 2dd4bf ff5a4f a3e635 d6a77a"
_STEPS = range(16, 256, 16)
_LIGHTNESS, _LEAST_CHROMA = (42, 90), 22
_ALPHA, _LEAST_SIDE, _LARGEST_SIDE, _QUALITY = 0.6, 448, 640, 90
_BACKGROUND = frozenset({"background", "_background_", "__background__", "bg"})


@dataclass(frozen=True)
class ClassShare:
    """One class of a map: its share of the places, in 0–1, and its colour, '' where it is left uncoloured."""

    index: int
    label: str
    share: float
    colour: str


@dataclass(frozen=True)
class ClassMapCard:
    """A map of classes of `height` × `width` places, over the picture. `how`: what was done to come to it; `classes`:
    how many there can be, None where that is not known; `shares`: every class that is there, the largest first.
    `jpeg`: the picture, `drawn_width` × `drawn_height` pixels; empty where it is left out for the page's budget.
    """

    output: str
    how: str
    classes: int | None
    height: int
    width: int
    shares: tuple[ClassShare, ...]
    jpeg: bytes
    drawn_width: int
    drawn_height: int


def class_maps_in(
    model: Model, item: PreparedInput, outputs: Mapping[str, Any], labels: Labels | None
) -> tuple[ClassMapCard, ...]:
    """A card for each of `outputs` that looks like a map of classes of input `item`, see `measure.class_map`."""
    size = fed_size(model, item)
    found = class_maps(outputs, size, model.maps.layouts) if size is not None else ()
    return class_map_cards(found, item.picture, labels)


def fed_size(model: Model, item: PreparedInput) -> tuple[int, int] | None:
    """Height and width of the picture as it is fed, also where that is an array; None where no input takes one."""
    if item.picture is not None:
        return item.picture.shape[0], item.picture.shape[1]
    tensor = image_input(model.inputs)
    layout = image_layout(tensor, model.maps.layouts.get(tensor.name)) if tensor is not None else None
    if tensor is None or layout is None or tensor.name not in item.feeds:
        return None
    shape = item.feeds[tensor.name].shape
    return int(shape[layout.index("H")]), int(shape[layout.index("W")])


def class_map_cards(
    found: Iterable[ClassMap], picture: Array | None, labels: Labels | None
) -> tuple[ClassMapCard, ...]:
    """A card for each map, over `picture` (H, W, 3) uint8 RGB, or alone where there is none."""
    return tuple(_card(item, picture, labels) for item in found)


def class_map_picture(labels: Array, picture: Array | None, clear: Sequence[int] = ()) -> Array:
    """`labels` (h, w) as colours over `picture` (H, W, 3) uint8 RGB, which loses its own: uint8 RGB.

    Each place is a rectangle of one colour (nearest upsampling), mixed 0.6 to 0.4 with the picture; classes of `clear`
    and those below 0 stay uncoloured. Small pictures are enlarged by a whole factor, large ones made smaller.
    """
    ground = _ground(labels.shape if picture is None else picture.shape[:2], picture)
    height, width = ground.shape[:2]
    large = cv2.resize(labels.astype(np.float64), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    numbers = np.asarray(large, np.float64).astype(np.int64)
    colours = class_colours()[numbers % CLASS_COLOURS].astype(np.float64)
    alpha = np.where((numbers < 0) | np.isin(numbers, clear), 0, _ALPHA if picture is not None else 1)[:, :, None]
    return np.asarray(np.rint(alpha * colours + (1 - alpha) * ground), np.uint8)


def class_colour(index: int) -> str:
    """The colour of a class as '#rrggbb', the same in every report; see `class_colours`."""
    red, green, blue = class_colours()[index % CLASS_COLOURS].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


@cache
def class_colours() -> Array:
    """(256, 3) uint8 RGB, all different: ten chosen by eye, then always the candidate that is farthest from all before
    it in CIELAB, among colours of medium lightness that are no greys.
    """
    first = np.frombuffer(bytes.fromhex(_FIRST.replace(" ", "")), np.uint8).reshape(-1, 3)
    candidates = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.uint8)
    lab = _lab(candidates)
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    fit = (lab[:, 0] >= _LIGHTNESS[0]) & (lab[:, 0] <= _LIGHTNESS[1]) & (chroma >= _LEAST_CHROMA)
    candidates, lab = candidates[fit], lab[fit]
    nearest = np.linalg.norm(lab[:, None] - _lab(first)[None], axis=2).min(axis=1)
    chosen = [*first]
    while len(chosen) < CLASS_COLOURS:
        place = int(nearest.argmax())
        chosen.append(candidates[place])
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[place], axis=1))
    return np.stack(chosen)


def _lab(colours: Array) -> Array:
    """sRGB (N, 3) uint8 as CIELAB float32."""
    converted: Array = np.asarray(cv2.cvtColor((colours[None] / 255).astype(np.float32), cv2.COLOR_RGB2Lab))
    return converted.reshape(-1, 3)


def _card(found: ClassMap, picture: Array | None, labels: Labels | None) -> ClassMapCard:
    def name(index: int) -> str:
        if found.mask:
            return ("background", "foreground")[index]
        return labels.name(index) if labels is not None else f"class {index}"

    names = {index: name(index) for index, _ in found.shares}
    clear = [index for index, text in names.items() if text.lower() in _BACKGROUND]
    pixels = class_map_picture(found.labels, picture, clear)
    shares = tuple(
        ClassShare(index, names[index], share, "" if index in clear else class_colour(index))
        for index, share in found.shares
    )
    (height, width), (drawn_height, drawn_width) = found.labels.shape, pixels.shape[:2]
    jpeg = encode_jpeg(pixels, _QUALITY)
    return ClassMapCard(found.output, found.how, found.classes, height, width, shares, jpeg, drawn_width, drawn_height)


def _ground(shape: Sequence[int], picture: Array | None) -> Array:
    """What the colours lie on: the picture in grey, or black, with its longer side between 224 and 640 pixels."""
    height, width = shape
    shrink = min(1.0, _LARGEST_SIDE / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    if picture is None:
        return upscale(np.zeros((size[1], size[0], 3), np.uint8), _LEAST_SIDE)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if shrink < 1 else picture
    grey = cv2.cvtColor(cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return upscale(np.asarray(grey, np.uint8), _LEAST_SIDE)
