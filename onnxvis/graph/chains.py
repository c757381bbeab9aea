"""Stored tensors as an operator sees them: after the Casts, Transposes, Reshapes and dequantisation before it.

Operators: https://onnx.ai/onnx/operators
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import ModelError
from onnxvis.files import one_line
from onnxvis.graph import normalize
from onnxvis.graph.dequantize import dequantized, spread
from onnxvis.graph.view import Node

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["Chains"]

Array = np.ndarray[Any, np.dtype[Any]]

_MAX_STEPS = 12
_UINT8 = 2
_LIMITS = {f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (2, 4, 8, 16)}
_LIMITS |= {f"uint{bits}": (0, 2**bits - 1) for bits in (2, 4, 8, 16)}
_HANDED_ON = frozenset({
    "Identity", "Cast", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "QuantizeLinear", "DequantizeLinear",
})  # fmt: skip


class Chains:
    """Finds and evaluates what the main graph computes from stored tensors alone, node by node in NumPy."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def source(self, name: str) -> str:
        """The stored tensor (its name among the model's weights) that a tensor is made of, or ''."""
        for _ in range(_MAX_STEPS):
            if key := self.stored(name):
                return key
            node = self._model.view.producer(name)
            if node is None or node.op not in _HANDED_ON or not node.inputs:
                return ""
            name = node.inputs[0]
        return ""

    def stored(self, name: str) -> str:
        """The name among the model's weights of a tensor of the graph that is itself stored, or ''."""
        if name in self._in_functions:
            function, inner = self._in_functions[name]
            return self._model.weights.stored_as(inner, function)
        return self._model.weights.stored_as(name)

    def value(self, name: str) -> Array:
        """The value of a tensor that is stored or made from one, a view of the file where no node computes.

        Raises ModelError where it is neither, or where a node on the way does not fit its inputs.
        """
        return self._value(name, _MAX_STEPS)

    @cached_property
    def _in_functions(self) -> dict[str, tuple[normalize.FunctionKey, str]]:
        return normalize.sources(self._model.skeleton, self._model.proto)

    def _value(self, name: str, steps: int) -> Array:
        if key := self.stored(name):
            return self._model.weights.read(key)
        node = self._model.view.producer(name)
        if node is None or node.op not in _HANDED_ON or not steps:
            raise ModelError(f"tensor '{one_line(name)}' is not stored in {self._model.name}")
        inputs = [self._value(item, steps - 1) if item else None for item in node.inputs]
        first = inputs[0] if inputs else None
        try:
            if first is None:
                raise ValueError("no input")
            return _apply(node, first, inputs[1:])
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ModelError(f"node {node.label} does not fit its inputs: {one_line(error)}") from error


def _apply(node: Node, value: Array, others: list[Array | None]) -> Array:
    if node.op == "Cast":
        return value.astype(_dtype(node.integer("to", 0)), copy=False)
    if node.op == "Transpose":
        return value.transpose(node.ints("perm") or None)
    if node.op in ("Reshape", "Flatten"):
        return value.reshape(_target(node, value, others))
    if node.op == "Squeeze":
        axes = _listed(node, "axes", others)
        return value.squeeze(axes) if axes else value.squeeze()
    if node.op == "Unsqueeze":
        return np.expand_dims(value, _listed(node, "axes", others))
    if node.op == "QuantizeLinear":
        return _quantized(node, value, others)
    if node.op == "DequantizeLinear":
        scale, zero_point = _pair(others)
        return dequantized(value, [scale], zero_point, _axis(node, value), node.integer("block_size", 0))
    return value


def _target(node: Node, value: Array, others: list[Array | None]) -> list[int]:
    if node.op == "Flatten":
        axis = node.integer("axis", 1)
        return [int(np.prod(value.shape[:axis])), int(np.prod(value.shape[axis:]))]
    sizes = _listed(node, "shape", others)
    if node.integer("allowzero", 0):
        return list(sizes)
    return [size or value.shape[place] for place, size in enumerate(sizes)]


def _quantized(node: Node, value: Array, others: list[Array | None]) -> Array:
    """saturate(round(x / scale) + zero_point), halves to even; the type is the zero point's, or uint8."""
    scale, zero_point = _pair(others)
    axis, block = _axis(node, value), node.integer("block_size", 0)
    dtype = zero_point.dtype if zero_point is not None else _dtype(node.integer("output_dtype", 0) or _UINT8)
    steps = value.astype(np.float32) / spread(scale.astype(np.float32), value.shape, axis, block)
    if dtype.name not in _LIMITS:
        return steps.astype(dtype)
    steps = np.rint(steps)
    if zero_point is not None:
        steps += spread(zero_point.astype(np.float32), value.shape, axis, block)
    return np.clip(steps, *_LIMITS[dtype.name]).astype(dtype)


def _pair(others: list[Array | None]) -> tuple[Array, Array | None]:
    if not others or others[0] is None:
        raise ValueError("no scale")
    return others[0], others[1] if len(others) > 1 else None


def _axis(node: Node, value: Array) -> int | None:
    return node.integer("axis", 1) % value.ndim if value.ndim else None


def _listed(node: Node, name: str, others: list[Array | None]) -> tuple[int, ...]:
    """Whole numbers from the second input, or from an attribute as older opsets have them."""
    if others and others[0] is not None:
        return tuple(int(number) for number in others[0].reshape(-1))
    return node.ints(name)


def _dtype(data_type: int) -> np.dtype[Any]:
    from onnx import helper

    return np.dtype(helper.tensor_dtype_to_np_dtype(data_type))
