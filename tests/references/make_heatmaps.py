"""Heatmaps of three small networks by the libraries that people use in PyTorch: pytorch-grad-cam and Captum.

python -m tests.references.make_heatmaps

Writes heatmaps.npz and a network of each kind as .onnx beside this file. Needs PyTorch, Captum and pytorch-grad-cam;
what the last imports for other purposes may be missing (pip install --no-deps captum grad-cam ttach tqdm).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from tests.references.heatmaps import CAMS, FINAL, FOLDER, PIXELS, fed, kept

Array = npt.NDArray[Any]

SIDE, CLASSES, SAMPLES = 48, 10, 500


class Residual(nn.Module):  # type: ignore[misc]
    """relu(main(x) + way(x))."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(*convolved(before, after, stride, nn.ReLU()), *convolved(after, after, 1, None))
        self.way = nn.Sequential() if stride == 1 else nn.Sequential(*convolved(before, after, stride, None, 1))
        self.end = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.main(x) + self.way(x))


class Dense(nn.Module):  # type: ignore[misc]
    """x and main(x), one behind the other."""

    def __init__(self, main: nn.Module) -> None:
        super().__init__()
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.main(x)], dim=1)


def convolved(
    before: int, after: int, stride: int, end: nn.Module | None, side: int = 3, groups: int = 1
) -> list[nn.Module]:
    """A convolution, its batch norm and an activation."""
    parts = [nn.Conv2d(before, after, side, stride, side // 2, groups=groups, bias=False), nn.BatchNorm2d(after)]
    return parts if end is None else [*parts, end]


def resnet() -> nn.Module:
    stages = [Residual(8, 8), Residual(8, 16, 2), Residual(16, 24, 2)]
    return nn.Sequential(
        nn.Sequential(*convolved(3, 8, 2, nn.ReLU())), *stages,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, CLASSES),
    )  # fmt: skip


def vgg() -> nn.Module:
    """The first pools overlap, so that one pixel may be the maximum of several windows."""
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        nn.Sequential(nn.Conv2d(8, 12, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        nn.Sequential(nn.Conv2d(12, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU()),
        nn.MaxPool2d(2, 2),
        nn.Flatten(), nn.Linear(576, 14), nn.ReLU(), nn.Linear(14, CLASSES),
    )  # fmt: skip


def mobile() -> nn.Module:
    """Depthwise convolutions, SiLU, and a join by Concat."""
    return nn.Sequential(
        nn.Sequential(*convolved(3, 8, 2, nn.SiLU())),
        nn.Sequential(*convolved(8, 32, 1, nn.SiLU(), 1), *convolved(32, 32, 2, nn.SiLU(), 3, 32)),
        Dense(nn.Sequential(*convolved(32, 16, 1, nn.SiLU(), 1))),
        nn.Sequential(*convolved(48, 48, 2, nn.SiLU(), 3, 48), *convolved(48, 64, 1, nn.SiLU(), 1)),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "resnet": (resnet, (2, 3)),
    "vgg": (vgg, (2, 3)),
    "mobile": (mobile, (2, 3)),
}
"""How each is made, and the two of its children whose outputs are explained: 12 × 12 and 6 × 6."""


def network(name: str, seed: int) -> nn.Module:
    """With random weights, in float64; every weight is a float32."""
    torch.manual_seed(seed)
    made = NETWORKS[name][0]()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.6, 1.4)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1)
    return made.eval().double()


class Writer:
    """Writes a network as ONNX, module by module; `outputs` is {module: the tensor that it gives}."""

    def __init__(self, model: nn.Module) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.outputs: dict[str, str] = {}
        output = self.module(model, "image", "")
        graph = helper.make_graph(
            self.nodes, "network",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, CLASSES])],
            self.weights,
        )  # fmt: skip
        self.proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def module(self, module: nn.Module, x: str, name: str) -> str:
        self.outputs[name] = self.written(module, x, name)
        return self.outputs[name]

    def written(self, module: nn.Module, x: str, name: str) -> str:
        if isinstance(module, nn.Sequential):
            for key, child in module.named_children():
                x = self.module(child, x, f"{name}.{key}".strip("."))
            return x
        if isinstance(module, Residual):
            ways = [self.module(module.main, x, f"{name}.main"), self.module(module.way, x, f"{name}.way")]
            return self.module(module.end, self.node("Add", ways, f"{name}.add"), f"{name}.end")
        if isinstance(module, Dense):
            return self.node("Concat", [x, self.module(module.main, x, f"{name}.main")], name, axis=1)
        return self.leaf(module, x, name)

    def leaf(self, module: nn.Module, x: str, name: str) -> str:
        if isinstance(module, nn.Conv2d):
            side, pad, stride = module.kernel_size[0], module.padding[0], module.stride[0]
            window = {"kernel_shape": [side] * 2, "pads": [pad] * 4, "strides": [stride] * 2}
            return self.node("Conv", [x, *self.stored(module, name)], name, group=module.groups, **window)
        if isinstance(module, nn.BatchNorm2d):
            return self.node("BatchNormalization", [x, *self.stored(module, name)], name, epsilon=module.eps)
        if isinstance(module, nn.Linear):
            return self.node("Gemm", [x, *self.stored(module, name)], name, transB=1)
        if isinstance(module, nn.MaxPool2d):
            window = {"kernel_shape": [module.kernel_size] * 2, "pads": [module.padding] * 4}
            return self.node("MaxPool", [x], name, strides=[module.stride] * 2, **window)
        if isinstance(module, nn.SiLU):
            return self.node("Mul", [x, self.node("Sigmoid", [x], f"{name}.gate")], name)
        op = {nn.ReLU: "Relu", nn.Flatten: "Flatten", nn.AdaptiveAvgPool2d: "GlobalAveragePool"}[type(module)]
        return self.node(op, [x], name)

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def stored(self, module: nn.Module, name: str) -> Iterator[str]:
        """The module's weights, in the order in which ONNX reads them."""
        for key in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(module, key, None)
            if value is not None:
                self.weights.append(numpy_helper.from_array(value.detach().numpy().astype(np.float32), f"{name}.{key}"))
                yield f"{name}.{key}"


