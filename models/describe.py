"""What a model file says about itself: class names, how a picture becomes its input, the heads of a detector.

`onnxvis.labels`, `onnxvis.preprocess` and `onnxvis.detector` are read by every command of onnxvis.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["YoloHead", "detector_metadata", "labels_metadata", "preprocess_metadata", "square_metadata"]


@dataclass(frozen=True)
class YoloHead:
    """A raw head of the YOLOv3 family: output `output`, (batch, A · (5 + classes), H, W), box by box the channels
    x, y, width, height, objectness, classes, all before their sigmoid or exp.

    `stride`: pixels of the input a cell; `anchors`: A pairs (width, height) in pixels of the input; `scale_xy`: how far
    a centre may leave its cell (Darknet's scale_x_y); `new_coords`: as in Scaled-YOLOv4, where a convolution ends in a
    sigmoid already and a side is (2 · value)² · anchor.
    """

    output: str
    stride: int
    anchors: tuple[tuple[float, float], ...]
    scale_xy: float = 1.0
    new_coords: bool = False


def labels_metadata(names: Sequence[str]) -> dict[str, str]:
    """The names of the classes, by index."""
    return {"onnxvis.labels": json.dumps(list(names))}


def preprocess_metadata(settings: Mapping[str, Any]) -> dict[str, str]:
    """How a picture becomes the input: keys as the flags are called (size, fit, bgr, divide, mean, …)."""
    return {"onnxvis.preprocess": json.dumps(dict(settings))}


def square_metadata(size: int, fit: str, mean: Sequence[float], std: Sequence[float]) -> dict[str, str]:
    """The input is `size` × `size` RGB, averaged down to that, and (pixel / 255 − mean) / std, by channel."""
    settings = {"size": [size, size], "fit": fit, "interpolation": "area", "bgr": False, "divide": 255.0}
    return preprocess_metadata({**settings, "mean": mean, "std": std})


def detector_metadata(
    heads: Sequence[YoloHead], classes: int, decoded: tuple[str, str] | None = None
) -> dict[str, str]:
    """The raw heads, how many classes each box has, and the outputs with boxes and scores where the graph decodes them.

    Those are (batch, boxes, 4), corners x0, y0, x1, y1 in pixels of the input, and (batch, boxes, classes), objectness
    times class, in [0, 1].
    """
    entries = [
        {
            "output": head.output,
            "stride": head.stride,
            "anchors": [list(pair) for pair in head.anchors],
            "scale_xy": head.scale_xy,
            "new_coords": head.new_coords,
        }
        for head in heads
    ]
    content: dict[str, Any] = {"kind": "yolo", "classes": classes, "heads": entries}
    if decoded is not None:
        content |= {"boxes": decoded[0], "scores": decoded[1]}
    return {"onnxvis.detector": json.dumps(content)}
