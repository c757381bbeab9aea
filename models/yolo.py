"""A narrow YOLOv3 in PyTorch: five Darknet stages, a neck that goes up again, three raw heads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["DarknetConv", "DecodedYolo", "NarrowYolo", "Residual"]

_DEPTHS = (1, 1, 2, 2, 1)


class DarknetConv(nn.Sequential):  # type: ignore[misc]
    """Convolution without bias, batch norm, LeakyReLU of slope 0.1 (Redmon and Farhadi, 2018, arXiv:1804.02767)."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)
        parts = [("conv", convolution), ("bn", nn.BatchNorm2d(channels)), ("leaky", nn.LeakyReLU(0.1, inplace=True))]
        super().__init__(OrderedDict(parts))


class Residual(nn.Module):  # type: ignore[misc]
    """A 1×1 convolution to half of the channels, a 3×3 back, and a way around both: x + F(x)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = DarknetConv(channels, channels // 2, 1)
        self.conv2 = DarknetConv(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        joined: Tensor = x + self.conv2(self.conv1(x))
        return joined


class _Head(nn.Module):  # type: ignore[misc]
    """A 3×3 convolution, then one of 1×1 to the raw values of each box."""

    def __init__(self, channels_in: int, channels: int, values: int) -> None:
        super().__init__()
        self.conv = DarknetConv(channels_in, channels, 3)
        self.out = nn.Conv2d(channels, values, 1)

    def forward(self, x: Tensor) -> Tensor:
        raw: Tensor = self.out(self.conv(x))
        return raw


class NarrowYolo(nn.Module):  # type: ignore[misc]
    """Raw heads of pictures (N, 3, S, S), coarsest first: (N, boxes · (5 + classes), S / 32), then S / 16, S / 8.

    Stage k has widths[k] channels at a resolution of S / 2^(k+1).
    """

    def __init__(self, classes: int, boxes: int = 3, widths: Sequence[int] = (16, 32, 64, 96, 128)) -> None:
        super().__init__()
        values, (*_, low, middle, high) = boxes * (5 + classes), widths
        self.stem = DarknetConv(3, widths[0] // 2, 3)
        before = (widths[0] // 2, *widths)
        for place, (width, depth) in enumerate(zip(widths, _DEPTHS, strict=True)):
            parts = [("down", DarknetConv(before[place], width, 3, 2))]
            parts += [(f"block{number}", Residual(width)) for number in range(1, depth + 1)]
            self.add_module(f"stage{place + 1}", nn.Sequential(OrderedDict(parts)))
        self.neck5 = DarknetConv(high, high // 2, 1)
        self.head5 = _Head(high // 2, high, values)
        self.up10 = nn.Sequential(DarknetConv(high // 2, middle // 2, 1), nn.Upsample(scale_factor=2, mode="nearest"))
        self.neck10 = DarknetConv(middle // 2 + middle, middle // 2, 1)
        self.head10 = _Head(middle // 2, middle, values)
        self.up20 = nn.Sequential(DarknetConv(middle // 2, low // 2, 1), nn.Upsample(scale_factor=2, mode="nearest"))
        self.neck20 = DarknetConv(low // 2 + low, low // 2, 1)
        self.head20 = _Head(low // 2, low, values)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, S, S) to the three heads."""
        low = self.stage3(self.stage2(self.stage1(self.stem(x))))
        middle = self.stage4(low)
        x5 = self.neck5(self.stage5(middle))
        x10 = self.neck10(torch.cat([self.up10(x5), middle], 1))
        x20 = self.neck20(torch.cat([self.up20(x10), low], 1))
        return self.head5(x5), self.head10(x10), self.head20(x20)


class DecodedYolo(NarrowYolo):
    """The same network with its boxes worked out: the heads, then boxes (N, M, 4) and scores (N, M, classes).

    Boxes are corners x0, y0, x1, y1 in pixels, scores objectness times class in [0, 1]; head by head, in a head anchor
    by anchor, in an anchor row by row. Centres are (sigmoid(x) + column) · stride, sides exp(w) · anchor (Redmon and
    Farhadi, 2018, arXiv:1804.02767).
    """

    def __init__(self, classes: int, size: int, anchors: Sequence[Sequence[tuple[float, float]]]) -> None:
        super().__init__(classes, len(anchors[0]))
        self.classes, self.size = classes, size
        self.anchors = [torch.tensor(pairs, dtype=torch.float32).view(1, -1, 1, 2) for pairs in anchors]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, size, size) to the three heads, boxes and scores."""
        heads = super().forward(x)
        found = [self._boxes(*each) for each in zip(heads, self.anchors, (32, 16, 8), strict=True)]
        return *heads, torch.cat([boxes for boxes, _ in found], 1), torch.cat([scores for _, scores in found], 1)

    def _boxes(self, head: Tensor, anchors: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        side, count = self.size // stride, anchors.shape[1]
        steps = torch.arange(side, dtype=torch.float32)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        cells = torch.stack([columns, rows], -1).view(1, 1, -1, 2)
        raw = head.view(-1, count, 5 + self.classes, side * side).transpose(2, 3)
        centre, half = (raw[..., :2].sigmoid() + cells) * stride, raw[..., 2:4].exp() * anchors / 2
        boxes = torch.cat([centre - half, centre + half], -1)
        scores = raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()
        return boxes.view(-1, count * side * side, 4), scores.reshape(-1, count * side * side, self.classes)
