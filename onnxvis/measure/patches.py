"""The patches of pictures that excite each channel of a tensor most: what a channel looks for, shown by what it found.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv:1311.2901), section 4.1,
show a channel by its nine strongest responses in a set of pictures, each cut out of its picture as far as the response
can see. Positions are found in one pass that keeps numbers alone; the pictures that won are then read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.graph.receptive import receptive_field
from onnxvis.measure.activations import Probe
from onnxvis.measure.strongest import Strongest

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.receptive import ReceptiveField
    from onnxvis.measure.activations import Activations
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["MAX_TOP", "ChannelPatches", "Patch", "TensorPatches", "find_patches", "locate_patches", "read_pixels"]

Array = np.ndarray[Any, np.dtype[Any]]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]

MAX_TOP = 100
"""The most patches a channel."""

_LISTED = 12
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Patch:
    """One strong response. `value` stands at `row`, `column` of the channel's map for the picture `path`.

    `window`: (y0, x0, y1, x1), half-open, the part of the picture as it is fed that the value depends on, within the
    picture. `pixels`: (y1 - y0, x1 - x0, 3) uint8 RGB, that part; (0, 0, 3) until `read_pixels` has read it.
    """

    path: str
    value: float
    row: int
    column: int
    window: tuple[int, int, int, int]
    pixels: Array = field(default_factory=lambda: _NO_PIXELS, repr=False)


@dataclass(frozen=True, eq=False)
class ChannelPatches:
    """A channel's patches, strongest first, each of another picture.

    Left out are pictures in which a map is nowhere above the least value the channel has in any of them: a channel
    that no picture excites has none.
    """

    channel: int
    patches: tuple[Patch, ...]


@dataclass(frozen=True, eq=False)
class TensorPatches:
    """The patches of a tensor's channels. `pictures`: how many were looked at.

    `receptive`: (height, width) that a value depends on away from the borders, padding counted; None where it is not
    known or not the same everywhere. `notes`: what a reader should know, such as which channels nothing excites.
    """

    tensor: str
    channels: tuple[ChannelPatches, ...]
    pictures: int
    receptive: tuple[int, int] | None
    notes: tuple[str, ...]


def find_patches(
    model: Model,
    inputs: Callable[[], Iterable[PreparedInput]],
    tensors: Sequence[str],
    *,
    channels: Sequence[int] | None = None,
    top: int = 9,
    options: RunOptions,
    progress: Callable[[str, int, int], None] | None = None,
    total: int = 0,
    again: Callable[[str], PreparedInput] | None = None,
) -> tuple[TensorPatches, ...]:
    """The `top` strongest patches of each of `channels` (default: all) of each of `tensors`, with their pixels.

    `inputs` gives the pictures one by one; `again` one of them by its path, and without it `inputs` is gone through a
    second time. `total`: how many there are, for `progress`. Memory holds one picture at a time and the patches'
    pixels: for many channels use `locate_patches` and `read_pixels` a part at a time. Raises as these do.
    """
    found = locate_patches(model, inputs(), tensors, channels=channels, top=top, options=options, progress=progress,
                           total=total)  # fmt: skip
    wanted = {patch.path for one in found for channel in one.channels for patch in channel.patches}
    if again is not None:
        return read_pixels(found, map(again, sorted(wanted)))
    return read_pixels(found, (item for item in inputs() if item.path in wanted))


def locate_patches(
    model: Model,
    inputs: Iterable[PreparedInput],
    tensors: Sequence[str],
    *,
    channels: Sequence[int] | None = None,
    top: int = 9,
    options: RunOptions,
    progress: Callable[[str, int, int], None] | None = None,
    total: int = 0,
) -> tuple[TensorPatches, ...]:
    """As `find_patches`, without the pixels: memory holds one picture and a few numbers a patch, however many come.

    The graph is optimised unless the options say otherwise: over many pictures that saves more than it costs.
    Raises UsageError for a channel that is not there, a tensor that no input reaches or a `top` out of range,
    InputError where no picture comes or a tensor is no feature map; else as `Probe`.
    """
    if not 1 <= top <= MAX_TOP:
        raise UsageError(f"{top} is no number of patches a channel; choose one from 1 to {MAX_TOP}")
    names = list(dict.fromkeys(tensors))
    for name in names:
        if model.view.tensor(name).name not in model.view.data_path:
            raise UsageError(
                f"'{one_line(name)}' is the same whatever is fed: no picture excites it; name a feature map"
            )
    search = _Search(model, names, channels, top)
    with Probe(model, names, replace(options, exact=bool(options.exact)), only=True) as probe:
        for number, item in enumerate(inputs, 1):
            if progress is not None:
                progress("pictures", number, max(number, total) if total else 0)
            if item.picture is None:
                search.arrays += 1
            else:
                search.add(item, probe.run(item.feeds))
    if not search.pictures:
        arrays = f"; {search.passed_over()}" if search.arrays else ""
        raise InputError(f"no picture was given to {model.name}, so there is nothing to find patches in{arrays}")
    return tuple(search.patches(name) for name in names)


def read_pixels(found: Sequence[TensorPatches], pictures: Iterable[PreparedInput]) -> tuple[TensorPatches, ...]:
    """The same patches with their pixels, cut from `pictures`: those that they stand in, prepared as they were then.

    Memory: one picture, and the pixels of all patches given. Raises InputError where a picture is missing or has
    another size than before.
    """
    patches = [patch for one in found for channel in one.channels for patch in channel.patches]
    by_path: dict[str, list[Patch]] = {}
    for patch in patches:
        by_path.setdefault(patch.path, []).append(patch)
    cut: dict[int, Array] = {}
    for item in pictures:
        for patch in by_path.pop(item.path, ()):
            cut[id(patch)] = _cut(item, patch)
    if by_path:
        raise InputError(f"{one_line(next(iter(by_path)))} is no longer there; run it again")

    def whole(channel: ChannelPatches) -> ChannelPatches:
        return replace(channel, patches=tuple(replace(patch, pixels=cut[id(patch)]) for patch in channel.patches))

    return tuple(replace(one, channels=tuple(map(whole, one.channels))) for one in found)


def _cut(item: PreparedInput, patch: Patch) -> Array:
    y0, x0, y1, x1 = patch.window
    picture = item.picture
    if picture is None or picture.shape[0] < y1 or picture.shape[1] < x1:
        raise InputError(f"{one_line(item.path)} changed while its patches were cut; run it again")
    return np.array(picture[y0:y1, x0:x1])  # a copy: a view would keep the whole picture


class _Search:
    """What is known so far: the strongest positions of each tensor, and the pictures that they stand in."""

    def __init__(self, model: Model, tensors: Sequence[str], channels: Sequence[int] | None, top: int) -> None:
        self._model, self._tensors, self._top = model, tensors, top
        self._asked = None if channels is None else sorted(set(channels))
        self._ranks: dict[str, Strongest] = {}
        self._single: set[str] = set()
        self._kept: dict[int, tuple[str, Shapes, tuple[int, int]]] = {}
        self._fields: dict[tuple[str, Shapes], ReceptiveField | str] = {}
        self.pictures = self.arrays = 0

    def add(self, item: PreparedInput, found: Activations) -> None:
        number, self.pictures = self.pictures, self.pictures + 1
        kept = False
        for name in self._tensors:
            maps = self._chosen(name, found.maps(name))
            if name not in self._ranks:
                self._ranks[name] = Strongest(len(maps), self._top)
            kept |= self._ranks[name].add(maps, number)
        if kept and item.picture is not None:
            shapes = tuple((key, value.shape) for key, value in item.feeds.items())
            self._kept[number] = item.path, shapes, (item.picture.shape[0], item.picture.shape[1])
            self._forget()

    def _chosen(self, name: str, maps: Array) -> Array:
        """The maps of the channels asked for. Raises UsageError, InputError."""
        if not maps.size or maps.dtype.kind not in "fiub":
            shape = " × ".join(map(str, maps.shape))
            raise InputError(f"'{one_line(name)}', {maps.dtype} {shape}, has no numbers to rank; name another tensor")
        if maps.shape[1:] == (1, 1):
            self._single.add(name)
        if self._asked is None:
            return maps
        wrong = next((channel for channel in self._asked if not 0 <= channel < len(maps)), None)
        if wrong is not None:
            raise UsageError(f"'{one_line(name)}' has no channel {wrong}; choose from 0 to {len(maps) - 1}")
        return maps[self._asked]

    def _forget(self) -> None:
        """Drop pictures that no patch stands in any more, now and then."""
        if len(self._kept) > 64 + 2 * sum(rank.values.size for rank in self._ranks.values()):
            alive = {int(number) for rank in self._ranks.values() for number in np.unique(rank.pictures)}
            self._kept = {number: what for number, what in self._kept.items() if number in alive}

    def patches(self, name: str) -> TensorPatches:
        """What was found for a tensor."""
        rank = self._ranks[name]
        numbers = range(len(rank.values)) if self._asked is None else self._asked
        channels, notes = [], dict[str, None]()
        for index, channel in enumerate(numbers):
            places = [place for place in range(self._top) if self._excited(name, rank, index, place)]
            patches = tuple(self._patch(name, rank, index, place, notes) for place in places)
            channels.append(ChannelPatches(channel, patches))
        return TensorPatches(
            name, tuple(channels), self.pictures, self._receptive(name), (*self._notes(rank, channels), *notes)
        )

    def _excited(self, name: str, rank: Strongest, index: int, place: int) -> bool:
        """Whether a response is above the channel's least value; a single position has nothing else to be above."""
        value = rank.values[index, place]
        return bool(np.isfinite(value) and (value > rank.least[index] or name in self._single))

    def _patch(self, name: str, rank: Strongest, index: int, place: int, notes: dict[str, None]) -> Patch:
        path, shapes, size = self._kept[int(rank.pictures[index, place])]
        row, column = (int(side) for side in rank.positions[index, place])
        window = (0, 0, *size)
        known = self._field(name, shapes)
        if isinstance(known, str):
            notes[f"{known}; whole pictures are shown"] = None
        else:
            y0, y1, x0, x1 = known.at(row, column)
            if y0 < y1:
                window = y0, x0, y1, x1
            else:
                notes["some positions depend on no pixel: whole pictures are shown for them"] = None
        return Patch(path, float(rank.values[index, place]), row, column, window)

    def _field(self, name: str, shapes: Shapes) -> ReceptiveField | str:
        """The receptive field for inputs of these shapes, or why it is not known."""
        key = name, shapes
        if key not in self._fields:
            fed: Mapping[str, tuple[int, ...]] = {key: shape for key, shape in shapes if key in self._model.maps}
            try:
                self._fields[key] = receptive_field(self._model.at(fed), name)
            except UsageError as reason:
                self._fields[key] = str(reason)
        return self._fields[key]

    def _receptive(self, name: str) -> tuple[int, int] | None:
        sizes = {known.size for (key, _), known in self._fields.items() if key == name and not isinstance(known, str)}
        height, width = sizes.pop() if len(sizes) == 1 else (None, None)
        return (height, width) if height is not None and width is not None else None

    def _notes(self, rank: Strongest, channels: Sequence[ChannelPatches]) -> list[str]:
        notes = []
        silent = [channel.channel for channel in channels if not channel.patches]
        below = [channel.channel for channel in channels if channel.patches and channel.patches[0].value <= 0]
        total = len(channels)
        if silent:
            notes.append(
                _said(silent, total, "never responds: it is", "never respond: they are", " the same everywhere")
            )
        if below:
            notes.append(_said(below, total, "is", "are", " nowhere above 0"))
        if rank.odd:
            notes.append(f"NaN or infinite values in {rank.odd} of {self.pictures} pictures were left out")
        if self.arrays:
            notes.append(self.passed_over())
        return notes

    def passed_over(self) -> str:
        """What is said of arrays."""
        what = "one array was" if self.arrays == 1 else f"{self.arrays} arrays were"
        return f"{what} passed over: patches are cut from pictures"


def _said(channels: Sequence[int], total: int, singular: str, plural: str, what: str) -> str:
    if len(channels) == 1:
        return f"channel {channels[0]} {singular}{what}"
    shown = ", ".join(map(str, channels[:_LISTED]))
    more = ", …" if len(channels) > _LISTED else ""
    return f"{len(channels)} of {total} channels {plural}{what}: {shown}{more}"
