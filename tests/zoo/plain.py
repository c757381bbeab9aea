"""Networks without joins: AlexNet (Krizhevsky, 2014) and VGG-16 (Simonyan and Zisserman, 2014), as in torchvision."""

from __future__ import annotations

from tests.zoo.builder import Builder
from tests.zoo.core import Value

__all__ = ["alexnet", "vgg16", "vgg16_bn"]

CLASSES = 1000


def alexnet(b: Builder) -> None:
    x = b.image(224)
    with b.scope("features"):
        for name, channels, kernel, stride, pad in (("0", 64, 11, 4, 2), ("3", 192, 5, 1, 2)):
            x = b.conv(x, name, channels, kernel, stride=stride, pad=pad)
            x = b.max_pool(b.act(x, "relu", str(int(name) + 1)), str(int(name) + 2), 3, 2)
        for position, channels in ((6, 384), (8, 256), (10, 256)):
            x = b.act(b.conv(x, str(position), channels, 3), "relu", str(position + 1))
        x = b.max_pool(x, "12", 3, 2)
    _classifier(b, x, (1, 4, 6))


def vgg16(b: Builder) -> None:
    _vgg16(b, batchnorm=False)


def vgg16_bn(b: Builder) -> None:
    _vgg16(b, batchnorm=True)


def _vgg16(b: Builder, *, batchnorm: bool) -> None:
    x = b.image(224)
    position = 0
    with b.scope("features"):
        for channels, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                x = b.conv(x, str(position), channels, 3)
                if batchnorm:
                    position += 1
                    x = b.bn(x, str(position))
                x = b.act(x, "relu", str(position + 1))
                position += 2
            x = b.max_pool(x, str(position), 2, 2)
            position += 1
    _classifier(b, x, (0, 3, 6))


def _classifier(b: Builder, x: Value, positions: tuple[int, int, int]) -> None:
    """Three fully connected layers; the adaptive pooling has the size already, so it exports as a window of 1."""
    x = b.flatten(b.avg_pool(x, "avgpool", 1, 1))
    with b.scope("classifier"):
        for position, features in zip(positions[:2], (4096, 4096), strict=True):
            x = b.act(b.linear(x, str(position), features), "relu", str(position + 1))
        b.output(b.linear(x, str(positions[2]), CLASSES))
