"""The recipe of the detector that ships: train a narrow YOLOv3 on fresh scenes, measure it, export it as ONNX.

python -m onnxvis.models.detector --out models/data

Needs PyTorch (pip install "onnxvis[torch]"); no picture is downloaded and none is seen twice.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .crowds import make_crowd
from .describe import YoloHead, detector_metadata, labels_metadata, square_metadata
from .precision import mean_average_precision
from .shapes import KINDS
from .torch_export import export_module

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from .yolo import NarrowYolo

    Array = NDArray[np.float32]

__all__ = ["FRESH_SEEDS", "HEADS", "SIZE", "batch_of", "detections", "export", "metadata", "precision", "train"]

SIZE = 160
FRESH_SEEDS = 1_000_000_000
"""Scenes from this seed on are never trained on."""

HEADS = (
    YoloHead("head5", 32, ((53, 52), (61, 61), (74, 71))),
    YoloHead("head10", 16, ((42, 41), (47, 47), (41, 59))),
    YoloHead("head20", 8, ((26, 26), (32, 31), (36, 37))),
)
"""Medians of nine clusters of the boxes in 400 scenes, by IoU."""

_STEPS, _BATCH, _RATE = 4000, 32, 3e-3


def metadata(decoded: bool = False) -> dict[str, str]:
    """What the model file says about itself: the labels, its heads, and how a picture becomes its input."""
    heads = detector_metadata(HEADS, len(KINDS), ("boxes", "scores") if decoded else None)
    return labels_metadata(KINDS) | square_metadata(SIZE, "letterbox", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)) | heads


def batch_of(seeds: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Scenes (N, 3, SIZE, SIZE) uint8 RGB, and what is in them (M, 6): picture, x0, y0, x1, y1 in pixels, class."""
    crowds = [make_crowd(seed, SIZE) for seed in seeds]
    pictures = np.stack([crowd.picture for crowd in crowds]).transpose(0, 3, 1, 2)
    rows = [(place, *member.box, member.label) for place, crowd in enumerate(crowds) for member in crowd.members]
    return np.ascontiguousarray(pictures), np.array(rows, np.float32).reshape(-1, 6)


class _Batches:
    """Batches by number, each scene seen once; drawn beside the training by another process."""

    def __init__(self, steps: int, size: int) -> None:
        self.steps, self.size = steps, size

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        return batch_of(range(step * self.size, (step + 1) * self.size))


