from __future__ import annotations

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onnxvis.errors import InputError
from onnxvis.run.pictures import read_picture, with_channels

RNG = np.random.default_rng(7)
PHOTO = np.ascontiguousarray(RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8))


def save(path: Path, pixels: np.ndarray | Image.Image, **options: Any) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", PHOTO, **({"lossless": True} if suffix == "webp" else {}))
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.size == (5, 7)
    assert picture.notes == ()


def test_jpeg_is_what_opencv_decodes(tmp_path: Path) -> None:
    smooth = cv2.resize(PHOTO, (64, 48), interpolation=cv2.INTER_CUBIC)
    path = save(tmp_path / "a.jpg", smooth, quality=95, subsampling=0)
    decoded = np.asarray(cv2.imread(str(path)))[..., ::-1]
    assert np.abs(read_picture(path).pixels.astype(int) - decoded).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", PHOTO, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    # EXIF 2.32, tag 0x0112: where the stored row 0 and column 0 are meant to be seen.
    seen = {
        1: PHOTO, 2: PHOTO[:, ::-1], 3: PHOTO[::-1, ::-1], 4: PHOTO[::-1],
        5: PHOTO.swapaxes(0, 1), 6: np.rot90(PHOTO, -1), 7: PHOTO[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(PHOTO),
    }  # fmt: skip
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, seen[orientation])
    assert picture.size == seen[orientation].shape[:2]


def test_a_damaged_exif_block_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", PHOTO, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_picture(path).pixels, PHOTO)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_files(tmp_path: Path, channels: int) -> None:
    grey = PHOTO[..., 0]
    pixels = read_picture(save(tmp_path / "a.png", grey), channels).pixels
    assert pixels.shape == (5, 7, channels)
    for channel in range(min(channels, 3)):
        np.testing.assert_array_equal(pixels[..., channel], grey)


def test_one_bit_and_palette_files(tmp_path: Path) -> None:
    bits = PHOTO[..., 0] > 127
    np.testing.assert_array_equal(read_picture(save(tmp_path / "b.png", bits), 1).pixels[..., 0], bits * 255)
    palette = Image.fromarray((PHOTO[..., 0] % 4).astype(np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]])
    np.testing.assert_array_equal(read_picture(save(tmp_path / "p.png", palette)).pixels, table[PHOTO[..., 0] % 4])
    see_through = read_picture(save(tmp_path / "t.png", palette, transparency=2)).pixels
    table[2] = 255
    np.testing.assert_array_equal(see_through, table[PHOTO[..., 0] % 4])


def test_grey_is_rec_601_luma(tmp_path: Path) -> None:
    pixels = read_picture(save(tmp_path / "a.png", PHOTO), 1).pixels
    for y in range(5):
        for x in range(7):
            red, green, blue = (float(value) for value in PHOTO[y, x])
            assert abs(pixels[y, x, 0] - (0.299 * red + 0.587 * green + 0.114 * blue)) <= 0.51


def test_alpha_lies_on_white_or_is_kept(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (5, 7, 1), dtype=np.uint8)
    rgba = np.concatenate([PHOTO, alpha], axis=2)
    path = save(tmp_path / "a.png", rgba)
    np.testing.assert_array_equal(read_picture(path, 4).pixels, rgba)
    picture = read_picture(path)
    for index in np.ndindex(5, 7, 3):
        opacity = alpha[index[0], index[1], 0] / 255
        assert abs(picture.pixels[index] - (PHOTO[index] * opacity + 255 * (1 - opacity))) <= 0.5001
    assert picture.notes == ("transparent parts lie on white",)
    opaque = np.concatenate([PHOTO, np.full_like(alpha, 255)], axis=2)
    assert read_picture(save(tmp_path / "o.png", opaque)).notes == ()
    assert with_channels(PHOTO, 4)[..., 3].tolist() == [[255] * 7] * 5


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk(tmp_path: Path, suffix: str) -> None:
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    pixels = read_picture(save(tmp_path / f"a.{suffix}", cmyk)).pixels
    np.testing.assert_allclose(pixels, np.broadcast_to([0, 255, 255], pixels.shape), atol=3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("kind", ["grey", "rgb", "rgba"])
def test_sixteen_bit_is_divided_by_257(tmp_path: Path, suffix: str, kind: str) -> None:
    shape = {"grey": (40, 50), "rgb": (40, 50, 3), "rgba": (40, 50, 4)}[kind]
    deep = RNG.integers(0, 65536, shape, dtype=np.uint16)
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), deep)
    picture = read_picture(path, {"grey": 1, "rgb": 3, "rgba": 4}[kind])
    wanted = np.round(deep.reshape(40, 50, -1) / 257)
    wanted = wanted[..., [2, 1, 0, 3][: wanted.shape[2]]] if kind != "grey" else wanted
    np.testing.assert_array_equal(picture.pixels, wanted)
    assert picture.notes == ("16-bit samples were scaled to 8 bit",)


