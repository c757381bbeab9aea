"""What a detector found as a card of the page: each box with its class, its colour, and where its label is drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnxvis.measure.boxes.detections import Box, Detections, detect
from onnxvis.measure.boxes.flags import DetectorFlags
from onnxvis.show.class_map import class_colour, fed_size
from onnxvis.show.text import number, shorten

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels

__all__ = ["SHOWN_FROM", "BoxCard", "FoundCard", "Outline", "box_name", "found_card", "found_in", "outline"]

SHOWN_FROM = 0.25
"""Boxes of a lower score are hidden at first."""

_FONT = 1 / 40  # of the longer side: 12 pixels where that is drawn 480 pixels long
_PADDING, _LINE = 0.45, 1.5  # around a label, and its height, in font sizes
_NARROW, _WIDE = set("ijlIftr.,:;'|!()[]- "), set("mwMW@%")
_LONGEST_LABEL = 28


@dataclass(frozen=True)
class Outline:
    """A rectangle on a picture of `picture_width` × `picture_height` pixels, cut off where that ends."""

    x: float
    y: float
    width: float
    height: float
    picture_width: int
    picture_height: int


@dataclass(frozen=True)
class BoxCard:
    """One box. `name`: of its class; `colour`: its class's, '#rrggbb'; `ink`: black or white, to be read on that.

    `label` is drawn in a rectangle whose upper left corner is (`label_x`, `label_y`) and which is `label_width` wide.
    """

    box: Box
    name: str
    outline: Outline
    colour: str
    ink: str
    label: str
    label_x: float
    label_y: float
    label_width: float

    @property
    def shown(self) -> bool:
        """Whether it is seen before the reader moves the threshold."""
        return self.box.score >= SHOWN_FROM

    @property
    def corners(self) -> str:
        """Both corners in whole pixels: 'x, y – x, y'."""
        box = self.box
        places = (number(round(value), 6) for value in (box.x0, box.y0, box.x1, box.y1))
        return "{}, {} – {}, {}".format(*places)


@dataclass(frozen=True)
class FoundCard:
    """The boxes, strongest first, on a picture of `width` × `height` pixels; the rest as in `Detections`.

    `font`, `padding`, `line`: of the labels, in pixels of the picture. `left_out`: how many of the weakest boxes are
    not on the page for its budget.
    """

    kind: str
    boxes: tuple[BoxCard, ...]
    width: int
    height: int
    classes: int
    least_score: float
    overlap: float
    found: int
    notes: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def font(self) -> float:
        """The size of the labels' letters."""
        return _font(self.width, self.height)

    @property
    def padding(self) -> float:
        """From a label's edge to its letters."""
        return self.font * _PADDING

    @property
    def line(self) -> float:
        """The height of a label."""
        return self.font * _LINE

    @property
    def shown(self) -> int:
        """How many boxes are seen at first."""
        return sum(card.shown for card in self.boxes)


def found_in(
    model: Model, item: PreparedInput, outputs: Mapping[str, Any], labels: Labels | None, flags: DetectorFlags
) -> FoundCard | None:
    """The boxes that `outputs` hold for input `item`; None where `model` has no heads of a known kind."""
    size = fed_size(model, item)
    found = detect(model, item.feeds, outputs, flags)
    return found_card(found, size, labels) if found is not None and size is not None else None


def found_card(found: Detections, size: tuple[int, int], labels: Labels | None) -> FoundCard:
    """The boxes on a picture of `size` (height, width), each label where it hides no label of a stronger box, if there
    is such a place at its box."""
    height, width = size
    cards: list[BoxCard] = []
    taken: list[tuple[float, float, float]] = []
    for box in found.boxes:
        name, edge, colour = box_name(box, labels), outline(box, size), class_colour(box.label)
        label = f"{shorten(name, _LONGEST_LABEL)} {box.score:.2f}"
        room = min(float(width), _text_width(label, _font(width, height)))
        x, y = _free_place(edge, room, taken)
        taken.append((x, y, room))
        cards.append(BoxCard(box, name, edge, colour, _ink(colour), label, x, y, room))
    return FoundCard(
        found.kind, tuple(cards), width, height, found.classes, found.least_score, found.overlap, found.found,
        found.notes,
    )  # fmt: skip


def box_name(box: Box, labels: Labels | None) -> str:
    """The class of a box in words."""
    name = labels.name(box.label) if labels is not None else str(box.label)
    return f"class {name}" if name == str(box.label) else name


def outline(box: Box, size: tuple[int, int]) -> Outline:
    """A box on a picture of `size` (height, width); of a box beyond its edge, the edge is left."""
    height, width = size
    (x0, x1), (y0, y1) = _cut(box.x0, box.x1, width), _cut(box.y0, box.y1, height)
    return Outline(x0, y0, x1 - x0, y1 - y0, width, height)


def _cut(first: float, second: float, most: int) -> tuple[float, float]:
    near, far = (round(min(max(value, 0.0), float(most)), 2) for value in (first, second))
    return near, max(near, far)


def _free_place(edge: Outline, room: float, taken: Iterable[tuple[float, float, float]]) -> tuple[float, float]:
    """Above the box, below it, or inside at its top or bottom: the first place that is in the picture and free."""
    line = _font(edge.picture_width, edge.picture_height) * _LINE
    bottom = edge.y + edge.height
    x = max(0.0, min(edge.x, edge.picture_width - room))
    inside = [y for y in (edge.y - line, edge.y, bottom, bottom - line) if 0 <= y <= edge.picture_height - line]
    places = inside or [max(0.0, min(edge.y, edge.picture_height - line))]

    def free(y: float) -> bool:
        return not any(abs(y - top) < line and x < left + wide and left < x + room for left, top, wide in taken)

    return round(x, 2), round(next((y for y in places if free(y)), places[0]), 2)


def _font(width: int, height: int) -> float:
    return round(max(width, height) * _FONT, 3)


def _text_width(text: str, font: float) -> float:
    """About what `text` takes in a sans-serif face, with its padding; the browser fits the letters to exactly this."""
    return round(font * (2 * _PADDING + sum(map(_letter, text))), 2)


def _letter(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in _NARROW:
        return 0.33
    return 0.9 if letter in _WIDE else 0.7 if letter.isupper() else 0.61


def _ink(colour: str) -> str:
    """Black or white, whichever stands out more on `colour`: relative luminance above 0.18 or not (WCAG 2)."""
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "#ffffff"
