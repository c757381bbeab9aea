"""Weights, kernels and feature maps as a TensorBoard event file, made of numbers and pictures that are there already.

Format: records as in TFRecord files (length, masked CRC-32C, data, masked CRC-32C), each an `Event` message.
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.errors import ModelError, UsageError
from onnxvis.files import atomic_writer, one_line, safe_name
from onnxvis.graph.kernels import find_kernels, read_kernel
from onnxvis.show.kernels import Slice, kernel_tiles
from onnxvis.show.png import encode_rgb

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.statistics import TensorStatistics
    from onnxvis.measure.weights import WeightTable

__all__ = ["EventFile", "write_weight_events"]

_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_./-]+")
_LONGEST_TAG = 200
_MOST_FILTERS, _SIDE = 256, 512
_SOURCE = "onnxvis"


class EventFile:
    """One event file in `folder`, at `path`, whole when the `with` block has ended and absent after an error.

    Earlier event files in the folder stay: TensorBoard shows all files of a folder as one run, so a folder a model.
    Raises UsageError where tensorboardX is not installed, OutputError where the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._protos = _protos()
        self.path = _free(folder)
        self._stack = contextlib.ExitStack()
        self._tags: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def __enter__(self) -> EventFile:
        self._stream = self._stack.enter_context(atomic_writer(self.path))
        self._write(self._protos.Event(wall_time=time.time(), file_version="brain.Event:2"))
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def histogram(self, group: str, name: str, found: TensorStatistics, step: int = 0) -> bool:
        """The histogram of `found`, with its bins and counts as they are, under the tag `group`/`name`.

        sum = mean · n and sum of squares = std² · (n − 1) + n · mean², n the number of finite values. A tensor without
        a finite value has no histogram: nothing is written, and the result is False.
        """
        count = int(found.counts.sum())
        if not count:
            return False
        constant = found.min == found.max
        spread = 0.0 if constant or count < 2 else found.std * found.std * (count - 1)
        value = self._protos.Summary.Value(tag=self._tag(group, name))
        value.histo.min, value.histo.max, value.histo.num = found.min, found.max, count
        value.histo.sum = found.mean * count
        value.histo.sum_squares = spread + found.mean * found.mean * count
        # The lower limit of TensorBoard's first bin is the minimum, which lies inside the one bin of a constant.
        value.histo.bucket_limit.extend([found.max] if constant else found.edges[1:].tolist())
        value.histo.bucket.extend([count] if constant else found.counts.tolist())
        self._add(value, name, step)
        return True

    def picture(self, group: str, name: str, png: bytes, step: int = 0) -> None:
        """A picture, PNG bytes, under the tag `group`/`name`."""
        width, height = struct.unpack(">II", png[16:24])
        value = self._protos.Summary.Value(tag=self._tag(group, name))
        value.image.width, value.image.height, value.image.colorspace = width, height, 3
        value.image.encoded_image_string = png
        self._add(value, name, step)

    def _add(self, value: Any, name: str, step: int) -> None:
        if not value.tag.endswith(f"/{name}"):
            value.metadata.summary_description = one_line(name, 500)
        event = self._protos.Event(wall_time=time.time(), step=step)
        event.summary.value.append(value)
        self._write(event)

    def _tag(self, group: str, name: str) -> str:
        """`group`/`name` in letters, digits and `_./-`; names that would be alike get a number, the same each time."""
        if (group, name) not in self._tags:
            plain = _NOT_IN_TAGS.sub("_", group), _NOT_IN_TAGS.sub("_", name).strip("/") or "_"
            tag = "/".join(plain)
            if len(tag) > _LONGEST_TAG:
                tag = f"{plain[0]}/{safe_name(name)}"
            number, free = 2, tag
            while free in self._taken:
                number, free = number + 1, f"{tag}-{number}"
            self._taken.add(free)
            self._tags[group, name] = free
        return self._tags[group, name]

    def _write(self, event: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        for part in (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))):
            self._stream.write(part)


def write_weight_events(
    events: EventFile,
    table: WeightTable,
    model: Model,
    slice_: Slice,
    bgr: bool,
    progress: Callable[[int, int], None],
) -> list[str]:
    """Add the histogram of each weight of `table` under `weights/ROLE/NAME`, and of each kernel that a convolution of
    the main graph uses a picture of its first 256 filters, enlarged, under `kernels/NAME`.

    `slice_`, `bgr`: as in `show.kernels.draw_kernels`; a kernel that has not that input channel is drawn as by default.
    Returns the reasons for kernels that could not be drawn.
    """
    for item in table.weights:
        events.histogram(f"weights/{item.role or 'other'}", item.name, item.statistics)
    names = {item.name for item in table.weights}
    kernels = [kernel for kernel in find_kernels(model) if kernel.weight in names and 0 not in kernel.shape]
    skipped = []
    for done, kernel in enumerate(kernels, 1):
        chosen = None if isinstance(slice_, int) and slice_ >= kernel.shape[1] else slice_
        try:
            tiles = kernel_tiles(read_kernel(model, kernel), rgb=kernel.reads_picture, bgr=bgr, slice_=chosen)
        except (ModelError, ValueError) as error:
            skipped.append(f"the kernels of '{one_line(kernel.weight)}' are not drawn: {error}")
            continue
        factor = max(1, _SIDE // max(tiles.on_white(_MOST_FILTERS).shape))
        events.picture("kernels", kernel.weight, encode_rgb(tiles.on_white(_MOST_FILTERS, factor)))
        progress(done, len(kernels))
    return skipped


def _free(folder: Path) -> Path:
    """A name that TensorBoard takes for an event file and that no file of the folder has."""
    start = f"events.out.tfevents.{math.floor(time.time())}.{_SOURCE}"
    number, path = 2, folder / start
    while path.exists():
        number, path = number + 1, folder / f"{start}.{number}"
    return path


class _Protos:
    """The two messages that are written."""

    def __init__(self) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        self.Event: Any = Event
        self.Summary: Any = Summary


def _protos() -> _Protos:
    try:
        return _Protos()
    except ImportError as error:
        raise UsageError(
            "TensorBoard's event files need tensorboardX; install it with: pip install 'onnxvis[tensorboard]'"
        ) from error