def picture(seed: int) -> Array:
    """Smooth colours with noise, (1, 3, SIDE, SIDE) uint8."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((1, 3, 6, 6)))
    smooth = nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic").numpy()
    colours: Array = np.clip(128 + 48 * (smooth + 0.3 * rng.standard_normal(smooth.shape)), 0, 255).astype(np.uint8)
    return colours


def cams(model: nn.Module, layers: list[nn.Module], x: Tensor, target: int) -> Iterator[tuple[str, Array]]:
    """What pytorch-grad-cam gives: for each method and layer the values before it makes a map of them, and the map of
    the last layer, and of both.
    """
    library = importlib.import_module("pytorch_grad_cam")
    targets = [library.utils.model_targets.ClassifierOutputTarget(target)]
    for name, kind in CAMS.items():
        for key, chosen in {"0": layers[:1], "1": layers[1:], "both": layers}.items():
            method = getattr(library, kind)(model=model, target_layers=chosen)
            shown = method(input_tensor=x, targets=targets)[0]
            seen = method.activations_and_grads
            if key != "both":
                activation = seen.activations[0].detach().numpy()
                gradient = seen.gradients[0].numpy() if seen.gradients else None
                yield f"{name}/{key}", method.get_cam_image(x, chosen[0], targets, activation, gradient, False)[0]
            seen.release()
            if not name.startswith("eigen") and key != "0":
                assert shown.max() > 0.99, f"{name} of layer {key} is blank"
                yield f"{name}/{'last' if key == '1' else key}", kept(shown, FINAL)


def pixels(model: nn.Module, last: nn.Module, x: Tensor, target: int) -> Iterator[tuple[str, Array]]:
    """What Captum gives. Its rules for units like ReLU see modules of that name alone."""
    attr = importlib.import_module("captum.attr")
    x = x.clone().requires_grad_()
    found = {
        "saliency": attr.Saliency(model).attribute(x, target=target, abs=False),
        "inputxgradient": attr.InputXGradient(model).attribute(x, target=target),
        "integratedgradients": attr.IntegratedGradients(model).attribute(
            x, target=target, n_steps=50, method="riemann_trapezoid"
        ),
    }
    if not any(isinstance(module, nn.SiLU) for module in model.modules()):
        found["guidedbackprop"] = attr.GuidedBackprop(model).attribute(x, target=target)
        found["deconvnet"] = attr.Deconvolution(model).attribute(x, target=target)
        found["guided-gradcam"] = attr.GuidedGradCam(model, last).attribute(x, target, interpolate_mode="bilinear")
    for name, value in found.items():
        yield name, kept(value[0].detach().numpy(), PIXELS)
    yield "smoothgrad", kept(smoothed(model, x.detach(), target), PIXELS)


def smoothed(model: nn.Module, x: Tensor, target: int) -> Array:
    """The mean over many noisy copies of the largest |dy/dx| over colours, (SIDE, SIDE)."""
    torch.manual_seed(1)
    spread = 0.15 * float(x.max() - x.min())
    noisy = (x + spread * torch.randn(SAMPLES, *x.shape[1:], dtype=x.dtype)).requires_grad_()
    (gradient,) = torch.autograd.grad(model(noisy)[:, target].sum(), noisy)
    return np.asarray(gradient.abs().amax(dim=1).mean(dim=0).numpy())


def main() -> None:
    for name in ("torchvision", "sklearn", "scipy", "matplotlib"):
        if find_spec(name) is None:
            for inner in ("", ".transforms", ".transforms.functional", ".decomposition", ".ndimage", ".sparse"):
                sys.modules[name + inner] = MagicMock()
            sys.modules[f"{name}.sparse.linalg"] = MagicMock()
    stored: dict[str, Any] = {}
    for seed, (name, (_, layers)) in enumerate(NETWORKS.items()):
        model, drawn = network(name, seed), picture(seed)
        image = fed(drawn)
        writer = Writer(model)
        proto = writer.proto
        (FOLDER / f"{name}.onnx").write_bytes(proto.SerializeToString())
        x = torch.from_numpy(image).double()
        scores = model(x).detach().numpy()
        session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"image": image})[0], scores, rtol=1e-5, atol=1e-5)
        target, children = int(scores.argmax()), [model[place] for place in layers]
        named = [writer.outputs[str(place)] for place in layers]
        stored |= {f"{name}/picture": drawn, f"{name}/target": np.array(target), f"{name}/layers": np.array(named)}
        for key, value in (*cams(model, children, x, target), *pixels(model, children[1], x, target)):
            stored[f"{name}/{key}"] = value.astype(np.float32)
    np.savez_compressed(FOLDER / "heatmaps.npz", **stored)


if __name__ == "__main__":
    main()
