"""U-Net (Ronneberger et al., 2015): down four times, up four times, with skips; padded, with batch norm."""

from __future__ import annotations

from tests.zoo.builder import Builder
from tests.zoo.core import Value

__all__ = ["unet", "unet_resize"]

CLASSES = 2
WIDTHS = (64, 128, 256, 512, 1024)


def unet(b: Builder) -> None:
    """Goes up by transposed convolutions."""
    _unet(b, resize=False)


def unet_resize(b: Builder) -> None:
    """Goes up by bilinear interpolation, at half the width from the bottom on."""
    _unet(b, resize=True)


def _unet(b: Builder, *, resize: bool) -> None:
    factor = 2 if resize else 1
    with b.scope("inc"):
        skips = [_double_conv(b, b.image(224), WIDTHS[0], WIDTHS[0])]
    for level, width in enumerate(WIDTHS[1:], 1):
        channels = width // factor if width == WIDTHS[-1] else width
        with b.scope(f"down{level}.maxpool_conv"):
            x = b.max_pool(skips[-1], "0", 2, 2)
            with b.scope("1"):
                skips.append(_double_conv(b, x, channels, channels))
    x = skips.pop()
    for level, width in enumerate(reversed(WIDTHS[:-1]), 1):
        channels = width // factor if level < 4 else width
        with b.scope(f"up{level}"):
            x = b.upsample(x, "up", "linear") if resize else b.conv_transpose(x, "up", width, 2, 2)
            x = b.concat([skips.pop(), x])
            with b.scope("conv"):
                x = _double_conv(b, x, x.channels // 2, channels)
    with b.scope("outc"):
        b.output(b.conv(x, "conv", CLASSES, 1))


def _double_conv(b: Builder, x: Value, middle: int, channels: int) -> Value:
    with b.scope("double_conv"):
        for position, width in ((0, middle), (3, channels)):
            x = b.bn(b.conv(x, str(position), width, 3, bias=False), str(position + 1))
            x = b.act(x, "relu", str(position + 2))
    return x
