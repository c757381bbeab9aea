"""Perturbation heatmaps of two small networks by pytorch-grad-cam, Captum, and short loops over PyTorch.

PYTHONPATH=FOLDER python -m tests.references.make_perturbations

Writes perturbations.npz beside this file; the networks are those that `make_heatmaps` writes. FOLDER holds what
`pip install --no-deps --target FOLDER captum grad-cam ttach tqdm` gives, as in `make_heatmaps`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from onnx import load, numpy_helper
from torch import Tensor, nn

from tests.references.heatmaps import FOLDER, PIXELS, fed, kept
from tests.references.make_heatmaps import NETWORKS, Array
from tests.references.peers import pytorch_grad_cam

CELLS, MASKS, KEPT, SEED = 7, 200, 0.5, 0
WINDOW, STRIDE = 10, 4


def network(name: str) -> nn.Module:
    """The network of that name with the weights of its file, in float64."""
    model = NETWORKS[name][0]().eval()
    stored = {item.name: numpy_helper.to_array(item).copy() for item in load(FOLDER / f"{name}.onnx").graph.initializer}
    stored |= {key: np.array(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
    model.load_state_dict({key: torch.from_numpy(value) for key, value in stored.items()})
    return model.double()


def cams(model: nn.Module, layer: nn.Module, x: Tensor, target: int) -> Iterator[tuple[str, Array]]:
    """What pytorch-grad-cam gives before it makes a map of it."""
    library = pytorch_grad_cam()
    targets = [library.utils.model_targets.ClassifierOutputTarget(target)]
    for name, kind in {"scorecam": "ScoreCAM", "ablationcam": "AblationCAM"}.items():
        method = getattr(library, kind)(model=model, target_layers=[layer])
        method(input_tensor=x, targets=targets)
        activation = method.activations_and_grads.activations[0].detach().numpy()
        assert activation.min() == 0, "else pytorch-grad-cam ablates with another number"
        yield name, method.get_cam_image(x, layer, targets, activation, None, False)[0]
        method.activations_and_grads.release()


def reciprocam(model: nn.Sequential, place: int, x: Tensor, target: int) -> Array:
    """The target behind a layer that keeps one position, position by position."""
    before, after = model[: place + 1], model[place + 1 :]
    activation = before(x)
    found = np.zeros(activation.shape[2:])
    for row, column in np.ndindex(*found.shape):
        alone = torch.zeros_like(activation)
        alone[:, :, row, column] = activation[:, :, row, column]
        found[row, column] = after(alone)[0, target]
    return found


def rise(model: nn.Module, x: Tensor, target: int) -> Array:
    """As its authors do it, with the numbers drawn in the order that ours are."""
    rng, height, width = np.random.default_rng(SEED), x.shape[2], x.shape[3]
    cell = math.ceil(height / CELLS), math.ceil(width / CELLS)
    total = torch.zeros(height, width, dtype=torch.float64)
    for _ in range(MASKS):
        grid = torch.from_numpy((rng.random((CELLS, CELLS)) < KEPT).astype(np.float64))[None, None]
        top, left = int(rng.integers(0, cell[0])), int(rng.integers(0, cell[1]))
        size = ((CELLS + 1) * cell[0], (CELLS + 1) * cell[1])
        large = nn.functional.interpolate(grid, size, mode="bilinear", align_corners=False)[0, 0]
        mask = large[top : top + height, left : left + width]
        total += model(x * mask)[0, target] * mask
    return np.asarray(total / (MASKS * KEPT))


def occlusion(model: nn.Module, x: Tensor, target: int) -> Array:
    """What Captum gives, which is the same for every colour."""
    found = importlib.import_module("captum.attr").Occlusion(model).attribute(
        x, (3, WINDOW, WINDOW), target=target, strides=(3, STRIDE, STRIDE)
    )  # fmt: skip
    return np.asarray(found[0, 0])


@torch.no_grad()  # type: ignore[untyped-decorator]
def main() -> None:
    stored: dict[str, Any] = {}
    heatmaps = np.load(FOLDER / "heatmaps.npz")
    for name in ("resnet", "vgg"):
        model, target = network(name), int(heatmaps[f"{name}/target"])
        x = torch.from_numpy(fed(heatmaps[f"{name}/picture"])).double()
        for layer, place in enumerate(NETWORKS[name][1]):
            stored |= {f"{name}/{method}/{layer}": value for method, value in cams(model, model[place], x, target)}
            stored[f"{name}/reciprocam/{layer}"] = reciprocam(model, place, x, target)
        stored[f"{name}/rise"] = kept(rise(model, x, target), PIXELS)
        stored[f"{name}/occlusion"] = kept(occlusion(model, x, target), PIXELS)
    np.savez_compressed(
        FOLDER / "perturbations.npz", **{key: value.astype(np.float32) for key, value in stored.items()}
    )


if __name__ == "__main__":
    main()
