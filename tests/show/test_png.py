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
from onnxvis.show.png import encode_indexed, encode_jpeg, encode_rgb

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


@pytest.mark.parametrize(
    "indices", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.int32), np.zeros((0, 4), np.uint8)]
)
def test_other_arrays_are_refused(indices: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_indexed(indices, palette("gray"))


def test_a_short_palette_is_refused() -> None:
    with pytest.raises(ValueError, match="palette"):
        encode_indexed(np.zeros((2, 2), np.uint8), palette("gray")[:16])


def test_rgb_is_lossless_and_jpeg_is_near() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)
    with Image.open(io.BytesIO(encode_rgb(picture))) as decoded:
        assert np.array_equal(np.asarray(decoded), picture)
    with Image.open(io.BytesIO(encode_jpeg(picture))) as decoded:
        assert np.abs(np.asarray(decoded).astype(int) - picture).mean() < 3
    with pytest.raises(ValueError, match="uint8"):
        encode_rgb(picture[:, :, 0])
