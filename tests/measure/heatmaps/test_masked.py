"""Methods that mask the picture, against slow loops over ONNX Runtime."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.heatmaps.masked import RISE, Occlusion, ScoreCAM
from onnxvis.measure.heatmaps.method import HeatmapMethod
from onnxvis.run.session import RunOptions
from tests.rewrite.differences import run
from tests.rewrite.outputs import with_outputs
from tests.tiny import Array, from_text, tiny

LAYER = "stage2.y/relu"


def picture() -> Array:
    return np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


def explained(item: str | HeatmapMethod, **asked: Any) -> Heatmap:
    model, feeds = Model(Path("case.onnx"), tiny(), Path.cwd()), {"image": picture()}
    return explain(model, feeds, [item], target="3", options=RunOptions("cpu", 1), **asked)[0]


def score(x: Array) -> float:
    return float(run(tiny(), {"image": x.astype(np.float32)})["logits"][0, 3])


def slow_occlusion(x: Array, window: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Pixel by pixel: the mean of y(x) - y(x') over the windows x' that cover it."""
    height, width = x.shape[2:]
    total, covered = np.zeros((height, width)), np.zeros((height, width))
    for top in range(0, height - window[0] + stride[0], stride[0]):
        for left in range(0, width - window[1] + stride[1], stride[1]):
            changed = x.copy()
            changed[:, :, top : top + window[0], left : left + window[1]] = 0
            lost = score(x) - score(changed)
            for row in range(top, min(top + window[0], height)):
                for column in range(left, min(left + window[1], width)):
                    total[row, column] += lost
                    covered[row, column] += 1
    return total / covered


