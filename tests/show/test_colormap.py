from __future__ import annotations

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.show.colormap import COLORMAPS, is_signed, palette
from tests.show.make_palettes import tables

# Read off matplotlib 3.11: (matplotlib.colormaps[name](index)[:3] * 255) rounded, at indices 3, 77 and 200.
MATPLOTLIB = {
    "gray": [(3, 3, 3), (77, 77, 77), (200, 200, 200)],
    "viridis": [(69, 5, 89), (52, 96, 141), (112, 207, 87)],
    "magma": [(1, 1, 8), (101, 26, 128), (253, 152, 105)],
    "turbo": [(52, 27, 81), (24, 215, 202), (244, 102, 23)],
    "jet": [(0, 0, 141), (0, 180, 255), (255, 119, 0)],
    "coolwarm": [(62, 81, 197), (159, 191, 255), (240, 139, 110)],
}


@pytest.mark.parametrize("name", COLORMAPS)
def test_palettes_are_matplotlibs(name: str) -> None:
    colours = palette(name)
    assert colours.shape == (256, 3)
    assert colours.dtype == np.uint8
    assert np.abs(colours[[3, 77, 200]].astype(int) - MATPLOTLIB[name]).max() <= 1


def test_the_file_is_what_its_script_writes() -> None:
    assert b"".join(palette(name).tobytes() for name in COLORMAPS) == tables()


def test_palettes_cannot_be_changed_by_a_caller() -> None:
    with pytest.raises(ValueError, match="read-only"):
        palette("gray")[0] = 1


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="'rainbow'; choose one of: gray, viridis, magma, turbo, jet, coolwarm"):
        palette("rainbow")


def test_signed_maps_are_those_with_a_neutral_middle() -> None:
    for name in COLORMAPS:
        colours = palette(name).astype(int)
        grey = int(np.ptp((colours[127] + colours[128]) / 2)) < 5
        assert is_signed(name) == (grey and name != "gray")
