"""Detectors: YOLOv3 (Redmon and Farhadi, 2018) with raw heads, YOLOv8n (Jocher et al., 2023) with decoded boxes."""

from __future__ import annotations

import numpy as np

from tests.zoo.builder import Builder
from tests.zoo.core import Value
from tests.zoo.residual import darknet53_maps, darknet_conv

__all__ = ["yolov3", "yolov8n"]

CLASSES = 80
BINS = 16


def yolov3(b: Builder) -> None:
    """Three raw heads of 3 · (5 + 80) channels, at 1/32, 1/16 and 1/8 of 416."""
    with b.scope("backbone"):
        *_, low, middle, high = darknet53_maps(b, b.image(416))
    x = high
    for i, (channels, skip) in enumerate(((512, None), (256, middle), (128, low))):
        with b.scope(f"neck.{i}"):
            if skip is not None:
                x = b.upsample(darknet_conv(b, x, "lateral", channels, 1), "up")
                x = b.concat([x, skip])
            for j in range(5):
                x = darknet_conv(b, x, f"convs.{j}", (1 + j % 2) * channels, 1 + 2 * (j % 2))
        with b.scope(f"head.{i}"):
            y = darknet_conv(b, x, "conv", 2 * channels, 3)
            b.output(b.conv(y, "out", 3 * (5 + CLASSES), 1), f"output{i}")


def yolov8n(b: Builder) -> None:
    """At 640: backbone, a neck that goes up and down again, and one output of (4 + 80) × 8400."""
    x = _conv(b, b.image(640, "images"), "model.0", 16, 3, 2)
    x = _c2f(b, _conv(b, x, "model.1", 32, 3, 2), "model.2", 32, 1)
    p3 = _c2f(b, _conv(b, x, "model.3", 64, 3, 2), "model.4", 64, 2)
    p4 = _c2f(b, _conv(b, p3, "model.5", 128, 3, 2), "model.6", 128, 2)
    x = _c2f(b, _conv(b, p4, "model.7", 256, 3, 2), "model.8", 256, 1)
    p5 = _pyramid_pool(b, x, "model.9")
    with b.scope("model.10", split=False):
        x = b.upsample(p5, "")
    up4 = _c2f(b, _concat(b, [x, p4], "model.11"), "model.12", 128, 1, shortcut=False)
    with b.scope("model.13", split=False):
        x = b.upsample(up4, "")
    out3 = _c2f(b, _concat(b, [x, p3], "model.14"), "model.15", 64, 1, shortcut=False)
    x = _concat(b, [_conv(b, out3, "model.16", 64, 3, 2), up4], "model.17")
    out4 = _c2f(b, x, "model.18", 128, 1, shortcut=False)
    x = _concat(b, [_conv(b, out4, "model.19", 128, 3, 2), p5], "model.20")
    out5 = _c2f(b, x, "model.21", 256, 1, shortcut=False)
    with b.scope("model.22", split=False):
        _detect(b, (out3, out4, out5))


def _conv(b: Builder, x: Value, name: str, channels: int, kernel: int, stride: int = 1) -> Value:
    with b.scope(name, split=not name.startswith("model")):
        x = b.bn(b.conv(x, "conv", channels, kernel, stride=stride, bias=False), "bn", 1e-3)
        return b.act(x, "silu", "act")


def _concat(b: Builder, values: list[Value], name: str) -> Value:
    with b.scope(name, split=False):
        return b.concat(values)


def _c2f(b: Builder, x: Value, name: str, channels: int, depth: int, *, shortcut: bool = True) -> Value:
    """Half of the channels go through `depth` bottlenecks; every step's output is concatenated."""
    half = channels // 2
    with b.scope(name, split=False):
        parts = b.split(_conv(b, x, "cv1", channels, 1), (half, half))
        for i in range(depth):
            with b.scope(f"m.{i}", split=False):
                y = _conv(b, _conv(b, parts[-1], "cv1", half, 3), "cv2", half, 3)
                parts.append(b.add(parts[-1], y) if shortcut else y)
        return _conv(b, b.concat(parts), "cv2", channels, 1)


def _pyramid_pool(b: Builder, x: Value, name: str) -> Value:
    """Three max pools of 5×5 in a row, all concatenated."""
    with b.scope(name, split=False):
        maps = [_conv(b, x, "cv1", x.channels // 2, 1)]
        for _ in range(3):
            maps.append(b.max_pool(maps[-1], "m", 5, 1, 2))
        return _conv(b, b.concat(maps), "cv2", x.channels, 1)


def _detect(b: Builder, maps: tuple[Value, ...]) -> None:
    """Per level a box and a class branch; all levels side by side, decoded to (4 + 80, anchors)."""
    levels = []
    for i, x in enumerate(maps):
        branches = []
        for branch, width, channels in (("cv2", 64, 4 * BINS), ("cv3", CLASSES, CLASSES)):
            with b.scope(f"{branch}.{i}", split=False):
                y = _conv(b, _conv(b, x, "0", width, 3), "1", width, 3)
                branches.append(b.conv(y, "2", channels, 1))
        levels.append(b.concat(branches))
    sizes = [x.shape[1] for x in maps]
    anchors = sum(size * size for size in sizes)
    rows = [b.reshape(b.as_nchw(x), (x.channels, x.shape[1] * x.shape[2])) for x in levels]
    (rows_name,) = b.node("Concat", rows, axis=2)
    box, scores = b.node("Split", [rows_name, b.constant([4 * BINS, CLASSES], np.int64)], 2, axis=1)
    boxes = _decode(b, _expected_distance(b, box, anchors), sizes)
    (scores,) = b.node("Sigmoid", [scores])
    b.output(Value(b.node("Concat", [boxes, scores], axis=1)[0], (4 + CLASSES, anchors)), "output0")


def _expected_distance(b: Builder, name: str, anchors: int) -> str:
    """Each side's distance is the mean of a distribution over 16 bins (Li et al., 2020): a fixed 1×1 convolution."""
    with b.scope("dfl"):
        name = b.transpose(b.reshape(name, (4, BINS, anchors)), (0, 2, 1, 3))
        (name,) = b.node("Softmax", [name], axis=1)
        with b.scope("conv"):
            (name,) = b.node("Conv", [name, b.weight("weight", (1, BINS, 1, 1))], kernel_shape=[1, 1])
        return b.reshape(name, (4, anchors))


def _decode(b: Builder, distances: str, sizes: list[int]) -> str:
    """Distances to the sides, in cells, become centre and size, in pixels."""
    grids = [np.stack(np.meshgrid(np.arange(n), np.arange(n))).reshape(1, 2, -1) + 0.5 for n in sizes]
    strides = np.concatenate([np.full((1, n * n), 640 / n) for n in sizes], axis=1)
    points = b.constant(np.concatenate(grids, axis=2), np.float32)
    near, far = b.chunk(distances, 1)
    (near,) = b.node("Sub", [points, near])
    (far,) = b.node("Add", [points, far])
    (total,) = b.node("Add", [near, far])
    (centre,) = b.node("Div", [total, b.constant(2, np.float32)])
    (size,) = b.node("Sub", [far, near])
    (boxes,) = b.node("Concat", [centre, size], axis=1)
    return b.node("Mul", [boxes, b.constant(strides, np.float32)])[0]
