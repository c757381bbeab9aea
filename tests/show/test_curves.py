"""The curves of a training, against places worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxvis.show.curves import curves_picture


def test_the_picture_of_the_curves_shows_each_row_where_it_belongs() -> None:
    """The dots of both lines, and nothing of their colours above, against places worked out by hand."""
    steps, losses, accuracies = (50, 100), ([2.0, 1.0], [1.0, 0.5]), ([0.25, 0.75], [0.5, 1.0])
    picture = curves_picture(steps, losses, accuracies).astype(int)
    assert picture.shape == (360, 1000, 3)
    train, held_out = np.array((74, 114, 176)), np.array((240, 90, 40))

    def colour(left: int, step: int, share: float) -> Any:
        """At `step` of 100 on an axis of 396 pixels, `share` of 232 pixels above the floor."""
        return picture[round(76 + 232 * (1 - share)), left + 72 + round(396 * step / 100) - 1]

    top = 2.0 * 1.05
    for left, lines in ((0, ([2 / top, 1 / top], [1 / top, 0.5 / top])), (500, ([0.25, 0.75], [0.5, 1.0]))):
        for line, expected in zip(lines, (train, held_out), strict=True):
            for step, share in zip((50, 100), line, strict=True):
                assert np.abs(colour(left, step, share) - expected).max() < 40, (left, step, share)
    assert np.array_equal(curves_picture(steps, losses, accuracies), picture)
    assert curves_picture([50], ([2.0], [1.0]), ([0.25], [0.5])).shape == picture.shape
