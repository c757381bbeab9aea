"""Runs an ONNX graph in PyTorch, in float64 unless told otherwise: an oracle for gradients, by autograd.

It knows the operators of the networks in `tests.zoo`, in the forms in which they stand there, and refuses others. None
of it is shared with the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["TorchGraph"]

Tensor = Any
Attributes = dict[str, Any]


class TorchGraph:
    """A model whose weights are tensors of `dtype`."""

    def __init__(self, model: ModelProto, dtype: Any = torch.float64) -> None:
        self._graph = model.graph
        self._dtype = dtype
        self._weights = {tensor.name: self._tensor(tensor) for tensor in model.graph.initializer}

    def run(self, feeds: Mapping[str, Tensor], decisions: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Every tensor that the nodes make, by name.

        `decisions` is {output of a node: what the node decides by}, where that is not its own input: a unit like Relu
        has the slope that it has there, a MaxPool takes the places that it takes there.
        """
        values: dict[str, Tensor] = {"": None, **self._weights, **feeds}
        for node in self._graph.node:
            inputs = [values[name] for name in node.input]
            deciding = (decisions or {}).get(node.output[0])
            results = self._apply(node, inputs) if deciding is None else self._decided(node, inputs, deciding)
            values.update(zip(node.output, results if isinstance(results, tuple) else (results,), strict=True))
        return {name: values[name] for node in self._graph.node for name in node.output}

    def gradient(
        self, source: str, x: Tensor, seeds: Mapping[str, Tensor], decisions: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """d/dx of sum over `seeds` of <seed, tensor>, where the input `source` is x."""
        x = x.to(self._dtype).requires_grad_()
        values = self.run({source: x}, decisions)
        (found,) = torch.autograd.grad(sum((values[name] * seed).sum() for name, seed in seeds.items()), x)
        return found

    def _apply(self, node: NodeProto, inputs: Sequence[Tensor]) -> Any:
        attributes = _attributes(node)
        if node.op_type == "Constant":
            return self._tensor(attributes["value"])
        return _OPERATORS[node.op_type](attributes, *inputs)

    def _decided(self, node: NodeProto, inputs: Sequence[Tensor], deciding: Tensor) -> Tensor:
        x, *others = inputs
        deciding = deciding.to(self._dtype).requires_grad_()
        if node.op_type == "MaxPool":
            places = _max_pool(_attributes(node), deciding)[1]
            return x.flatten(2).gather(2, places.flatten(2)).reshape(places.shape)
        (slope,) = torch.autograd.grad(self._apply(node, [deciding, *others]).sum(), deciding)
        return self._apply(node, inputs).detach() + slope * (x - x.detach())

    def _tensor(self, proto: TensorProto) -> Tensor:
        found = torch.from_numpy(np.array(numpy_helper.to_array(proto)))
        return found.to(self._dtype) if found.is_floating_point() else found


def _attributes(node: NodeProto) -> Attributes:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _pads(a: Attributes) -> list[int]:
    """ONNX's padding of 2-D windows as PyTorch's, which is the same on both sides."""
    top, left, bottom, right = a.get("pads", (0, 0, 0, 0))
    assert (top, left) == (bottom, right), "PyTorch pads both sides alike"
    return [top, left]


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor = None) -> Tensor:
    strides, dilations = a.get("strides", (1, 1)), a.get("dilations", (1, 1))
    return F.conv2d(x, weight, bias, strides, _pads(a), dilations, a.get("group", 1))


def _conv_transpose(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor = None) -> Tensor:
    extra = a.get("output_padding", (0, 0))
    return F.conv_transpose2d(x, weight, bias, a["strides"], _pads(a), extra, a["group"], a["dilations"])


def _max_pool(a: Attributes, x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest values and the flat places within each map that they come from."""
    window = (a["kernel_shape"], a["strides"], _pads(a), a["dilations"])
    found: tuple[Tensor, Tensor] = F.max_pool2d(x, *window, ceil_mode=bool(a["ceil_mode"]), return_indices=True)
    return found


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    inside = bool(a["count_include_pad"])
    return F.avg_pool2d(x, a["kernel_shape"], a["strides"], _pads(a), bool(a["ceil_mode"]), inside)


def _batch_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, bias, eps=a["epsilon"])


def _layer_norm(a: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[a["axis"] :], scale, bias, a["epsilon"])


def _gemm(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    assert a.get("alpha", 1) == a.get("beta", 1) == 1
    assert not a.get("transA")
    return x @ (weight.T if a.get("transB") else weight) + bias


def _resize(a: Attributes, x: Tensor, _region: Tensor, scales: Tensor) -> Tensor:
    factors = [float(factor) for factor in scales[2:]]
    form = (a["mode"], a["coordinate_transformation_mode"])
    if form == (b"nearest", b"asymmetric"):
        assert a["nearest_mode"] == b"floor"
        return F.interpolate(x, scale_factor=factors, mode="nearest")
    aligned = {b"align_corners": True, b"half_pixel": False}[form[1]]
    assert form[0] == b"linear"
    return F.interpolate(x, scale_factor=factors, mode="bilinear", align_corners=aligned)


def _gather(a: Attributes, x: Tensor, places: Tensor) -> Tensor:
    axis = a.get("axis", 0)
    found = x.index_select(axis, places.reshape(-1) % x.shape[axis])
    return found.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def _slice(a: Attributes, x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor) -> Tensor:
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(shape.tolist())])


def _div(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _clip(a: Attributes, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return x.clamp(float(low), float(high))


def _hard_sigmoid(a: Attributes, x: Tensor) -> Tensor:
    return (a["alpha"] * x + a.get("beta", 0.5)).clamp(0, 1)


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": lambda a, x, y: x + y,
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _div,
    "Erf": lambda a, x: torch.erf(x),
    "Expand": lambda a, x, shape: x.broadcast_to(torch.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "Flatten": lambda a, x: x.flatten(a["axis"]),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda a, x: x.mean((2, 3), keepdim=True),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda a, x: x * (x / 6 + 0.5).clamp(0, 1),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a["alpha"]),
    "MatMul": lambda a, x, y: x @ y,
    "MaxPool": lambda a, x: _max_pool(a, x)[0],
    "Mul": lambda a, x, y: x * y,
    "ReduceMean": lambda a, x: x.mean(tuple(a["axes"]), keepdim=bool(a["keepdims"])),
    "Relu": lambda a, x: F.relu(x),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda a, x: torch.tensor(x.shape[a.get("start", 0) : a.get("end")]),
    "Sigmoid": lambda a, x: torch.sigmoid(x),
    "Slice": _slice,
    "Softmax": lambda a, x: x.softmax(a["axis"]),
    "Split": lambda a, x, sizes: x.split(sizes.tolist(), a["axis"]),
    "Transpose": lambda a, x: x.permute(*a["perm"]),
}
