"""Outlines: area and topology against a rasterisation that knows nothing of how they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from onnxvis.models.shapes import KINDS, Outline, outline

if TYPE_CHECKING:
    from numpy.typing import NDArray


def some(kind: str, count: int = 5) -> list[Outline]:
    rng = np.random.default_rng(1)
    return [outline(kind, rng) for _ in range(count)]


def test_there_are_ten_kinds() -> None:
    assert KINDS == ("disc", "ring", "square", "triangle", "star", "cross", "crescent", "heart", "arrow", "gear")


@pytest.mark.parametrize("kind", KINDS)
def test_the_area_is_one(kind: str, rasterise: Callable[..., NDArray[np.bool_]]) -> None:
    for shape in some(kind, 3):
        x0, y0, x1, y1 = shape.bounds
        side = max(x1 - x0, y1 - y0)
        counted = rasterise(shape.moved(-x0, -y0), 300, side).mean() * side**2
        assert counted == pytest.approx(1, abs=0.01)
        assert shape.area == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_turning_and_moving_keep_the_shape(kind: str) -> None:
    (shape,) = some(kind, 1)
    turned = shape.turned(np.pi / 2, 0.5)
    assert turned.area == pytest.approx(0.25)
    # A quarter turn takes (x, y) to (−y, x) in a picture whose y axis points down.
    for before, after in zip(shape.contours, turned.contours, strict=True):
        np.testing.assert_allclose(after, 0.5 * np.stack([-before[:, 1], before[:, 0]], axis=1), atol=1e-12)
    np.testing.assert_allclose(shape.moved(3, -2).contours[0], shape.contours[0] + (3, -2))


@pytest.mark.parametrize(
    ("kind", "holes", "solidity"),
    [
        ("disc", 0, (0.97, 1)),
        ("ring", 1, (0.45, 0.78)),
        ("square", 0, (0.97, 1)),
        ("triangle", 0, (0.97, 1)),
        ("star", 0, (0.4, 0.7)),
        ("cross", 0, (0.5, 0.85)),
        ("crescent", 0, (0.35, 0.75)),
        ("heart", 0, (0.85, 0.95)),
        ("arrow", 0, (0.5, 0.75)),
        ("gear", 1, (0.55, 0.85)),
    ],
)
def test_holes_and_hollows_tell_the_kinds_apart(
    kind: str, holes: int, solidity: tuple[float, float], rasterise: Callable[..., NDArray[np.bool_]]
) -> None:
    """Solidity: area over the area of the convex hull, both from pixels."""
    for shape in some(kind):
        x0, y0, x1, y1 = shape.bounds
        picture = rasterise(shape.moved(0.1 - x0, 0.1 - y0), 200, 0.2 + max(x1 - x0, y1 - y0)).astype(np.uint8)
        components, _ = cv2.connectedComponents(1 - picture, connectivity=4)
        assert components - 2 == holes
        hull = cv2.convexHull(np.argwhere(picture))
        assert solidity[0] <= picture.sum() / cv2.contourArea(hull) <= solidity[1] + 0.03


def test_proportions_vary_but_follow_the_seed() -> None:
    first, second = some("star", 2)
    assert not np.allclose(first.contours[0], second.contours[0])
    np.testing.assert_array_equal(first.contours[0], some("star", 1)[0].contours[0])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError, match="pentagon"):
        outline("pentagon", np.random.default_rng(0))
