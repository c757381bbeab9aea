"""The value of an aim and its gradient by the picture, by one session that runs many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import RewriteError, UsageError
from onnxvis.files import one_line
from onnxvis.graph.ops import QUANTIZED
from onnxvis.rewrite.gradient import Gradient, differentiate
from onnxvis.rewrite.tape import Choices
from onnxvis.run.session import RunOptions, Session, resolve_provider

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Node
    from onnxvis.measure.maximize.feeding import Feeding
    from onnxvis.measure.maximize.objective import Aim

__all__ = ["Slope"]

Array = np.ndarray[Any, np.dtype[Any]]

_PASSED = ("Cast", "Identity", "Transpose")
_DOUBLE = 11  # in ONNX's TensorProto.DataType


class Slope:
    """Aims of `tensor` for the pictures that `feeding` feeds. Use it in a `with` block.

    An input that takes whole numbers is fed the nearest ones, and the gradient is that by the floats that the graph
    makes of them: straight through the rounding. Raises RewriteError, UsageError, and the errors of running.
    """

    def __init__(self, feeding: Feeding, tensor: str, options: RunOptions) -> None:
        self._feeding, self._tensor = feeding, tensor
        self._floats = _Floats.of(feeding)
        self._found = _differentiated(feeding, tensor, self._floats.name, options)
        quantised = any(node.op in QUANTIZED for node in feeding.model.view.nodes)
        exact = options.exact if options.exact is not None else quantised
        model = feeding.model
        self._session = Session(self._found.proto, model.folder, replace(options, exact=exact), model.name)
        self.provider = self._session.placement.provider
        self.notes = (*self._found.notes, *self._session.placement.notes)
        seed = self._found.seeds[tensor]
        declared = next(value for value in self._found.proto.graph.input if value.name == seed)
        self._type = np.float64 if declared.type.tensor_type.elem_type == _DOUBLE else np.float32

    def __enter__(self) -> Slope:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def at(self, fed: Sequence[Array], aims: Sequence[Aim]) -> list[tuple[float, Array]]:
        """For each of 1 to `batch` pictures as fed (C, H, W): its aim's value, and the gradient by what is fed."""
        found, batch = self._found, self._feeding.batch
        seeds = np.concatenate([aim.weights for aim in aims] + [aims[0].weights * 0] * (batch - len(aims)))
        given = {**self._feeding.feeds(fed), found.seeds[self._tensor]: seeds.astype(self._type)}
        values = self._session.run(given)
        carried, by = values[found.values[self._tensor]], values[found.gradients[self._floats.name]]
        pictures = range(len(fed))
        parts = [carried[k : k + 1] if batch > 1 else carried for k in pictures]
        return [(aim.value(parts[k]), self._floats.gradient(by, k)) for k, aim in zip(pictures, aims, strict=True)]


class _Floats:
    """The picture input, or the floats that its whole numbers are made first, how its axes lie, and a step's size."""

    def __init__(self, name: str, layout: str, scale: float) -> None:
        self.name, self._layout, self._scale = name, layout, scale

    @classmethod
    def of(cls, feeding: Feeding) -> _Floats:
        view, name, layout, scale = feeding.model.view, feeding.source, feeding.layout, 1.0
        while not view.tensor(name).dtype.startswith(("float", "bfloat")):
            readers = view.consumers(name)
            step = _step(feeding.model, readers[0]) if len(readers) == 1 else None
            if step is None:
                raise UsageError(
                    f"input '{one_line(feeding.source)}' of {feeding.model.name} takes {feeding.dtype}, which has no "
                    "gradient, and is not turned into floats at once"
                )
            node, name = readers[0], readers[0].outputs[0]
            if node.op == "Transpose":
                turn = node.ints("perm") or range(len(layout))[::-1]
                layout = "".join(layout[axis] for axis in turn)
            scale *= step
        return cls(name, layout, scale)

    def gradient(self, values: Array, picture: int) -> Array:
        """The gradient by one picture as fed, (C, H, W) float64."""
        layout = self._layout
        if "N" in layout:
            values, layout = values.take(picture, axis=layout.index("N")), layout.replace("N", "")
        return values.astype(np.float64).transpose([layout.index(axis) for axis in "CHW"]) * self._scale


def _step(model: Model, node: Node) -> float | None:
    """How much larger what `node` makes is for a number one larger; None where that is not one stored number."""
    if node.op != "DequantizeLinear":
        return 1.0 if node.op in _PASSED else None
    stored = model.weights.stored_as(node.inputs[1])
    scale = model.read(stored) if stored else np.zeros(0)
    return float(scale.reshape(-1)[0]) if scale.size == 1 else None


def _differentiated(feeding: Feeding, tensor: str, wrt: str, options: RunOptions) -> Gradient:
    provider, _ = resolve_provider(options.provider)
    shapes: Mapping[str, tuple[int, ...]] = feeding.model.assumed_shapes
    try:
        return differentiate(
            feeding.model, [tensor], [wrt], values=[tensor], only=True, shapes=shapes,
            choices=Choices(flip_convolutions=provider != "CUDAExecutionProvider"),
        )  # fmt: skip
    except RewriteError as error:
        raise RewriteError(_no_gradient(feeding.model, tensor, error)) from error


def _no_gradient(model: Model, tensor: str, error: RewriteError) -> str:
    return f"no picture can be found for '{one_line(tensor)}' of {model.name}, as it has no gradient: {error}"
