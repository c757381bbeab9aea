"""Synthetic scenes for a detector: several of the ten shapes on one textured ground, each with its true box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .clutter import behind, in_front
from .scenes import MARGIN, Subject, box_around, draw_subject, illumination, paint
from .shapes import KINDS, outline
from .textures import Lab, material, random_colour

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MOST", "SHARE", "Crowd", "Member", "make_crowd"]

MOST = 6
"""Subjects in one scene, at most."""
SHARE = (0.012, 0.11)
"""Smallest and largest share of the picture that one subject's outline encloses."""

_STREAM = 50611
_OVERLAP = 0.1
_TRIES = 20
_SEEN = 0.7


@dataclass(frozen=True)
class Member:
    """One subject: `box` (x0, y0, x1, y1) around its visible pixels, x1 and y1 exclusive; `label`: index into KINDS."""

    box: tuple[int, int, int, int]
    label: int
    name: str


@dataclass(frozen=True)
class Crowd:
    """A picture (H, W, 3) uint8 RGB and the subjects in it, in the order in which they were drawn."""

    picture: NDArray[np.uint8]
    members: tuple[Member, ...]


def make_crowd(seed: int, size: int = 160) -> Crowd:
    """The scene that belongs to `seed`, drawn `size` pixels wide and high, with one to MOST subjects.

    The same seed gives the same bytes; another size gives the same composition. (Another release of NumPy or OpenCV may
    round differently.) Boxes overlap by at most a tenth of the smaller. A subject of which less than 70 % is seen, as
    others or clutter cover it, does not count. Raises ValueError for a size below 64.
    """
    if size < 64:
        raise ValueError(f"a scene of several subjects is at least 64 pixels wide; got {size}")
    rng = np.random.default_rng([_STREAM, seed])
    ground = random_colour(rng, chroma=(0, 42), lightness=(22, 88))
    light = rng.uniform(0, 2 * np.pi)
    labels = rng.integers(len(KINDS), size=int(rng.integers(1, MOST + 1)))
    subjects = _placed(labels.tolist(), ground, rng)

    canvas = material(rng, ground, rng.uniform(6, 30), size)
    canvas *= illumination(light, rng.uniform(0, 0.3), size)
    distraction = random_colour(rng, chroma=(15, 80), lightness=(25, 90))
    paint(canvas, behind(rng, ground, distraction))
    covers = [draw_subject(canvas, subject, light, rng) for _, subject in subjects]
    covers.append(paint(canvas, in_front(rng, ground, distraction)))
    # The grain is drawn last: it alone takes a number of random values that depends on the size.
    canvas += np.float32(rng.uniform(0.5, 5)) * rng.standard_normal((size, size, 1), np.float32)

    members = []
    for place, (label, _) in enumerate(subjects):
        seen = covers[place].copy()
        for later in covers[place + 1 :]:
            seen *= 1 - later
        if seen.sum() >= _SEEN * covers[place].sum():
            members.append(Member(box_around(seen >= 0.5), label, KINDS[label]))
    return Crowd(np.clip(canvas + 0.5, 0, 255).astype(np.uint8), tuple(members))


def _placed(labels: list[int], ground: Lab, rng: np.random.Generator) -> list[tuple[int, Subject]]:
    """Each shape at a random size, angle and place where there is room; left out where none is found."""
    found: list[tuple[int, Subject]] = []
    for label in labels:
        for _ in range(_TRIES):
            # Uniform in the side, not in the area: as many small subjects as large ones.
            side = rng.uniform(*np.sqrt(SHARE))
            shape = outline(KINDS[label], rng).turned(rng.uniform(0, 2 * np.pi), side)
            x0, y0, x1, y1 = shape.bounds
            x = rng.uniform(MARGIN - x0, 1 - MARGIN - x1)
            y = rng.uniform(MARGIN - y0, 1 - MARGIN - y1)
            subject = Subject(shape.moved(x, y), _unlike(ground, rng))
            if all(_overlap(subject, other) <= _OVERLAP for _, other in found):
                found.append((label, subject))
                break
    return found


def _unlike(ground: Lab, rng: np.random.Generator) -> Lab:
    """A colour at least 40 from the ground in L*a*b*, of which 14 in lightness."""
    while True:
        colour = random_colour(rng, chroma=(15, 80), lightness=(25, 90))
        if np.linalg.norm(ground - colour) >= 40 and abs(ground[0] - colour[0]) >= 14:
            return colour


def _overlap(one: Subject, other: Subject) -> float:
    """What two boxes share, by the area of the smaller."""
    a, b = np.array(one.outline.bounds), np.array(other.outline.bounds)
    shared = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return float(np.prod(shared.clip(min=0)) / smaller)
