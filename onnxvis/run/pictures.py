"""Reading a picture file into 8-bit pixels, whatever its format, colour space, depth or orientation."""

from __future__ import annotations

import io
import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
from PIL import Image

from onnxvis.errors import InputError
from onnxvis.files import one_line

__all__ = ["MAX_PIXELS", "Picture", "open_regular", "read_picture", "with_channels"]

MAX_PIXELS = 100_000_000
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0112, 258, 262, 0
_WITH_ALPHA = ("RGBA", "LA", "La", "RGBa", "PA")
_pillow_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded picture. `pixels` is (H, W, C) uint8: grey (C = 1), RGB (3) or RGBA (4). `notes` say what was done."""

    pixels: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels, as the picture is meant to be seen: after its EXIF orientation."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


def read_picture(path: Path | str, channels: int = 3, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in `path` (JPEG, PNG, WebP, BMP or TIFF) as uint8 with 1, 3 or 4 channels.

    The EXIF orientation is applied. Transparent parts lie on white unless 4 channels are asked for. 16-bit samples
    become round(v / 257). CMYK is converted without a colour profile; embedded profiles are not applied. Of several
    frames or pages the first is read. Grey from colour: Rec. 601 luma, 0.299 R + 0.587 G + 0.114 B.
    Raises InputError where the file is not there, not a regular file, not a picture, damaged, or has more than
    `max_pixels` pixels (known from its header, before anything is decoded).
    """
    name = one_line(path)
    with open_regular(path) as stream, _own_pixel_limit():
        image = _open(stream, name)
        _check_size(image, name, max_pixels)
        pixels, notes = _decode(image, stream, name)
    if channels != 4 and pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        notes = (*notes, "transparent parts lie on white")
    return Picture(with_channels(pixels, channels), notes)


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(H, W, 1|3|4) uint8 pixels with another number of channels: luma, grey repeated, opaque alpha, or alpha on white.

    Over white: (v · a + 255 · (255 − a)) / 255, rounded.
    """
    if pixels.shape[2] == 4 and channels != 4:
        alpha = pixels[..., 3:].astype(np.uint32)
        pixels = ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if pixels.shape[2] == 1 and channels != 1:
        pixels = pixels.repeat(3, axis=2)
    if channels == 1 and pixels.shape[2] == 3:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY))[..., None]
    if channels == 4 and pixels.shape[2] == 3:
        return np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=2)
    return np.ascontiguousarray(pixels)


@contextmanager
def open_regular(path: Path | str) -> Iterator[BinaryIO]:
    """Open a regular file for reading; a folder, pipe or device is refused without waiting for it.

    Raises InputError.
    """
    name = one_line(path)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise InputError(f"{name} is not a regular file but a folder, pipe or device")
        # The path may have changed since: without O_NONBLOCK opening a pipe that nobody writes to would hang.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        stream = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    with stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise InputError(f"{name} is not a regular file")
        yield stream


@contextmanager
def _own_pixel_limit() -> Iterator[None]:
    """Pillow's process-wide pixel limit and warnings off while ours stands in for them, then back as they were."""
    with _pillow_lock:
        before = Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = None
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _open(stream: BinaryIO, name: str) -> Image.Image:
    if os.fstat(stream.fileno()).st_size == 0:
        raise InputError(f"{name} is empty")
    try:
        return Image.open(stream, formats=_FORMATS)
    except Exception as error:  # Pillow's parsers raise many kinds on hostile headers, all with this one meaning.
        reason = "is not a picture in a format that is read here (JPEG, PNG, WebP, BMP, TIFF), or its header is damaged"
        raise InputError(f"{name} {reason}; convert it, or feed an array with .npy") from error


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{name} has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise InputError(
            f"{name} is {width}x{height}, {width * height:,} pixels; the limit is {max_pixels:,}: "
            f"scale it down, or allow it with --max-pixels {width * height}"
        )


