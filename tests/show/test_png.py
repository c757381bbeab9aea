from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.show.colormap import palette
from onnxvis.show.png import encode_drawing, encode_each, encode_indexed, encode_jpeg, encode_rgb, encode_rgba

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (97, 131), (256, 256)])
@pytest.mark.parametrize("contents", ["noise", "flat", "runs"])
def test_opencv_and_pillow_read_what_was_written(shape: tuple[int, int], contents: str) -> None:
    noise = RNG.integers(0, 256, shape, dtype=np.uint8)
    pictures = {"noise": noise, "flat": np.full(shape, 200, np.uint8), "runs": np.repeat(noise[:, :1], shape[1], 1)}
    indices, colours = pictures[contents], palette("turbo")
    data = encode_indexed(indices, colours)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert by_opencv is not None
    assert np.array_equal(by_opencv[:, :, ::-1], colours[indices])
    with Image.open(io.BytesIO(data)) as picture:
        picture.verify()
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "P"
        assert np.array_equal(np.asarray(picture), indices)
        assert np.array_equal(np.asarray(picture.convert("RGB")), colours[indices])


def test_a_view_with_strides_is_written_as_it_looks() -> None:
    indices = RNG.integers(0, 256, (40, 60), dtype=np.uint8)[::2, ::-3]
    with Image.open(io.BytesIO(encode_indexed(indices, palette("gray")))) as picture:
        assert np.array_equal(np.asarray(picture), indices)


def test_the_palette_can_be_swapped_in_place() -> None:
    indices = RNG.integers(0, 256, (9, 9), dtype=np.uint8)
    data = bytearray(encode_indexed(indices, palette("gray")))
    data[41:809] = palette("magma").tobytes()
    data[809:813] = struct.pack(">I", zlib.crc32(bytes(data[37:809])))
    assert bytes(data) == encode_indexed(indices, palette("magma"))


@pytest.mark.parametrize("size", [(1, 1), (13, 13), (52, 52), (60, 60), (3, 5000), (300, 301)])
def test_each_of_many_is_what_it_would_be_alone(size: tuple[int, int]) -> None:
    pictures = RNG.integers(0, 40, (70, *size), dtype=np.uint8)[::2, ::-1]
    made = list(encode_each(pictures, palette("jet")))
    assert len(made) == 35
    for data, indices in zip(made, pictures, strict=True):
        by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert by_opencv is not None
        assert np.array_equal(by_opencv[:, :, ::-1], palette("jet")[indices])
        with Image.open(io.BytesIO(data)) as picture:
            picture.verify()
        with Image.open(io.BytesIO(data)) as picture:
            assert np.array_equal(np.asarray(picture), indices)
        # No file takes more blocks of a disk than a compressed one.
        assert -(-len(data) // 4096) <= -(-len(encode_indexed(indices, palette("jet"))) // 4096)


@pytest.mark.parametrize(
    "indices", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int32), np.zeros((0, 4), np.uint8)]
)
def test_other_arrays_are_refused(indices: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_indexed(indices, palette("gray"))


def test_a_short_palette_is_refused() -> None:
    with pytest.raises(ValueError, match="palette"):
        encode_indexed(np.zeros((2, 2), np.uint8), palette("gray")[:16])
    with pytest.raises(ValueError, match="palette"):
        next(encode_each(np.zeros((1, 2, 2), np.uint8), palette("gray")[:16]))


@pytest.mark.parametrize(
    "pictures", [np.zeros((2, 2), np.uint8), np.zeros((1, 2, 2), np.int8), np.zeros((1, 0, 2), "u1")]
)
def test_many_of_another_kind_are_refused(pictures: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        next(encode_each(pictures, palette("gray")))


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (40, 300, 3)])
def test_drawings_are_lossless(shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    with Image.open(io.BytesIO(encode_drawing(picture))) as found:
        assert np.array_equal(np.asarray(found), picture)
    with pytest.raises(ValueError, match="uint8"):
        encode_drawing(picture[..., 0])


def test_drawings_of_squares_are_small() -> None:
    small = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    assert len(encode_drawing(small.repeat(16, 0).repeat(16, 1))) < 40_000


def test_rgb_is_lossless_and_jpeg_is_near() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)
    with Image.open(io.BytesIO(encode_rgb(picture))) as decoded:
        assert np.array_equal(np.asarray(decoded), picture)
    with Image.open(io.BytesIO(encode_jpeg(picture))) as decoded:
        assert np.abs(np.asarray(decoded).astype(int) - picture).mean() < 3
    with pytest.raises(ValueError, match="uint8"):
        encode_rgb(picture[:, :, 0])


def test_pictures_with_clear_parts_are_lossless() -> None:
    picture = RNG.integers(0, 256, (23, 31, 4), dtype=np.uint8)
    data = encode_rgba(picture)
    with Image.open(io.BytesIO(data)) as by_pillow:
        assert np.array_equal(np.asarray(by_pillow), picture)
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert by_opencv is not None
    assert np.array_equal(by_opencv[:, :, [2, 1, 0, 3]], picture)
    with pytest.raises(ValueError, match=r"\(H, W, 4\)"):
        encode_rgba(picture[:, :, :3])
