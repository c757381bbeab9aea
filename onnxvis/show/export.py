"""Feature maps as files: a folder a tensor, with a picture a channel, a mosaic and a merged map; or one .npz."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxvis.errors import OutputError, UsageError
from onnxvis.files import atomic_writer, one_line, safe_name, write_atomic
from onnxvis.measure.activations import Activations
from onnxvis.show.colormap import is_signed, palette
from onnxvis.show.merge import Merge, merge
from onnxvis.show.mosaic import Stretch, mosaic, stretch, upscale
from onnxvis.show.png import encode_indexed, encode_rgb
from onnxvis.show.sheet import titled_sheet
from onnxvis.show.text import shape

__all__ = ["ExportOptions", "write_npz", "write_pictures"]

Array = np.ndarray[Any, np.dtype[Any]]

_LONGEST_NAME = 65_535 - len(".npy")


@dataclass(frozen=True)
class ExportOptions:
    """How pictures are written.

    `first` > 0 writes, instead of a file a channel, one titled page of that many channels in `columns` columns.
    `upscale` > 0 adds a copy of each channel enlarged, with nearest pixels, to at most that many pixels a side.
    """

    colormap: str = "viridis"
    stretch: Stretch = "channel"
    merge: Merge = "mean"
    first: int = 0
    columns: int = 0
    upscale: int = 0


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
    colours = palette(options.colormap)
    symmetric = is_signed(options.colormap)
    stretched = stretch(maps, options.stretch, symmetric)
    merged = stretch(merge(maps, options.merge)[None], "tensor", symmetric)
    inside = folder / place
    write_atomic(inside / "mosaic.png", encode_indexed(mosaic(stretched.indices).pixels, colours))
    write_atomic(inside / "merged.png", encode_indexed(merged.indices[0], colours))
    entry: dict[str, object] = {
        "tensor": name,
        "label": label,
        "folder": place,
        "shape": list(maps.shape),
        "stretch": options.stretch,
        "merge": options.merge,
        "low": stretched.low.tolist(),
        "high": stretched.high.tolist(),
    }
    if options.first:
        # Pillow's own font has no '×'.
        title = f"{one_line(label, 60)}   {shape(maps.shape).replace('×', 'x')}"
        sheet = titled_sheet(stretched.indices[: options.first], colours, title, options.columns, options.upscale)
        write_atomic(inside / "page.png", encode_rgb(sheet))
        return entry
    _write_channels(stretched.indices, colours, inside, options.upscale)
    return entry


def _write_channels(indices: Sequence[Array] | Array, colours: Array, inside: Path, size: int) -> None:
    for channel, pixels in enumerate(indices):
        write_atomic(inside / f"channel-{channel:04d}.png", encode_indexed(pixels, colours))
        if size:
            enlarged = encode_indexed(upscale(pixels, size), colours)
            write_atomic(inside / f"channel-{channel:04d}-{size}px.png", enlarged)


def _reason(name: str, found: Activations) -> str:
    value = found.values[name]
    return f"'{one_line(name)}' is {value.dtype} of shape {list(value.shape)}"
