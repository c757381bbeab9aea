"""From pictures in 0–1 to what a model is fed, and from gradients by that back to the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.graph.layout import fixed
from onnxvis.run.feeds import complete_feeds
from onnxvis.run.picture_input import image_channels, image_input, image_size

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.preprocess import Preprocessing
    from onnxvis.run.reading import Reading

__all__ = ["Feeding"]

Array = np.ndarray[Any, np.dtype[Any]]

_SIDE = 224
_TOGETHER = 16
"""So many pictures climb at once at most where the model's batch is free: memory stays bounded."""


@dataclass(frozen=True, eq=False)
class Feeding:
    """How pictures (C, H, W) in 0–1, RGB or grey, go to input `source`: `batch` at once, of `size` (H, W).

    value = (255 p / divide − mean) / std, the channels in the order fed. A fourth channel is opaque throughout.
    `model` is seen at these shapes. `layout` names the input's axes; without N the model takes one picture.
    """

    model: Model
    source: str
    dtype: str
    layout: str
    size: tuple[int, int]
    batch: int
    free: bool
    channels: int
    preprocessing: Preprocessing
    given: Mapping[str, Array]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: Model, reading: Reading, wanted: int) -> Feeding:
        """Decide for `model` as `reading` prepares pictures, for `wanted` pictures: as many at once as it takes.

        Raises UsageError where the model takes no picture.
        """
        tensor = image_input([item for item in model.inputs if item.name not in reading.given])
        if tensor is None or reading.layout is None or reading.preprocessing is None:
            raise UsageError(f"{model.name} takes no picture, so there is none that could excite it")
        layout = reading.layout
        asked, own = reading.preprocessing.size or (_SIDE, _SIDE), image_size(tensor, layout)
        size = own[0] or asked[0], own[1] or asked[1]
        batch = fixed((tensor.shape or ())[0]) if "N" in layout else 1
        channels = image_channels(tensor, layout)
        found = cls(
            model, tensor.name, tensor.dtype, layout, size, batch or min(wanted, _TOGETHER), batch is None, channels,
            reading.preprocessing.for_channels(channels), reading.given,
        )  # fmt: skip
        return found.at_batch(found.batch)

    def at_batch(self, batch: int) -> Feeding:
        """The same for `batch` pictures at once."""
        feeds, notes = complete_feeds(self.model.inputs, {**self.given, self.source: self._empty(batch)}, self.size)
        seen = self.model.at({name: tuple(value.shape) for name, value in feeds.items()})
        return replace(self, batch=batch, model=seen, notes=notes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of pictures: 1 or 3 colours."""
        return min(self.channels, 3), *self.size

    def feeds(self, fed: Sequence[Array]) -> dict[str, Array]:
        """The model's feeds for what `fed` gave, (C, H, W) each, 1 to `batch` of them: the first fills what is left.

        Whole numbers are rounded and clipped to their type's range.
        """
        value = self._empty(self.batch)
        kept = [*fed, *[fed[0]] * (self.batch - len(fed))]
        axes = ["CHW".index(axis) for axis in self.layout.replace("N", "")]
        every = np.stack([item.transpose(axes) for item in kept])
        if value.dtype.kind in "iu":
            limits = np.iinfo(value.dtype)
            every = np.clip(np.rint(every), limits.min, limits.max)
        value[...] = every if "N" in self.layout else every[0]
        return complete_feeds(self.model.inputs, {**self.given, self.source: value}, self.size)[0]

    def fed(self, picture: Array) -> Array:
        """What of a picture is fed, (C, H, W) float64."""
        pixels = 255 * self._ordered(picture)
        if self.channels == 4:
            pixels = np.concatenate([pixels, np.full((1, *self.size), 255.0)])
        mean, std = self._constants()
        return (pixels / self.preprocessing.divide - mean) / std

    def pulled(self, gradient: Array) -> Array:
        """From a gradient by what is fed (C, H, W) to that by the picture."""
        _, std = self._constants()
        return self._ordered((gradient * 255 / (self.preprocessing.divide * std))[: self.shape[0]])

    def _ordered(self, planes: Array) -> Array:
        """Red and blue exchanged where the model takes blue first: its own inverse and adjoint."""
        return planes[::-1] if self.preprocessing.bgr and len(planes) == 3 else planes

    def _constants(self) -> tuple[Array, Array]:
        settings = self.preprocessing
        mean, std = (np.asarray(numbers).reshape(-1, 1, 1) for numbers in (settings.mean, settings.std))
        return mean, std

    def _empty(self, batch: int) -> Array:
        sizes = {"N": batch, "C": self.channels, "H": self.size[0], "W": self.size[1]}
        return np.zeros([sizes[axis] for axis in self.layout], self.dtype)
