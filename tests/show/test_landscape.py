from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxvis.measure.maximize.objective import Aim
from onnxvis.measure.maximize.paths import Landscape, Path
from onnxvis.show.colormap import palette
from onnxvis.show.landscape import describe_landscape, encode_moving, landscape_frames, landscape_picture
from onnxvis.show.maximized import COLOURS

Array = np.ndarray[Any, np.dtype[Any]]

LEFT, TOP, SIDE = 24, 52, 480


def landscape(points: int = 4) -> Landscape:
    """A slope that rises with x + y, and two paths: one along x, one along y."""
    grid = np.linspace(-1, 1, 9)
    way = np.linspace(-0.5, 0.5, points)
    paths = (
        Path("gd", np.arange(points), np.stack([way, np.full(points, -0.5)], axis=1), np.array([1.0, 2.0]), 3.0),
        Path("adam", np.arange(points), np.stack([np.full(points, -0.5), way], axis=1), np.array([1.0, 4.0]), 5.0),
    )
    aim = Aim("logits", np.ones((1, 10)), "logits:4", 4)
    return Landscape(aim, paths, grid, grid, grid[None] + grid[:, None], (0.6, 0.3), ("a note",))


def at(x: float, y: float) -> tuple[int, int]:
    """(row, column) on the picture."""
    return round(TOP + SIDE * (1 - (y + 1) / 2)), round(LEFT + SIDE * (x + 1) / 2)


def near(picture: Array, place: tuple[int, int], colour: Any, reach: int = 3) -> bool:
    row, column = place
    part = picture[row - reach : row + reach + 1, column - reach : column + reach + 1].astype(int)
    return bool((np.abs(part - np.asarray(colour, int)).max(axis=2) < 25).any())


def test_colours_are_those_of_the_activation() -> None:
    picture = landscape_picture(landscape(), "title")
    colours = palette("viridis")
    for x, y in ((0.8, 0.8), (-0.8, 0.85), (0.3, 0.45), (0.9, -0.9)):
        expected = colours[round(255 * (x + y + 2) / 4)]
        assert near(picture, at(x, y), expected), (x, y)
    assert near(picture, (TOP + SIDE - 4, LEFT + 4), colours[2])
    assert near(picture, (TOP + 4, LEFT + SIDE - 4), colours[253])


def test_paths_are_where_they_went() -> None:
    picture = landscape_picture(landscape(), "title")
    assert near(picture, at(0, -0.5), COLOURS[0])
    assert near(picture, at(0.5, -0.5), COLOURS[0])
    assert near(picture, at(-0.5, 0.1), COLOURS[1])
    assert not near(picture, at(0, 0), COLOURS[0])
    assert not near(picture, at(0, 0), COLOURS[1])


def test_frames_grow_from_the_start_to_the_still_picture() -> None:
    found = landscape(5)
    frames = landscape_frames(found, "title")
    assert len(frames) == 5
    np.testing.assert_array_equal(frames[-1], landscape_picture(found, "title"))
    np.testing.assert_array_equal(frames[1], landscape_picture(found, "title", 2))
    assert not near(frames[1], at(0.25, -0.5), COLOURS[0])
    assert near(frames[3], at(0.2, -0.5), COLOURS[0])


def test_contours_part_twelve_equal_steps() -> None:
    """Along the diagonal, a twelfth of the way up each: lighter than the colour there; between them nothing is."""
    picture = landscape_picture(landscape(), "title").astype(int)
    for twelfth in (1, 2, 4, 5, 6, 7, 8, 9, 10, 11):  # the third is under the paths' start
        for share, lined in ((twelfth / 12, True), ((twelfth + 0.5) / 12, False)):
            row, column = at(2 * share - 1, 2 * share - 1)
            colour = palette("viridis")[round(255 * share)].astype(int)
            lighter = (picture[row - 3 : row + 4, column - 3 : column + 4] - colour).max()
            assert (lighter > 35) == lined, (twelfth, lighter)


@pytest.mark.parametrize("kind", ["gif", "png"])
def test_animations_hold_every_frame_and_go_on_for_ever(kind: str) -> None:
    frames = landscape_frames(landscape(), "title")
    with Image.open(io.BytesIO(encode_moving(frames, kind))) as moving:
        assert moving.n_frames == len(frames)  # type: ignore[attr-defined]
        assert moving.info["loop"] == 0
        for number, frame in enumerate(frames):
            moving.seek(number)
            shown = np.asarray(moving.convert("RGB")).astype(int)
            difference = np.abs(shown - frame)
            assert difference.max() == 0 if kind == "png" else difference.mean() < 4
        assert moving.info["duration"] == 2500


def test_a_flat_landscape_is_drawn() -> None:
    found = landscape()
    flat = Landscape(found.aim, found.paths, found.across, found.up, np.full((9, 9), 3.0), (1.0, 0.0), ())
    assert near(landscape_picture(flat, "title"), at(0.8, 0.8), palette("viridis")[0])


def test_facts_have_the_activations_reached() -> None:
    assert describe_landscape(landscape()) == {
        "objective": "logits:4",
        "explained": [0.6, 0.3],
        "optimizers": [
            {"name": "gd", "value": 3.0, "start": 1.0, "steps": 2},
            {"name": "adam", "value": 5.0, "start": 1.0, "steps": 2},
        ],
        "notes": ["a note"],
    }
