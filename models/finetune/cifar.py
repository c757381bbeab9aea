"""CIFAR-10 (Krizhevsky, 2009) through torchvision: 50,000 pictures to train on, 10,000 others to measure with."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line

from .data import Split
from .pictures import PicturePart

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cifar10_split"]

_ARCHIVE = "cifar-10-python.tar.gz"
_PATIENCE = 20.0

Resize = Callable[["NDArray[np.uint8]"], "NDArray[np.uint8]"]


def cifar10_split(folder: Path, resize: Resize, held_out: float) -> Split:
    """CIFAR-10 from `folder`, where it is downloaded to unless it is there; checked against torchvision's MD5 sums.

    `resize`: (32, 32, 3) uint8 RGB to (S, S, 3); `held_out`: how many of the 10,000 test pictures to measure with.
    Raises InputError where it is neither there nor to be had, UsageError for a share instead of a number.
    """
    if not (1 <= held_out <= 10_000 and held_out == int(held_out)):
        raise UsageError(
            f"--held-out {held_out:g}: CIFAR-10 has its own 10,000 test pictures; give how many to measure with"
        )
    train, test = _dataset(folder, True), _dataset(folder, False)
    last = min(int(held_out), len(test.data))
    return Split(
        tuple(map(str, train.classes)),
        _part(train, resize, len(train.data)),
        _part(test, resize, last),
        f"CIFAR-10; {last} held out",
    )


def _part(dataset: Any, resize: Resize, count: int) -> PicturePart:
    def pixels(number: int) -> NDArray[np.uint8]:
        return resize(np.asarray(dataset.data[number], np.uint8))

    return PicturePart(pixels, np.array(dataset.targets, np.int64), range(count))


def _dataset(folder: Path, train: bool) -> Any:
    from torchvision.datasets import CIFAR10

    try:
        with _short_patience(), contextlib.redirect_stdout(sys.stderr):
            return CIFAR10(str(folder), train=train, download=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise InputError(
            f"CIFAR-10 is not in {one_line(folder)} and cannot be downloaded ({one_line(error)}): put {_ARCHIVE} "
            f"(https://www.cs.toronto.edu/~kriz/{_ARCHIVE}) into {one_line(folder)}"
        ) from error


@contextlib.contextmanager
def _short_patience() -> Iterator[None]:
    """A server that does not answer is given up after a while."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
