"""What a training reads: pictures by index with their labels, in two parts that share none, and the order of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxvis.errors import InputError
from onnxvis.files import one_line

from ..describe import labels_metadata, square_metadata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MEAN",
    "STD",
    "Batch",
    "Pictures",
    "Split",
    "augmented",
    "check_classes",
    "metadata",
    "normalised",
    "split_by_class",
    "step_indices",
]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels in 0–1, RGB: what torchvision's pretrained weights expect, and good enough for any picture."""

Batch = tuple["NDArray[np.float32]", "NDArray[np.int64]"]


class Pictures(Protocol):
    """Pictures by index, from 0 to `count` (None: without end)."""

    @property
    def count(self) -> int | None:
        """How many there are."""

    def batch(self, indices: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        """Pictures (N, 3, S, S) float32, normalised, and labels (N,) int64; `rng`: vary them, where that helps."""


@dataclass(frozen=True)
class Split:
    """Pictures to train on and others to measure with. `labels`: names of the classes; `source`: tells by its text
    whether two splits hold the same pictures; `skipped`: a sentence for each picture that was left out."""

    labels: tuple[str, ...]
    train: Pictures
    held_out: Pictures
    source: str
    skipped: tuple[str, ...] = ()


def metadata(labels: Sequence[str], size: int) -> dict[str, str]:
    """What the exported file says: the labels, and how a picture becomes the input (as `normalised` does)."""
    return labels_metadata(labels) | square_metadata(size, "stretch", MEAN, STD)


def normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, 3) uint8 RGB to (N, 3, S, S) float32: (pixel / 255 − MEAN) / STD."""
    values = (pixels.astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def augmented(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """(N, S, S, 3) uint8: half of the pictures mirrored left to right, each moved by up to S / 16 pixels either way.

    Pixels at an edge are repeated where a move leaves a gap.
    """
    size = pixels.shape[1]
    reach = size // 16
    mirrored = rng.random(len(pixels)) < 0.5
    moves = rng.integers(-reach, reach + 1, (len(pixels), 2))
    rows = np.clip(np.arange(size) + moves[:, :1], 0, size - 1)
    columns = np.clip(np.arange(size) + moves[:, 1:], 0, size - 1)
    columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    return np.asarray(pixels[np.arange(len(pixels))[:, None, None], rows[:, :, None], columns[:, None, :]])


def step_indices(count: int | None, seed: int, step: int, batch: int) -> list[int]:
    """Which `batch` pictures of `count` step number `step` (from 0) sees.

    Steps read one long row: every picture in an order drawn for that round, then every picture again in another; the
    last pictures of a round and the first of the next may share a step. Without end (None), the row counts up. A step's
    pictures depend on nothing before it, so that a run can begin in the middle.
    """
    row = range(step * batch, (step + 1) * batch)
    if count is None:
        return list(row)
    rounds = range(row[0] // count, row[-1] // count + 1)
    orders = {number: np.random.default_rng([seed, number]).permutation(count) for number in rounds}
    return [int(orders[place // count][place % count]) for place in row]


def split_by_class(labels: NDArray[np.int64], held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and indices held out, each class in the same proportion, drawn by `seed`.

    `held_out`: a share below 1, or how many in all. Every class keeps at least one picture on either side, so it needs
    two. Raises InputError where `held_out` is all there is.
    """
    share = held_out if held_out < 1 else held_out / len(labels)
    if share >= 1:
        raise InputError(f"--held-out {held_out:g} leaves none of {len(labels)} pictures to train on; give fewer")
    rng = np.random.default_rng([seed, len(labels)])
    train: list[int] = []
    held: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label)).tolist()
        apart = min(max(1, round(share * len(members))), len(members) - 1)
        held += members[:apart]
        train += members[apart:]
    return sorted(train), sorted(held)


def check_classes(names: Sequence[str], counts: Sequence[int], where: str) -> None:
    """Raise InputError unless there are two classes and each has two pictures, one of them to be held out."""
    if not any(counts):
        raise InputError(f"{where} has no picture that can be read; give JPEG, PNG, WebP, BMP or TIFF files")
    if len(names) < 2:
        raise InputError(
            f"{where} has one class only, '{one_line(names[0])}'; a classifier needs at least two: a folder for each, "
            "or two labels in a list"
        )
    for name, count in zip(names, counts, strict=True):
        if count < 2:
            found = "no picture that can be read" if not count else "one picture only"
            raise InputError(
                f"{where}: the class '{one_line(name)}' has {found}; each needs two at least, as one is held out"
            )
