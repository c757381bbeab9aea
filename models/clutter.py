"""Distractors for the scenes: lines, blobs, bent strokes and splinters, none of which is one of the ten shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .textures import Lab, lab_to_rgb, random_colour

__all__ = ["Piece", "behind", "in_front"]

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Piece:
    """A flat-coloured polygon: points (N, 2) in [0, 1] (they may reach outside), rgb in [0, 255]."""

    points: Points
    rgb: tuple[int, int, int]


def behind(rng: np.random.Generator, ground: Lab, subject: Lab) -> list[Piece]:
    """Clutter to draw before the subject: up to four lines and 4 to 14 small pieces, in any colours."""
    lines = [_line(rng, width=rng.uniform(0.004, 0.025)) for _ in range(rng.integers(0, 5))]
    makers = (_blob, _stroke, _splinter)
    small = [makers[rng.integers(3)](rng, rng.uniform(0.02, 0.055)) for _ in range(rng.integers(4, 15))]
    return _coloured(rng, lines + small, ground, subject)


def in_front(rng: np.random.Generator, ground: Lab, subject: Lab) -> list[Piece]:
    """Clutter that may cover a little of the subject: at most one thin line and three splinters."""
    lines = [_line(rng, width=rng.uniform(0.003, 0.01)) for _ in range(rng.integers(0, 2))]
    small = [_splinter(rng, rng.uniform(0.015, 0.03)) for _ in range(rng.integers(0, 4))]
    return _coloured(rng, lines + small, ground, subject)


def _coloured(rng: np.random.Generator, shapes: list[Points], ground: Lab, subject: Lab) -> list[Piece]:
    if not shapes:
        return []
    bases = np.stack([ground, ground, subject, random_colour(rng, (10, 60), (20, 90))])
    chosen = bases[rng.integers(len(bases), size=len(shapes))]
    colours = lab_to_rgb(chosen + rng.normal(0, (9, 7, 7), chosen.shape).astype(np.float32))
    return [Piece(points, (r, g, b)) for points, (r, g, b) in zip(shapes, colours.tolist(), strict=True)]


def _line(rng: np.random.Generator, width: float) -> Points:
    """A slightly bent line that crosses the whole picture."""
    angle, offset, bend = rng.uniform(0, 2 * np.pi), rng.uniform(-0.45, 0.45), rng.normal(0, 0.06)
    t = np.linspace(-0.8, 0.8, 17)
    return _placed(_ribbon(np.stack([t, offset + bend * np.sin(4 * t + angle)], axis=1), width), angle, (0.5, 0.5))


def _blob(rng: np.random.Generator, radius: float) -> Points:
    """A long, uneven blob."""
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    reach = 1 + 0.18 * np.cos(2 * t + rng.uniform(0, 6)) + 0.14 * np.cos(3 * t + rng.uniform(0, 6))
    flat = rng.uniform(0.35, 0.6)
    points = radius * np.stack([reach * np.cos(t), flat * reach * np.sin(t)], axis=1)
    return _placed(points, rng.uniform(0, 2 * np.pi), rng.random(2))


def _stroke(rng: np.random.Generator, radius: float) -> Points:
    """A short brush stroke: a quarter of a circle at most, too open for a ring or a crescent."""
    t = np.linspace(0, rng.uniform(0.4, 1.5), 9)
    arc = 1.6 * radius * np.stack([np.cos(t), np.sin(t)], axis=1)
    return _placed(_ribbon(arc, radius * rng.uniform(0.2, 0.4)), rng.uniform(0, 2 * np.pi), rng.random(2))


def _splinter(rng: np.random.Generator, radius: float) -> Points:
    """A crooked quadrilateral, about three times as long as it is wide."""
    corners = np.array([[-1, -0.3], [1, -0.3], [1, 0.3], [-1, 0.3]]) + rng.uniform(-0.25, 0.25, (4, 2)) * (1, 0.6)
    return _placed(radius * corners, rng.uniform(0, 2 * np.pi), rng.random(2))


def _ribbon(path: Points, width: float) -> Points:
    """The outline of a band of `width` along `path`."""
    along = np.diff(path, axis=0, append=2 * path[-1:] - path[-2:-1])
    across = along[:, ::-1] * (-1, 1) * (width / 2 / np.hypot(*along.T)[:, None])
    return np.concatenate([path + across, (path - across)[::-1]])


def _placed(points: Points, angle: float, centre: tuple[float, float] | Points) -> Points:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cosine, sine], [-sine, cosine]]) + np.asarray(centre))
