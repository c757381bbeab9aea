"""Writes what OpenCV's own reader of Darknet computes: `python -m tests.references.make_darknet`.

Needs OpenCV 4 (opencv-python-headless < 5): version 5 has no reader of Darknet any more. The weights are drawn, written
as a .weights file, and read again by OpenCV in the order in which Darknet has them.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.layers import tensors
from onnxvis.models.darknet.plan import Plan, make_plan
from onnxvis.models.darknet.structures import yolov3, yolov3_tiny

__all__ = ["NETWORKS", "REFERENCES", "SAMPLES", "SIZE", "image", "kept", "make_darknet", "weights_bytes"]

Array = npt.NDArray[Any]

REFERENCES = Path(__file__).parent / "darknet.npz"
NETWORKS = {"yolov3": yolov3, "yolov3_tiny": yolov3_tiny}
SIZE, SAMPLES = 96, 24
"""The side of the input, and how many values of each tensor are kept."""

_SEED = 20
_STEPS = ("conv", "bn", "leaky", "shortcut", "pool", "concat", "upsample")
"""What OpenCV calls the layers that are kept: these, and a number, Darknet's (after leaky the next one)."""


def image() -> Array:
    """The picture (1, 3, SIZE, SIZE), in [0, 1)."""
    return np.random.default_rng(_SEED).random((1, 3, SIZE, SIZE), np.float32)


def kept(values: Array) -> Array:
    """SAMPLES values of a tensor, from places that a seed chooses, and the largest of all."""
    flat = values.reshape(-1)
    chosen = flat[np.random.default_rng(flat.size).integers(0, flat.size, SAMPLES)]
    return np.asarray([*chosen, np.abs(flat).max()], np.float32)


def weights_bytes(plan: Plan, seed: int = _SEED, version: tuple[int, int] = (0, 2)) -> bytes:
    """Drawn weights of a network as a .weights file: biases, scales, means, variances, kernels of layer after layer."""
    drawn = DrawnWeights(plan, seed)
    header = struct.pack("<3i", *version, 0) + bytes(8 if version >= (0, 2) else 4)
    floats = [drawn.of(layer)[name].astype("<f4").tobytes() for layer in plan.layers for name in tensors(layer.what)]
    return header + b"".join(floats)


def make_darknet() -> dict[str, Any]:
    """What the file holds: of each network the names of OpenCV's layers, and what is `kept` of each."""
    import cv2

    read = getattr(cv2.dnn, "readNetFromDarknet")  # noqa: B009 (unknown to the stubs of version 5)
    found: dict[str, Any] = {}
    for name, describe in NETWORKS.items():
        text = describe(SIZE)
        plan = make_plan(parse_cfg(text, name))
        weights = np.frombuffer(weights_bytes(plan), np.uint8)
        network = read(np.frombuffer(text.encode(), np.uint8), weights)
        network.enableFusion(False)
        network.setInput(image())
        layers = [layer for layer in network.getLayerNames() if layer.split("_")[0] in _STEPS]
        results = network.forward(layers)
        found[f"{name}/layers"] = np.array(layers)
        found[f"{name}/values"] = np.stack([kept(np.asarray(value)) for value in results])
        found[f"{name}/sizes"] = [math.prod(value.shape) for value in results]
        heads = [layer for layer in network.getLayerNames() if layer.startswith("yolo_")]
        rows = [np.asarray(head).reshape(-1, 85)[:, :5] for head in network.forward(heads)]
        found[f"{name}/rows"] = np.stack([row[:: len(row) // 27] for row in rows]).astype(np.float32)
    return found


if __name__ == "__main__":
    np.savez_compressed(REFERENCES, **make_darknet())
