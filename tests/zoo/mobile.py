"""Networks of depthwise convolutions, as in torchvision: MobileNetV2, MobileNetV3, ShuffleNetV2 and EfficientNet."""

from __future__ import annotations

from tests.zoo.builder import Activation, Builder
from tests.zoo.core import Value

__all__ = ["efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x1_0", "shufflenet_v2_x1_0_split"]

CLASSES = 1000


def _conv_bn(
    b: Builder,
    x: Value,
    name: str,
    channels: int,
    kernel: int,
    act: Activation,
    *,
    stride: int = 1,
    groups: int = 1,
    epsilon: float = 1e-5,
) -> Value:
    """torchvision's Conv2dNormActivation: submodules 0, 1 and 2."""
    with b.scope(name):
        x = b.bn(b.conv(x, "0", channels, kernel, stride=stride, groups=groups, bias=False), "1", epsilon)
        return b.act(x, act, "2")


def mobilenet_v2(b: Builder) -> None:
    """Sandler et al., 2018."""
    x = b.image(224)
    with b.scope("features"):
        x = _conv_bn(b, x, "0", 32, 3, "relu6", stride=2)
        position = 1
        for expansion, channels, depth, first in (
            (1, 16, 1, 1),
            (6, 24, 2, 2),
            (6, 32, 3, 2),
            (6, 64, 4, 2),
            (6, 96, 3, 1),
            (6, 160, 3, 2),
            (6, 320, 1, 1),
        ):
            for block in range(depth):
                with b.scope(str(position)):
                    x = _inverted_residual(b, x, expansion, channels, 1 if block else first)
                position += 1
        x = _conv_bn(b, x, str(position), 1280, 1, "relu6")
    b.output(b.linear(b.flatten(b.global_pool(x, "")), "classifier.1", CLASSES))


def _inverted_residual(b: Builder, x: Value, expansion: int, channels: int, stride: int) -> Value:
    y = x
    with b.scope("conv"):
        if expansion > 1:
            y = _conv_bn(b, y, "0", expansion * x.channels, 1, "relu6")
        here = int(expansion > 1)
        y = _conv_bn(b, y, str(here), y.channels, 3, "relu6", stride=stride, groups=y.channels)
        y = b.bn(b.conv(y, str(here + 1), channels, 1, bias=False), str(here + 2))
    return b.add(x, y) if x.shape == y.shape else y


def _squeeze_excite(b: Builder, x: Value, name: str, squeeze: int, act: Activation, gate: Activation) -> Value:
    """`x` scaled channel by channel by what its means say (Hu et al., 2017)."""
    with b.scope(name):
        y = b.act(b.conv(b.global_pool(x, "avgpool"), "fc1", squeeze, 1), act, "activation")
        y = b.act(b.conv(y, "fc2", x.channels, 1), gate, "scale_activation")
        return b.mul(y, x)


def mobilenet_v3_small(b: Builder) -> None:
    """Howard et al., 2019."""
    x = b.image(224)
    with b.scope("features"):
        x = _conv_bn(b, x, "0", 16, 3, "hard_swish", stride=2, epsilon=1e-3)
        plan: tuple[tuple[int, int, int, bool, Activation, int], ...] = (
            (3, 16, 16, True, "relu", 2),
            (3, 72, 24, False, "relu", 2),
            (3, 88, 24, False, "relu", 1),
            (5, 96, 40, True, "hard_swish", 2),
            (5, 240, 40, True, "hard_swish", 1),
            (5, 240, 40, True, "hard_swish", 1),
            (5, 120, 48, True, "hard_swish", 1),
            (5, 144, 48, True, "hard_swish", 1),
            (5, 288, 96, True, "hard_swish", 2),
            (5, 576, 96, True, "hard_swish", 1),
            (5, 576, 96, True, "hard_swish", 1),
        )
        for position, (kernel, expanded, channels, excite, act, stride) in enumerate(plan, 1):
            squeeze = _round_to_eight(expanded / 4) if excite else 0
            with b.scope(str(position)):
                x = _mbconv(b, x, expanded, channels, kernel, stride, squeeze, act, ("relu", "hard_sigmoid"), 1e-3)
        x = _conv_bn(b, x, "12", 576, 1, "hard_swish", epsilon=1e-3)
    x = b.flatten(b.global_pool(x, "avgpool"))
    with b.scope("classifier"):
        x = b.act(b.linear(x, "0", 1024), "hard_swish", "1")
        b.output(b.linear(x, "3", CLASSES))


