from __future__ import annotations

import pytest

from onnxvis.graph.view import Tensor
from onnxvis.run.guess import looks_like_detector

Shape = tuple[int | str | None, ...]

DETECTORS: dict[str, list[Shape]] = {
    "yolov3 heads": [(1, 255, 13, 13), (1, 255, 26, 26), (1, 255, 52, 52)],
    "yolov5": [(1, 25200, 85)],
    "yolov8": [(1, 84, 8400)],
    "yolov8, free": [("batch", 84, "anchors")],
    "yolov8, one class": [(1, 5, 8400)],
    "yolov8, 320 pixels": [(1, 84, 2100)],
    "yolov8-seg": [(1, 116, 8400), (1, 32, 160, 160)],
    "yolov10": [(1, 300, 6)],
    "yolov2": [(1, 425, 13, 13)],
    "tiny yolov2, voc": [(None, 125, 13, 13)],
    "fastestdet": [(1, 85, 22, 22)],
    "blazeface": [(1, 512, 1), (1, 384, 1), (1, 512, 16), (1, 384, 16)],
    "yunet": [("batch", "dim", 1), ("batch", "dim", 1), ("batch", "dim", 4), ("batch", "dim", 10)],
    "mtcnn pnet": [("N", 4, "h", "w"), ("N", 2, "h", "w")],
    "ssd": [(1, 100, 4), (1, 100), (1, 100), (1,)],
    "torchvision": [("n", 4), ("n",), ("n",)],
    "detr": [(1, 100, 92), (1, 100, 4)],
}
OTHERS: dict[str, list[Shape]] = {
    "imagenet": [(1, 1000)],
    "free batch": [("N", 1000)],
    "caffe2 softmax": [(1, 1000, 1, 1)],
    "two heads": [(1, 4), (1, 7)],
    "inception with its auxiliary": [(1, 1000), (1, 1000)],
    "segmentation": [(1, 21, 520, 520)],
    "u2net, seven masks": [(1, 1, 320, 320)] * 7,
    "depth": [(1, 384, 384)],
    "depth, free": [("batch", "height", "width")],
    "superresolution": [(1, 3, 448, 448)],
    "vit tokens": [(1, 197, 768), (1, 768)],
    "dino tokens": [(1, 1370, 384)],
    "feature pyramid": [(1, 256, 64, 64), (1, 256, 32, 32), (1, 256, 16, 16)],
    "classifier with its features": [(1, 1000), (1, 80, 56, 56), (1, 40, 28, 28)],
    "unknown": [],
}


@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name: str) -> None:
    assert looks_like_detector([Tensor(str(i), shape, "float32") for i, shape in enumerate(DETECTORS[name])])


@pytest.mark.parametrize("name", OTHERS)
def test_others(name: str) -> None:
    assert not looks_like_detector([Tensor(str(i), shape, "float32") for i, shape in enumerate(OTHERS[name])])


def test_unknown_ranks() -> None:
    assert not looks_like_detector([Tensor("y", None, "float32")])
