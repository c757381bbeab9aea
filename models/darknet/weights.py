"""Darknet's .weights files: a short header, then every float of every layer, one after the other."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxvis.errors import ModelError
from onnxvis.files import one_line

from .layers import Connected, Layer, tensors
from .plan import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FileWeights", "Weights"]

_WORDS = struct.Struct("<3i")
_PLAUSIBLE = 1 << 20


class Weights(Protocol):
    """Where the weights of a network come from."""

    @property
    def notes(self) -> Sequence[str]:
        """What is to be told about the weights that were asked for so far."""

    def of(self, layer: Layer) -> dict[str, NDArray[np.float32]]:
        """The weights of a layer, name → array of the shape that `layers.tensors` says."""


class FileWeights:
    """The weights in a file, mapped into memory and read where they are asked for.

    The header is major, minor, revision (int32) and how many pictures were seen in training: 64 bits from version 0.2
    on, 32 before. A major or minor above 1000 says that the matrices of connected layers are (inputs, outputs).
    Raises ModelError where the file cannot be read, is no such file, or holds more or fewer floats than `plan` needs:
    then the layer and the tensor that are cut off are named.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self._name = one_line(path.name)
        size, header = self._open(path)
        self._notes: dict[str, str] = {}
        self._starts: dict[int, int] = {}
        start = 0
        for layer in plan.layers:
            self._starts[layer.number] = start
            start += sum(map(math.prod, tensors(layer.what).values()))
        self._check(size - header, plan)
        self._floats: NDArray[np.float32] = np.zeros(0, np.float32)
        if plan.parameters:
            self._floats = np.memmap(path, "<f4", "r", header, (plan.parameters,))

    @property
    def notes(self) -> Sequence[str]:
        """The first tensor with numbers that are not finite, and the first with a variance below 0."""
        return tuple(self._notes.values())

    def of(self, layer: Layer) -> dict[str, NDArray[np.float32]]:
        """The weights of a layer, name → array, as views of the file."""
        found = {}
        start = self._starts[layer.number]
        for name, shape in tensors(layer.what).items():
            flat = self._floats[start : start + math.prod(shape)]
            start += flat.size
            self._judge(flat, layer, name)
            turned = self._transposed and isinstance(layer.what, Connected) and name == "weight"
            found[name] = flat.reshape(shape[::-1]).T if turned else flat.reshape(shape)
        return found

    def _judge(self, values: NDArray[np.float32], layer: Layer, name: str) -> None:
        finite = np.isfinite(values)
        if not finite.all():
            bad = f"{np.count_nonzero(~finite):,} of {values.size:,} numbers that are not finite"
            self._notes.setdefault("finite", f"{self._name}: {layer.title} has {bad} in its {name}")
        elif name == "variance" and values.min() < 0:
            self._notes.setdefault("variance", f"{self._name}: {layer.title} has a variance below 0: wrong cfg?")

    def _open(self, path: Path) -> tuple[int, int]:
        """How many bytes the file and its header have."""
        try:
            if not path.is_file():
                said = "is not a file" if path.exists() else "does not exist"
                raise ModelError(f"{one_line(path)} {said}; name a .weights file of Darknet")
            size = path.stat().st_size
            with path.open("rb") as stream:
                words = stream.read(_WORDS.size)
        except OSError as error:
            raise ModelError(f"cannot read {one_line(path)}: {error.strerror}") from error
        major, minor, revision = _WORDS.unpack(words) if len(words) == _WORDS.size else (0, 0, 0)
        header = _WORDS.size + (8 if major * 10 + minor >= 2 else 4)
        if size < header:
            raise ModelError(f"{self._name} ends within its header: it has {size} bytes of at least {header}")
        if not all(0 <= word <= _PLAUSIBLE for word in (major, minor, revision)):
            raise ModelError(f"{self._name} does not begin as a .weights file of Darknet does")
        self._transposed = major > 1000 or minor > 1000
        return size, header

    def _check(self, size: int, plan: Plan) -> None:
        """Compare the bytes of floats in the file with what the layers need."""
        held, needed = size // 4, plan.parameters
        if size == 4 * needed:
            return
        if held >= needed:
            raise ModelError(
                f"{self._name} has {size - 4 * needed:,} bytes left after the last layer of {plan.name}, which takes "
                f"{needed:,} floats: it belongs to another cfg, or to other classes"
            )
        for layer in plan.layers:
            start = self._starts[layer.number]
            for name, shape in tensors(layer.what).items():
                count = math.prod(shape)
                if start + count > held:
                    raise ModelError(
                        f"{self._name} is cut off, or belongs to another cfg: {layer.title} needs {count:,} floats for "
                        f"its {name} at {start:,}, {start + count - held:,} are missing; {plan.name} takes {needed:,} "
                        f"in all, the file has {held:,}"
                    )
                start += count
