"""Projections of feature maps to pixels for two small networks, by PyTorch's autograd and by Captum.

python -m tests.references.make_projections

Writes projections.npz beside this file, for the networks that `make_heatmaps` writes. Needs PyTorch and Captum (with
tqdm). Each
projection is the gradient of sum(A · seed), the seed being A itself where it is not 0, with the rules of guided
backpropagation and deconvnet as hooks of the modules; for these two Captum's own must give the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from torch import Tensor, nn

from tests.references.heatmaps import FOLDER, fed, kept
from tests.references.make_heatmaps import NETWORKS, Writer, network, picture
from tests.references.projections import KEPT, KEPT_STEPS, LAYERS, VARIANTS

Array = npt.NDArray[Any]


class Seeded(nn.Module):  # type: ignore[misc]
    """sum(A · seed), one number a picture: A what `layer` of `model` gives."""

    def __init__(self, model: nn.Module, layer: nn.Module, channel: int | None, strongest: bool) -> None:
        super().__init__()
        self.model, self.layer, self.channel, self.strongest = model, layer, channel, strongest

    def forward(self, x: Tensor) -> Tensor:
        given: list[Tensor] = []
        handle = self.layer.register_forward_hook(lambda _, __, output: given.append(output))
        self.model(x)
        handle.remove()
        activation = given[0]
        seed = torch.zeros_like(activation)
        chosen = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        seed[:, chosen] = activation.detach()[:, chosen]
        if self.strongest:
            seed = torch.where(seed == seed[:, chosen].max(), seed, 0)
        return (activation * seed).sum(dim=(1, 2, 3))


@contextmanager
def rule(model: nn.Module, variant: str) -> Iterator[None]:
    """Every ReLU's backward pass by the variant's rule."""

    def passed(_: nn.Module, inner: tuple[Tensor], outer: tuple[Tensor]) -> tuple[Tensor] | None:
        return {"plain": None, "guided": (inner[0].clamp(min=0),), "deconvnet": (outer[0].clamp(min=0),)}[variant]

    handles = [item.register_full_backward_hook(passed) for item in model.modules() if isinstance(item, nn.ReLU)]
    yield
    for handle in handles:
        handle.remove()


def projected(seeded: Seeded, x: Tensor, variant: str) -> Array:
    x = x.clone().requires_grad_()
    with rule(seeded.model, variant):
        (gradient,) = torch.autograd.grad(seeded(x).sum(), x)
    if variant != "plain":
        kind = {"guided": "GuidedBackprop", "deconvnet": "Deconvolution"}[variant]
        other = getattr(importlib.import_module("captum.attr"), kind)(seeded).attribute(x)
        torch.testing.assert_close(gradient, other)
    return np.asarray(gradient[0].numpy())


def steps(seeded: Seeded, x: Tensor, variant: str) -> dict[str, Array]:
    """{convolution: the gradient by what it reads}."""
    named = {name: item for name, item in seeded.model.named_modules() if isinstance(item, nn.Conv2d)}
    read: dict[str, Tensor] = {}
    handles = [
        item.register_forward_pre_hook(lambda _, inputs, name=name: read.update({name: inputs[0]}))
        for name, item in named.items()
    ]
    with rule(seeded.model, variant):
        value = seeded(x.clone().requires_grad_()).sum()
        gradients = torch.autograd.grad(value, list(read.values()), allow_unused=True)
    for handle in handles:
        handle.remove()
    return {name: gradient[0].numpy() for name, gradient in zip(read, gradients, strict=True) if gradient is not None}


def of_layer(model: nn.Module, layer: str, x: Tensor) -> Iterator[tuple[str, Array]]:
    """Every projection of one layer, and its activation's most active channel."""
    module = model.get_submodule(layer)
    given: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: given.append(output))
    model(x)
    handle.remove()
    strongest = int(given[0][0].amax(dim=(1, 2)).argmax())
    yield "channel", np.array(strongest)
    for variant in VARIANTS:
        for name, channel in (("channel", strongest), ("whole", None)):
            for position in ("all", "strongest"):
                seeded = Seeded(model, module, channel, position == "strongest")
                yield f"{variant}/{name}/{position}", kept(projected(seeded, x, variant), KEPT)
        for name, values in steps(Seeded(model, module, strongest, False), x, variant).items():
            yield f"{variant}/steps/{name}", kept(values, KEPT_STEPS)


def main() -> None:
    stored: dict[str, Any] = {}
    for seed, name in enumerate(NETWORKS):
        if name not in LAYERS:
            continue
        model, drawn = network(name, seed), picture(seed)
        image = fed(drawn)
        x = torch.from_numpy(image).double()
        session = ort.InferenceSession(FOLDER / f"{name}.onnx", providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"image": image})[0], model(x).detach(), rtol=1e-5, atol=1e-5)
        outputs = Writer(model).outputs
        for layer in LAYERS[name]:
            stored[f"{name}/{layer}/tensor"] = np.array(outputs[layer])
            for key, values in of_layer(model, layer, x):
                stored[f"{name}/{layer}/{key}"] = values.astype(np.float32) if values.ndim else values
        stored[f"{name}/picture"] = drawn
    np.savez_compressed(FOLDER / "projections.npz", **stored)


if __name__ == "__main__":
    main()
