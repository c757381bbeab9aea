"""Convolution kernels as pictures: one pixel a weight, a tile a filter, so that all filters of a layer compare.

Colours: index 0 is the gap between tiles and transparent, index 1 a value that is NaN or infinite, and 2 to 254 are
the values. Signed weights have zero at index 128, the neutral middle of a diverging colormap.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.show.colormap import is_signed, palette
from onnxvis.show.mosaic import mosaic
from onnxvis.show.png import encode_indexed, encode_rgba

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from onnxvis.show.mosaic import Mosaic

__all__ = [
    "KernelPicture",
    "Slice",
    "Tiles",
    "draw_filter",
    "draw_kernels",
    "filter_tiles",
    "kernel_palette",
    "kernel_tiles",
]

Slice = int | Literal["norm"] | None

_CHUNK = 1 << 18
_GAP, _ODD, _FIRST, _MIDDLE, _LAST = 0, 1, 2, 128, 254
_ODD_COLOUR = (255, 0, 255)
_GAP_COLOUR = (255, 255, 255)
_SEQUENTIAL = "viridis"
_PALETTE_END = 41 + 768 + 4  # where the palette's chunk of an indexed PNG ends


@dataclass(frozen=True, eq=False)
class KernelPicture:
    """A picture of kernels, one pixel a weight.

    `png`: `width` × `height` pixels, tile k in row k // columns and column k % columns, `tile_width` × `tile_height`
    pixels each with `gap` transparent pixels between them. `filters`: how many tiles there are, `shown`: how many of
    them, the first ones, are drawn. `low`, `high`: the values behind the first and last colour, −m and m for signed
    weights and 0 and m for norms, over all filters; NaN for RGB, where each filter has its own range. `what` says in
    words what is drawn.
    """

    png: bytes
    width: int
    height: int
    filters: int
    shown: int
    low: float
    high: float
    what: str
    columns: int
    tile_width: int
    tile_height: int
    gap: int


@dataclass(frozen=True, eq=False)
class Tiles:
    """Kernels as colours, before they are laid side by side.

    `pixels`: (K, H, W) uint8 indices into `colours` (256, 3), or (K, H, W, 4) RGBA where `colours` is None.
    """

    pixels: NDArray[np.uint8]
    colours: NDArray[np.uint8] | None
    low: float
    high: float
    what: str

    def picture(self, limit: int | None = None) -> KernelPicture:
        """The first `limit` tiles, all where it is None, as a PNG."""
        planes = [self._lay(plane, limit) for plane in self._planes()]
        first = planes[0]
        if self.colours is None:
            png = encode_rgba(np.dstack([plane.pixels for plane in planes]))
        else:
            png = _gap_transparent(encode_indexed(first.pixels, self.colours))
        count = len(self.pixels)
        shown = count if limit is None else min(limit, count)
        height, width = first.pixels.shape
        return KernelPicture(
            png, width, height, count, shown, self.low, self.high, self.what,
            first.columns, first.tile_width, first.tile_height, first.gap,
        )  # fmt: skip

    def longest(self, limit: int | None = None) -> int:
        """The longer side of the picture of that many tiles, in weights."""
        return int(max(self._lay(self._planes()[0], limit).pixels.shape))

    def on_white(self, limit: int | None = None, factor: int = 1) -> NDArray[np.uint8]:
        """The same tiles as (R, C, 3) RGB, a weight `factor` pixels a side, with white gaps a quarter as wide."""
        planes = [self._lay(plane, limit, factor).pixels for plane in self._planes()]
        if self.colours is not None:
            return self.colours.take(planes[0], axis=0)
        return np.where(planes[3][..., None] > 0, np.dstack(planes[:3]), np.uint8(255))

    def _planes(self) -> list[NDArray[np.uint8]]:
        return [self.pixels] if self.colours is not None else [self.pixels[..., plane] for plane in range(4)]

    @staticmethod
    def _lay(plane: NDArray[np.uint8], limit: int | None, factor: int = 1) -> Mosaic:
        plane = plane[:limit]
        single = plane[0].size == 1
        drawn = mosaic(plane, math.ceil(math.sqrt(len(plane))) if single else None, 0 if single else 1)
        if factor == 1:
            return drawn
        enlarged = plane.repeat(factor, axis=1).repeat(factor, axis=2)
        return mosaic(enlarged, drawn.columns, 0 if single else max(1, factor // 4))


def draw_kernels(
    weights: NDArray[Any],
    *,
    rgb: bool = False,
    bgr: bool = False,
    slice_: Slice = None,
    limit: int | None = None,
    colormap: str = "coolwarm",
) -> KernelPicture:
    """Kernels `weights` (M, C, *spatial), one to three spatial dimensions or none, as a tile a filter.

    `slice_` k draws input channel k of each filter, signed, 'norm' the L2 norm over the input channels at each place.
    None draws (M, 3, *spatial) as RGB pictures where `rgb` says that the channels are colours (`bgr`: blue first),
    each filter over its own minimum to maximum; otherwise input channel 0, or the norm where a filter has one place
    only, one pixel a filter. One spatial dimension is drawn as rows; of three, the first lies side by side within a
    tile. `limit` draws that many filters; colours are always those of all. Signed weights take `colormap` symmetric
    about zero; norms take it from zero, or viridis where it is a diverging one. NaN and infinities are magenta.
    Raises ValueError for a shape that is none of these or empty, or a limit below 1; UsageError for a slice that is
    not there or an unknown colormap.
    """
    _check_limit(limit)
    return kernel_tiles(weights, rgb=rgb, bgr=bgr, slice_=slice_, colormap=colormap).picture(limit)


def draw_filter(weights: NDArray[Any], *, limit: int | None = None, colormap: str = "coolwarm") -> KernelPicture:
    """One filter whole: `weights` (C, *spatial) as a tile an input channel, signed, one range for all.

    `KernelPicture.filters` counts the tiles. Otherwise, and for the errors, see `draw_kernels`.
    """
    _check_limit(limit)
    return filter_tiles(weights, colormap=colormap).picture(limit)


def kernel_tiles(
    weights: NDArray[Any], *, rgb: bool = False, bgr: bool = False, slice_: Slice = None, colormap: str = "coolwarm"
) -> Tiles:
    """The tiles of `draw_kernels`, with the same errors."""
    _check(weights, weights.ndim - 2)
    channels, places = weights.shape[1], math.prod(weights.shape[2:])
    if slice_ is None and rgb:
        return _rgb(weights, bgr)
    if slice_ == "norm" or (slice_ is None and places == 1 and channels > 1):
        what = f"norm over {channels} input channel{'s' * (channels > 1)} of each filter"
        return _coloured(_norms(weights), what, False, colormap)
    chosen = slice_ or 0
    if not 0 <= chosen < channels:
        span = f"0 to {channels - 1}" if channels > 1 else "0"
        raise UsageError(
            f"a kernel of shape {list(weights.shape)} has no input channel {chosen}; give {span}, or 'norm'"
        )
    what = "each filter, of one input channel" if channels == 1 else f"input channel {chosen} of each filter"
    return _coloured(weights[:, chosen].astype(np.float64), what, True, colormap)


def filter_tiles(weights: NDArray[Any], *, colormap: str = "coolwarm") -> Tiles:
    """The tiles of `draw_filter`, with the same errors."""
    _check(weights, weights.ndim - 1)
    count = len(weights)
    what = f"all {count} input channels of one filter" if count > 1 else "the one input channel of one filter"
    return _coloured(weights.astype(np.float64), what, True, colormap)


@cache
def kernel_palette(name: str) -> NDArray[np.uint8]:
    """The colours of the indices above: (256, 3) uint8 RGB, read-only. Raises UsageError for an unknown name."""
    source = palette(name).astype(np.float64)
    places = np.linspace(0, 255, _LAST - _FIRST + 1)
    colours = np.empty((256, 3), np.uint8)
    for channel in range(3):
        values = np.interp(places, np.arange(256), source[:, channel])
        colours[_FIRST : _LAST + 1, channel] = np.rint(values)
    colours[_GAP], colours[_ODD], colours[_LAST + 1] = _GAP_COLOUR, _ODD_COLOUR, colours[_LAST]
    colours.flags.writeable = False
    return colours


def _gap_transparent(png: bytes) -> bytes:
    """An indexed PNG with index 0 fully transparent: a tRNS chunk of one value, behind the palette."""
    chunk = b"tRNS" + bytes([_GAP])
    clear = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:_PALETTE_END] + clear + png[_PALETTE_END:]


def _check(weights: NDArray[Any], spatial: int) -> None:
    if not 0 <= spatial <= 3:
        raise ValueError(f"weights of shape {list(weights.shape)} are no kernels of one to three spatial dimensions")
    if not weights.size:
        raise ValueError(f"kernels of shape {list(weights.shape)} hold no weights to draw")


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise ValueError(f"{limit} filters cannot be drawn; give 1 or more, or None for all")


def _coloured(values: NDArray[np.float64], what: str, signed: bool, colormap: str) -> Tiles:
    """`values` (K, *spatial) as indices: −m…m where `signed`, else 0…m, m the largest finite magnitude of all."""
    finite = np.isfinite(values)
    odd = values.size - int(np.count_nonzero(finite))
    values = np.where(finite, values, 0)
    largest = float(np.abs(values).max())
    share = values / largest if largest else values
    start, steps = (_MIDDLE, _LAST - _MIDDLE) if signed else (_FIRST, _LAST - _FIRST)
    indices = np.where(finite, np.rint(start + steps * share), _ODD).astype(np.uint8)
    name = colormap if signed or not is_signed(colormap) else _SEQUENTIAL
    what = _caption(what, values.ndim - 1, odd)
    return Tiles(_flat(indices), kernel_palette(name), -largest if signed else 0.0, largest, what)


def _rgb(weights: NDArray[Any], bgr: bool) -> Tiles:
    """Each filter's three channels stretched together to 0…255; gray throughout where it is constant."""
    if weights.shape[1] != 3:
        raise ValueError(f"kernels of shape {list(weights.shape)} have not three input channels, so no colours")
    values = weights.astype(np.float64)[:, :: -1 if bgr else 1]
    finite = np.isfinite(values)
    rest = tuple(range(1, values.ndim))
    low = np.where(finite, values, np.inf).min(axis=rest, keepdims=True)
    high = np.where(finite, values, -np.inf).max(axis=rest, keepdims=True)
    some = low < high
    low, high = np.where(some, low, 0), np.where(some, high, 0)
    # Half the range never overflows, whatever the weights are.
    span = np.where(some, high / 2 - low / 2, 1)
    share = np.where(finite & some, (np.where(finite, values, 0) / 2 - low / 2) / span, 128 / 255)
    levels = np.rint(255 * share).astype(np.uint8)
    whole = finite.all(axis=1)
    planes = [np.where(whole, levels[:, plane], np.uint8(_ODD_COLOUR[plane])) for plane in range(3)]
    planes.append(np.full_like(planes[0], 255))
    odd = values.size - int(np.count_nonzero(finite))
    what = _caption("each filter as an RGB picture over its own minimum to maximum", values.ndim - 2, odd)
    return Tiles(np.stack([_flat(plane) for plane in planes], axis=-1), None, math.nan, math.nan, what)


