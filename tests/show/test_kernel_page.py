from __future__ import annotations

import math

import numpy as np
import pytest

from onnxvis.measure.statistics import summarise
from onnxvis.show.kernel_page import LARGEST, filter_page, kernel_page
from onnxvis.show.kernels import kernel_palette, kernel_tiles
from onnxvis.show.plots import histogram_picture
from tests.show.hostile import HOSTILE, LONG
from tests.tiny import Array

LEFT, TOP = 16, 84


def weights(*shape: int) -> Array:
    return np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)


def part(page: Array, picture: Array) -> Array:
    """What stands where the picture of a page of kernels starts, as large as `picture`."""
    return page[TOP : TOP + picture.shape[0], LEFT : LEFT + picture.shape[1]]


def squares(page: Array, colour: Array) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of all that has one colour."""
    rows, columns = np.nonzero((page == colour).all(axis=2))
    return [(int(rows.min()), int(columns.min()), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)]


def test_each_weight_is_a_square_of_its_colour() -> None:
    kernel = np.linspace(-1, 1, 2 * 6, dtype=np.float32).reshape(2, 1, 2, 3)
    tiles = kernel_tiles(kernel)
    page, shown = kernel_page(tiles, "name", "note")
    assert shown == 2
    side = 24
    colours = kernel_palette("coolwarm")[128 + np.rint(126 * kernel.astype(float)).astype(int)]
    columns = tiles.picture().columns
    for number, (y, x) in ((n, place) for n in range(2) for place in np.ndindex(2, 3)):
        row, column = divmod(number, columns)
        top = TOP + row * (2 * side + 6) + y * side
        left = LEFT + column * (3 * side + 6) + x * side
        assert (page[top : top + side, left : left + side] == colours[number, 0, y, x]).all()


@pytest.mark.parametrize(
    ("shape", "least"),
    [((64, 3, 7, 7), 4), ((2048, 2, 1, 1), 4), ((1, 1, 1, 1), 4), ((512, 2, 3, 3), 4), ((2, 1, 1500), 1)],
)
def test_the_picture_is_large_enough_to_be_seen(shape: tuple[int, ...], least: int) -> None:
    tiles = kernel_tiles(weights(*shape))
    page, shown = kernel_page(tiles, "name", "note")
    assert shown == shape[0]
    assert max(page.shape) <= LARGEST
    first = {side: tiles.on_white(1, side) for side in range(1, 30)}
    side = max(side for side in first if np.array_equal(part(page, first[side]), first[side]))
    whole = tiles.on_white(factor=side)
    np.testing.assert_array_equal(part(page, whole), whole)
    assert least <= side <= 24


def test_more_filters_than_fit_are_cut_and_counted() -> None:
    tiles = kernel_tiles(weights(9000, 1, 15, 15))
    page, shown = kernel_page(tiles, "name", "note")
    assert 2000 < shown < 9000
    assert 3000 < max(page.shape) <= LARGEST
    np.testing.assert_array_equal(page[TOP : TOP + 60, LEFT : LEFT + 60], tiles.on_white(1, 4))


def test_a_filter_larger_than_the_page_is_still_drawn() -> None:
    page, shown = kernel_page(kernel_tiles(weights(3, 1, 5000)), "name", "note")
    assert shown == 1
    assert page.shape[1] == 5000 + 2 * LEFT


def test_the_bar_spans_the_colours_and_rgb_has_none() -> None:
    kernel = weights(4, 3, 3, 3)
    tiles = kernel_tiles(kernel)
    page, _ = kernel_page(tiles, "name", "note")
    bar = next(
        row for row in range(TOP, page.shape[0])
        if np.array_equal(page[row, LEFT : LEFT + 253], kernel_palette("coolwarm")[2:255])
    )  # fmt: skip
    assert (page[bar + 14 : bar + 30, LEFT : LEFT + 253] < 90).any()
    pictured = kernel_tiles(kernel, rgb=True)
    assert math.isnan(pictured.low)
    rgb, _ = kernel_page(pictured, "name", "note")
    assert rgb.shape[0] == page.shape[0] - 44


@pytest.mark.parametrize("text", ["", HOSTILE, LONG, "猫" * 90, "W" * 300])
def test_any_texts(text: str) -> None:
    page, _ = kernel_page(kernel_tiles(weights(4, 2, 3, 3)), text, text)
    assert (page[:, 0] == 255).all()
    assert (page[:, -1] == 255).all()
    assert filter_page(weights(4, 3, 3), text, text).shape[2] == 3


def test_one_filter_has_a_tile_a_channel_and_its_histogram() -> None:
    one = np.array([[[1.0, -0.5]], [[0.25, 0.125]], [[-0.25, 0.5]]])
    page = filter_page(one, "conv1, filter 3", "3 × 3 conv")
    colours = kernel_palette("coolwarm")[128 + np.rint(126 * one).astype(int)]
    places = [squares(page, colours[channel, 0, 0])[0] for channel in range(3)]
    assert [(height, width) for _, _, height, width in places] == [(64, 64)] * 3
    assert (places[0][0], places[2][1]) == (places[1][0], places[0][1])
    assert places[1][1] > places[0][1]
    assert places[2][0] > places[0][0]
    chart = histogram_picture("All weights of this filter", "3 × 3 conv · colours from −1 to 1", summarise(one))
    np.testing.assert_array_equal(page[-chart.shape[0] :, : chart.shape[1]], chart)


@pytest.mark.parametrize("channels", [1, 64, 65, 256, 257, 3000])
def test_filters_of_any_number_of_channels(channels: int) -> None:
    one = weights(channels, 3, 3)
    page = filter_page(one, "w")
    assert max(page.shape) <= LARGEST
    colours = kernel_palette("coolwarm")[128 + np.rint(126 * one.astype(float) / np.abs(one).max()).astype(int)]
    assert packed(colours) <= packed(page)


def packed(colours: Array) -> set[int]:
    """Every colour as one number."""
    return set(np.unique(colours.reshape(-1, 3).astype(np.int64) @ [65536, 256, 1]).tolist())


def test_an_empty_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="no weights"):
        filter_page(np.zeros((0, 3, 3)), "w")
