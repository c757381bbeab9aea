"""Which input of a model takes the picture, and how that tensor's axes lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from onnxvis.graph.layout import fixed, guess_layout

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["image_channels", "image_input", "image_layout", "image_size"]

_DTYPES = ("float32", "float16", "float64", "uint8")
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

    Rank 4 is decided by `graph.layout.guess_layout`, which takes `from_graph`; rank 3 by where 3 or 4 channels stand.
    """
    if len(tensor.shape or ()) == 4:
        return guess_layout(tensor.shape, from_graph)
    shape = [fixed(dimension) for dimension in tensor.shape or ()]
    if len(shape) == 3 and not _is_batch(tensor):
        for layout, axis in (("CHW", 0), ("HWC", 2)):
            sides = [side for index, side in enumerate(shape) if index != axis]
            if shape[axis] in (3, 4) and all(side is None or side >= _SMALLEST_SIDE for side in sides):
                return layout
    return None


def image_channels(tensor: Tensor, layout: str) -> int:
    """How many channels the picture has: 1, 3 or 4; 3 where the model leaves it free."""
    return fixed((tensor.shape or ())[layout.index("C")]) or 3


def image_size(tensor: Tensor, layout: str) -> tuple[int | None, int | None]:
    """(height, width) that the model fixes, None for a side it leaves free."""
    shape = tensor.shape or ()
    return fixed(shape[layout.index("H")]), fixed(shape[layout.index("W")])


def _is_batch(tensor: Tensor) -> bool:
    """Whether a rank-3 tensor is a batch of sequences or points rather than one picture."""
    first = (tensor.shape or (None,))[0]
    return first == 1 or first is None or (isinstance(first, str) and first.lower() in _BATCH_WORDS)
