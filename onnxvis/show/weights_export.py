"""Weights as files: a picture of each kernel, a histogram of each weight, the values over depth; or one CSV table."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import ModelError
from onnxvis.files import one_line, safe_name, write_atomic, write_many
from onnxvis.graph.kernels import find_kernels, read_kernel
from onnxvis.show.colormap import palette
from onnxvis.show.depth import depth_charts, reading_order
from onnxvis.show.kernel_page import kernel_page
from onnxvis.show.kernels import Slice, kernel_tiles
from onnxvis.show.plots import depth_svg, histogram_png, histogram_svg
from onnxvis.show.png import encode_drawing
from onnxvis.show.text import shape
from onnxvis.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from onnxvis.graph.kernels import Kernel
    from onnxvis.graph.load import Model
    from onnxvis.measure.weights import WeightNumbers, WeightTable

__all__ = ["CSV_COLUMNS", "HISTOGRAM_FORMATS", "WeightPictures", "write_csv", "write_weights"]

CSV_COLUMNS = (
    "name", "role", "op", "storage", "place", "shape", "dtype",
    "mean", "std", "min", "max", "zero_fraction", "nan", "inf",
)  # fmt: skip
"""The columns of `write_csv`: keys of the JSON."""

HISTOGRAM_FORMATS = ("png", "svg")
"""What a histogram can be drawn as."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")


@dataclass(frozen=True)
class WeightPictures:
    """How weights are drawn: `slice_`, `bgr` and `colormap` as in `show.kernels.draw_kernels`.

    A kernel that has not the input channel `slice_` is drawn as by default. `kernels`, `histograms`: whether they are.
    `formats`: of histograms, from `HISTOGRAM_FORMATS`.
    """

    slice_: Slice = None
    bgr: bool = False
    colormap: str = "coolwarm"
    kernels: bool = True
    histograms: bool = True
    formats: tuple[str, ...] = HISTOGRAM_FORMATS


def write_weights(
    table: WeightTable,
    model: Model,
    folder: Path,
    options: WeightPictures,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Write pictures of all weights of `table` into `folder`, and return the reasons for what could not be drawn.

    `kernels/NNN-NAME.png`: each kernel that a convolution of the main graph uses; `histograms/NNN-NAME.png` and `.svg`,
    those of `options.formats`: every weight; `depth.svg`: the numbers of each role over depth; `index.json` maps names
    to these files. NNN is the weight's place in the table, from 0. Without kernels or histograms their folder is not
    written. Raises UsageError for an unknown colormap; OutputError.
    """
    palette(options.colormap)
    found = find_kernels(model) if options.kernels else ()
    kernels = {kernel.weight: kernel for kernel in reversed(found) if math.prod(kernel.shape)}
    files = {item.name: f"{place:03d}-{safe_name(item.name)}" for place, item in enumerate(table.weights)}
    drawn: dict[str, dict[str, object]] = {}
    skipped: list[str] = list(table.unread)
    chosen = [kernels[item.name] for item in table.weights if item.name in kernels]
    total = len(chosen) + len(table.weights)

    def kernel_files() -> Iterator[tuple[str, bytes]]:
        for done, kernel in enumerate(chosen, 1):
            try:
                data, entry = _kernel_picture(model, kernel, options)
            except (ModelError, ValueError) as error:
                skipped.append(f"the kernels of '{one_line(kernel.weight)}' are not drawn: {error}")
            else:
                drawn[kernel.weight] = {"file": f"kernels/{files[kernel.weight]}.png", **entry}
                yield f"{files[kernel.weight]}.png", data
            progress(done, total)

    def histogram_files() -> Iterator[tuple[str, bytes]]:
        for done, item in enumerate(table.weights, len(chosen) + 1):
            for kind in options.formats:
                yield f"{files[item.name]}.{kind}", _histogram(item, kind)
            progress(done, total)

    if chosen:
        write_many(folder / "kernels", kernel_files())
    if table.weights and options.histograms:
        write_many(folder / "histograms", histogram_files())
    charts = depth_charts(table.weights, reading_order(model.view))
    write_atomic(folder / "depth.svg", depth_svg(charts, f"{model.name}: weights over depth").encode())
    index = {
        "schema_version": 1,
        "onnxvis_version": __version__,
        "model": model.name,
        "depth": "depth.svg",
        "weights": [_entry(item, files[item.name], drawn.get(item.name), options) for item in table.weights],
        "skipped": skipped,
    }
    write_atomic(folder / "index.json", json.dumps(index, indent=1, allow_nan=False).encode())
    return skipped


def write_csv(table: WeightTable, path: Path) -> None:
    """Write one row a weight as CSV (RFC 4180, UTF-8) with the header `CSV_COLUMNS`. Raises OutputError.

    A shape is written as '64x3x7x7', '' for a scalar; numbers with all their digits; one that is not there is an empty
    cell. A text that a spreadsheet would run as a formula (it starts with = + - @, a tab or a return), and one that
    starts with ', gets a ' in front.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_row(item) for item in table.weights)
    write_atomic(path, text.getvalue().encode("utf-8", "backslashreplace"))


def _row(item: WeightNumbers) -> list[str]:
    numbers = item.statistics
    texts = [item.name, item.role, item.op, item.storage, item.place, "x".join(map(str, item.shape)), item.dtype]
    floats = [numbers.mean, numbers.std, numbers.min, numbers.max, numbers.zero_fraction]
    cells = [repr(float(value)) if math.isfinite(value) else "" for value in floats]
    guarded = [f"'{value}" if value.startswith(_FORMULA) else value for value in texts]
    return [*guarded, *cells, str(numbers.nan), str(numbers.inf)]


def _kernel_picture(model: Model, kernel: Kernel, options: WeightPictures) -> tuple[bytes, dict[str, object]]:
    """The page of one kernel as a PNG, and what the index says of it."""
    slice_ = options.slice_
    if isinstance(slice_, int) and slice_ >= kernel.shape[1]:
        slice_ = None
    tiles = kernel_tiles(
        read_kernel(model, kernel),
        rgb=kernel.reads_picture,
        bgr=options.bgr,
        slice_=slice_,
        colormap=options.colormap,
    )
    page, shown = kernel_page(tiles, kernel.weight, f"{kernel.label} · {shape(kernel.shape)}")
    low, high = (None if math.isnan(end) else end for end in (tiles.low, tiles.high))
    return encode_drawing(page), {
        "what": tiles.what,
        "low": low,
        "high": high,
        "filters": len(tiles.pixels),
        "shown": shown,
    }


def _histogram(item: WeightNumbers, kind: str) -> bytes:
    if kind == "svg":
        return histogram_svg(item.name, _note(item), item.statistics).encode()
    return histogram_png(item.name, _note(item), item.statistics)


def _note(item: WeightNumbers) -> str:
    quantised = " (codes, shown in real units)" if item.quantization else ""
    parts = [item.role or "weight", shape(item.shape), f"{item.dtype}{quantised}", one_line(item.place)]
    return " · ".join(filter(None, parts))


def _entry(
    item: WeightNumbers, file: str, kernels: dict[str, object] | None, options: WeightPictures
) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": item.name,
        "role": item.role,
        "shape": list(item.shape),
        "place": item.place,
    }
    if options.histograms:
        entry["histogram"] = {kind: f"histograms/{file}.{kind}" for kind in options.formats}
    return entry if kernels is None else {**entry, "kernels": kernels}
