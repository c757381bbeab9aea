"""ConvNeXt (Liu et al., 2022), as in torchvision, and a U-Net that goes up in both of the usual ways."""

from __future__ import annotations

import numpy as np

from tests.zoo.builder import Builder
from tests.zoo.core import TO_NCHW, TO_NHWC, Value

__all__ = ["convnext_tiny", "unet_mixed"]

CLASSES = 1000
DEPTHS = (3, 3, 9, 3)
WIDTHS = (96, 192, 384, 768)
UNET_WIDTHS = (32, 64, 128, 256, 512)
UNET_CLASSES = 2


def convnext_tiny(b: Builder) -> None:
    """Its layer norms work on the channels last, as torchvision's do: between two Transposes."""
    with b.scope("features"):
        x = b.image(224)
        for stage, (depth, width) in enumerate(zip(DEPTHS, WIDTHS, strict=True)):
            with b.scope(str(2 * stage)):
                if stage:
                    x = b.conv(_norm(b, x, "0"), "1", width, 2, stride=2, pad=0)
                else:
                    x = _norm(b, b.conv(x, "0", width, 4, stride=4, pad=0), "1")
            for block in range(depth):
                with b.scope(f"{2 * stage + 1}.{block}"):
                    x = _block(b, x)
    x = b.global_pool(x, "avgpool")
    with b.scope("classifier"):
        b.output(b.linear(b.flatten(_norm(b, x, "0")), "2", CLASSES))


def _block(b: Builder, x: Value) -> Value:
    """A depthwise 7×7 convolution and an MLP of every place's channels, scaled channel by channel."""
    width = x.channels
    with b.scope("block"):
        y = b.conv(x, "0", width, 7, groups=width)
        name = _dense(b, _layer_norm(b, _as_nhwc(b, y), "2", width), "3", width, 4 * width)
        name = b.act(Value(name, (4 * width, *x.shape[1:])), "gelu", "4").name
        name = _dense(b, name, "5", 4 * width, width)
    y = _from_nhwc(b, name, x.shape)
    shape = (width,) if b.everywhere else (width, 1, 1)
    (scaled,) = b.node("Mul", [y.name, b.weight("layer_scale", shape, 0.5)])
    return b.add(x, Value(scaled, x.shape))


def _norm(b: Builder, x: Value, module: str) -> Value:
    """torchvision's LayerNorm2d."""
    return _from_nhwc(b, _layer_norm(b, _as_nhwc(b, x), module, x.channels), x.shape)


def _layer_norm(b: Builder, name: str, module: str, width: int) -> str:
    with b.scope(module):
        weights = [b.weight("weight", (width,), 1.0), b.weight("bias", (width,))]
        return b.node("LayerNormalization", [name, *weights], axis=-1, epsilon=1e-6)[0]


def _dense(b: Builder, name: str, module: str, inputs: int, outputs: int) -> str:
    with b.scope(module):
        weight = b.weight(b.anonymous("MatMul"), (inputs, outputs), scoped=False)
        (name,) = b.node("MatMul", [name, weight])
        return b.node("Add", [b.weight("bias", (outputs,)), name])[0]


def _as_nhwc(b: Builder, x: Value) -> str:
    return x.name if b.everywhere else b.transpose(x.name, TO_NHWC)


def _from_nhwc(b: Builder, name: str, shape: tuple[int, ...]) -> Value:
    return Value(name if b.everywhere else b.transpose(name, TO_NCHW), shape)


def unet_mixed(b: Builder) -> None:
    """Goes up twice by transposed convolutions whose windows overlap, then twice by bilinear interpolation."""
    x = b.image(224)
    skips = []
    for level, width in enumerate(UNET_WIDTHS):
        with b.scope(f"down{level}"):
            x = _conv_bn(b, b.max_pool(x, "pool", 2, 2) if level else x, width)
        skips.append(x)
    x = skips.pop()
    for level, width in enumerate(reversed(UNET_WIDTHS[:-1])):
        with b.scope(f"up{level}"):
            x = _conv_transpose(b, x, "up", width) if level < 2 else _resize(b, x, "up")
            x = _conv_bn(b, b.concat([skips.pop(), x]), width)
    b.output(b.conv(x, "out", UNET_CLASSES, 1))


def _conv_bn(b: Builder, x: Value, channels: int) -> Value:
    for position in (0, 3):
        x = b.bn(b.conv(x, str(position), channels, 3, bias=False), str(position + 1))
        x = b.act(x, "relu", str(position + 2))
    return x


def _conv_transpose(b: Builder, x: Value, name: str, channels: int) -> Value:
    """`nn.ConvTranspose2d(..., 3, stride=2, padding=1, output_padding=1)`: twice as high and wide."""
    shape = (channels, *(2 * size for size in x.shape[1:]))
    with b.scope(name):
        weights = [b.weight("weight", (x.channels, channels, 3, 3)), b.weight("bias", (channels,))]
        return b.spatial(
            "ConvTranspose",
            x,
            shape,
            weights,
            dilations=[1, 1],
            group=1,
            kernel_shape=[3] * 2,
            output_padding=[1] * 2,
            pads=[1] * 4,
            strides=[2] * 2,
        )[0]


def _resize(b: Builder, x: Value, name: str) -> Value:
    """`nn.Upsample(scale_factor=2, mode="bilinear")`: pixels are squares, not points."""
    shape = (x.channels, *(2 * size for size in x.shape[1:]))
    with b.call(name):
        scales = b.constant([1, 1, 2, 2], np.float32)
        return b.spatial("Resize", x, shape, ["", scales], coordinate_transformation_mode="half_pixel", mode="linear")[
            0
        ]
