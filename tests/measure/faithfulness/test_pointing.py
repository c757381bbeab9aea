from __future__ import annotations

import numpy as np
import pytest

from onnxvis.errors import InputError
from onnxvis.measure.faithfulness.pointing import Box, peak, points_at, region_of_box, region_of_mask
from onnxvis.run.fitting import Fit
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.preprocess import Preprocessing, apply
from tests.tiny import Array


def slow(values: Array, region: Array, tolerance: float) -> bool:
    height, width = values.shape
    best = max(values[row, column] for row in range(height) for column in range(width))
    at = next((row, column) for row in range(height) for column in range(width) if values[row, column] == best)
    return any(
        region[row, column] and ((row - at[0]) ** 2 + (column - at[1]) ** 2) ** 0.5 <= tolerance + 1e-9
        for row in range(height)
        for column in range(width)
    )


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5])
def test_hits_are_those_of_a_slow_loop(tolerance: float) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        values, region = rng.integers(0, 30, (7, 9)), rng.random((7, 9)) < 0.15
        found.append(points_at(values, region, tolerance))
        assert found[-1] == slow(values, region, tolerance)
    assert {*found} == {True, False}


def test_a_blank_map_points_nowhere() -> None:
    assert peak(np.zeros((4, 5))) is None
    assert not points_at(np.zeros((4, 5)), np.ones((4, 5), bool))
    assert peak(np.eye(4)[::-1]) == (0, 3)


def prepared(fit: Fit, original: tuple[int, int], size: tuple[int, int] | None) -> PreparedInput:
    how = Preprocessing(size, fit, None, "nearest", False, 1.0, (0.0,), (1.0,))
    return PreparedInput("a.png", {}, None, how, original)


@pytest.mark.parametrize("fit", ["stretch", "crop", "letterbox"])
def test_a_box_and_a_mask_go_the_way_of_the_picture(fit: Fit) -> None:
    """A white box drawn into the picture's file lies where the box is put, whatever the fit."""
    box: Box = (12, 8, 40, 30)
    drawn = np.zeros((60, 80, 3), np.uint8)
    drawn[8:30, 12:40] = 255
    item = prepared(fit, (60, 80), (32, 32))
    assert item.preprocessing is not None
    _, seen = apply(drawn, item.preprocessing)
    wanted = seen[..., 0] == 255
    found = region_of_box(box, item, (32, 32))
    assert (found != wanted).mean() < 0.02, "nearest pixels may differ at the rim"
    np.testing.assert_array_equal(region_of_mask(drawn[..., 0] > 0, item, (32, 32), "m.png"), wanted)


def test_the_pixels_of_a_box_are_those_whose_centres_it_holds() -> None:
    item = PreparedInput("a.npy", {}, None, None, None)
    found = region_of_box((1.4, 0, 3.5, 2), item, (4, 5))
    wanted = [[0 <= row + 0.5 < 2 and 1.4 <= column + 0.5 < 3.5 for column in range(5)] for row in range(4)]
    np.testing.assert_array_equal(found, wanted)


def test_a_picture_at_its_own_size_that_was_rounded_down() -> None:
    """A side of 33 was stretched to 32: the right half stays the right half."""
    found = region_of_box((16.5, 0, 33, 33), prepared("stretch", (33, 33), None), (32, 32))
    np.testing.assert_array_equal(found, np.arange(32) >= 16 + np.zeros((32, 1)))


def test_a_mask_may_have_the_size_that_is_fed() -> None:
    mask = np.eye(32) > 0
    np.testing.assert_array_equal(region_of_mask(mask, prepared("crop", (60, 80), (32, 32)), (32, 32), "m.png"), mask)


def test_what_points_at_nothing_is_refused() -> None:
    item = prepared("stretch", (60, 80), (32, 32))
    with pytest.raises(InputError, match=r"mask m.png has 5×6 pixels .* a.png has 60×80"):
        region_of_mask(np.ones((5, 6), bool), item, (32, 32), "m.png")
    with pytest.raises(InputError, match=r"the mask m.png has no pixel in a.png"):
        region_of_mask(np.zeros((32, 32), bool), item, (32, 32), "m.png")
    with pytest.raises(InputError, match=r"the box 90,0,99,9 has no pixel in a.png"):
        region_of_box((90, 0, 99, 9), item, (32, 32))
