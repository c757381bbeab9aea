"""Feature maps to one picture: each channel stretched to indices 0–255, and all of them laid side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["STRETCHES", "Mosaic", "Stretch", "Stretched", "mosaic", "stretch", "upscale"]

Stretch = Literal["channel", "tensor", "clip99", "none"]
STRETCHES: tuple[Stretch, ...] = get_args(Stretch)

_CHUNK = 1 << 18
_PLAIN_CHUNK = 1 << 16
_LARGE, _SMALL = 1e30, 1e-30
_ASPECT = 1.6


@dataclass(frozen=True, eq=False)
class Stretched:
    """Maps as indices: the value behind index i of channel k is low[k] + i / 255 · (high[k] − low[k]).

    `indices` (K, H, W) uint8; `low`, `high` (K,) float64; `clipped`: how many finite values lay outside low…high and
    got index 0 or 255; `not_finite`: how many NaNs and infinities got index 0.
    """

    indices: NDArray[np.uint8]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    clipped: int
    not_finite: int


@dataclass(frozen=True, eq=False)
class Mosaic:
    """All channels in one picture, row by row: channel k in row k // columns, column k % columns.

    Its tile starts at pixel (row · (tile_height + gap), column · (tile_width + gap)). Gaps lie between tiles only and
    have index 0, as has what is left of the last row. `pixels` (R, C) uint8.
    """

    pixels: NDArray[np.uint8]
    columns: int
    rows: int
    tile_height: int
    tile_width: int
    gap: int


def stretch(maps: NDArray[Any], mode: Stretch = "channel", symmetric: bool = False) -> Stretched:
    """`maps` (K, H, W) of any real dtype as indices 0–255, nearest index to each value.

    Modes, over finite values: 'channel' min to max of each channel; 'tensor' min to max of all; 'clip99' 1st to 99th
    percentile of each channel, what lies outside is clipped; 'none' 0 to 1, clipped: value × 255, as tutorials do.
    `symmetric`: the range is widened to −m … m, m = max(|low|, |high|), so that zero lies in the middle of a
    diverging colormap. A constant channel is all 0 (symmetric: all 0, 128 or 255 by its sign, as 0 lies in the middle).
    Raises UsageError for another mode.
    """
    if mode not in STRETCHES:
        raise UsageError(f"no stretch is called '{one_line(mode)}'; choose one of: {', '.join(STRETCHES)}")
    ordinary = _plain_ranges(maps) if mode in ("channel", "tensor") else None
    low, high = _ranges(maps, mode) if ordinary is None else _shared(*ordinary, mode)
    if symmetric:
        high = np.maximum(np.abs(low), np.abs(high))
        low = -high
    if ordinary is not None:
        return Stretched(_plain_indices(maps, low, high), low, high, 0, 0)
    indices = np.zeros(maps.shape, np.uint8)
    clipped = not_finite = 0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for part, values, finite in _parts(maps):
            # Half the range never overflows, whatever the values are.
            start, span = low[part, None] / 2, high[part, None] / 2 - low[part, None] / 2
            values = np.where(span > 0, (values / 2 - start) / span * 255, 0)
            if finite is not None:
                not_finite += finite.size - int(np.count_nonzero(finite))
                values[~finite] = 0
            if mode in ("clip99", "none"):
                clipped += int(np.count_nonzero((values < 0) | (values > 255)))
            np.rint(np.clip(values, 0, 255, out=values), out=values)
            indices[part] = values.reshape(indices[part].shape)
    return Stretched(indices, low, high, clipped, not_finite)


def mosaic(indices: NDArray[np.uint8], columns: int | None = None, gap: int = 1) -> Mosaic:
    """Lay `indices` (K, H, W) side by side with `gap` pixels between them.

    `columns` None: a number near that of a picture 1.6 times as wide as high that leaves the fewest places empty.
    Raises ValueError where there is nothing to lay out.
    """
    count, height, width = indices.shape
    if not indices.size:
        raise ValueError(f"maps of shape {indices.shape} hold no pixels to lay out")
    columns = _columns(count, height + gap, width + gap) if columns is None else max(1, min(columns, count))
    rows = -(-count // columns)
    grid = np.zeros((rows, height + gap, columns, width + gap), np.uint8)
    whole = count // columns
    grid[:whole, :height, :, :width] = (
        indices[: whole * columns].reshape(whole, columns, height, width).transpose(0, 2, 1, 3)
    )
    if whole < rows:
        grid[whole, :height, : count - whole * columns, :width] = indices[whole * columns :].transpose(1, 0, 2)
    pixels = grid.reshape(rows * (height + gap), columns * (width + gap))
    pixels = pixels[: rows * (height + gap) - gap, : columns * (width + gap) - gap]
    return Mosaic(pixels, columns, rows, height, width, gap)


def upscale(indices: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """`indices` (H, W) or (H, W, 3) enlarged by the largest whole factor that keeps the longer side within `size`.

    Each value becomes a square of equal pixels; a picture that is large enough already comes back unchanged.
    """
    factor = max(1, size // max(indices.shape[:2]))
    return indices.repeat(factor, axis=0).repeat(factor, axis=1)


def _ranges(maps: NDArray[Any], mode: Stretch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The values behind index 0 and 255, (K,) each; 0 and 0 for a channel without a finite value."""
    count = maps.shape[0]
    low, high = np.zeros(count), np.ones(count)
    if mode == "none":
        return low, high
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    for part, values, finite in _parts(maps):
        if mode == "clip99":
            low[part], high[part] = _percentiles(values, finite)
        else:
            low[part] = (values if finite is None else np.where(finite, values, np.inf)).min(axis=1)
            high[part] = (values if finite is None else np.where(finite, values, -np.inf)).max(axis=1)
    if mode == "clip99":
        # A channel that is almost everywhere the same has no middle to show: its whole range is.
        flat = np.flatnonzero(low == high)
        low[flat], high[flat] = _ranges(maps[flat], "channel")
    if count:
        low, high = _shared(low, high, mode)
    nothing = ~(low <= high)
    low[nothing] = high[nothing] = 0
    return low, high


