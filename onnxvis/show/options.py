"""What a report is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.session import RunOptions
from onnxvis.show.budget import DEFAULT_BUDGET
from onnxvis.show.maps import Look

__all__ = ["Progress", "ReportOptions", "silent"]

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


@dataclass(frozen=True)
class ReportOptions:
    """What a report is made with. `feeds`: texts for further inputs, NAME=VALUE; `budget`: bytes of the page;
    `bins`: of each weight's histogram; `heatmaps`: methods by name, none for no heatmaps; `classes`: for how many of
    the strongest classes, or boxes, the first of them is drawn; `detector`: what is told of a detector's heads;
    `faithfulness`: whether each heatmap is tested by insertion and deletion.

    `channels`: how many of its strongest channels are shown beside each stage; `projections`: whether they are
    projected back to pixels, None to decide by the model's cost, see `excited.why_not`; `patches`: a folder of
    pictures, whose patches that excite those channels most are shown.
    """

    run: RunOptions = field(default_factory=RunOptions)
    preprocess: PreprocessFlags = field(default_factory=PreprocessFlags)
    labels: Path | None = None
    feeds: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    look: Look = field(default_factory=Look)
    budget: int = DEFAULT_BUDGET
    command: str = ""
    bins: int = 50
    heatmaps: tuple[str, ...] = ("gradcam",)
    classes: int = 1
    detector: DetectorFlags = NO_FLAGS
    faithfulness: bool = False
    channels: int = 3
    projections: bool | None = None
    patches: Path | None = None

    @property
    def shows_channels(self) -> bool:
        """Whether the strongest channels are shown: where heatmaps are, or what only they can show was asked for."""
        return self.channels > 0 and bool(self.heatmaps or self.projections or self.patches)


def silent(what: str, done: int, of: int) -> None:
    """Progress that nobody is told of."""
