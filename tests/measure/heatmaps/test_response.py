from __future__ import annotations

import numpy as np

from onnxvis.measure.heatmaps.response import Response


def test_the_channels_add_up() -> None:
    rng = np.random.default_rng(0)
    activation = rng.standard_normal((5, 3, 4))
    found = Response().combine(activation, np.full((5, 3, 4), np.nan))
    for row in range(3):
        for column in range(4):
            assert np.isclose(found[row, column], sum(float(channel[row, column]) for channel in activation))


def test_the_picture_shows_through() -> None:
    rng = np.random.default_rng(0)
    picture, upsampled = rng.standard_normal((3, 6, 8)), rng.standard_normal((6, 8))
    found = Response().over(picture, upsampled)
    for row in range(6):
        for column in range(8):
            grey = sum(float(colour[row, column]) for colour in picture) / 3
            assert np.isclose(found[row, column], grey * upsampled[row, column])
