"""Feature maps as files: a folder a tensor, with a picture a channel, a mosaic and a merged map; one .npz; events."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxvis.errors import OutputError, UsageError
from onnxvis.files import atomic_writer, one_line, safe_name, write_atomic, write_many
from onnxvis.measure.activations import Activations
from onnxvis.measure.statistics import summarise
from onnxvis.show.colormap import is_signed, palette
from onnxvis.show.merge import Merge, merge
from onnxvis.show.mosaic import Stretch, Stretched, mosaic, stretch, upscale
from onnxvis.show.png import encode_each, encode_indexed, encode_rgb
from onnxvis.show.sheet import titled_sheet
from onnxvis.show.tensorboard import EventFile
from onnxvis.show.text import shape

__all__ = ["ExportOptions", "write_events", "write_npz", "write_pictures"]

Array = np.ndarray[Any, np.dtype[Any]]

_LONGEST_NAME = 65_535 - len(".npy")


@dataclass(frozen=True)
class ExportOptions:
    """How pictures are written.

    `channels` False leaves the mosaic and the merged map alone, without a file a channel.
    `first` > 0 writes, instead of a file a channel, one titled page of that many channels in `columns` columns.
    `upscale` > 0 adds a copy of each channel enlarged, with nearest pixels, to at most that many pixels a side.
    """

    colormap: str = "viridis"
    stretch: Stretch = "channel"
    merge: Merge = "mean"
    first: int = 0
    columns: int = 0
    upscale: int = 0
    channels: bool = True


def write_pictures(
    found: Activations,
    source: str,
    labels: Mapping[str, str],
    folder: Path,
    options: ExportOptions,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Write `folder/007-LABEL/…png` for each tensor of `found`, and `folder/index.json` that maps names to files.

    `source` is the input's path, for the index. `labels` gives a block's name for a tensor where it has one; the
    tensor's own name serves otherwise. Returns the reasons for tensors that are no feature maps. Raises UsageError
    where none is; OutputError.
    """
    shown = [name for name in found.values if found.is_map(name)]
    skipped = [_reason(name, found) for name in found.values if not found.is_map(name)]
    if not shown:
        raise UsageError(
            f"none of these tensors is a feature map: {'; '.join(skipped[:3])}. Write them with --npz FILE"
        )
    entries = []
    for number, name in enumerate(shown):
        label = labels.get(name, name)
        place = f"{number:03d}-{safe_name(label)}"
        entries.append(_write_tensor(name, label, found.maps(name), folder, place, options))
        progress(number + 1, len(shown))
    ran = found.placement
    run = {"provider": ran.provider, "cpu_nodes": list(ran.cpu_nodes), "notes": list(ran.notes)}
    casts = {name: list(pair) for name, pair in found.casts.items()}
    index = {"schema_version": 1, "input": source, "run": run, "tensors": entries, "casts": casts, "skipped": skipped}
    write_atomic(folder / "index.json", json.dumps(index, indent=1, allow_nan=False).encode())
    return skipped


def write_events(
    events: EventFile, found: Activations, labels: Mapping[str, str], options: ExportOptions, step: int
) -> None:
    """Add to an event file, as this `step`, the histogram of each tensor of `found`, and each feature map's mosaic and
    merged map.

    They stand under `activations/`, `mosaic/` and `merged/`, each by its label and its tensor's name.
    """
    colours = palette(options.colormap)
    for name, value in found.values.items():
        title = f"{labels[name]} {name}" if labels.get(name, name) != name else name
        if value.dtype.kind in "fiub" and value.size:
            events.histogram("activations", title, summarise(value), step)
        if found.is_map(name):
            stretched, merged = _drawn(found.maps(name), options)
            events.picture("mosaic", title, encode_indexed(mosaic(stretched.indices).pixels, colours), step)
            events.picture("merged", title, encode_indexed(merged, colours), step)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write one array a tensor, under the tensor's own name, as `numpy.load` reads it. Text is written as text.

    Raises OutputError, also for a name that the format cannot hold.
    """
    for name in arrays:
        if "\0" in name or len(name.encode()) > _LONGEST_NAME:
            raise OutputError(
                f"{one_line(path)}: an .npz cannot hold '{one_line(name)}', whose name is too long or has a null "
                "in it; leave that tensor out"
            )
    with atomic_writer(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                plain = value.astype(np.str_) if value.dtype == object else value
                np.lib.format.write_array(member, plain, allow_pickle=False)


def _write_tensor(
    name: str, label: str, maps: Array, folder: Path, place: str, options: ExportOptions
) -> dict[str, object]:
    stretched, merged = _drawn(maps, options)
    write_many(folder / place, _files(label, stretched.indices, merged, options))
    return {
        "tensor": name,
        "label": label,
        "folder": place,
        "shape": list(maps.shape),
        "stretch": options.stretch,
        "merge": options.merge,
        "low": stretched.low.tolist(),
        "high": stretched.high.tolist(),
    }


def _drawn(maps: Array, options: ExportOptions) -> tuple[Stretched, Array]:
    """`maps` (K, H, W) as indices, and their merged map (H, W) too."""
    symmetric = is_signed(options.colormap)
    merged = stretch(merge(maps, options.merge)[None], "tensor", symmetric).indices[0]
    return stretch(maps, options.stretch, symmetric), merged


def _files(label: str, indices: Array, merged: Array, options: ExportOptions) -> Iterator[tuple[str, bytes]]:
    """Name and contents of each file of a tensor; `indices` (K, H, W), `merged` (H, W)."""
    colours = palette(options.colormap)
    yield "mosaic.png", encode_indexed(mosaic(indices).pixels, colours)
    yield "merged.png", encode_indexed(merged, colours)
    if options.first:
        # Pillow's own font has no '×'.
        title = f"{one_line(label, 60)}   {shape(indices.shape).replace('×', 'x')}"
        sheet = titled_sheet(indices[: options.first], colours, title, options.columns, options.upscale)
        yield "page.png", encode_rgb(sheet)
    elif options.channels:
        for channel, data in enumerate(encode_each(indices, colours)):
            yield f"channel-{channel:04d}.png", data
        for channel, pixels in enumerate(indices if options.upscale else ()):
            enlarged = encode_indexed(upscale(pixels, options.upscale), colours)
            yield f"channel-{channel:04d}-{options.upscale}px.png", enlarged


def _reason(name: str, found: Activations) -> str:
    value = found.values[name]
    return f"'{one_line(name)}' is {value.dtype} of shape {list(value.shape)}"
