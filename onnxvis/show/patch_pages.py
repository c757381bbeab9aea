"""A tensor's patches as files: a page a channel and an overview, a few channels' pixels in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, RewriteError, UsageError
from onnxvis.files import one_line
from onnxvis.measure.patch_projections import project_patches, telling_variant
from onnxvis.measure.patches import read_pixels
from onnxvis.show.patches import channel_page, field_of, overview_page, patch_grid
from onnxvis.show.png import encode_drawing
from onnxvis.show.projections import projection_picture

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.patches import ChannelPatches, Patch, TensorPatches
    from onnxvis.rewrite.tape import Variant
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["OVERVIEW", "PROJECTED", "PatchPages"]

Array = np.ndarray[Any, np.dtype[np.uint8]]

PROJECTED = 16
"""Up to so many channels, projections are made unless they are declined."""
OVERVIEW = 64
"""How many channels an overview shows."""

_CAPTIONS = {
    "plain": "what excites it: the gradient",
    "guided": "what excites it: guided backpropagation",
    "deconvnet": "what excites it: deconvnet",
}
_BUDGET = 48 << 20  # bytes of pixels at a time


@dataclass
class PatchPages:
    """How pages are made: `again` reads a picture by its path.

    `projections`: with or without; None: with, where a tensor shows `PROJECTED` channels at most and gradients pass.
    `variant` as for `project_patches`; None: that of `telling_variant`.
    `notes` gathers what a reader should know of the projections.
    """

    model: Model
    again: Callable[[str], PreparedInput]
    projections: bool | None
    options: RunOptions
    progress: Callable[[str, int, int], None]
    variant: Variant | None = None
    notes: dict[str, None] = field(default_factory=dict)
    _done: int = 0
    _of: int = 0

    def pages(self, found: TensorPatches) -> Iterator[tuple[str, bytes]]:
        """(file name, PNG): `channel-007.png` for each channel that has patches, and at last `overview.png`.

        Raises InputError for a picture that is no longer there; InputError, RewriteError or UsageError where
        `projections` are asked for and there can be none.
        """
        extent, room = field_of(found.channels), max(1, *(len(channel.patches) for channel in found.channels))
        blocks: list[tuple[ChannelPatches, Array]] = []
        self._done, self._of = 0, sum(len(channel.patches) for channel in found.channels)
        title, variant = self._title(found), self._variant(found)
        for part in _parts(found):
            filled, beside = self._filled(part, variant)
            variant = None if beside is None else variant
            for light, channel in zip(part.channels, filled.channels, strict=True):
                if len(blocks) < OVERVIEW:
                    pixels = [patch.pixels for patch in channel.patches]
                    blocks.append((light, patch_grid(pixels, channel, extent, room)))
                if channel.patches:
                    own = beside[channel.channel] if beside is not None else None
                    page = channel_page(channel, extent, room, title, own, _CAPTIONS[variant] if variant else "")
                    yield f"channel-{channel.channel:03d}.png", encode_drawing(page)
        yield "overview.png", encode_drawing(overview_page(blocks, title))

    def _title(self, found: TensorPatches) -> str:
        size = (
            "" if found.receptive is None else f", each value sees {found.receptive[0]} × {found.receptive[1]} pixels"
        )
        return f"{found.tensor} of {self.model.name}{size}; {found.pictures} pictures"

    def _variant(self, found: TensorPatches) -> Variant | None:
        """How the patches are projected, None where they are not."""
        few = len(found.channels) <= PROJECTED
        if few if self.projections is None else self.projections:
            return self.variant or telling_variant(self.model, found.tensor)
        return None

    def _filled(
        self, part: TensorPatches, variant: Variant | None
    ) -> tuple[TensorPatches, dict[int, list[Array]] | None]:
        """The patches with their pixels, and {channel: a picture of each one's projection}, None for none."""
        by_path: dict[str, list[tuple[int, int, Patch]]] = {}
        for channel in part.channels:
            for place, patch in enumerate(channel.patches):
                by_path.setdefault(patch.path, []).append((channel.channel, place, patch))
        made: dict[tuple[int, int], Array] | None = None if variant is None else {}

        def pictures() -> Iterator[PreparedInput]:
            nonlocal made
            for path, patches in by_path.items():
                item = self.again(path)
                if variant and made is not None and not self._project(item, part.tensor, patches, variant, made):
                    made = None
                self._done += len(patches)
                self.progress("cutting patches" if made is None else "projecting patches", self._done, self._of)
                yield item

        (filled,) = read_pixels([part], pictures())
        if made is None:
            return filled, None
        return filled, {c.channel: [made[c.channel, place] for place in range(len(c.patches))] for c in part.channels}

    def _project(
        self,
        item: PreparedInput,
        tensor: str,
        patches: Sequence[tuple[int, int, Patch]],
        variant: Variant,
        made: dict[tuple[int, int], Array],
    ) -> bool:
        """Add the projections of one picture's patches; returns whether there are any."""
        notes: list[str] = []
        bgr = item.preprocessing is not None and item.preprocessing.bgr
        asked = [(channel, patch) for channel, _, patch in patches]
        try:
            found = project_patches(self.model, item, tensor, asked, self.options, variant, notes)
            for (channel, place, _), values in zip(patches, found, strict=True):
                made[channel, place] = projection_picture(values, bgr=bgr)
        except (InputError, RewriteError, UsageError) as reason:
            if self.projections:
                raise
            self.notes[f"no projections: {one_line(reason, 400)}"] = None
            return False
        self.notes |= dict.fromkeys(notes)
        return True


def _parts(found: TensorPatches) -> Iterator[TensorPatches]:
    """A few channels at a time: as many as keep their patches' pixels within a budget, one at least."""
    part: list[ChannelPatches] = []
    used = 0
    for channel in found.channels:
        windows = [patch.window for patch in channel.patches]
        size = sum(3 * (y1 - y0) * (x1 - x0) for y0, x0, y1, x1 in windows)
        if part and used + size > _BUDGET:
            yield replace(found, channels=tuple(part))
            part, used = [], 0
        part.append(channel)
        used += size
    yield replace(found, channels=tuple(part))
