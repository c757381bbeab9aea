"""Textured materials: a pattern of values in [0, 1] coloured by a palette, the same at any size."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Field", "Lab", "lab_to_rgb", "material", "random_colour"]

Field = NDArray[np.float32]
Lab = NDArray[np.float32]
Pattern = Callable[[np.random.Generator, int], Field]

_patterns: dict[str, Pattern] = {}


def random_colour(rng: np.random.Generator, chroma: tuple[float, float], lightness: tuple[float, float]) -> Lab:
    """A CIE L*a*b* colour, shape (3,): lightness and chroma uniform in their ranges, any hue."""
    hue, c = rng.uniform(0, 2 * np.pi), rng.uniform(*chroma)
    return np.array([rng.uniform(*lightness), c * np.cos(hue), c * np.sin(hue)], np.float32)


def lab_to_rgb(colours: Lab) -> NDArray[np.uint8]:
    """CIE L*a*b* (..., 3) to sRGB uint8 of the same shape; colours outside the gamut are clipped."""
    rgb = cv2.cvtColor(colours.reshape(1, -1, 3).astype(np.float32), cv2.COLOR_Lab2RGB)
    return np.asarray(np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8).reshape(colours.shape))


def material(rng: np.random.Generator, colour: Lab, contrast: float, size: int) -> Field:
    """A textured surface about `colour`: (size, size, 3) float32 RGB in [0, 255].

    `contrast` is the L*a*b* distance between the palette's ends, of which most lies in lightness. How many random
    numbers are drawn does not depend on `size`.
    """
    step = rng.normal(size=3) * (1.0, 0.6, 0.6)
    step *= contrast / 2 / np.linalg.norm(step)
    names = sorted(_patterns)
    pattern = _patterns[names[int(rng.integers(len(names)))]](rng, size)
    steps = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]
    palette = lab_to_rgb(colour + steps * step.astype(np.float32)).astype(np.float32)
    return np.take(palette, (np.clip(pattern, 0, 1) * 255).astype(np.uint8), axis=0)


def _pattern(function: Pattern) -> Pattern:
    if function.__name__ in _patterns:
        raise ValueError(f"the pattern {function.__name__} is defined twice")
    _patterns[function.__name__] = function
    return function


def _axes(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Coordinates along and across a random direction, (size, size) each, the picture being one unit wide."""
    angle = rng.uniform(0, 2 * np.pi)
    steps = (np.arange(size) + 0.5) / size
    ahead, aside = (steps * np.cos(angle)).astype(np.float32), (steps * np.sin(angle)).astype(np.float32)
    return np.add.outer(aside, ahead), np.subtract.outer(ahead, aside)


def _noise(rng: np.random.Generator, size: int, shares: dict[int, float]) -> Field:
    """A sum of smooth noises in [0, 1]: the keys of `shares` are bumps across the picture, the values weights."""
    total = np.zeros((size, size), np.float32)
    for cells, share in shares.items():
        grid = rng.random((cells, cells), dtype=np.float32) * np.float32(share)
        total += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return total


def _wave(phase: Field, frequency: float, steepness: float = 1.0) -> Field:
    """A sine wave in [0, 1]; `steepness` above 1 turns it towards a square wave."""
    return _steeper(np.asarray(0.5 + 0.5 * np.sin(phase * (2 * np.pi * frequency)), np.float32), steepness)


def _steeper(field: Field, steepness: float, middle: float = 0.5) -> Field:
    return np.asarray(np.clip((field - middle) * steepness + 0.5, 0, 1), np.float32)


@_pattern
def _clouds(rng: np.random.Generator, size: int) -> Field:
    return _noise(rng, size, {4: 0.55, 9: 0.3, 24: 0.15})


@_pattern
def _gradient(rng: np.random.Generator, size: int) -> Field:
    along, _ = _axes(rng, size)
    ramp = np.asarray((along - along.min()) / (along.max() - along.min()) * 0.85, np.float32)
    return np.add(ramp, _noise(rng, size, {20: 0.15}))


@_pattern
def _stripes(rng: np.random.Generator, size: int) -> Field:
    along, _ = _axes(rng, size)
    return _wave(along, rng.uniform(5, 14), steepness=2.5)


@_pattern
def _ripples(rng: np.random.Generator, size: int) -> Field:
    along, across = _axes(rng, size)
    bend = rng.uniform(0.02, 0.08) * _wave(across, rng.uniform(1.5, 4))
    return _wave(along + bend, rng.uniform(5, 12))


@_pattern
def _wood(rng: np.random.Generator, size: int) -> Field:
    along, _ = _axes(rng, size)
    return _wave(along + _noise(rng, size, {4: rng.uniform(0.1, 0.25)}), rng.uniform(6, 14))


@_pattern
def _zigzag(rng: np.random.Generator, size: int) -> Field:
    along, across = _axes(rng, size)
    teeth = np.abs(across * rng.uniform(4, 9) % 1 - 0.5)
    return _wave(along + rng.uniform(0.05, 0.12) * teeth, rng.uniform(6, 12), steepness=2)


@_pattern
def _camouflage(rng: np.random.Generator, size: int) -> Field:
    noise = _noise(rng, size, {7: 0.7, 15: 0.3})
    return np.asarray((_steeper(noise, 12) + _steeper(noise, 12, middle=0.66)) / 2, np.float32)


@_pattern
def _grain(rng: np.random.Generator, size: int) -> Field:
    return _noise(rng, size, {5: 0.3, 30: 0.35, 56: 0.35})
