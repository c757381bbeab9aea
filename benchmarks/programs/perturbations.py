"""Score-CAM and Ablation-CAM of ResNet-18's last layer in one process: ours beside pytorch-grad-cam's, in turn.

Prints METHOD.ours and METHOD.theirs, the seconds of one map, the shorter of two,
each in turn. Raises ValueError where the two maps are not the same. Needs pytorch-grad-cam.

`python -m benchmarks.programs.perturbations FOLDER THREADS`
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, numpy_helper
from torch import nn

from benchmarks.make_inputs import tamed
from onnxvis.graph.load import Model, load
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.models.resnet import BasicBlock
from onnxvis.run.session import RunOptions
from tests.references.peers import pytorch_grad_cam
from tests.zoo import build, materialize

__all__ = ["METHODS", "main"]

METHODS = {"scorecam": "ScoreCAM", "ablationcam": "AblationCAM"}

_SHAPE, _TARGET, _PASSES = (1, 3, 224, 224), 3, 2
_ALIKE = 0.99

Array = np.ndarray[Any, np.dtype[Any]]


def main(folder: Path, threads: int) -> None:
    """Measure both methods on random weights, with the model's file in `folder`."""
    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    proto = tamed(materialize(build("resnet18")))
    (folder / "resnet18.onnx").write_bytes(proto.SerializeToString())
    model, peer = load(folder / "resnet18.onnx"), _peer(proto)
    picture = np.random.default_rng(0).standard_normal(_SHAPE).astype(np.float32)
    figures: dict[str, float] = {}
    for name, kind in METHODS.items():
        ours, theirs = _ours(model, name, picture, threads), _theirs(peer, kind, picture)
        taken = _in_turn(name, ours, theirs)
        figures |= {f"{name}.ours": taken[0], f"{name}.theirs": taken[1]}
    print(json.dumps(figures))


def _peer(proto: ModelProto) -> nn.Module:
    """ResNet-18 in PyTorch, as torchvision builds it, with the weights of `proto`."""
    widths = (64, 64, 128, 256, 512)
    stages = {
        f"layer{stage}": nn.Sequential(
            BasicBlock(widths[stage - 1], widths[stage], 1 if stage == 1 else 2),
            BasicBlock(widths[stage], widths[stage], 1),
        )
        for stage in range(1, 5)
    }
    model = nn.Sequential()
    parts = {
        "conv1": nn.Conv2d(3, 64, 7, 2, 3, bias=False), "bn1": nn.BatchNorm2d(64), "relu": nn.ReLU(inplace=True),
        "maxpool": nn.MaxPool2d(3, 2, 1), **stages,
        "avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc": nn.Linear(512, 1000),
    }  # fmt: skip
    for name, part in parts.items():
        model.add_module(name, part)
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in proto.graph.initializer}
    counters = {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
    model.load_state_dict({**stored, **counters})
    return model.eval()


def _ours(model: Model, name: str, picture: Array, threads: int) -> Callable[[], Array]:
    feeds, options = {model.inputs[0].name: picture}, RunOptions("cpu", threads)
    return lambda: explain(model, feeds, [name], target=str(_TARGET), options=options)[0].map


def _theirs(peer: nn.Module, kind: str, picture: Array) -> Callable[[], Array]:
    library = pytorch_grad_cam()
    method = getattr(library, kind)(model=peer, target_layers=[peer.layer4[-1]])
    targets = [library.utils.model_targets.ClassifierOutputTarget(_TARGET)]
    return lambda: np.asarray(method(input_tensor=torch.from_numpy(picture), targets=targets)[0])


def _in_turn(name: str, ours: Callable[[], Array], theirs: Callable[[], Array]) -> tuple[float, float]:
    """The shortest seconds of either side."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(_PASSES):
        start = time.perf_counter()
        given = ours()
        middle = time.perf_counter()
        expected = theirs()
        taken[0].append(middle - start)
        taken[1].append(time.perf_counter() - middle)
    alike = float(np.corrcoef(given.reshape(-1), expected.reshape(-1))[0, 1])
    if not alike >= _ALIKE:
        raise ValueError(f"{name}: the two maps correlate by {alike:.3g} alone")
    return min(taken[0]), min(taken[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