def _round_to_eight(channels: float) -> int:
    """The nearest multiple of 8 that is not below 90 % of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def efficientnet_b0(b: Builder) -> None:
    """Tan and Le, 2019."""
    x = b.image(224)
    with b.scope("features"):
        x = _conv_bn(b, x, "0", 32, 3, "silu", stride=2)
        for stage, (expansion, kernel, first, channels, depth) in enumerate(
            (
                (1, 3, 1, 16, 1),
                (6, 3, 2, 24, 2),
                (6, 5, 2, 40, 2),
                (6, 3, 2, 80, 3),
                (6, 5, 1, 112, 3),
                (6, 5, 2, 192, 4),
                (6, 3, 1, 320, 1),
            ),
            1,
        ):
            for block in range(depth):
                expanded, squeeze, stride = expansion * x.channels, x.channels // 4, 1 if block else first
                with b.scope(f"{stage}.{block}"):
                    x = _mbconv(b, x, expanded, channels, kernel, stride, squeeze, "silu", ("silu", "sigmoid"), 1e-5)
        x = _conv_bn(b, x, "8", 1280, 1, "silu")
    b.output(b.linear(b.flatten(b.global_pool(x, "avgpool")), "classifier.1", CLASSES))


def _mbconv(
    b: Builder,
    x: Value,
    expanded: int,
    channels: int,
    kernel: int,
    stride: int,
    squeeze: int,
    act: Activation,
    excitation: tuple[Activation, Activation],
    epsilon: float,
) -> Value:
    """Expansion (where it widens), depthwise, squeeze and excitation (where `squeeze`), projection."""
    y, position = x, 0
    with b.scope("block"):
        if expanded != x.channels:
            y, position = _conv_bn(b, y, "0", expanded, 1, act, epsilon=epsilon), 1
        y = _conv_bn(b, y, str(position), expanded, kernel, act, stride=stride, groups=expanded, epsilon=epsilon)
        if squeeze:
            position += 1
            y = _squeeze_excite(b, y, str(position), squeeze, *excitation)
        y = _conv_bn(b, y, str(position + 1), channels, 1, "none", epsilon=epsilon)
    return b.add(y, x) if x.shape == y.shape else y


def shufflenet_v2_x1_0(b: Builder) -> None:
    """Ma et al., 2018, with the halves taken by Slices, as PyTorch exports them."""
    _shufflenet(b, split=False)


def shufflenet_v2_x1_0_split(b: Builder) -> None:
    """The same with Split, as simplifiers and other exporters write it."""
    _shufflenet(b, split=True)


def _shufflenet(b: Builder, *, split: bool) -> None:
    x = b.image(224)
    x = b.max_pool(_conv_bn(b, x, "conv1", 24, 3, "relu", stride=2), "maxpool", 3, 2, 1)
    for stage, (channels, depth) in enumerate(((116, 4), (232, 8), (464, 4)), 2):
        for block in range(depth):
            with b.scope(f"stage{stage}.{block}"):
                x = _shuffle_unit(b, x, channels // 2, first=not block, split=split)
    x = _conv_bn(b, x, "conv5", 1024, 1, "relu")
    b.output(b.linear(b.mean(x), "fc", CLASSES))


def _shuffle_unit(b: Builder, x: Value, half: int, *, first: bool, split: bool) -> Value:
    """Half of the channels pass untouched; at the start of a stage both halves are made, at half the size."""
    if first:
        left = right = x
        with b.scope("branch1"):
            left = _depthwise(b, left, "0", stride=2)
            left = b.bn(b.conv(left, "2", half, 1, bias=False), "3")
            left = b.act(left, "relu", "4")
    elif split:
        left, right = b.split(x, (half, half))
    else:
        left, right = (Value(name, (half, *x.shape[1:])) for name in b.chunk(x.name, b.channel_axis))
    with b.scope("branch2"):
        right = b.act(b.bn(b.conv(right, "0", half, 1, bias=False), "1"), "relu", "2")
        right = _depthwise(b, right, "3", stride=2 if first else 1)
        right = b.act(b.bn(b.conv(right, "5", half, 1, bias=False), "6"), "relu", "7")
    return b.shuffle(b.concat([left, right]), 2)


def _depthwise(b: Builder, x: Value, name: str, stride: int) -> Value:
    y = b.conv(x, name, x.channels, 3, stride=stride, groups=x.channels, bias=False)
    return b.bn(y, str(int(name) + 1))
