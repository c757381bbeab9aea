"""YOLOv3 and ResNet-101 in PyTorch, layer for layer those of `tests.zoo`: a module's name is its weights' prefix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ResNet101", "YOLOv3"]


class DarknetConv(nn.Module):  # type: ignore[misc]
    """A convolution, batch norm and a leaky ReLU of slope 0.1."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, C, H / stride, W / stride)."""
        activated: Tensor = self.act(self.bn(self.conv(x)))
        return activated


class DarknetBlock(nn.Module):  # type: ignore[misc]
    """x + F(x), F to half the channels and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = DarknetConv(channels, channels // 2, 1)
        self.conv2 = DarknetConv(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        joined: Tensor = x + self.conv2(self.conv1(x))
        return joined


class DarknetStage(nn.Module):  # type: ignore[misc]
    """Half the size, twice the channels, then `depth` blocks."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.down = DarknetConv(channels // 2, channels, 3, 2)
        self.blocks = nn.Sequential(*(DarknetBlock(channels) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C / 2, H, W) to (N, C, H / 2, W / 2)."""
        maps: Tensor = self.blocks(self.down(x))
        return maps


class Darknet53(nn.Module):  # type: ignore[misc]
    """Redmon and Farhadi, 2018 (arXiv:1804.02767), without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = DarknetConv(3, 32, 3)
        for number, depth in enumerate((1, 2, 8, 8, 4), 1):
            setattr(self, f"stage{number}", DarknetStage(32 << number, depth))

    def forward(self, x: Tensor) -> list[Tensor]:
        """The five stages' outputs: 64, 128, 256, 512 and 1024 channels at 1/2 to 1/32 of the size."""
        x = self.stem(x)
        maps = []
        for number in range(1, 6):
            x = getattr(self, f"stage{number}")(x)
            maps.append(x)
        return maps


class Neck(nn.Module):  # type: ignore[misc]
    """Joins a smaller map, enlarged, to a larger one where there is a smaller one, then five convolutions."""

    def __init__(self, channels_in: int, channels: int, smaller: int = 0) -> None:
        super().__init__()
        self.lateral = DarknetConv(smaller, channels, 1) if smaller else None
        widths = (channels_in, *((1 + i % 2) * channels for i in range(5)))
        self.convs = nn.Sequential(*(DarknetConv(widths[i], widths[i + 1], 1 + 2 * (i % 2)) for i in range(5)))

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """(N, C, H, W) of the skip's H and W."""
        if self.lateral is not None:
            enlarged = nn.functional.interpolate(self.lateral(x), scale_factor=2.0, mode="nearest")
            x = torch.cat([enlarged, skip], 1)
        maps: Tensor = self.convs(x)
        return maps


class Head(nn.Module):  # type: ignore[misc]
    """A convolution and the raw predictions: 3 · (5 + 80) channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = DarknetConv(channels, 2 * channels, 3)
        self.out = nn.Conv2d(2 * channels, 255, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 255, H, W)."""
        predictions: Tensor = self.out(self.conv(x))
        return predictions


class YOLOv3(nn.Module):  # type: ignore[misc]
    """Darknet-53 and three heads at 1/32, 1/16 and 1/8 of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Darknet53()
        self.neck = nn.ModuleList([Neck(1024, 512), Neck(768, 256, 512), Neck(384, 128, 256)])
        self.head = nn.ModuleList([Head(512), Head(256), Head(128)])

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The three predictions and the five stages' maps."""
        maps = self.backbone(x)
        predictions = []
        x = self.neck[0](maps[4])
        predictions.append(self.head[0](x))
        for number, skip in ((1, maps[3]), (2, maps[2])):
            x = self.neck[number](x, skip)
            predictions.append(self.head[number](x))
        return predictions, maps


class Bottleneck(nn.Module):  # type: ignore[misc]
    """He et al., 2015 (arXiv:1512.03385), with the stride in the 3 × 3 convolution."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels = 4 * width
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) to (N, 4 · width, H / stride, W / stride)."""
        y = self.relu(self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x))))))
        shortcut = x if self.downsample is None else self.downsample(x)
        joined: Tensor = self.relu(self.bn3(self.conv3(y)) + shortcut)
        return joined


class ResNet101(nn.Module):  # type: ignore[misc]
    """Ten children, from conv1 to fc, as torchvision names them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, depth in enumerate((3, 4, 23, 3)):
            width = 64 << stage
            blocks = [Bottleneck(channels, width, 2 if stage else 1)]
            channels = 4 * width
            blocks += [Bottleneck(channels, width, 1) for _ in range(depth - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, 1000)."""
        for name, child in self.named_children():
            x = child(torch.flatten(x, 1) if name == "fc" else x)
        return x
