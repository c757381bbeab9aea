"""Networks of concatenations, as in torchvision: DenseNet, GoogLeNet and SqueezeNet."""

from __future__ import annotations

from tests.zoo.builder import Builder
from tests.zoo.core import Value

__all__ = ["densenet121", "googlenet", "squeezenet1_0", "squeezenet1_1"]

CLASSES = 1000


def densenet121(b: Builder) -> None:
    """Huang et al., 2016, with growth 32; most batch norms follow a Concat, so that they cannot be folded."""
    x = b.image(224)
    depths = (6, 12, 24, 16)
    with b.scope("features"):
        x = b.bn(b.conv(x, "conv0", 64, 7, stride=2, pad=3, bias=False), "norm0")
        x = b.max_pool(b.act(x, "relu", "relu0"), "pool0", 3, 2, 1)
        for block, depth in enumerate(depths, 1):
            x = _dense_block(b, x, f"denseblock{block}", depth)
            if block < len(depths):
                with b.scope(f"transition{block}"):
                    x = b.act(b.bn(x, "norm"), "relu", "relu")
                    x = b.avg_pool(b.conv(x, "conv", x.channels // 2, 1, bias=False), "pool", 2, 2)
        x = b.bn(x, "norm5")
    x = b.global_pool(b.act(x, "relu"), "")
    b.output(b.linear(b.flatten(x), "classifier", CLASSES))


def _dense_block(b: Builder, x: Value, name: str, depth: int) -> Value:
    """Every layer reads all maps before it; the first layer's Concat has one input only, as the exporter writes it."""
    maps = [x]
    with b.scope(name):
        for layer in range(1, depth + 1):
            with b.scope(f"denselayer{layer}"):
                y = b.act(b.bn(b.concat(maps), "norm1"), "relu", "relu1")
                y = b.act(b.bn(b.conv(y, "conv1", 128, 1, bias=False), "norm2"), "relu", "relu2")
                maps.append(b.conv(y, "conv2", 32, 3, bias=False))
        return b.concat(maps)


def googlenet(b: Builder) -> None:
    """Szegedy et al., 2014, with batch norm, 3×3 instead of 5×5 and pools that round up; no auxiliary classifiers."""
    x = _basic(b, b.image(224), "conv1", 64, 7, 2)
    x = b.max_pool(x, "maxpool1", 3, 2, ceil=True)
    x = _basic(b, _basic(b, x, "conv2", 64, 1), "conv3", 192, 3)
    x = b.max_pool(x, "maxpool2", 3, 2, ceil=True)
    for name, widths in (
        ("3a", (64, 96, 128, 16, 32, 32)),
        ("3b", (128, 128, 192, 32, 96, 64)),
        ("maxpool3", ()),
        ("4a", (192, 96, 208, 16, 48, 64)),
        ("4b", (160, 112, 224, 24, 64, 64)),
        ("4c", (128, 128, 256, 24, 64, 64)),
        ("4d", (112, 144, 288, 32, 64, 64)),
        ("4e", (256, 160, 320, 32, 128, 128)),
        ("maxpool4", ()),
        ("5a", (256, 160, 320, 32, 128, 128)),
        ("5b", (384, 192, 384, 48, 128, 128)),
    ):
        if widths:
            with b.scope(f"inception{name}"):
                x = _inception(b, x, widths)
        else:
            x = b.max_pool(x, name, 3 if name == "maxpool3" else 2, 2, ceil=True)
    b.output(b.linear(b.flatten(b.global_pool(x, "avgpool")), "fc", CLASSES))


def _basic(b: Builder, x: Value, name: str, channels: int, kernel: int, stride: int = 1) -> Value:
    with b.scope(name):
        x = b.conv(x, "conv", channels, kernel, stride=stride, bias=False)
        return b.act(b.bn(x, "bn", 1e-3), "relu")


def _inception(b: Builder, x: Value, widths: tuple[int, ...]) -> Value:
    """Four branches: 1×1; 1×1 and 3×3; 1×1 and 3×3; max pool and 1×1."""
    one, reduce2, two, reduce3, three, four = widths
    branches = [_basic(b, x, "branch1", one, 1)]
    for name, reduced, channels in (("branch2", reduce2, two), ("branch3", reduce3, three)):
        with b.scope(name):
            branches.append(_basic(b, _basic(b, x, "0", reduced, 1), "1", channels, 3))
    with b.scope("branch4"):
        branches.append(_basic(b, b.max_pool(x, "0", 3, 1, 1, ceil=True), "1", four, 1))
    return b.concat(branches)


def squeezenet1_0(b: Builder) -> None:
    _squeezenet(b, 96, 7, {3: 16, 4: 16, 5: 32, 6: 0, 7: 32, 8: 48, 9: 48, 10: 64, 11: 0, 12: 64})


def squeezenet1_1(b: Builder) -> None:
    _squeezenet(b, 64, 3, {3: 16, 4: 16, 5: 0, 6: 32, 7: 32, 8: 0, 9: 48, 10: 48, 11: 64, 12: 64})


def _squeezenet(b: Builder, stem: int, kernel: int, plan: dict[int, int]) -> None:
    """Iandola et al., 2016; `plan` maps positions in `features` to squeezed widths, 0 for a pool."""
    x = b.image(224)
    with b.scope("features"):
        x = b.act(b.conv(x, "0", stem, kernel, stride=2, pad=0), "relu", "1")
        x = b.max_pool(x, "2", 3, 2, ceil=True)
        for position, squeezed in plan.items():
            if squeezed:
                with b.scope(str(position)):
                    x = _fire(b, x, squeezed)
            else:
                x = b.max_pool(x, str(position), 3, 2, ceil=True)
    with b.scope("classifier"):
        x = b.global_pool(b.act(b.conv(x, "1", CLASSES, 1), "relu", "2"), "3")
    b.output(b.flatten(x))


def _fire(b: Builder, x: Value, squeezed: int) -> Value:
    x = b.act(b.conv(x, "squeeze", squeezed, 1), "relu", "squeeze_activation")
    one = b.act(b.conv(x, "expand1x1", 4 * squeezed, 1), "relu", "expand1x1_activation")
    three = b.act(b.conv(x, "expand3x3", 4 * squeezed, 3), "relu", "expand3x3_activation")
    return b.concat([one, three])
