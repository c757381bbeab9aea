"""How a model's inputs are read: which takes the picture, how it is prepared, what is fed beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.run.feeds import parse_feeds
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.hints import stride
from onnxvis.run.inputs import PreparedInput, Skipped, read_inputs
from onnxvis.run.picture_input import image_input, image_layout
from onnxvis.run.pictures import MAX_PIXELS
from onnxvis.run.preprocess import Preprocessing
from onnxvis.run.settings import resolve_preprocessing

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """Decided once for a model: `preprocessing` and `layout` are None where it takes no picture.

    `given`: arrays for further inputs; `multiple`: what sides are rounded down to at a picture's own size.
    """

    inputs: tuple[Tensor, ...]
    preprocessing: Preprocessing | None
    layout: str | None
    given: Mapping[str, np.ndarray[Any, np.dtype[Any]]]
    multiple: int

    @classmethod
    def of(cls, model: Model, flags: PreprocessFlags | None = None, feeds: Sequence[str] = ()) -> Reading:
        """Decide for `model`: see `resolve_preprocessing` and `parse_feeds`, whose errors it raises."""
        given = parse_feeds(feeds, model.inputs)
        tensor = image_input([item for item in model.inputs if item.name not in given])
        layout = image_layout(tensor, model.maps.layouts.get(tensor.name)) if tensor else None
        if tensor is None or layout is None:
            return cls(model.inputs, None, None, given, 1)
        settings = resolve_preprocessing(
            model.path, model.metadata, tensor, model.view.outputs, layout, flags or PreprocessFlags()
        )
        return cls(model.inputs, settings, layout, given, stride(model.metadata))

    def read(
        self, arguments: Sequence[str | Path], skipped: list[Skipped] | None = None, max_pixels: int = MAX_PIXELS
    ) -> Iterator[PreparedInput]:
        """Everything that `arguments` name, prepared one by one: see `read_inputs`, whose errors it raises."""
        if not arguments:
            return iter(())
        return read_inputs(
            arguments, self.inputs, self.preprocessing, self.layout,
            given=self.given, max_pixels=max_pixels, multiple=self.multiple, skipped=skipped,
        )  # fmt: skip
