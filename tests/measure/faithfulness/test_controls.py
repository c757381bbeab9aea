from __future__ import annotations

import numpy as np

from onnxvis.measure.faithfulness.controls import CONTROLS, control_map, edge_map


def test_edges_are_a_slow_sobel() -> None:
    picture = np.random.default_rng(0).random((6, 7, 3)).astype(np.float32)
    gray = np.pad(picture.astype(np.float64).mean(axis=2), 1, mode="reflect")
    across, down = np.zeros((6, 7)), np.zeros((6, 7))
    for row in range(6):
        for column in range(7):
            for i, weight in enumerate((1, 2, 1)):
                across[row, column] += weight * (gray[row + i, column + 2] - gray[row + i, column])
                down[row, column] += weight * (gray[row + 2, column + i] - gray[row, column + i])
    steep = np.sqrt(across**2 + down**2)
    wanted = (steep - steep.min()) / (steep.max() - steep.min())
    np.testing.assert_allclose(edge_map(picture), wanted, atol=1e-5)
    np.testing.assert_array_equal(control_map("edges", picture, 0), edge_map(picture))


def test_a_flat_picture_has_no_edges() -> None:
    assert not edge_map(np.full((5, 5, 3), 7, np.uint8)).any()


def test_random_maps_follow_their_seed_alone() -> None:
    picture = np.zeros((50, 40, 3), np.float32)
    one = control_map("random", picture, 1)
    np.testing.assert_array_equal(one, control_map("random", picture + 1, 1))
    assert abs(np.corrcoef(one.ravel(), control_map("random", picture, 2).ravel())[0, 1]) < 0.1
    assert {*CONTROLS} == {"random", "edges"}
