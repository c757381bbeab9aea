"""The tensors stored in a model: initializers, constants, and what hides in branches and functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph.bodies import Bodies, Body
from onnxvis.graph.constants import Files, described
from onnxvis.graph.dequantize import dequantized, find_codes
from onnxvis.graph.normalize import FunctionKey
from onnxvis.graph.roles import Role, role_of
from onnxvis.graph.stored import Item, stored_items

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Quantization", "StoredTensor", "Weights"]

Array = np.ndarray[Any, np.dtype[Any]]

_MAX_STEPS = 32


@dataclass(frozen=True)
class StoredTensor:
    """A tensor stored in the file.

    `place` is '' for an initializer of the main graph, else the node, branch or function that holds it. `storage` says
    how the numbers stand in the file: 'raw_data', 'float_data', … (the fields of ONNX's TensorProto), 'external',
    'sparse', 'value_float', 'value_ints', … (a Constant's attributes), or 'fill' (one value, by ConstantOfShape).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    place: str
    storage: str

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Quantization:
    """How integer codes stand for real numbers: real = (code - zero_point) · scale, the product of `scales`.

    `scales` and `zero_point` name stored tensors ('' where there is no zero point). `axis` None: one scale for all;
    else the scale runs along that axis, each value for `block_size` codes (0: for one).
    """

    dtype: str
    axis: int | None
    block_size: int
    scales: tuple[str, ...]
    zero_point: str


class Weights:
    """All stored tensors of a model, read as views into the mapped files they lie in.

    `folder` is what external references are relative to, `own` the model's own file in it; `beside` names by (place,
    name) the tensors that stand in the model but were read from other files.
    """

    def __init__(
        self, model: ModelProto, folder: Path, own: str = "", beside: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self._model = model
        self._files = Files(folder, own)
        self._beside = beside

    def all(self) -> tuple[StoredTensor, ...]:
        """Every stored tensor in file order; where names repeat in branches, the later ones carry their place."""
        return tuple(stored for stored, _ in self._placed.values())

    def read(self, name: str) -> Array:
        """A stored tensor as a read-only array of its own shape and dtype (bfloat16 and fp8 by ml_dtypes).

        Raises TensorNotFound; ModelError where the bytes do not fit the shape, and where a few bytes stand for more
        than 2²⁸ elements.
        """
        stored, item = self._find(name)
        try:
            return self._files.read(item.source)
        except (ModelError, ValueError, TypeError, KeyError, OSError, IndexError) as error:
            shape = list(stored.shape)
            raise ModelError(f"tensor '{one_line(name)}' of shape {shape} cannot be read: {one_line(error)}") from error

    def release(self) -> None:
        """Give back the memory that reading large tensors took; arrays stay valid, and read from the file again."""
        self._files.release()

    def stored_as(self, name: str, function: FunctionKey | None = None) -> str:
        """The name here of the tensor that the main graph, or a function, calls `name`; '' where it is not stored."""
        body = self._bodies.main if function is None else self._bodies.functions.get(function)
        return self._keys.get((id(body), name), "")

    def role(self, name: str) -> Role:
        """What a stored tensor is for and the operator that uses it, wherever it stands. Raises TensorNotFound."""
        return role_of(self._bodies, self._find(name)[1])

    def quantization(self, name: str) -> Quantization | None:
        """How a stored tensor's codes stand for real numbers; None where they do not, or where no scale is stored.

        Raises TensorNotFound.
        """
        stored, item = self._find(name)
        codes = find_codes(self._bodies, item.body, item.name) if item.body is not None else None
        if codes is None or not all(scales := tuple(self._key(codes.body, scale) for scale in codes.scales)):
            return None
        zero_point = self._key(codes.body, codes.zero_point) if codes.zero_point else ""
        if codes.zero_point and not zero_point:
            return None
        companions = [*scales, zero_point] if zero_point else scales
        if all(self._find(companion)[0].count == 1 for companion in companions):
            return Quantization(stored.dtype, None, 0, scales, zero_point)
        rank = len(stored.shape)
        if codes.axis is None or not -rank <= codes.axis < rank:
            return None
        return Quantization(stored.dtype, codes.axis % rank, codes.block_size, scales, zero_point)

    def real(self, name: str) -> Array:
        """A stored tensor in real units: itself where it is not quantised, else float32 (code - zero_point) · scale.

        Raises TensorNotFound; ModelError as `read`, and where scale and codes do not fit each other.
        """
        quantization, codes = self.quantization(name), self.read(name)
        if quantization is None:
            return codes
        scales = [self.read(scale) for scale in quantization.scales]
        zero_point = self.read(quantization.zero_point) if quantization.zero_point else None
        try:
            return dequantized(codes, scales, zero_point, quantization.axis, quantization.block_size)
        except ValueError as error:
            raise ModelError(
                f"tensor '{one_line(name)}' of shape {list(codes.shape)} does not fit its scale "
                f"'{one_line(quantization.scales[-1])}': {one_line(error)}"
            ) from error

    @cached_property
    def _bodies(self) -> Bodies:
        return Bodies(self._model)

    @cached_property
    def _placed(self) -> dict[str, tuple[StoredTensor, Item]]:
        items = list(stored_items(self._bodies))
        names = _distinct(items, self._bodies.main)
        placed = {}
        for name, item in zip(names, items, strict=True):
            shape, dtype = described(item.source)
            storage = "external" if (item.place, item.name) in self._beside else self._files.storage(item.source)
            placed[name] = (StoredTensor(name, shape, dtype, item.place, storage), item)
        return placed

    @cached_property
    def _keys(self) -> dict[tuple[int, str], str]:
        """{(body, name in it): the name here}."""
        return {(id(item.body), item.name): name for name, (_, item) in self._placed.items() if item.body is not None}

    def _find(self, name: str) -> tuple[StoredTensor, Item]:
        if name not in self._placed:
            raise TensorNotFound(f"the model stores no tensor '{one_line(name)}'")
        return self._placed[name]

    def _key(self, body: Body, name: str) -> str:
        """What a tensor that nodes of `body` call `name` is called here, '' where it is not stored."""
        here: tuple[Body, str] | None = (body, name)
        for _ in range(_MAX_STEPS):
            if here is None:
                break
            body, name = here
            if key := self._keys.get((id(body), name)):
                return key
            maker = body.makers.get(name)
            if maker is not None and maker.op_type == "Identity" and maker.input:
                here = (body, maker.input[0])
            elif name not in body.own:
                here = (body.holder.body, name) if body.holder else None
            else:
                here = self._bodies.behind(body, name)
        return ""


def _distinct(items: Sequence[Item], main: Body) -> list[str]:
    """A name of its own for each: the main graph's keep theirs, and a name that is taken is followed by its place."""
    names = [""] * len(items)
    taken: set[str] = set()
    for index in sorted(range(len(items)), key=lambda index: items[index].body is not main or not items[index].name):
        item = items[index]
        name = item.name or "unnamed"
        if name in taken or not item.name:
            name = f"{name} ({item.place or 'initializer'})"
        first, count = name, 1
        while name in taken:
            count += 1
            name = f"{first} #{count}"
        taken.add(name)
        names[index] = name
    return names
