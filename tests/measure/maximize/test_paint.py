from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxvis.measure.maximize.paint import COLOUR_ROOT, KINDS, Canvas, Kind, Parameters, Pixels, Spectrum

Array = np.ndarray[Any, np.dtype[Any]]

SHAPES = [(3, 6, 8), (3, 5, 7), (1, 4, 9), (2, 7, 6)]


def draw(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("kind", [Pixels, Spectrum])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_adjoint_is_the_transposed_map(kind: type[Parameters], shape: tuple[int, int, int]) -> None:
    """<A x, y> = <x, Aᵀ y> for every x and y."""
    made = kind(shape)
    x, y = draw(made.size), draw(shape, 1)
    assert (made.image(x) * y).sum() == pytest.approx((x * made.adjoint(y)).sum(), rel=1e-12)


def test_a_spectrum_is_summed_wave_by_wave() -> None:
    """By the definition of the inverse transform: a sum over all frequencies, those left out mirrored."""
    height, width = 5, 6
    made = Spectrum((1, height, width))
    parameters = draw(made.size, 2)
    rows, columns = np.mgrid[0:height, 0:width]
    expected = np.zeros((height, width))
    for v in range(height):
        for u in range(width // 2 + 1):
            down, across = (v if v <= height // 2 else v - height) / height, u / width
            weight = 1 / max((down**2 + across**2) ** 0.5, 1 / 6) / 4
            coefficient = (parameters[0, 0, v, u] + 1j * parameters[1, 0, v, u]) * weight
            wave = coefficient * np.exp(2j * np.pi * (v * rows / height + u * columns / width))
            expected += (1 if u in (0, 3) else 2) * wave.real / (height * width) ** 0.5
    np.testing.assert_allclose(made.image(parameters)[0], expected, atol=1e-12)


def test_low_frequencies_weigh_more() -> None:
    made = Spectrum((1, 32, 32))
    low, high = np.zeros(made.size), np.zeros(made.size)
    low[0, 0, 0, 2] = high[0, 0, 0, 8] = 1
    assert np.ptp(made.image(low)) == pytest.approx(4 * np.ptp(made.image(high)))


def test_a_blurred_spectrum_is_the_picture_under_a_gaussian() -> None:
    """Against the sum over all neighbours, the picture continued round its edges."""
    made = Spectrum((1, 16, 16))
    parameters = draw(made.size, 4)
    image = made.image(parameters)[0]
    weights = np.exp(-(np.arange(-12, 13) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    for axis in (0, 1):
        image = sum(w * np.roll(image, shift, axis) for w, shift in zip(weights, range(-12, 13), strict=True))
    np.testing.assert_allclose(made.image(made.blurred(parameters, 1.5))[0], image, atol=1e-4)


def test_blurred_pixels_lose_what_is_fine_and_keep_the_mean() -> None:
    board = np.indices((8, 8)).sum(axis=0)[None] % 2 * 2.0 - 1
    blurred = Pixels((1, 8, 8)).blurred(board + 3, 1.0)
    assert np.abs(blurred - 3).max() < 0.1
    flat = np.full((1, 8, 8), 0.7)
    np.testing.assert_allclose(Pixels((1, 8, 8)).blurred(flat, 1.0), flat)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decorrelated", [True, False])
def test_the_canvas_s_gradient_is_that_of_finite_differences(kind: Kind, decorrelated: bool) -> None:
    canvas = Canvas((3, 6, 5), kind, decorrelated=decorrelated)
    parameters = canvas.start(np.random.default_rng(1), 1.0)
    weights, direction = draw((3, 6, 5), 2), draw(parameters.shape, 3)
    gradient = canvas.pulled(weights, canvas.picture(parameters))
    step = 1e-5
    up, down = ((weights * canvas.picture(parameters + sign * step * direction)).sum() for sign in (1, -1))
    assert (gradient * direction).sum() == pytest.approx((up - down) / (2 * step), rel=1e-7)


def test_colours_are_mixed_by_the_root_of_their_covariance() -> None:
    """The published root's largest column has norm 1 after scaling; a pixel's colours are its product."""
    canvas = Canvas((3, 1, 1), "pixels")
    colours = np.array([0.4, -1.0, 0.3])
    root = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]])
    expected = 1 / (1 + np.exp(-(root @ colours) / np.sqrt(0.26**2 + 0.27**2 + 0.27**2)))
    np.testing.assert_allclose(canvas.picture(colours[:, None, None])[:, 0, 0], expected)
    np.testing.assert_array_equal(COLOUR_ROOT, root)


def test_one_colour_is_left_alone() -> None:
    parameters = np.array([[[-2.0, 0.0, 800.0]]])
    np.testing.assert_allclose(Canvas((1, 1, 3), "pixels").picture(parameters), [[[1 / (1 + np.e**2), 0.5, 1]]])


def test_a_start_has_the_noise_asked_for() -> None:
    drawn = Canvas((3, 64, 64), "fft").start(np.random.default_rng(0), 0.01)
    assert drawn.std() == pytest.approx(0.01, rel=0.05)
    assert abs(drawn.mean()) < 0.001
