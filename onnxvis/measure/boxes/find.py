"""The heads in the outputs that a model gave for one input, decoded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.measure.boxes.decode import Decoded, decode, out_of_range
from onnxvis.measure.boxes.flags import DetectorFlags
from onnxvis.measure.boxes.heads import Heads
from onnxvis.measure.boxes.recognise import recognise
from onnxvis.run.labels import read_labels
from onnxvis.run.picture_input import image_input, image_layout

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["decode_all", "find_heads"]

Array = np.ndarray[Any, np.dtype[Any]]


def find_heads(
    model: Model, feeds: Mapping[str, Array], outputs: Mapping[str, Any], flags: DetectorFlags
) -> tuple[Heads | None, str]:
    """The heads of known kinds among `outputs`; None and why not, '' where nothing is like any."""
    size = _size(model, feeds)
    floats = {name: value for name, value in outputs.items() if _is_numbers(value)}
    if size is None or not floats:
        return None, ""
    shapes = {name: value.shape for name, value in floats.items()}
    heads, reason = recognise(shapes, size, model.metadata, flags, _named_classes(model))
    if heads is not None and (reason := out_of_range(heads, floats)):
        return None, reason
    return heads, reason


def decode_all(heads: Heads, outputs: Mapping[str, Any]) -> tuple[Decoded, ...]:
    """Every head's boxes, of the first picture."""
    return tuple(decode(heads, head, outputs[head.output]) for head in heads.heads)


def _size(model: Model, feeds: Mapping[str, Array]) -> tuple[int, int] | None:
    """Height and width of the picture as it is fed."""
    picture = image_input(model.inputs)
    if picture is None or picture.name not in feeds:
        return None
    layout = image_layout(picture, model.maps.layouts.get(picture.name)) or "NCHW"
    shape = feeds[picture.name].shape
    return int(shape[layout.index("H")]), int(shape[layout.index("W")])


def _is_numbers(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim >= 3 and value.size > 0


def _named_classes(model: Model) -> int | None:
    """How many classes Ultralytics' metadata names: beside them a box may have masks or key points."""
    if "names" not in model.metadata:
        return None
    try:
        labels = read_labels(model.path, {"names": model.metadata["names"]})
    except InputError:
        return None
    return max(labels.names) + 1 if labels is not None and labels.source == "metadata names" and len(labels) else None
