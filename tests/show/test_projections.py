from __future__ import annotations

import json

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.measure.ladder import Ladder, Step
from onnxvis.measure.projections import Position, Projection
from onnxvis.show.colormap import palette
from onnxvis.show.projections import (
    blended,
    describe_ladder,
    describe_projection,
    ladder_arrays,
    ladder_page,
    projection_arrays,
    projection_name,
    projection_page,
    projection_picture,
    step_pictures,
)
from tests.tiny import Array

RNG = np.random.default_rng(0)
TILE, GAP, BETWEEN, TITLE = 224, 20, 6, 44


def projection(channel: int | None = 3, position: Position = "all", values: Array | None = None) -> Projection:
    shown = RNG.standard_normal((3, 32, 48)) if values is None else values
    activation = RNG.random((4, 6))
    activation[1, 2] = 2
    return Projection("layer", channel, shown, activation, (1, 2, 2.0), "guided", position, ("a note",), "CPU")


def ladder_of(channels: int = 5) -> Ladder:
    steps = (
        Step("deep", "conv2", RNG.standard_normal((channels, 4, 4))),
        Step("middle", "conv1", RNG.standard_normal((channels, 8, 8))),
        Step("image", "conv0", RNG.standard_normal((3, 16, 16))),
    )
    return Ladder("layer", 7, "deconvnet", "all", steps, ("a note",), "CPU")


def tile(page: Array, row: int, column: int, line: int) -> Array:
    """A tile of a page whose groups hold one tile each, `line` pixels from line to line."""
    top, left = TITLE + row * line, GAP + column * (TILE + GAP)
    return page[top : top + TILE, left : left + TILE]


def test_zero_is_grey_and_signs_go_to_black_and_white() -> None:
    """By a loop over colours: a percentile by sorting and a line between neighbours."""
    values = RNG.standard_normal((3, 40, 30)) * RNG.integers(0, 2, (3, 40, 30))
    magnitudes = sorted(abs(value) for value in values.flat if value)
    place = 0.995 * (len(magnitudes) - 1)
    low = int(place)
    largest = magnitudes[low] + (place - low) * (magnitudes[low + 1] - magnitudes[low])
    picture = projection_picture(values)
    for colour in range(3):
        for row, column in np.ndindex(40, 30):
            wanted = round(128 + 127 * max(-1.0, min(1.0, values[colour, row, column] / largest)))
            assert picture[row, column, colour] == wanted
    assert picture.max() == 255
    assert picture.min() == 1


def test_blue_first_becomes_red_first() -> None:
    values = RNG.standard_normal((3, 5, 4))
    np.testing.assert_array_equal(projection_picture(values, bgr=True), projection_picture(values[::-1]))


def test_other_numbers_of_channels() -> None:
    values = RNG.standard_normal((4, 5, 4))
    np.testing.assert_array_equal(projection_picture(values), projection_picture(values[:3]))
    for some in (values[:1], values[:2], np.tile(values, (2, 1, 1))):
        drawn = projection_picture(some)
        np.testing.assert_array_equal(drawn, projection_picture(np.repeat(some.sum(axis=0)[None], 3, axis=0)))
        assert (drawn[..., 0] == drawn[..., 2]).all()


def test_nothing_is_grey_and_what_is_not_finite_counts_as_nothing() -> None:
    assert (projection_picture(np.zeros((3, 4, 5))) == 128).all()
    values = RNG.standard_normal((3, 4, 5))
    broken = values.copy()
    broken[:, 0, 0], values[:, 0, 0] = (np.nan, np.inf, -np.inf), 0
    np.testing.assert_array_equal(projection_picture(broken), projection_picture(values))
    np.testing.assert_array_equal(blended(broken), blended(values))


def test_a_blend_adds_magnitudes() -> None:
    values = RNG.standard_normal((6, 9, 9))
    total = sum(np.abs(one) for one in values)
    shown = blended(values)
    np.testing.assert_allclose(shown, np.minimum(total / np.percentile(total, 99.5), 1))
    assert not blended(np.zeros((2, 3, 3))).any()


def test_a_row_shows_the_picture_the_map_and_the_projection() -> None:
    picture = RNG.integers(0, 255, (112, 224, 3)).astype(np.uint8)
    one = projection(values=RNG.standard_normal((3, 112, 224)))
    page = projection_page([one], picture, "a title")
    left = [GAP + place * (TILE + BETWEEN) for place in range(3)]
    np.testing.assert_array_equal(page[TITLE : TITLE + 112, left[0] : left[0] + TILE], picture)
    np.testing.assert_array_equal(page[TITLE : TITLE + 112, left[2] : left[2] + TILE], projection_picture(one.values))
    drawn = page[TITLE : TITLE + 149, left[1] : left[1] + TILE]  # 4 × 6, 37.33 times
    colours = palette("magma")
    low, high = one.activation.min(), one.activation.max()
    for row, column in np.ndindex(4, 6):
        if abs(row - 1) > 1 or abs(column - 2) > 1:  # away from the ring
            wanted = colours[round((one.activation[row, column] - low) / (high - low) * 255)]
            np.testing.assert_array_equal(drawn[int((row + 0.5) * 37.33), int((column + 0.5) * 37.33)], wanted)
    around = drawn[int(1.5 * 37.33) - 40 : int(1.5 * 37.33) + 40, int(2.5 * 37.33) - 40 : int(2.5 * 37.33) + 40]
    assert (around == 255).all(axis=2).any(), "a white ring stands around the largest value"


