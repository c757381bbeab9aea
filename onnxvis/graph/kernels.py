"""The kernels of a model's convolutions, as the operators mean them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph.chains import Chains
from onnxvis.graph.dequantize import dequantized
from onnxvis.graph.neighbours import follower, reads_picture
from onnxvis.graph.ops import CONVOLUTIONS
from onnxvis.graph.view import Node

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["Kernel", "find_kernels", "read_kernel"]

Array = np.ndarray[Any, np.dtype[Any]]

_COLOURS = 3


@dataclass(frozen=True)
class Kernel:
    """A convolution's kernel of shape (filters, input channels a group, *spatial), transposed convolutions' too.

    `weight` is the stored tensor, `node` the operator's label, `output` the tensor it makes, `order` its place in the
    graph. `kind` is 'standard', 'pointwise', 'depthwise', 'grouped' or 'transposed'; `label` says it in words.
    `reads_picture`: three input channels, no groups, and no other convolution between a model input and this one.
    """

    weight: str
    node: str
    op: str
    output: str
    shape: tuple[int, ...]
    group: int
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    kind: str
    label: str
    reads_picture: bool
    order: int


def find_kernels(model: Model) -> tuple[Kernel, ...]:
    """The kernels of the main graph's convolutions whose weights are stored, in graph order.

    Local functions count as written out. A weight may stand behind Casts, Transposes, Reshapes and quantisation; what
    a kernel's numbers are computed from otherwise is passed over, as is what does not fit its own operator.
    """
    chains, view = Chains(model), model.view
    found = {node.outputs[0]: spec for node in view.nodes if (spec := _spec(model, chains, node)) is not None}
    order = {node.outputs[0]: place for place, node in enumerate(view.nodes) if node.outputs}
    picture: dict[str, bool] = {}
    return tuple(
        Kernel(
            weight=spec.weight,
            node=spec.node.label,
            op=spec.node.op,
            output=output,
            shape=spec.shape,
            group=spec.group,
            strides=spec.strides,
            dilations=spec.dilations,
            kind=spec.kind,
            label=_label(spec, _partner(model, found, spec)),
            reads_picture=_reads_colours(spec) and reads_picture(view, spec.node.inputs[0], picture),
            order=order[output],
        )
        for output, spec in found.items()
    )


def read_kernel(model: Model, kernel: Kernel) -> Array:
    """A kernel's weights (filters, input channels a group, *spatial) in real units, read-only; a view where possible.

    Raises TensorNotFound for a kernel of another model, ModelError where its weights cannot be read.
    """
    node = model.view.producer(kernel.output)
    if node is None or node.op not in CONVOLUTIONS:
        raise TensorNotFound(f"{model.name} has no convolution that makes '{one_line(kernel.output)}'")
    chains, name = Chains(model), node.inputs[_weight_place(node)]
    if node.op == "QLinearConv":
        codes, scale, zero_point = (chains.value(item) for item in node.inputs[3:6])
        values = _fitted(node, codes, scale, zero_point)
    elif node.op == "ConvInteger":
        values = _integer_kernel(model, chains, node)
    else:
        values = chains.value(name)
    if node.op == "ConvTranspose":
        values = _filters_first(values, kernel.group)
    if values.shape != kernel.shape:
        raise ModelError(f"the kernel of {kernel.node} has the shape {list(values.shape)}, not {list(kernel.shape)}")
    values = values.view()
    values.flags.writeable = False
    return values


@dataclass(frozen=True, eq=False)
class _Spec:
    """What a convolution says of itself."""

    node: Node
    weight: str
    shape: tuple[int, ...]
    group: int
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def kind(self) -> str:
        if self.group > 1:
            return "depthwise" if self.shape[1] == 1 else "grouped"
        if self.node.op == "ConvTranspose":
            return "transposed"
        return "pointwise" if math.prod(self.spatial) == 1 else "standard"


def _weight_place(node: Node) -> int:
    return 3 if node.op == "QLinearConv" else 1


def _spec(model: Model, chains: Chains, node: Node) -> _Spec | None:
    place = _weight_place(node)
    if node.op not in CONVOLUTIONS or len(node.inputs) <= place or not node.outputs:
        return None
    weight = chains.source(node.inputs[place])
    shape = _shape(model, chains, node.inputs[place]) if weight else None
    group = node.integer("group", 1)
    if shape is None or len(shape) < 3 or group < 1 or min(shape) < 0 or shape[0] % group:
        return None
    if node.op == "ConvTranspose":
        shape = (shape[1] * group, shape[0] // group, *shape[2:])
    ones = (1,) * len(shape[2:])
    strides, dilations = node.ints("strides") or ones, node.ints("dilations") or ones
    return _Spec(node, weight, shape, group, strides, dilations)


def _shape(model: Model, chains: Chains, name: str) -> tuple[int, ...] | None:
    known = model.view.shape(name)
    if known is not None and all(isinstance(size, int) for size in known):
        return tuple(size for size in known if isinstance(size, int))
    try:
        return tuple(chains.value(name).shape)
    except ModelError:
        return None


def _filters_first(values: Array, group: int) -> Array:
    """(channels, filters / group, *spatial), as transposed convolutions have it, to (filters, channels / group, …)."""
    channels, filters, *spatial = values.shape
    grouped = values.reshape(group, channels // group, filters, *spatial).swapaxes(1, 2)
    return grouped.reshape(group * filters, channels // group, *spatial)


def _integer_kernel(model: Model, chains: Chains, node: Node) -> Array:
    """By the scale that a Mul brings in after the product; without one, the codes less their zero point."""
    key = chains.stored(node.inputs[1])
    if key and model.weights.quantization(key) is not None:
        return model.weights.real(key)
    zero_point = chains.value(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else None
    return _fitted(node, chains.value(node.inputs[1]), None, zero_point)


def _fitted(node: Node, codes: Array, scale: Array | None, zero_point: Array | None) -> Array:
    try:
        return dequantized(codes, [] if scale is None else [scale], zero_point, 0, 0)
    except ValueError as error:
        raise ModelError(f"the kernel of {node.label} does not fit its scale: {one_line(error)}") from error


def _reads_colours(spec: _Spec) -> bool:
    return spec.shape[1] == _COLOURS and spec.group == 1 and len(spec.spatial) == 2


def _partner(model: Model, found: dict[str, _Spec], spec: _Spec) -> str:
    """What makes one separable convolution of two: a depthwise and a pointwise one, or 1 × n and n × 1."""
    tall = len(spec.spatial) == 2 and min(spec.spatial) == 1 < max(spec.spatial)
    if spec.kind != "depthwise" and not tall:
        return ""
    after = [found.get(node.outputs[0]) for node in follower(model.view, spec.node.outputs[0])]
    if not after or any(other is None for other in after):
        return ""
    others = [other for other in after if other is not None]
    if spec.kind == "depthwise":
        separable = all(other.kind == "pointwise" and other.node.op != "ConvTranspose" for other in others)
        return f", separable with the {_size(others[0].spatial)} conv after it" if separable else ""
    crossed = len(others) == 1 and others[0].spatial == spec.spatial[::-1]
    return f", separable with the {_size(others[0].spatial)} conv after it" if crossed else ""


def _label(spec: _Spec, partner: str) -> str:
    words = [_size(spec.spatial) if len(spec.spatial) > 1 else f"{spec.spatial[0]}-tap"]
    if spec.node.op == "ConvTranspose":
        words.append("transposed")
    if spec.node.op == "DeformConv":
        words.append("deformable")
    words.append("depthwise conv" if spec.kind == "depthwise" else "conv")
    if spec.kind == "grouped":
        words.append(f"in {spec.group} groups")
    return " ".join(words) + "".join(_parts(spec)) + partner


def _parts(spec: _Spec) -> Iterator[str]:
    for name, numbers in (("stride", spec.strides), ("dilation", spec.dilations)):
        if any(number != 1 for number in numbers):
            yield f", {name} {numbers[0] if len(set(numbers)) == 1 else _size(numbers)}"


def _size(numbers: tuple[int, ...]) -> str:
    return " × ".join(str(number) for number in numbers)
