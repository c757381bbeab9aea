"""The networks that are trained: torchvision's ResNet-18 with a new last layer, and VGG-16 with global pooling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import cfgs, make_layers

from ..vision_zoo import build, build_from_checkpoint

__all__ = ["AppendedResNet", "PooledVGG", "build_network"]

_CHANNELS = 512


class AppendedResNet(ResNet):  # type: ignore[misc]
    """ResNet-18 with its own `inner` classes (1000), and a layer `head` from those to `classes`."""

    def __init__(self, inner: int, classes: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=inner)
        self.head = nn.Linear(self.fc.out_features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, classes)."""
        logits: Tensor = self.head(super().forward(x))
        return logits


class PooledVGG(nn.Module):  # type: ignore[misc]
    """VGG's convolutions, the mean of each of their 512 maps, and one layer: (N, 3, S, S) to (N, classes)."""

    def __init__(self, features: nn.Module, classes: int) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(_CHANNELS, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))
        return logits


def build_network(name: str, head: str, classes: int, seed: int, start: Path | bool = False) -> nn.Module:
    """The network `name` of settings.NETWORKS with `classes` outputs, its random weights drawn by `seed`.

    Modules are named as in torchvision. `head` 'replace': ResNet's `fc` gives the classes; 'append': `fc` stays, and
    `head` comes after it. `start`: True for torchvision's pretrained weights, or a checkpoint of torchvision's network,
    for all but the new layer. Raises what `vision_zoo.build` and `build_from_checkpoint` raise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name != "resnet18":
            return PooledVGG(_started(name, start).features if start else _random_features(name), classes)
        network = _started(name, start) if start else build(name)
        if head == "replace":
            network.fc = nn.Linear(network.fc.in_features, classes)
            return network
        appended = AppendedResNet(network.fc.out_features, classes)
        appended.load_state_dict(network.state_dict(), strict=False)
        return appended


def _started(name: str, start: Path | bool) -> Any:
    return build(name, pretrained=True) if isinstance(start, bool) else build_from_checkpoint(name, start)


def _random_features(name: str) -> nn.Module:
    """The convolutions of VGG-16, without first making the 120 million weights that torchvision has after them."""
    features: nn.Module = make_layers(cfgs["D"], batch_norm=name == "vgg16_bn")
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            # As torchvision begins: He et al., 2015 (arXiv:1502.01852), for the way back through ReLU.
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return features