def _plain_ranges(maps: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """min and max of each channel where float32 can do all the arithmetic; None where it cannot, or a value is odd."""
    if maps.dtype != np.float32 or not maps.size:
        return None
    low, high = (extreme(maps, axis=(1, 2)).astype(np.float64) for extreme in (np.min, np.max))
    with np.errstate(invalid="ignore"):
        span = high - low
    fits = np.isfinite(span) & (np.maximum(np.abs(low), np.abs(high)) < _LARGE) & ((span == 0) | (span > _SMALL))
    return (low, high) if fits.all() else None


def _plain_indices(maps: NDArray[Any], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Indices by float32 arithmetic: the difference to the lowest value is exact to the last bit, so is its index but
    for values within a ten-thousandth of a step from the middle between two."""
    indices = np.empty(maps.shape, np.uint8)
    span = high - low
    scale = np.divide(255.0, span, where=span > 0, out=np.zeros_like(span)).astype(np.float32)
    start = low.astype(np.float32)
    step = max(1, _PLAIN_CHUNK // (maps.shape[1] * maps.shape[2]))
    for first in range(0, maps.shape[0], step):
        part = slice(first, first + step)
        values = maps[part] - start[part, None, None]
        values *= scale[part, None, None]
        values += np.float32(0.5)
        indices[part] = values
    return indices


def _shared(
    low: NDArray[np.float64], high: NDArray[np.float64], mode: Stretch
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each channel's range, or in mode 'tensor' the range of all for each."""
    if mode == "tensor":
        return np.full_like(low, low.min()), np.full_like(high, high.max())
    return low, high


def _percentiles(
    values: NDArray[np.float64], finite: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if finite is None:
        low, high = np.percentile(values, (1, 99), axis=1)
        return low, high
    rows = [row[keep] for row, keep in zip(values, finite, strict=True)]
    pairs = [np.percentile(row, (1, 99)) if row.size else (np.inf, -np.inf) for row in rows]
    return np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])


def _parts(maps: NDArray[Any]) -> Iterator[tuple[slice, NDArray[np.float64], NDArray[np.bool_] | None]]:
    """A few channels at a time as (n, H · W) float64, and where they are finite: None where they all are."""
    positions = maps.shape[1] * maps.shape[2]
    step = max(1, _CHUNK // max(1, positions))
    for start in range(0, maps.shape[0] if positions else 0, step):
        part = slice(start, start + step)
        values = maps[part].reshape(-1, positions).astype(np.float64)
        finite = np.isfinite(values)
        yield part, values, None if finite.all() else finite


def _columns(count: int, height: int, width: int) -> int:
    """Among the numbers within a factor of √2 of the ideal one, that with the fewest empty places, then the nearest."""
    ideal = math.sqrt(count * _ASPECT * height / width)
    first, last = math.ceil(ideal / math.sqrt(2)), min(count, int(ideal * math.sqrt(2)))
    candidates = range(max(1, first), last + 1) or [max(1, min(count, round(ideal)))]
    return min(candidates, key=lambda columns: (-count % columns, abs(math.log(columns / ideal))))
