"""Networks of additions: ResNet (He et al., 2015, torchvision's v1.5) and Darknet-53 (Redmon and Farhadi, 2018)."""

from __future__ import annotations

from tests.zoo.builder import Builder
from tests.zoo.core import Value

__all__ = ["darknet53", "darknet53_maps", "darknet_conv", "resnet18", "resnet34", "resnet50", "resnet101"]

CLASSES = 1000


def resnet18(b: Builder) -> None:
    _resnet(b, (2, 2, 2, 2), bottleneck=False)


def resnet34(b: Builder) -> None:
    _resnet(b, (3, 4, 6, 3), bottleneck=False)


def resnet50(b: Builder) -> None:
    _resnet(b, (3, 4, 6, 3), bottleneck=True)


def resnet101(b: Builder) -> None:
    _resnet(b, (3, 4, 23, 3), bottleneck=True)


def _resnet(b: Builder, depths: tuple[int, ...], *, bottleneck: bool) -> None:
    x = b.image(224)
    x = b.bn(b.conv(x, "conv1", 64, 7, stride=2, bias=False), "bn1")
    x = b.max_pool(b.act(x, "relu", "relu"), "maxpool", 3, 2, 1)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            with b.scope(f"layer{stage + 1}.{block}"):
                x = _residual(b, x, 64 << stage, stride, bottleneck=bottleneck)
    b.output(b.linear(b.flatten(b.global_pool(x, "avgpool")), "fc", CLASSES))


def _residual(b: Builder, x: Value, width: int, stride: int, *, bottleneck: bool) -> Value:
    """Two 3×3 convolutions, or 1×1, 3×3 (with the stride) and 1×1 to four times the width."""
    plan = ((width, 1, 1), (width, 3, stride), (4 * width, 1, 1)) if bottleneck else ((width, 3, stride), (width, 3, 1))
    y = x
    for i, (channels, kernel, step) in enumerate(plan, 1):
        y = b.bn(b.conv(y, f"conv{i}", channels, kernel, stride=step, bias=False), f"bn{i}")
        if i < len(plan):
            y = b.act(y, "relu", "relu")
    if x.shape != y.shape:
        x = b.bn(b.conv(x, "downsample.0", y.channels, 1, stride=stride, bias=False), "downsample.1")
    return b.act(b.add(y, x), "relu", "relu")


def darknet_conv(b: Builder, x: Value, name: str, channels: int, kernel: int, stride: int = 1) -> Value:
    """Darknet's convolution: batch norm and a leaky ReLU of slope 0.1."""
    with b.scope(name):
        x = b.bn(b.conv(x, "conv", channels, kernel, stride=stride, bias=False), "bn")
        return b.act(x, "leaky_relu", "act")


def darknet53_maps(b: Builder, x: Value) -> list[Value]:
    """The outputs of the five stages, of 64, 128, 256, 512 and 1024 channels at 1/2 to 1/32 of the size."""
    maps = []
    x = darknet_conv(b, x, "stem", 32, 3)
    for stage, depth in enumerate((1, 2, 8, 8, 4)):
        channels = 64 << stage
        with b.scope(f"stage{stage + 1}"):
            x = darknet_conv(b, x, "down", channels, 3, 2)
            for block in range(depth):
                with b.scope(f"blocks.{block}"):
                    y = darknet_conv(b, x, "conv1", channels // 2, 1)
                    x = b.add(x, darknet_conv(b, y, "conv2", channels, 3))
        maps.append(x)
    return maps


def darknet53(b: Builder) -> None:
    """The classifier, at YOLOv3's 416 × 416."""
    with b.scope("backbone"):
        x = darknet53_maps(b, b.image(416))[-1]
    x = b.conv(b.global_pool(x, "avgpool"), "fc", CLASSES, 1)
    b.output(b.act(b.flatten(x), "softmax", "softmax"))
