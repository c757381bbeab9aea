"""Synthetic scenes: one of ten shapes somewhere on a textured ground, among clutter, with its true mask and box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .clutter import Piece, behind, in_front
from .shapes import KINDS, Contours, Outline, outline
from .textures import Field, Lab, material, random_colour

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AREA",
    "MARGIN",
    "Scene",
    "Subject",
    "box_around",
    "draw_subject",
    "illumination",
    "make_scene",
    "paint",
    "place_subject",
]

AREA = (0.06, 0.185)
"""Smallest and largest share of the picture that a subject's outline encloses."""

_STREAM = 20260
MARGIN = 0.015
"""Share of the picture between a subject and the edge, at least."""
_SUPERSAMPLING = 4
_SHIFT = 4


@dataclass(frozen=True)
class Scene:
    """A picture and what is true about it.

    picture: (H, W, 3) uint8 RGB; mask: (H, W) bool, the subject's visible pixels; box: (x0, y0, x1, y1), the smallest
    around the mask, x1 and y1 exclusive; label: index into KINDS; name: KINDS[label].
    """

    picture: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    label: int
    name: str


@dataclass(frozen=True)
class Subject:
    """One shape in place (coordinates in [0, 1], the picture being one unit wide), with its mean colour."""

    outline: Outline
    colour: Lab


def make_scene(seed: int, size: int = 112, kind: str | None = None) -> Scene:
    """The scene that belongs to `seed`, drawn `size` pixels wide and high.

    The same seed gives the same bytes, whatever was drawn before; another size gives the same composition, only sharper
    or coarser. (Another release of NumPy or OpenCV may round differently.) `kind` asks for one of KINDS, else the seed
    decides. The subject is wholly inside the picture and encloses AREA of it.
    Raises ValueError for a kind that does not exist, and for a size below 32 (too few pixels to tell kinds apart).
    """
    if size < 32 or kind not in (None, *KINDS):
        raise ValueError(
            f"a scene is at least 32 pixels wide and shows one of {', '.join(KINDS)}; got {size}, {kind!r}"
        )
    rng = np.random.default_rng([_STREAM, seed])
    label = int(rng.integers(len(KINDS)))
    if kind is not None:
        label = KINDS.index(kind)
    ground, colour = _colours(rng)
    light = rng.uniform(0, 2 * np.pi)

    canvas = material(rng, ground, rng.uniform(6, 30), size)
    canvas *= illumination(light, rng.uniform(0, 0.3), size)
    paint(canvas, behind(rng, ground, colour))
    subject = place_subject(KINDS[label], colour, rng)
    coverage = draw_subject(canvas, subject, light, rng)
    visible = coverage * (1 - paint(canvas, in_front(rng, ground, colour)))

    mask = visible >= 0.5
    # The grain is drawn last: it alone takes a number of random values that depends on the size.
    canvas += np.float32(rng.uniform(0.5, 5)) * rng.standard_normal((size, size, 1), np.float32)
    picture = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return Scene(picture, mask, box_around(mask), label, KINDS[label])


def place_subject(kind: str, colour: Lab, rng: np.random.Generator) -> Subject:
    """A shape of `kind` at a random size, angle and position, wholly inside the picture."""
    area = rng.uniform(*AREA)
    shape = outline(kind, rng).turned(rng.uniform(0, 2 * np.pi), np.sqrt(area))
    x0, y0, x1, y1 = shape.bounds
    x = rng.uniform(MARGIN - x0, 1 - MARGIN - x1)
    y = rng.uniform(MARGIN - y0, 1 - MARGIN - y1)
    return Subject(shape.moved(x, y), colour)


