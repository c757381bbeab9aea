from __future__ import annotations

import io
import math
from typing import Any

import cv2
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onnxvis.errors import UsageError
from onnxvis.show.colormap import COLORMAPS, palette
from onnxvis.show.kernels import (
    KernelPicture,
    Tiles,
    draw_filter,
    draw_kernels,
    filter_tiles,
    kernel_palette,
    kernel_tiles,
)
from tests.tiny import Array

RNG = np.random.default_rng(11)
MAGENTA = (255, 0, 255)


def weights(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def decode(png: bytes) -> Array:
    """RGBA pixels, on which Pillow and OpenCV agree."""
    by_pillow = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    by_opencv = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert by_opencv is not None
    opaque = by_pillow[..., 3] == 255
    np.testing.assert_array_equal(by_pillow[opaque][:, :3], by_opencv[..., 2::-1][opaque])
    if by_opencv.shape[2] == 4:
        np.testing.assert_array_equal(by_pillow[..., 3], by_opencv[..., 3])
    return by_pillow


def tile_of(picture: KernelPicture, number: int) -> Array:
    """The pixels of one tile by the places that the picture states."""
    top = number // picture.columns * (picture.tile_height + picture.gap)
    left = number % picture.columns * (picture.tile_width + picture.gap)
    return decode(picture.png)[top : top + picture.tile_height, left : left + picture.tile_width]


def same_colour(found: Array, wanted: Array) -> bool:
    """Whether whole numbers are the nearest ones."""
    return bool((np.abs(found[:3] - wanted) <= 0.5 + 1e-9).all())


def signed_colour(value: float, largest: float, colormap: str = "coolwarm") -> Array:
    """The colour at a share of 0 to 1 along the colormap, −m at its start and m at its end, in 126 steps a side."""
    share = round(126 * value / largest) / 252 + 0.5 if largest else 0.5
    table = palette(colormap).astype(float)
    return np.array([np.interp(255 * share, np.arange(256), table[:, c]) for c in range(3)])


def sequential_colour(value: float, largest: float, colormap: str = "viridis") -> Array:
    share = round(252 * value / largest) / 252 if largest else 0
    table = palette(colormap).astype(float)
    return np.array([np.interp(255 * share, np.arange(256), table[:, c]) for c in range(3)])


@pytest.mark.parametrize("colormap", COLORMAPS)
@pytest.mark.parametrize("slice_", [None, 0, 2])
def test_each_tile_is_the_slice_of_its_filter(colormap: str, slice_: int | None) -> None:
    kernel = weights(13, 4, 3, 5)
    picture = draw_kernels(kernel, slice_=slice_, colormap=colormap)
    largest = float(np.abs(kernel[:, slice_ or 0]).max())
    assert (picture.low, picture.high) == (-largest, largest)
    for number in range(13):
        tile = tile_of(picture, number)
        assert tile.shape == (3, 5, 4)
        for y, x in np.ndindex(3, 5):
            value = float(kernel[number, slice_ or 0, y, x])
            assert same_colour(tile[y, x], signed_colour(value, largest, colormap))
    assert (picture.filters, picture.shown) == (13, 13)
    assert picture.what == f"input channel {slice_ or 0} of each filter"


def test_zero_is_neutral_and_signs_mirror_each_other() -> None:
    kernel = np.array([0, 0.25, -0.25, 0.5, -0.5, 0.1], np.float32).reshape(6, 1, 1, 1)
    colours = kernel_palette("coolwarm")
    indices = kernel_tiles(kernel, slice_=0).pixels.ravel().astype(int)
    assert indices[0] == 128
    assert indices[1] - 128 == 128 - indices[2] == 63
    assert (indices[3], indices[4]) == (254, 2)
    assert np.ptp(colours[128].astype(int)) < 4


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_norms_over_the_input_channels(channels: int) -> None:
    kernel = weights(9, channels, 2, 3)
    picture = draw_kernels(kernel, slice_="norm")
    norms = np.array([[[math.hypot(*kernel[f, :, y, x]) for x in range(3)] for y in range(2)] for f in range(9)])
    assert picture.low == 0
    assert picture.high == pytest.approx(norms.max(), rel=1e-12)
    for number in range(9):
        for y, x in np.ndindex(2, 3):
            wanted = sequential_colour(norms[number, y, x], norms.max())
            assert same_colour(tile_of(picture, number)[y, x], wanted)
    assert picture.what == f"norm over {channels} input channel{'s' * (channels > 1)} of each filter"


def test_a_pointwise_kernel_is_one_pixel_a_filter() -> None:
    kernel = weights(300, 5, 1, 1)
    picture = draw_kernels(kernel)
    norms = np.sqrt((kernel.astype(float) ** 2).sum(axis=(1, 2, 3)))
    pixels = decode(picture.png)
    assert (picture.columns, picture.gap, picture.width, picture.height) == (18, 0, 18, 17)
    for number in range(300):
        pixel = pixels[number // 18, number % 18]
        assert same_colour(pixel, sequential_colour(norms[number], norms.max()))
        assert pixel[3] == 255
    assert (pixels.reshape(-1, 4)[300:, 3] == 0).all()


def test_a_pointwise_kernel_of_one_channel_keeps_its_signs() -> None:
    picture = draw_kernels(np.array([-1, 1], np.float32).reshape(2, 1, 1, 1))
    pixels = decode(picture.png)[0, :, :3]
    np.testing.assert_array_equal(pixels, palette("coolwarm")[[0, 255]])


@pytest.mark.parametrize("bgr", [False, True])
def test_filters_as_rgb_pictures(bgr: bool) -> None:
    kernel = weights(5, 3, 4, 4)
    kernel[3] = 0.125
    picture = draw_kernels(kernel, rgb=True, bgr=bgr)
    assert math.isnan(picture.low)
    assert math.isnan(picture.high)
    for number in range(5):
        values = kernel[number].astype(float)
        low, high = values.min(), values.max()
        for y, x in np.ndindex(4, 4):
            colour = [128 if low == high else round(255 * (values[c, y, x] - low) / (high - low)) for c in range(3)]
            np.testing.assert_array_equal(tile_of(picture, number)[y, x], [*(colour[::-1] if bgr else colour), 255])
    assert "RGB" in picture.what


def test_gaps_are_transparent_and_tiles_are_not() -> None:
    for kernel, rgb in ((weights(6, 2, 3, 3), False), (weights(6, 3, 3, 3), True)):
        picture = draw_kernels(kernel, rgb=rgb)
        inside = np.zeros((picture.height, picture.width), bool)
        for number in range(6):
            top, left = number // picture.columns * 4, number % picture.columns * 4
            inside[top : top + 3, left : left + 3] = True
        np.testing.assert_array_equal(decode(picture.png)[..., 3], np.where(inside, 255, 0))


def test_one_dimension_is_a_row_and_three_lie_side_by_side() -> None:
    line = weights(7, 2, 5)
    picture = draw_kernels(line)
    assert (picture.tile_height, picture.tile_width) == (1, 5)
    largest = float(np.abs(line[:, 0]).max())
    for x in range(5):
        assert same_colour(tile_of(picture, 4)[0, x], signed_colour(float(line[4, 0, x]), largest))
    volume = weights(4, 2, 3, 2, 5)
    picture = draw_kernels(volume)
    assert (picture.tile_height, picture.tile_width) == (2, 3 * 5 + 2)
    largest = float(np.abs(volume[:, 0]).max())
    tile = tile_of(picture, 3)
    for depth, y, x in np.ndindex(3, 2, 5):
        wanted = signed_colour(float(volume[3, 0, depth, y, x]), largest)
        assert same_colour(tile[y, depth * 6 + x], wanted)
    assert (tile[:, [5, 11], 3] == 0).all()
    assert picture.what.endswith("depth slices side by side")
    rgb = draw_kernels(weights(4, 3, 3, 2, 5), rgb=True)
    assert (decode(rgb.png)[:2, [5, 11], 3] == 0).all()


def test_a_matrix_is_drawn_as_norms() -> None:
    matrix = weights(10, 6)
    norms = np.linalg.norm(matrix.astype(float), axis=1)
    assert draw_kernels(matrix).high == pytest.approx(norms.max())
    np.testing.assert_array_equal(kernel_tiles(matrix).pixels.ravel(), 2 + np.rint(252 * norms / norms.max()))


def test_a_limit_draws_the_first_and_keeps_the_colours() -> None:
    kernel = weights(20, 1, 3, 3)
    kernel[17] *= 10
    picture, whole = draw_kernels(kernel, limit=6), draw_kernels(kernel)
    assert (picture.filters, picture.shown, picture.high) == (20, 6, whole.high)
    for number in range(6):
        np.testing.assert_array_equal(tile_of(picture, number), tile_of(whole, number))
    assert draw_kernels(kernel, limit=99).shown == 20


@pytest.mark.parametrize("kind", ["slice", "norm", "rgb"])
@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_magenta_and_counted(kind: str, odd: float) -> None:
    kernel = weights(4, 3, 3, 3)
    kernel[2, 0, 1, 1] = odd
    options: dict[str, dict[str, Any]] = {"slice": {"slice_": 0}, "norm": {"slice_": "norm"}, "rgb": {"rgb": True}}
    picture = draw_kernels(kernel, **options[kind])
    assert tuple(tile_of(picture, 2)[1, 1, :3]) == MAGENTA
    assert tuple(tile_of(picture, 2)[1, 0, :3]) != MAGENTA
    assert "1 value is NaN or infinite (magenta)" in picture.what
    rest = np.where(np.isfinite(kernel), kernel, 0).astype(float)
    if kind == "slice":
        assert picture.high == np.abs(rest[:, 0]).max()
    every = draw_kernels(np.full((2, 3, 2, 2), odd, np.float32), **options[kind])
    assert (tile_of(every, 1)[..., :3] == MAGENTA).all()
    assert "values are NaN or infinite" in every.what


@pytest.mark.parametrize("scale", [0.0, 1e-320, 1e-200, 1e300, 1.7e308])
def test_extreme_magnitudes(scale: float) -> None:
    signs = np.array([1, -1, 0.5, 0], np.float64).reshape(4, 1, 1, 1) * scale
    kernel = np.broadcast_to(signs, (4, 3, 1, 1)).copy()
    assert kernel_tiles(kernel, slice_=0).pixels.ravel().tolist() == ([254, 2, 191, 128] if scale else [128] * 4)
    norms = kernel_tiles(kernel).pixels.ravel().tolist()
    assert norms == {0.0: [2] * 4, 1.7e308: [1, 1, 254, 2]}.get(scale, [254, 254, 128, 2])
    colours = np.concatenate([kernel[:2], kernel[1::-1]], axis=2).transpose(0, 1, 3, 2)
    expected = [[255, 0], [0, 255]] if scale else [[128, 128]] * 2
    np.testing.assert_array_equal(kernel_tiles(colours, rgb=True).pixels[:, 0, :, 0], expected)


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_any_real_type(dtype: Any) -> None:
    kernel = RNG.integers(0, 8, (5, 2, 3, 3)).astype(dtype)
    wanted = kernel_tiles(kernel.astype(np.float32)).pixels
    np.testing.assert_array_equal(kernel_tiles(kernel).pixels, wanted)
    wanted = kernel_tiles(kernel.astype(np.float32), slice_="norm").pixels
    np.testing.assert_array_equal(kernel_tiles(kernel, slice_="norm").pixels, wanted)


def test_one_filter_whole() -> None:
    one = weights(6, 3, 3)
    picture = draw_filter(one)
    largest = float(np.abs(one).max())
    assert (picture.filters, picture.low, picture.high) == (6, -largest, largest)
    for channel, (y, x) in ((c, place) for c in range(6) for place in np.ndindex(3, 3)):
        wanted = signed_colour(float(one[channel, y, x]), largest)
        assert same_colour(tile_of(picture, channel)[y, x], wanted)
    assert picture.what == "all 6 input channels of one filter"
    assert draw_filter(one, limit=2).shown == 2
    assert draw_filter(weights(5, 1, 1)).gap == 0


def test_enlarged_on_white() -> None:
    kernel = weights(5, 3, 2, 3)
    for tiles in (kernel_tiles(kernel), kernel_tiles(kernel, rgb=True)):
        small, large = tiles.on_white(), tiles.on_white(factor=8)
        columns = (small.shape[1] + 1) // 4
        assert large.shape[1] == columns * 26 - 2
        for number in range(5):
            row, column = divmod(number, columns)
            tile = small[row * 3 : row * 3 + 2, column * 4 : column * 4 + 3]
            found = large[row * 18 : row * 18 + 16, column * 26 : column * 26 + 24]
            np.testing.assert_array_equal(found, np.kron(tile, np.ones((8, 8, 1), np.uint8)))
        assert (small[2] == 255).all()
        assert (large[16:18] == 255).all()


@pytest.mark.parametrize("shape", [(0, 3, 3, 3), (4, 0, 3, 3), (4, 3, 0, 3), (4,), (1, 1, 1, 1, 1, 1)])
def test_no_kernels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\["):
        draw_kernels(np.zeros(shape, np.float32))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="no input channel 4; give 0 to 3"):
        draw_kernels(weights(2, 4, 3, 3), slice_=4)
    with pytest.raises(UsageError, match="no input channel -1; give 0, or"):
        draw_kernels(weights(2, 1, 3, 3), slice_=-1)
    with pytest.raises(UsageError, match="no colormap"):
        draw_kernels(weights(2, 1, 3, 3), colormap="rainbow")
    with pytest.raises(ValueError, match="three input channels"):
        draw_kernels(weights(2, 4, 3, 3), rgb=True)
    with pytest.raises(ValueError, match="0 filters"):
        draw_kernels(weights(2, 4, 3, 3), limit=0)
    with pytest.raises(ValueError, match="0 filters"):
        draw_filter(weights(4, 3, 3), limit=0)
    with pytest.raises(ValueError, match="no weights"):
        filter_tiles(np.zeros((0, 3, 3)))


def test_the_palette_is_the_colormap_with_a_gap_and_an_odd_one() -> None:
    for name in COLORMAPS:
        colours = kernel_palette(name)
        np.testing.assert_array_equal(colours[[2, 254]], palette(name)[[0, 255]])
        assert tuple(colours[1]) == MAGENTA
        assert not colours.flags.writeable


@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
    st.sampled_from([None, 0, "norm"]),
    st.integers(0, 2**32 - 1),
)
def test_any_shape_can_be_read_back(filters: int, channels: int, spatial: list[int], slice_: Any, seed: int) -> None:
    kernel = weights(filters, channels, *spatial, seed=seed)
    tiles: Tiles = kernel_tiles(kernel, slice_=slice_)
    pointwise = math.prod(spatial) == 1 and channels > 1
    if slice_ == "norm" or (slice_ is None and pointwise):
        values = np.sqrt((kernel.astype(float) ** 2).sum(axis=1))
        expected = 2 + np.rint(252 * values / values.max())
    else:
        values = kernel[:, 0].astype(float)
        expected = 128 + np.rint(126 * values / np.abs(values).max())
    picture = tiles.picture()
    pixels = np.asarray(Image.open(io.BytesIO(picture.png)))
    assert pixels.shape == (picture.height, picture.width)
    for number in range(filters):
        top = number // picture.columns * (picture.tile_height + picture.gap)
        left = number % picture.columns * (picture.tile_width + picture.gap)
        tile = pixels[top : top + picture.tile_height, left : left + picture.tile_width]
        found = tile[tile != 0]
        wanted = expected[number] if len(spatial) < 3 else expected[number].transpose(1, 0, 2)
        assert np.abs(found - wanted.ravel()).max() == 0
    drawn = np.count_nonzero(pixels)
    assert drawn == filters * math.prod(spatial)