def test_from_the_strongest_position_only_what_it_reaches_is_shown() -> None:
    values = np.zeros((3, 100, 200))
    values[:, 40:60, 150:170] = RNG.standard_normal((3, 20, 20)) + 3
    values[0, 0, 0] = 1e-6
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40:60, 150:170] = 200
    page = projection_page([projection(position="strongest", values=values)], picture, "")
    seen = page[TITLE : TITLE + TILE, GAP : GAP + TILE]
    assert 0.7 < (seen > 100).all(axis=2).mean() < 0.9
    flat = projection_page([projection(position="strongest", values=np.zeros((3, 100, 200)))], picture, "")
    assert (flat[TITLE : TITLE + 112, GAP : GAP + TILE] > 100).all(axis=2).mean() == pytest.approx(0.02, abs=0.01)


def test_many_rows_stand_in_two_columns_and_without_a_picture() -> None:
    three, four = (projection_page([projection(k) for k in range(count)], None, "") for count in (3, 4))
    assert three.shape[1] == 2 * GAP + 2 * TILE + BETWEEN
    assert four.shape[1] == 3 * GAP + 2 * (2 * TILE + BETWEEN)


def test_a_ladder_goes_down_to_colours() -> None:
    found = ladder_of()
    picture = RNG.integers(0, 255, (224, 224, 3)).astype(np.uint8)
    page = ladder_page(found, picture, "a title", colormap="gray")
    pictures = list(step_pictures(found, colormap="gray"))
    for place, step in enumerate(found.steps[:2]):
        np.testing.assert_array_equal(pictures[place][..., 0], np.rint(255 * blended(step.values)))
    np.testing.assert_array_equal(pictures[2], projection_picture(found.steps[2].values))
    line = TILE + 44 + GAP // 2
    for place, drawn in enumerate([*pictures, picture]):
        factor = TILE // len(drawn)
        enlarged = drawn.repeat(factor, axis=0).repeat(factor, axis=1)
        np.testing.assert_array_equal(tile(page, place // 3, place % 3, line), enlarged)


def test_the_first_channels_of_each_step_alone() -> None:
    found = ladder_of()
    deep, *_, last = step_pictures(found, first=3)
    assert deep.shape == (4, 3 * 4 + 2, 3)
    for channel in range(3):
        np.testing.assert_array_equal(
            deep[:, 5 * channel : 5 * channel + 4], projection_picture(found.steps[0].values[channel][None])
        )
    np.testing.assert_array_equal(last, projection_picture(found.steps[2].values))
    page = ladder_page(found, None, "", first=3)
    assert page.shape[0] == TITLE + 3 * (TILE + 44 + GAP // 2)


def test_a_page_of_more_than_40_megapixels_is_refused() -> None:
    """Three steps are three rows of at most 278 pixels, and a channel takes 230: 208 of them fit, 209 do not."""
    assert 208 * 230 * 3 * 278 < 40e6 < 209 * 230 * 3 * 278
    found = ladder_of(channels=209)
    with pytest.raises(UsageError, match=r"3 steps of up to 209 channels make .* of 40 megapixels.*smaller --first"):
        ladder_page(found, None, "", first=999)
    assert ladder_page(found, None, "", first=208).shape[1] == 2 * GAP + 208 * (TILE + BETWEEN) - BETWEEN
    assert ladder_page(found, None, "").shape[1] < 2000


def test_arrays_by_name() -> None:
    one, whole, ladder = projection(), projection(None), ladder_of()
    arrays = projection_arrays([one, whole])
    assert arrays["projection/3/values"] is one.values
    assert arrays["projection/3/activation"] is one.activation
    assert arrays["projection/whole/values"] is whole.values
    assert {name: id(values) for name, values in ladder_arrays(ladder).items()} == {
        f"ladder/{step.tensor}": id(step.values) for step in ladder.steps
    }
    assert [projection_name(channel) for channel in (3, None)] == ["channel 3", "the whole layer"]


def test_what_is_said_is_json() -> None:
    said = json.loads(json.dumps(describe_projection(projection())))
    assert said == {
        "layer": "layer", "channel": 3, "variant": "guided", "position": "all", "peak": [1, 2], "max": 2.0,
        "size": [3, 32, 48], "notes": ["a note"], "provider": "CPU",
    }  # fmt: skip
    said = json.loads(json.dumps(describe_ladder(ladder_of())))
    assert said["channel"] == 7
    assert said["steps"][1] == {"tensor": "middle", "convolution": "conv1", "size": [5, 8, 8]}
