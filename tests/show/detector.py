"""A detector of the YOLOv3 family that finds what it is told to: two raw heads, metadata that declares them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from tests.tiny import Array, from_text

__all__ = ["ANCHORS", "NAMES", "SIDE", "THREE", "Planted", "detector", "segmenter"]

SIDE = 64
NAMES = ("star", "ring", "a long name of a class", "雪")
ANCHORS = {"coarse": ((40.0, 40.0), (30.0, 60.0)), "fine": ((10.0, 10.0), (16.0, 12.0))}
STRIDES = {"coarse": 16, "fine": 8}


@dataclass(frozen=True)
class Planted:
    """A box as a head's raw numbers: where it stands, x, y, w, h before sigmoid and exp, and the two logits."""

    head: str
    anchor: int
    row: int
    column: int
    raw: tuple[float, float, float, float]
    objectness: float
    label: int
    chance: float


THREE = (
    Planted("coarse", 0, 1, 2, (0.2, -0.3, -0.2, -0.1), 4.0, 0, 3.0),
    Planted("fine", 1, 5, 1, (0.0, 0.5, 0.3, 0.4), 2.0, 1, 1.0),
    Planted("fine", 0, 0, 7, (1.0, -2.0, 0.1, 0.2), 0.0, 2, -1.5),  # 0.09: found, and hidden at first
)


def detector(boxes: tuple[Planted, ...] = THREE, declared: bool = True) -> ModelProto:
    """Input `image` (1, 3, 64, 64), outputs `coarse` and `fine`, (1, 2 · (5 + 4), 4 | 8, …).

    Each head is what `boxes` say, with an objectness of −12 everywhere else, and a trace of what a convolution of the
    picture gives, so that it has a gradient. `declared` False: no metadata says what the outputs are.
    """
    numbers = 2 * (5 + len(NAMES))
    proto = from_text(
        f"""g (float[1,3,{SIDE},{SIDE}] image) => (float[1,{numbers},4,4] coarse, float[1,{numbers},8,8] fine) {{
            a = Conv<kernel_shape = [3, 3], strides = [4, 4], pads = [1, 1, 1, 1]>(image, w1)
            b = Relu(a)
            c = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(b, w2)
            d = Relu(c)
            e = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(d, w3)
            f = Relu(e)
            near_coarse = Conv<kernel_shape = [1, 1]>(f, w4)
            near_fine = Conv<kernel_shape = [1, 1]>(d, w5)
            coarse = Add(near_coarse, planted_coarse)
            fine = Add(near_fine, planted_fine)
        }}"""
    )
    rng = np.random.default_rng(5)
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8, 3, 3)}
    arrays = {name: rng.standard_normal(shape) * 0.2 for name, shape in shapes.items()}
    arrays |= {name: rng.standard_normal((numbers, 8, 1, 1)) * 1e-3 for name in ("w4", "w5")}
    arrays |= {f"planted_{head}": _grid(head, boxes) for head in STRIDES}
    for name, values in arrays.items():
        proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    settings = {"size": [SIDE, SIDE], "fit": "stretch", "divide": 255}
    props = {"onnxvis.labels": json.dumps(NAMES), "onnxvis.preprocess": json.dumps(settings)}
    heads = [{"output": head, "stride": STRIDES[head], "anchors": ANCHORS[head]} for head in STRIDES]
    if declared:
        props["onnxvis.detector"] = json.dumps({"kind": "yolo", "classes": len(NAMES), "heads": heads})
    helper.set_model_props(proto, props)
    return proto


def _grid(head: str, boxes: tuple[Planted, ...]) -> Array:
    cells = SIDE // STRIDES[head]
    grid = np.zeros((2, 5 + len(NAMES), cells, cells))
    grid[:, 4] = -12
    grid[:, 5:] = -6
    for box in boxes:
        if box.head == head:
            column = grid[box.anchor, :, box.row, box.column]
            column[:5] = (*box.raw, box.objectness)
            column[5 + box.label] = box.chance
    return grid.reshape(1, -1, cells, cells)


def segmenter(classes: int = 3, cells: int = 16) -> ModelProto:
    """Input `image` (1, 3, 64, 64), output `logits` (1, classes, cells, cells): a random projection of mean colours."""
    side = SIDE // cells
    proto = from_text(
        f"""g (float[1,3,{SIDE},{SIDE}] image) => (float[1,{classes},{cells},{cells}] logits) {{
            small = AveragePool<kernel_shape = [{side}, {side}], strides = [{side}, {side}]>(image)
            logits = Conv<kernel_shape = [1, 1]>(small, w, b)
        }}"""
    )
    rng = np.random.default_rng(11)
    w, b = rng.standard_normal((classes, 3, 1, 1)) * 6, rng.standard_normal(classes)
    for name, values in (("w", w), ("b", b)):
        proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    settings = {"size": [SIDE, SIDE], "fit": "stretch", "divide": 255}
    helper.set_model_props(proto, {"onnxvis.preprocess": json.dumps(settings)})
    return proto
