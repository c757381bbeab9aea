"""Ten kinds of shapes as outlines: closed polygons of area one, which a scene rotates, scales and places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "Contours", "Outline", "outline"]

Points = NDArray[np.float64]
Contours = tuple[Points, ...]
Maker = Callable[[np.random.Generator], Contours]

_TURN = 2 * np.pi
_makers: dict[str, Maker] = {}


@dataclass(frozen=True)
class Outline:
    """A shape without a picture: contours of (N, 2) points (x right, y down), filled by the even-odd rule."""

    kind: str
    contours: Contours

    @property
    def area(self) -> float:
        """Area inside: that of the outermost contour less that of the holes, by the shoelace formula."""
        first, *holes = (_shoelace(points) for points in self.contours)
        return first - sum(holes)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest (x0, y0, x1, y1) around the outermost contour."""
        low, high = self.contours[0].min(axis=0), self.contours[0].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    def turned(self, angle: float, scale: float) -> Outline:
        """The same shape turned by `angle` radians about the origin and scaled: lengths × scale, area × scale²."""
        cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
        matrix = np.array([[cosine, sine], [-sine, cosine]])
        return Outline(self.kind, tuple(points @ matrix for points in self.contours))

    def moved(self, x: float, y: float) -> Outline:
        """The same shape, shifted."""
        return Outline(self.kind, tuple(points + np.array([x, y]) for points in self.contours))


def outline(kind: str, rng: np.random.Generator) -> Outline:
    """A shape of `kind` (one of KINDS) with random proportions, area exactly 1, upright, near the origin.

    Equal areas keep the size of a subject from telling its kind. Raises KeyError for any other kind.
    """
    drawn = Outline(kind, _makers[kind](rng))
    return drawn.turned(0.0, 1 / np.sqrt(drawn.area))


def _kind(name: str) -> Callable[[Maker], Maker]:
    def register(maker: Maker) -> Maker:
        if name in _makers:
            raise ValueError(f"the shape {name!r} is defined twice")
        _makers[name] = maker
        return maker

    return register


@_kind("disc")
def _disc(rng: np.random.Generator) -> Contours:  # noqa: ARG001 -- a disc has no proportions to choose
    return (_circle(1.0),)


@_kind("ring")
def _ring(rng: np.random.Generator) -> Contours:
    return _circle(1.0), _circle(rng.uniform(0.5, 0.7))


@_kind("square")
def _square(rng: np.random.Generator) -> Contours:
    return (_rounded(_regular([1.0] * 4), rng.uniform(0, 0.12)),)


@_kind("triangle")
def _triangle(rng: np.random.Generator) -> Contours:
    corners = _regular([1.0] * 3) * (rng.uniform(0.85, 1.1), 1.0)
    return (_rounded(corners, rng.uniform(0, 0.12)),)


@_kind("star")
def _star(rng: np.random.Generator) -> Contours:
    inner = rng.uniform(0.4, 0.5)
    return (_rounded(_regular([1.0, inner] * 5), rng.uniform(0, 0.15)),)


@_kind("cross")
def _cross(rng: np.random.Generator) -> Contours:
    arm = rng.uniform(0.24, 0.36)
    quarter = np.array([[arm, arm], [1, arm], [1, -arm]])
    quarter_turn = np.array([[0, -1], [1, 0]])
    corners = np.concatenate([quarter @ np.linalg.matrix_power(quarter_turn, k) for k in range(4)])
    return (_rounded(corners, rng.uniform(0, 0.12)),)


@_kind("crescent")
def _crescent(rng: np.random.Generator) -> Contours:
    """A unit disc less a disc of radius r whose centre is d to the right; the circles cross at x, ±y."""
    r, d = rng.uniform(0.76, 0.9), rng.uniform(0.42, 0.58)
    x = (1 + d * d - r * r) / (2 * d)
    y = np.sqrt(1 - x * x)
    outer = np.arctan2(y, x)
    inner = np.arctan2(y, x - d)
    return (np.concatenate([_arc(outer, _TURN - outer, 1.0), _arc(_TURN - inner, inner, r) + np.array([d, 0])]),)


@_kind("heart")
def _heart(rng: np.random.Generator) -> Contours:
    t = np.arange(96) * (_TURN / 96)
    x = 16 * np.sin(t) ** 3 * rng.uniform(0.92, 1.08)
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return (np.stack([x, y], axis=1),)


@_kind("arrow")
def _arrow(rng: np.random.Generator) -> Contours:
    shaft, head, neck = rng.uniform(0.2, 0.3), rng.uniform(0.62, 0.8), rng.uniform(-0.05, 0.2)
    half = np.array([[-1.0, shaft], [neck, shaft], [neck, head]])
    corners = np.concatenate([half, [[1.0, 0.0]], half[::-1] * (1, -1)])
    return (_rounded(corners, rng.uniform(0, 0.1)),)


@_kind("gear")
def _gear(rng: np.random.Generator) -> Contours:
    teeth, root, hole = int(rng.integers(7, 11)), rng.uniform(0.7, 0.77), rng.uniform(0.26, 0.36)
    angles = (np.arange(teeth)[:, None] + [-0.27, -0.15, 0.15, 0.27]) * (_TURN / teeth)
    radii = np.broadcast_to([root, 1.0, 1.0, root], angles.shape)
    corners = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1).reshape(-1, 2)
    return _rounded(corners, rng.uniform(0, 0.2)), _circle(hole)


KINDS: tuple[str, ...] = tuple(_makers)


def _arc(start: float, stop: float, radius: float) -> Points:
    angles = np.linspace(start, stop, 96)
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _circle(radius: float) -> Points:
    return _arc(0.0, _TURN, radius)[:-1]


def _regular(radii: list[float]) -> Points:
    """Corners at equal angles about the origin, the first one pointing up."""
    angles = np.arange(len(radii)) * (_TURN / len(radii)) - _TURN / 4
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _rounded(corners: Points, share: float) -> Points:
    """Each corner replaced by a quadratic Bézier curve that begins and ends `share` of an edge away from it."""
    before = corners + share * (np.roll(corners, 1, axis=0) - corners)
    after = corners + share * (np.roll(corners, -1, axis=0) - corners)
    t = np.linspace(0, 1, 5)[None, :, None]
    curve = (1 - t) ** 2 * before[:, None] + 2 * t * (1 - t) * corners[:, None] + t**2 * after[:, None]
    return np.asarray(curve.reshape(-1, 2), np.float64)


def _shoelace(points: Points) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