def _decode(image: Image.Image, stream: BinaryIO, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    notes: list[str] = []
    try:
        if image.format != "MPO" and getattr(image, "is_animated", False):
            notes.append("the first of several frames or pages")
        deep_colour = _is_deep_colour(image)
        image.load()
        # Pillow turns TIFF files itself while loading and forgets their orientation then, so this is read afterwards.
        orientation = _orientation(image)
        pixels = _eight_bit(image, notes)
    except InputError:
        raise
    except Exception as error:  # As above: whatever a decoder raises on damaged data.
        reason = one_line(error) or type(error).__name__
        raise InputError(f"{name} is damaged, cut short, or a kind that cannot be decoded ({reason})") from error
    if pixels is None:
        raise InputError(f"{name} has {one_line(image.mode)} pixels that are not 8 or 16 bit: feed it as an .npy array")
    if deep_colour:
        pixels = _from_sixteen_bit_colour(stream, pixels, notes)
    return _turned(pixels, orientation), tuple(notes)


def _eight_bit(image: Image.Image, notes: list[str]) -> np.ndarray | None:
    """(H, W, 1|3|4) uint8, or None for pixels whose range is not known (32-bit integers, floats)."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        notes.append("16-bit samples were scaled to 8 bit")
        return _sixteen_bit_grey(image)
    if mode in ("I", "F") or mode.startswith("I;"):
        return None
    if mode in _WITH_ALPHA or (mode in ("P", "L", "RGB", "1") and "transparency" in image.info):
        return np.array(image.convert("RGBA"))
    if mode in ("1", "L"):
        return np.array(image.convert("L"))[..., None]
    return np.array(image.convert("RGB"))


def _sixteen_bit_grey(image: Image.Image) -> np.ndarray:
    tags = cast("Any", image).tag_v2 if image.format == "TIFF" else {}
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    top = (1 << int(bits[0] if isinstance(bits, tuple) else bits)) - 1
    values = np.clip(np.asarray(image).astype(np.uint32), 0, top)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = top - values
    return _scaled(values, top)[..., None]


def _scaled(values: np.ndarray, top: int) -> np.ndarray:
    """round(255 · v / top) in integers; for 16 bit, top = 65535, that is round(v / 257)."""
    return ((values.astype(np.uint64) * 255 + top // 2) // top).astype(np.uint8)


def _is_deep_colour(image: Image.Image) -> bool:
    """Whether a file has 16-bit colour samples, of which Pillow keeps the high byte only."""
    if image.format == "PNG":
        # One tile, and its raw mode tells the file's own depth: 'RGB;16B', 'RGBA;16B', 'LA;16B'.
        return any(";16" in str(tile[3]) for tile in cast("Any", image).tile) and image.mode in ("RGB", "RGBA", "LA")
    if image.format == "TIFF":
        bits = cast("Any", image).tag_v2.get(_BITS_PER_SAMPLE)
        return image.mode in ("RGB", "RGBA") and isinstance(bits, tuple) and set(bits) == {16}
    return False


def _from_sixteen_bit_colour(stream: BinaryIO, high: np.ndarray, notes: list[str]) -> np.ndarray:
    """The picture at full depth from OpenCV, rounded to 8 bit; `high`, Pillow's high bytes, where the two disagree."""
    stream.seek(0)
    data = np.frombuffer(stream.read(16 * high.size + io.DEFAULT_BUFFER_SIZE), np.uint8)
    try:
        with _quiet_opencv():
            deep = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        deep = None
    same = deep is not None and deep.dtype == np.uint16 and deep.ndim == 3 and deep.shape == high.shape
    if deep is not None and same:
        deep = cv2.cvtColor(deep, cv2.COLOR_BGRA2RGBA if deep.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        if np.array_equal(deep // np.uint16(256), high):
            notes.append("16-bit samples were scaled to 8 bit")
            return _scaled(deep, 65535)
    notes.append("of 16-bit samples the high byte was taken")
    return high


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """No warnings on stderr about tags that Pillow has already accepted; OpenCV 4 cannot be asked for that."""
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:
        yield
        return
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # A damaged EXIF block says nothing about the pixels, which were decoded without it.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as EXIF orientation 1–8 says they are meant to be seen (EXIF 2.32, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
