"""Which input of a model takes the picture, and how that tensor's axes lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["CHANNELS", "image_channels", "image_input", "image_layout", "image_size"]

CHANNELS = (1, 3, 4)
_DTYPES = ("float32", "float16", "float64", "uint8")
_CHANNEL_WORDS = ("channel", "channels", "chan", "num_channels", "c", "rgb")
_BATCH_WORDS = ("batch", "batch_size", "n", "b", "bs")
_SMALLEST_SIDE = 8


def image_input(inputs: Sequence[Tensor]) -> Tensor | None:
    """The input that takes the picture: the first with 3 channels, else the first with 1 or 4; None without one.

    A picture is float32, float16, float64 or uint8, of rank 4 (batch, channels, height, width or batch, height, width,
    channels; free dimensions are taken for what they may be), or of rank 3 without a batch, with 3 or 4 channels.
    """
    fitting = [tensor for tensor in inputs if tensor.dtype in _DTYPES and image_layout(tensor) is not None]
    with_colour = [tensor for tensor in fitting if image_channels(tensor, image_layout(tensor) or "") == 3]
    return next(iter(with_colour or fitting), None)


def image_layout(tensor: Tensor, from_graph: str | None = None) -> str | None:
    """'NCHW', 'NHWC', 'CHW' or 'HWC', or None where the tensor cannot be a picture.

    `from_graph` is 'NCHW' or 'NHWC' where the graph's operators tell; it is believed for rank 4 unless it contradicts
    the number of channels. By shape alone: where 1, 3 or 4 stands; where that leaves both, channels first.
    """
    shape = [_fixed(dimension) for dimension in tensor.shape or ()]
    if len(shape) == 4:
        possible = [layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if _may_be_picture(shape, axis)]
        if from_graph in possible:
            return from_graph
        known = [layout for layout in possible if shape[layout.index("C")] or _named_channels(tensor, layout)]
        return next(iter(known or possible), None)
    if len(shape) == 3 and not _is_batch(tensor):
        for layout, axis in (("CHW", 0), ("HWC", 2)):
            sides = [side for index, side in enumerate(shape) if index != axis]
            if shape[axis] in (3, 4) and all(side is None or side >= _SMALLEST_SIDE for side in sides):
                return layout
    return None


def image_channels(tensor: Tensor, layout: str) -> int:
    """How many channels the picture has: 1, 3 or 4; 3 where the model leaves it free."""
    return _fixed((tensor.shape or ())[layout.index("C")]) or 3


def image_size(tensor: Tensor, layout: str) -> tuple[int | None, int | None]:
    """(height, width) that the model fixes, None for a side it leaves free."""
    shape = tensor.shape or ()
    return _fixed(shape[layout.index("H")]), _fixed(shape[layout.index("W")])


def _fixed(dimension: int | str | None) -> int | None:
    """The number, or None for a free dimension: a name, nothing, or the −1 and 0 that some exporters write."""
    return dimension if isinstance(dimension, int) and dimension > 0 else None


def _may_be_picture(shape: list[int | None], channel_axis: int) -> bool:
    """Whether 1, 3, 4 or a free dimension stands at the channels, and sides longer than one pixel elsewhere."""
    sides = [side for axis, side in enumerate(shape) if axis not in (0, channel_axis)]
    return shape[channel_axis] in (None, *CHANNELS) and all(side is None or side > 1 for side in sides)


def _named_channels(tensor: Tensor, layout: str) -> bool:
    dimension = (tensor.shape or ())[layout.index("C")]
    return isinstance(dimension, str) and dimension.lower() in _CHANNEL_WORDS


def _is_batch(tensor: Tensor) -> bool:
    """Whether a rank-3 tensor is a batch of sequences or points rather than one picture."""
    first = (tensor.shape or (None,))[0]
    return first == 1 or first is None or (isinstance(first, str) and first.lower() in _BATCH_WORDS)