def draw_subject(canvas: Field, subject: Subject, light: float, rng: np.random.Generator) -> Field:
    """Draw `subject` into `canvas` ((S, S, 3) float32 RGB in [0, 255], changed in place) and return its coverage.

    The coverage, (S, S) in [0, 1], is the share of each pixel inside the outline. The shape throws a soft shadow away
    from `light` (the angle from which it comes, radians) and has an embossed edge; neither is part of the coverage.
    """
    size = len(canvas)
    coverage = _coverage(subject.outline.contours, size)
    towards = math.cos(light), math.sin(light)
    surface = material(rng, subject.colour, rng.uniform(4, 26), size)
    shadow_depth, distance = rng.uniform(0.1, 0.45), rng.uniform(0.008, 0.025) * size
    relief = rng.uniform(15, 60)

    move = np.array([[1, 0, -towards[0] * distance], [0, 1, -towards[1] * distance]])
    shadow = cv2.GaussianBlur(cv2.warpAffine(coverage, move, (size, size)), (0, 0), 0.012 * size)
    canvas *= (1 - shadow_depth * shadow)[..., None]
    height = cv2.GaussianBlur(coverage, (0, 0), 0.012 * size)
    slope = cv2.Sobel(height, cv2.CV_32F, 1, 0) * towards[0] + cv2.Sobel(height, cv2.CV_32F, 0, 1) * towards[1]
    surface -= (slope * (relief * size / 448))[..., None]
    canvas += (surface - canvas) * coverage[..., None]
    return coverage


def _colours(rng: np.random.Generator) -> tuple[Lab, Lab]:
    """Mean colours of ground and subject, at least 40 apart in L*a*b*, of which 14 in lightness."""
    while True:
        ground = random_colour(rng, chroma=(0, 42), lightness=(22, 88))
        subject = random_colour(rng, chroma=(15, 80), lightness=(25, 90))
        if np.linalg.norm(ground - subject) >= 40 and abs(ground[0] - subject[0]) >= 14:
            return ground, subject


def illumination(light: float, depth: float, size: int) -> Field:
    """Factors (S, S, 1) that fall off by `depth` from the lit side to the far one."""
    steps = (np.arange(size) + 0.5) / size - 0.5
    along = steps[None] * np.cos(light) + steps[:, None] * np.sin(light)
    return np.asarray(1 + depth * along[..., None], np.float32)


def paint(canvas: Field, pieces: Sequence[Piece]) -> Field:
    """Draw flat-coloured polygons into `canvas`, in place, and return how much of each pixel they cover, (S, S)."""
    size = len(canvas)
    if not pieces:
        return np.zeros((size, size), np.float32)
    layer = np.zeros((size * _SUPERSAMPLING, size * _SUPERSAMPLING, 4), np.uint8)
    for piece in pieces:
        cv2.fillPoly(layer, [_fixed(piece.points, len(layer))], (*piece.rgb, 255), cv2.LINE_8, _SHIFT)
    small = _averaged(layer).astype(np.float32)
    alpha = np.divide(small[..., 3], 255, dtype=np.float32)
    # Averaging over a layer that is black where it is empty leaves the colours multiplied by alpha already.
    canvas *= (1 - alpha)[..., None]
    canvas += small[..., :3]
    return alpha


def _coverage(contours: Contours, size: int) -> Field:
    layer = np.zeros((size * _SUPERSAMPLING, size * _SUPERSAMPLING), np.uint8)
    cv2.fillPoly(layer, [_fixed(points, len(layer)) for points in contours], 255, cv2.LINE_8, _SHIFT)
    return np.asarray(_averaged(layer) / np.float32(255), np.float32)


def _averaged(layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means over squares of _SUPERSAMPLING pixels, by halvings: OpenCV has a faster path for those."""
    for _ in range(_SUPERSAMPLING.bit_length() - 1):
        layer = np.asarray(cv2.resize(layer, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    return layer


def _fixed(points: NDArray[np.float64], side: int) -> NDArray[np.int32]:
    """Unit coordinates to OpenCV's fixed point, where the first pixel's centre is 0."""
    return np.rint((points * side - 0.5) * (1 << _SHIFT)).astype(np.int32)


def box_around(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The smallest box (x0, y0, x1, y1) with all of a mask that is not empty; x1 and y1 exclusive."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
