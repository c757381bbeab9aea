"""Writing pictures as PNG and JPEG bytes: indexed ones by a short writer of our own, photos by OpenCV.

The indexed writer keeps each value as an index, so that a viewer may swap the 768 bytes of palette, and leaves out the
row filters, which cost time.
Format: PNG specification, W3C Recommendation, third edition.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["encode_indexed", "encode_jpeg", "encode_rgb"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode_indexed(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """An 8-bit palette PNG of `indices` (H, W) with colours `palette` (256, 3) RGB.

    The palette's 768 bytes stand at offset 41 of the file, their CRC behind them. Raises ValueError on other shapes
    and dtypes.
    """
    if indices.ndim != 2 or indices.dtype != np.uint8 or not indices.size:
        raise ValueError(f"indices of shape {indices.shape} and type {indices.dtype} are not a (H, W) uint8 picture")
    if palette.shape != (256, 3) or palette.dtype != np.uint8:
        raise ValueError(f"a palette of shape {palette.shape} and type {palette.dtype} is not (256, 3) uint8")
    height, width = indices.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row starts with its filter type, 0: none
    rows[:, 1:] = indices
    # Run lengths only: level and full matching find little more in feature maps, and take several times as long.
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    data = deflate.compress(rows.data) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits, colour type 3: palette
    chunks = ((b"IHDR", header), (b"PLTE", palette.tobytes()), (b"IDAT", data), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def encode_rgb(picture: NDArray[np.uint8]) -> bytes:
    """A lossless PNG of `picture` (H, W, 3) uint8 RGB."""
    return _opencv(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 6])


def encode_jpeg(picture: NDArray[np.uint8], quality: int = 88) -> bytes:
    """A JPEG of `picture` (H, W, 3) uint8 RGB: a tenth of the PNG's size, for thumbnails; `quality` 0 to 100."""
    return _opencv(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _opencv(extension: str, picture: NDArray[np.uint8], parameters: list[int]) -> bytes:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"a picture of shape {picture.shape} and type {picture.dtype} is not (H, W, 3) uint8")
    _, data = cv2.imencode(extension, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), parameters)
    return data.tobytes()
