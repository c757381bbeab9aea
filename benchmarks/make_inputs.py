"""Makes every input once: `python -m benchmarks.make_inputs FOLDER`. Random weights, the same in ONNX and PyTorch."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from onnx import numpy_helper

from benchmarks.inputs import Inputs
from benchmarks.networks import ResNet101, YOLOv3
from benchmarks.pictures import natural_picture, prepared
from tests.zoo import build, materialize

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["make_inputs", "tamed"]

_TOLERANCE = 1e-3


def make_inputs(folder: Path) -> Inputs:
    """Write all files. Raises ValueError where the network in PyTorch does not compute what the one in ONNX does."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = Inputs(folder)
    cv2.imwrite(str(inputs.picture), natural_picture(576, 768), [cv2.IMWRITE_JPEG_QUALITY, 95])
    feed = prepared(inputs.picture, 416)
    np.save(inputs.yolov3_input, feed)
    _make_network("yolov3", YOLOv3(), inputs.yolov3, inputs.yolov3_weights, feed)
    feed = prepared(inputs.picture, 224, imagenet=True)
    _make_network("resnet101", ResNet101(), inputs.resnet101, inputs.resnet101_weights, feed)
    shipped = files("onnxvis.models") / "data"
    inputs.small_model.write_bytes((shipped / "classifier.onnx").read_bytes())
    scenes = sorted((item for item in (shipped / "scenes").iterdir()), key=lambda item: item.name)
    inputs.small_picture.write_bytes(next(item for item in scenes if item.name.endswith(".png")).read_bytes())
    return inputs


def _make_network(name: str, network: Any, path: Path, weights: Path, feed: Any) -> None:
    model = tamed(materialize(build(name)))
    path.write_bytes(model.SerializeToString())
    arrays = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in model.graph.initializer}
    network.load_state_dict(arrays)  # strict: every weight of either network has its place in the other
    network.eval()
    torch.save(network.state_dict(), weights)
    _compare(name, path, network, feed)


def tamed(model: ModelProto) -> ModelProto:
    """`model` itself, with the last batch norm of every residual branch turned down to a fifth.

    Random residual networks grow their activations block by block, to millions; trained ones do not. What an encoder
    of pictures costs depends on them.
    """
    for item in model.graph.initializer:
        if item.name.endswith((".bn3.weight", ".bn3.bias", ".conv2.bn.weight", ".conv2.bn.bias")):
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) / np.float32(5), item.name))
    return model


def _compare(name: str, path: Path, network: Any, feed: Any) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ours = session.run(None, {session.get_inputs()[0].name: feed})
    with torch.no_grad():
        found = network(torch.from_numpy(feed))
    theirs = found[0] if isinstance(found, tuple) else [found]
    for a, b in zip(ours, theirs, strict=True):
        gap = float(np.abs(a - b.numpy()).max() / np.abs(a).max())
        if not gap < _TOLERANCE:
            raise ValueError(f"{name}: PyTorch and ONNX Runtime differ by {gap:.2g} of the largest value")


if __name__ == "__main__":
    make_inputs(Path(sys.argv[1]))
