"""Where a detector hands its boxes to a non-maximum suppression inside the graph, and the raw heads behind them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from onnxvis.graph.load import Model
from onnxvis.graph.ops import CONVOLUTIONS

__all__ = ["RawHead", "raw_heads"]

_SUPPRESSION = re.compile(r"nms|nonmaxsuppression", re.IGNORECASE)


@dataclass(frozen=True)
class RawHead:
    """A tensor before the suppression: `role` is 'boxes' or 'scores' for what `node` (its label, of operator `feeds`)
    reads, 'convolution' for the result of a head's last convolution behind those.
    """

    tensor: str
    feeds: str
    node: str
    role: Literal["boxes", "scores", "convolution"]


def raw_heads(model: Model) -> tuple[RawHead, ...]:
    """The raw heads before every non-maximum suppression of the main graph, in order; () where there is none.

    ONNX's NonMaxSuppression and the operators of other domains that are called so, such as TensorRT's
    EfficientNMS_TRT: each reads boxes, then scores.
    """
    found: dict[tuple[str, str], RawHead] = {}
    for node in model.view.nodes:
        if not _SUPPRESSION.search(node.op):
            continue
        read = [name for name in node.inputs[:2] if name in model.view.data_path]
        roles: tuple[Literal["boxes", "scores"], ...] = ("boxes", "scores")
        for name, role in zip(node.inputs[:2], roles, strict=False):
            if name in read:
                found.setdefault((name, node.label), RawHead(name, node.op, node.label, role))
        for name in _last_convolutions(model, read):
            found.setdefault((name, node.label), RawHead(name, node.op, node.label, "convolution"))
    return tuple(found.values())


def _last_convolutions(model: Model, names: list[str]) -> Iterator[str]:
    """The nearest maps of the picture that convolutions make on the way to `names`, first in the graph first.

    A convolution over anything else, such as the bins of a distribution, is walked through.
    """
    place = {name: node.index for node in model.view.nodes for name in node.outputs}
    waiting, seen, found = list(names), set(names), []
    while waiting:
        name = waiting.pop()
        node = model.view.producer(name)
        if node is None:
            continue
        if node.op in CONVOLUTIONS and _is_of_picture(model, name):
            found.append(name)
            continue
        for before in (*node.inputs, *node.captures):
            if before in model.view.data_path and before not in seen:
                seen.add(before)
                waiting.append(before)
    yield from sorted(found, key=lambda name: place.get(name, 0))


def _is_of_picture(model: Model, name: str) -> bool:
    """Whether a map has the picture's proportions: its rows and columns are the picture's by one stride, rounded up.

    True where either size is unknown.
    """
    size = model.maps.chw(name)
    pictures = [known for tensor in model.view.inputs if (known := model.maps.chw(tensor.name)) is not None]
    if size is None or not pictures:
        return True
    (_, height, width), (_, rows, columns) = pictures[0], size
    return any(
        _near(height, stride, rows) and _near(width, stride, columns) for stride in (1, 2, 4, 8, 16, 32, 64, 128)
    )


def _near(side: int, stride: int, cells: int) -> bool:
    """Whether a side has about so many cells of `stride` pixels: padding may give or take one."""
    return abs(side / stride - cells) <= 1
