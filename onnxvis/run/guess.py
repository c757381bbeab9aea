"""Guessing what a model is from the shapes of its outputs, where nobody said how its pictures are prepared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["looks_like_detector"]

# Anchors · (5 + classes) for COCO's 80 and VOC's 20 classes, with 1, 3 or 5 anchors.
_GRID_CHANNELS = frozenset(anchors * (5 + classes) for anchors in (1, 3, 5) for classes in (20, 80)) - {25}
_FEWEST_BOXES = 100
_Shape = tuple[int | str | None, ...]


def looks_like_detector(outputs: Sequence[Tensor]) -> bool:
    """Whether outputs of these shapes look like boxes; names and values are not asked.

    Yes for: (batch, boxes, 4) beside another output (SSD, DETR), (boxes, 4) beside a list (torchvision); several
    outputs of rank 3 or more (heads at several scales); one (batch, boxes, 5 + k) or (batch, 4 + k, boxes) with 100
    boxes or more (YOLO); one grid of anchors · (5 + 20 or 80 classes) channels.
    No for class scores (N, K) or (N, K, 1, 1), also beside others; for maps all of one shape (masks); for tokens and
    feature maps, whose channels are multiples of 64.
    """
    shapes = [tensor.shape for tensor in outputs if tensor.shape is not None]
    deep = [shape for shape in shapes if len(shape) >= 3 and not _is_vector(shape)]
    if any(len(shape) == 3 and shape[-1] == 4 for shape in deep) and len(shapes) >= 2:
        return True
    if any(len(shape) == 2 and shape[-1] == 4 for shape in shapes) and any(len(shape) == 1 for shape in shapes):
        return True
    if any(_is_class_scores(shape) for shape in shapes) or all(_is_features(shape) for shape in deep):
        return False
    if len(deep) >= 2:
        return len(set(deep)) > 1 or len(deep[0]) == 3
    return _is_box_list(deep[0]) or _is_grid(deep[0])


def _is_class_scores(shape: _Shape) -> bool:
    return len(shape) == 2 and isinstance(shape[1], int) and shape[1] >= 2


def _is_features(shape: _Shape) -> bool:
    """Tokens (batch, positions, channels) or maps (batch, channels, height, width) of 64, 128, … channels."""
    channels = shape[-1] if len(shape) == 3 else shape[1]
    return isinstance(channels, int) and channels >= 64 and channels % 64 == 0


def _is_vector(shape: _Shape) -> bool:
    """(N, K, 1, 1): a vector written as a map."""
    return all(dimension == 1 for dimension in shape[2:])


def _is_box_list(shape: _Shape) -> bool:
    """(batch, boxes, 5 + k) or (batch, 4 + k, boxes): many more boxes than numbers a box, where both are known."""
    if len(shape) != 3:
        return False
    known = [dimension for dimension in shape[1:] if isinstance(dimension, int) and dimension > 0]
    if not known:
        return False
    numbers, boxes = min(known), max(known) if len(known) == 2 else None
    if numbers < 5 or numbers % 64 == 0:
        return False
    return boxes is None or (boxes >= _FEWEST_BOXES and boxes >= 2 * numbers)


def _is_grid(shape: _Shape) -> bool:
    return len(shape) == 4 and (shape[1] in _GRID_CHANNELS or shape[3] in _GRID_CHANNELS)
