"""The recipe of the classifier that ships: train a small ResNet on fresh scenes, measure it, export it as ONNX.

python -m onnxvis.models.classifier --out models/data/classifier.onnx

Needs PyTorch (pip install "onnxvis[torch]"); no picture is downloaded and none is seen twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .describe import labels_metadata, square_metadata
from .scenes import make_scene
from .shapes import KINDS
from .torch_export import export_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .resnet import SmallResNet

__all__ = ["FRESH_SEEDS", "MEAN", "SIZE", "STD", "accuracy", "batch_of", "export", "metadata", "train"]

SIZE = 112
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
FRESH_SEEDS = 1_000_000_000
"""Scenes from this seed on are never trained on."""

_STEPS = 2000
_BATCH = 64


def metadata() -> dict[str, str]:
    """What the model file says about itself: the labels, and how a picture becomes its input."""
    return labels_metadata(KINDS) | square_metadata(SIZE, "stretch", MEAN, STD)


def batch_of(seeds: Iterable[int]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scenes as the network takes them, and their labels (N,).

    Pictures: (N, 3, SIZE, SIZE) float32, (pixel / 255 − MEAN) / STD.
    """
    scenes = [make_scene(seed, SIZE) for seed in seeds]
    pictures = np.stack([scene.picture for scene in scenes]).astype(np.float32) / 255
    pictures = (pictures - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)), np.array([scene.label for scene in scenes])


def train(steps: int = _STEPS, batch: int = _BATCH, threads: int = 1) -> SmallResNet:
    """A network trained on `steps` batches of scenes, each scene seen once; seeds count up from 0.

    AdamW with a one-cycle learning rate. Prints loss and accuracy on the training batches to stderr as it goes.
    """
    import torch

    from .resnet import SmallResNet

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    network = SmallResNet(len(KINDS))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.2)
    start, losses, hits = time.monotonic(), 0.0, 0.0
    for step in range(1, steps + 1):
        pictures, labels = batch_of(range((step - 1) * batch, step * batch))
        target = torch.from_numpy(labels)
        # Convolutions keep the layout of their input; channels last is the faster one on a CPU.
        logits = network(torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last))
        loss = torch.nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses, hits = losses + loss.item(), hits + (logits.argmax(1) == target).float().mean().item()
        if step % 50 == 0 or step == steps:
            since = (step - 1) % 50 + 1
            said = f"step {step}/{steps}  loss {losses / since:.3f}  accuracy {hits / since:.1%}"
            print(f"{said}  {time.monotonic() - start:.0f} s", file=sys.stderr)
            losses = hits = 0.0
    network.eval()
    return network


def export(network: SmallResNet) -> bytes:
    """The network as a serialized ONNX model: opset 17, batch norm kept, scope names kept, `metadata()` inside.

    Input `image` (batch, 3, SIZE, SIZE) float32, output `logits` (batch, 10). Checked with onnx.checker.
    """
    serialized: bytes = export_module(network, (1, 3, SIZE, SIZE), metadata()).SerializeToString()
    return serialized


def accuracy(model: bytes | str, seeds: Sequence[int]) -> float:
    """Share of the scenes of `seeds` that a model (its bytes, or a path) names rightly, run by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    right = 0
    for first in range(0, len(seeds), 50):
        pictures, labels = batch_of(seeds[first : first + 50])
        (logits,) = session.run(["logits"], {"image": pictures})
        right += int((logits.argmax(axis=1) == labels).sum())
    return right / len(seeds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure on fresh scenes, write the model."""
    parser = argparse.ArgumentParser(prog="python -m onnxvis.models.classifier", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where the .onnx goes")
    parser.add_argument("--steps", type=int, default=_STEPS, help=f"batches of {_BATCH} scenes (default: {_STEPS})")
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch may use (default: 1)")
    parser.add_argument("--fresh", type=int, default=3000, help="scenes to measure the accuracy on (default: 3000)")
    options = parser.parse_args(arguments)

    network = train(options.steps, threads=options.threads)
    model = export(network)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_bytes(model)
    parameters = sum(weight.numel() for weight in network.parameters())
    score = accuracy(model, range(FRESH_SEEDS, FRESH_SEEDS + options.fresh))
    print(f"{options.out}: {parameters:,} parameters, {len(model):,} bytes")
    print(f"accuracy on {options.fresh} fresh scenes: {score:.2%}")


if __name__ == "__main__":
    main()