def train(
    steps: int = _STEPS, batch: int = _BATCH, threads: int = 1, device: str = "cpu", workers: int = 1
) -> NarrowYolo:
    """A network trained on `steps` batches of scenes, each scene seen once; seeds count up from 0.

    AdamW with a one-cycle learning rate. Prints the losses to stderr as it goes.
    """
    import torch

    from .yolo import NarrowYolo
    from .yolo_loss import yolo_loss

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    network = NarrowYolo(len(KINDS))
    network.to(device=device, memory_format=torch.channels_last)
    _expect_few_boxes(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_RATE, total_steps=steps, pct_start=0.1)
    anchors = torch.tensor([head.anchors for head in HEADS], dtype=torch.float32, device=device)
    strides = [head.stride for head in HEADS]
    start = time.monotonic()
    sums = np.zeros(4)
    for step, (pictures, truth) in enumerate(_drawn(steps, batch, workers), 1):
        x = torch.from_numpy(pictures).to(device).contiguous(memory_format=torch.channels_last).float() / 255
        losses = yolo_loss(network(x), anchors, strides, torch.from_numpy(truth).to(device))
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        schedule.step()
        sums += [part.item() for part in (losses.total, losses.box, losses.objectness, losses.label)]
        if step % 50 == 0 or step == steps:
            mean = sums / ((step - 1) % 50 + 1)
            said = (
                f"step {step}/{steps}  loss {mean[0]:.3f} (boxes {mean[1]:.3f}, any {mean[2]:.3f}, kind {mean[3]:.3f})"
            )
            print(f"{said}  {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            sums[:] = 0
    network.cpu().eval()
    return network


def _expect_few_boxes(network: NarrowYolo) -> None:
    """Start with an objectness of 1 %, as nearly all places are empty."""
    import torch

    with torch.no_grad():
        for head in (network.head5, network.head10, network.head20):
            head.out.bias.view(3, -1)[:, 4] = -4.6


def _drawn(steps: int, size: int, workers: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    from torch.utils.data import DataLoader

    yield from DataLoader(_Batches(steps, size), batch_size=None, num_workers=workers, collate_fn=_as_it_is)


def _as_it_is(item: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return item


def export(network: NarrowYolo, decoded: bool = False) -> onnx.ModelProto:
    """The network with its raw heads as an ONNX model: opset 17, batch norm and scope names kept, `metadata()` inside.

    Input `image` (batch, 3, SIZE, SIZE) float32 in [0, 1], outputs `head5`, `head10`, `head20`; `decoded`: also `boxes`
    (batch, 1575, 4), corners in pixels, and `scores` (batch, 1575, 10).
    """
    from .yolo import DecodedYolo

    outputs = tuple(head.output for head in HEADS)
    if decoded:
        whole = DecodedYolo(len(KINDS), SIZE, [head.anchors for head in HEADS])
        whole.load_state_dict(network.state_dict())
        network, outputs = whole, (*outputs, "boxes", "scores")
    # Computed constants: else the size of what is upsampled would be known only when it runs.
    return export_module(network, (1, 3, SIZE, SIZE), metadata(decoded), outputs=outputs, constants=True)


def detections(model: bytes, pictures: NDArray[np.uint8], least: float = 0.01, overlap: float = 0.45) -> list[Array]:
    """What a model with decoded boxes finds in each picture (N, 3, SIZE, SIZE): (M, 6) x0, y0, x1, y1, score, class.

    Boxes of a class that overlap a stronger one by more than `overlap` are dropped (OpenCV's NMSBoxes).
    """
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found = []
    for picture in pictures:
        (boxes,), (scores,) = session.run(["boxes", "scores"], {"image": picture[None].astype(np.float32) / 255})
        sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()
        # OpenCV's batched form moves classes apart by the largest coordinate: wrong for boxes that leave the picture.
        kept = [
            (label, list(cv2.dnn.NMSBoxes(sides, own.tolist(), least, overlap))) for label, own in enumerate(scores.T)
        ]
        rows = [(*boxes[place], scores[place, label], label) for label, places in kept for place in places]
        every = np.array(rows, np.float32).reshape(-1, 6)
        found.append(every[np.argsort(-every[:, 4], kind="stable")])
    return found


def precision(model: bytes, seeds: Sequence[int], overlap: float = 0.5) -> float:
    """The mean average precision at an IoU of `overlap` on the scenes of `seeds`, of a model with decoded boxes."""
    pictures, truth = batch_of(seeds)
    own = [truth[truth[:, 0] == place, 1:] for place in range(len(seeds))]
    return mean_average_precision(detections(model, pictures), own, overlap)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure on fresh scenes, write the model."""
    parser = argparse.ArgumentParser(prog="python -m onnxvis.models.detector", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder where the .onnx files go")
    parser.add_argument("--steps", type=int, default=_STEPS, help=f"batches of {_BATCH} scenes (default: {_STEPS})")
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch may use (default: 1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--fresh", type=int, default=2000, help="scenes to measure on (default: 2000)")
    options = parser.parse_args(arguments)
    network = train(options.steps, threads=options.threads, device=options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, decoded in (("detector.onnx", False), ("detector_decoded.onnx", True)):
        model: bytes = export(network, decoded).SerializeToString()
        (options.out / name).write_bytes(model)
        print(f"{options.out / name}: {len(model):,} bytes")
    fresh = range(FRESH_SEEDS, FRESH_SEEDS + options.fresh)
    print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters")
    print(f"mAP@0.5 on {options.fresh} fresh scenes: {precision(model, fresh):.4f}")


if __name__ == "__main__":
    main()