def test_sixteen_bit_colour_keeps_its_orientation(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (4, 6, 3), dtype=np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    chunk = b"eXIf" + exif
    chunk = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path = tmp_path / "a.png"
    path.write_bytes(data[:33] + chunk + data[33:])
    wanted = np.rot90(np.round(deep[..., ::-1] / 257), -1)
    np.testing.assert_array_equal(read_picture(path).pixels, wanted)


def test_white_is_zero_in_sixteen_bit_tiff(tmp_path: Path) -> None:
    deep = RNG.integers(0, 65536, (4, 6), dtype=np.uint16)
    path = save(tmp_path / "a.tif", Image.fromarray(deep), tiffinfo={262: 0})
    with Image.open(path) as image:
        if image.tag_v2[262] != 0:  # type: ignore[attr-defined]
            pytest.skip("this Pillow does not write white-is-zero")
    np.testing.assert_array_equal(read_picture(path, 1).pixels[..., 0], np.round((65535 - deep.astype(int)) / 257))


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(np.ones((3, 4), np.float32)))
    with pytest.raises(InputError, match=r"a\.tif has F pixels .* feed it as an \.npy"):
        read_picture(path)


def test_of_several_pages_the_first_is_read(tmp_path: Path) -> None:
    other = Image.fromarray(PHOTO[::-1].copy())
    path = save(tmp_path / "a.tif", PHOTO, save_all=True, append_images=[other])
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.pixels, PHOTO)
    assert picture.notes == ("the first of several frames or pages",)


def test_the_limit_is_checked_before_decoding(tmp_path: Path) -> None:
    # A header that claims 60000 x 50000 pixels and nothing behind it.
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 50000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    end = b"\0\0\0\x04IDATabcd\0\0\0\0"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + end
    )
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=r"60000x50000, 3,000,000,000 pixels; the limit is 100,000,000.*--max-pixels"):
        read_picture(path)
    assert before == Image.MAX_IMAGE_PIXELS
    small = save(tmp_path / "a.png", PHOTO)
    assert read_picture(small, max_pixels=35).size == (5, 7)
    with pytest.raises(InputError, match="7x5, 35 pixels; the limit is 34"):
        read_picture(small, max_pixels=34)


def test_special_files_are_refused_without_waiting(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe.png"
    os.mkfifo(fifo)
    started = time.monotonic()
    for path in (fifo, tmp_path, Path("/dev/zero"), tmp_path / "missing.png", Path("nul\0l.png")):
        with pytest.raises(InputError):
            read_picture(path)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_files_cut_short_give_one_sentence(tmp_path: Path, suffix: str) -> None:
    large = cv2.resize(PHOTO, (70, 50))
    data = save(tmp_path / f"a.{suffix}", large).read_bytes()
    for length in (0, 1, 10, len(data) // 2):
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(data[:length])
        with pytest.raises(InputError) as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)
        assert f"cut.{suffix}" in str(caught.value)


def test_a_truncated_sixteen_bit_png_is_refused(tmp_path: Path) -> None:
    data = cv2.imencode(".png", RNG.integers(0, 65536, (40, 50, 3), dtype=np.uint16))[1].tobytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        read_picture(tmp_path / "a.png")


def test_what_is_not_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "evil\nname.png"
    path.write_text("<svg/>")
    with pytest.raises(InputError, match=r"evil\\x0aname\.png is not a picture in a format that is read here"):
        read_picture(path)


def _samples() -> list[bytes]:
    data = []
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(PHOTO).save(buffer, kind)
        data.append(buffer.getvalue())
    data.append(cv2.imencode(".png", np.full((6, 5, 3), 999, np.uint16))[1].tobytes())
    return data


SAMPLES = _samples()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SAMPLES), st.data())
def test_damaged_bytes_give_a_picture_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, sample: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(sample)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "fuzzed.img"
    path.write_bytes(bytes(damaged))
    try:
        picture = read_picture(path, max_pixels=1_000_000)
    except InputError:
        return
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3


def test_a_phones_picture_with_a_second_one_inside(tmp_path: Path) -> None:
    large = Image.fromarray(cv2.resize(PHOTO, (70, 50)))
    path = save(tmp_path / "a.jpg", large, format="MPO", save_all=True, append_images=[large])
    picture = read_picture(path)
    assert picture.size == (50, 70)
    assert picture.notes == ()
