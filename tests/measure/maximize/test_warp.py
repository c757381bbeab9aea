from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from onnxvis.measure.maximize.warp import Warp, Wobble

Array = np.ndarray[Any, np.dtype[Any]]

CASES = [
    ((0, 0), 1.0, 0.0),
    ((3, -2), 1.0, 0.0),
    ((0.3, 1.7), 1.08, 7.0),
    ((-5.5, 9.2), 0.9, -10.0),
    ((0, 0), 1.3, 90.0),
]


def draw(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize(("shift", "factor", "degrees"), CASES)
def test_the_adjoint_is_the_transposed_map(shift: tuple[float, float], factor: float, degrees: float) -> None:
    """<A x, y> = <x, Aᵀ y>, A being what is linear in the warp: outside is grey."""
    warp = Warp((11, 14), shift, factor, degrees)
    x, y = draw((3, 11, 14)), draw((3, 11, 14), 1)
    linear = warp.apply(x) - warp.apply(np.zeros_like(x))
    assert (linear * y).sum() == pytest.approx((x * warp.adjoint(y)).sum(), rel=1e-12)


@pytest.mark.parametrize(("shift", "factor", "degrees"), CASES)
def test_each_pixel_is_interpolated_where_it_comes_from(
    shift: tuple[float, float], factor: float, degrees: float
) -> None:
    height, width = 9, 12
    picture = draw((1, height, width))
    moved = Warp((height, width), shift, factor, degrees).apply(picture)[0]
    turn = math.radians(degrees)
    for row in range(height):
        for column in range(width):
            down, right = row - (height - 1) / 2 - shift[0], column - (width - 1) / 2 - shift[1]
            y = (height - 1) / 2 + (math.cos(turn) * down + math.sin(turn) * right) / factor
            x = (width - 1) / 2 + (math.cos(turn) * right - math.sin(turn) * down) / factor
            expected = 0.0
            for near in (math.floor(y), math.floor(y) + 1):
                for beside in (math.floor(x), math.floor(x) + 1):
                    inside = 0 <= near < height and 0 <= beside < width
                    value = picture[0, near, beside] if inside else 0.5
                    expected += (1 - abs(y - near)) * (1 - abs(x - beside)) * value
            assert moved[row, column] == pytest.approx(expected, abs=1e-12)


def test_shifts_go_down_and_right_and_outside_is_grey() -> None:
    picture = draw((2, 6, 7))
    moved = Warp((6, 7), (2, 1), 1.0, 0.0).apply(picture)
    np.testing.assert_allclose(moved[:, 2:, 1:], picture[:, :-2, :-1])
    assert (moved[:, :2] == 0.5).all()
    assert (moved[:, :, 0] == 0.5).all()


def test_turning_is_anticlockwise() -> None:
    picture = draw((1, 8, 8))
    np.testing.assert_allclose(Warp((8, 8), (0, 0), 1.0, 90.0).apply(picture)[0], np.rot90(picture[0]), atol=1e-12)


def test_a_larger_factor_enlarges() -> None:
    dot = np.full((1, 9, 9), 0.5)
    dot[0, 3:6, 3:6] = 1
    enlarged = Warp((9, 9), (0, 0), 1.5, 0.0).apply(dot)
    assert enlarged.sum() > dot.sum() + 2
    assert enlarged[0, 2, 4] > 0.5


def test_a_wobble_stays_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[float, float], float, float]] = []

    def note(_: object, size: tuple[int, int], shift: tuple[float, float], factor: float, degrees: float) -> None:
        assert size == (4, 5)
        seen.append((shift, factor, degrees))

    monkeypatch.setattr(Warp, "__init__", note)
    random = np.random.default_rng(0)
    for _ in range(500):
        Wobble(8.0, 0.1, 10.0).draw(random, (4, 5))
    columns = np.array([[*shift, factor, degrees] for shift, factor, degrees in seen]).T
    for values, low, high in zip(columns, (-8, -8, 0.9, -10), (8, 8, 1.1, 10), strict=True):
        assert low <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high


def test_no_wobble_moves_nothing_and_draws_nothing() -> None:
    random = np.random.default_rng(0)
    assert Wobble(0, 0, 0).draw(random, (4, 4)) is None
    assert random.random() == np.random.default_rng(0).random()