@pytest.mark.parametrize(("window", "stride"), [((8, 8), (8, 8)), ((10, 7), (6, 5))])
def test_occlusion_is_what_a_slow_loop_gives(window: tuple[int, int], stride: tuple[int, int]) -> None:
    expected = slow_occlusion(picture(), window, stride)
    found = explained(Occlusion(window, stride))
    np.testing.assert_allclose(found.raw, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    lost = np.maximum(expected, 0)
    np.testing.assert_allclose(found.map, lost / lost.max(), atol=1e-4)


def test_occlusion_takes_an_eighth_of_the_picture_half_overlapping() -> None:
    found, named = explained("occlusion"), explained(Occlusion((4, 4), (2, 2)))
    np.testing.assert_array_equal(found.raw, named.raw)
    assert "windows of 4 × 4, 2 and 2 apart, of zeros as they are fed" in found.notes
    assert any(note.startswith("226 runs of the model, 64 at a time") for note in found.notes)


def test_a_target_that_gains_from_every_window_has_no_map() -> None:
    """y = -mean(x²), which grows wherever something is covered."""
    proto = from_text(
        "g (float[1, 3, 8, 8] image) => (float[1, 3] y) "
        "{ q = Mul (image, image)  p = GlobalAveragePool (q)  n = Neg (p)  y = Flatten (n) }"
    )
    model, x = Model(Path("case.onnx"), proto, Path.cwd()), np.ones((1, 3, 8, 8), np.float32)
    found = explain(model, {"image": x}, [Occlusion((4, 4), (4, 4))], target="y:1", options=RunOptions("cpu", 1))[0]
    np.testing.assert_allclose(found.raw, -0.25, rtol=1e-6)
    assert not found.map.any()
    assert "no window lowered the target" in found.notes
    assert not any("gradient" in note for note in found.notes)


@pytest.mark.parametrize(("window", "stride"), [((33, 8), (8, 8)), ((8, 8), (9, 8)), ((8, 8), (8, 0))])
def test_windows_that_do_not_cover_the_picture_are_refused(window: tuple[int, int], stride: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="do not cover a picture of 32 × 32: give strides from 1"):
        explained(Occlusion(window, stride))


def slow_bilinear(grid: Array, rows: int, columns: int) -> Array:
    """Each value from the four nearest ones, pixel centres at halves, edges repeated."""
    found = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            y = min(max((row + 0.5) * grid.shape[0] / rows - 0.5, 0), grid.shape[0] - 1)
            x = min(max((column + 0.5) * grid.shape[1] / columns - 0.5, 0), grid.shape[1] - 1)
            top, left = min(int(y), grid.shape[0] - 2), min(int(x), grid.shape[1] - 2)
            down, right = y - top, x - left
            found[row, column] = (
                grid[top, left] * (1 - down) * (1 - right) + grid[top, left + 1] * (1 - down) * right
                + grid[top + 1, left] * down * (1 - right) + grid[top + 1, left + 1] * down * right
            )  # fmt: skip
    return found


def slow_masks(count: int, cells: int, kept: float, size: tuple[int, int], seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    cell = [math.ceil(side / cells) for side in size]
    masks = []
    for _ in range(count):
        grid = (rng.random((cells, cells)) < kept).astype(float)
        top, left = int(rng.integers(0, cell[0])), int(rng.integers(0, cell[1]))
        large = slow_bilinear(grid, (cells + 1) * cell[0], (cells + 1) * cell[1])
        masks.append(large[top : top + size[0], left : left + size[1]])
    return masks


def test_masks_are_grids_made_large_and_shifted() -> None:
    found = list(RISE(3, 4, 0.3).draw((17, 22), 5))
    for one, other in zip(found, slow_masks(3, 4, 0.3, (17, 22), 5), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    shares = [float(mask.mean()) for mask in RISE(400, 7, 0.5).draw((32, 32), 0)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)


def test_rise_is_what_a_slow_loop_gives() -> None:
    total = np.zeros((32, 32))
    for mask in slow_masks(40, 5, 0.4, (32, 32), 7):
        total += score(picture() * mask) * mask
    expected = total / (40 * 0.4)
    found = explained(RISE(40, 5, 0.4), random_seed=7)
    np.testing.assert_allclose(found.raw, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(found.map, (expected - expected.min()) / np.ptp(expected), atol=1e-4)
    assert "masks of 5 × 5 cells that keep 0.4, random seed 7" in found.notes


def test_the_random_seed_is_that_of_rise() -> None:
    first, again, other = (explained(RISE(20), random_seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.raw, again.raw)
    assert np.abs(first.raw - other.raw).max() > 1e-3


@pytest.mark.parametrize("settings", [{"masks": 0}, {"cells": 0}, {"kept": 0}, {"kept": 1.1}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a share above 0"):
        RISE(**settings)


def test_score_cam_is_what_a_slow_loop_gives() -> None:
    """A channel that is the same everywhere masks everything."""
    layer = np.asarray(run(with_outputs(tiny(), LAYER), {"image": picture()})[LAYER][0], np.float64)
    scores = []
    for channel in layer:
        large = cv2.resize(channel, (32, 32), interpolation=cv2.INTER_LINEAR)
        spread = large.max() - large.min()
        scores.append(score(picture() * ((large - large.min()) / spread if spread else 0 * large)))
    powers = [math.exp(value - max(scores)) for value in scores]
    expected = sum(power / sum(powers) * channel for power, channel in zip(powers, layer, strict=True))
    found = explained("scorecam")
    np.testing.assert_allclose(found.raw, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_flat_channels_share_a_run() -> None:
    """Channel 5 of this layer is zero throughout."""
    found = explained("scorecam", layers=["stage1.first/relu"])
    assert any(note.startswith("8 runs of the model") for note in found.notes)
    layer = np.asarray(run(with_outputs(tiny(), "stage1.first/relu"), {"image": picture()})["stage1.first/relu"][0])
    assert not layer[5].any()
    weights = ScoreCAM().combine(np.eye(8)[:, :, None], np.arange(8.0)[:, None, None])
    np.testing.assert_array_equal(weights[:, 0], np.arange(8.0))