def _caption(what: str, spatial: int, odd: int) -> str:
    if spatial == 3:
        what += ", depth slices side by side"
    if odd:
        what += f"; {odd:,} value{' is' if odd == 1 else 's are'} NaN or infinite (magenta)"
    return what


def _norms(weights: NDArray[Any]) -> NDArray[np.float64]:
    """sqrt(Σ_c w²) at each place of each filter: (M, *spatial). A few filters at a time are copied to float64."""
    flat = weights.reshape(*weights.shape[:2], -1)
    found = np.empty((flat.shape[0], flat.shape[2]))
    step = max(1, _CHUNK // max(1, math.prod(flat.shape[1:])))
    for start in range(0, len(flat), step):
        values = flat[start : start + step].astype(np.float64)
        scale = 1.0
        if weights.dtype.itemsize >= 8:  # squares of narrower types fit
            scale = float(np.abs(values).max(where=np.isfinite(values), initial=0)) or 1.0
            values /= scale
        with np.errstate(over="ignore"):
            found[start : start + step] = np.sqrt(np.einsum("fcp,fcp->fp", values, values)) * scale
    return found.reshape(weights.shape[0], *weights.shape[2:])


def _flat(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(K, *spatial) as (K, H, W); of three dimensions the first lies side by side, a gap between."""
    count, spatial = len(pixels), pixels.shape[1:]
    if len(spatial) < 3:
        return pixels.reshape(count, *(1,) * (2 - len(spatial)), *spatial)
    depth, height, width = spatial
    tile = np.full((count, height, depth, width + 1), _GAP, np.uint8)
    tile[..., :width] = pixels.transpose(0, 2, 1, 3)
    return tile.reshape(count, height, -1)[:, :, :-1]
