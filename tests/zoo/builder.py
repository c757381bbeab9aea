"""The operators of the zoo's networks, spelled as exporters spell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tests.zoo.core import Graph, Value

__all__ = ["Activation", "Builder"]

Activation = Literal[
    "relu", "relu6", "leaky_relu", "silu", "sigmoid", "hard_swish", "hard_sigmoid", "gelu", "softmax", "none"
]


def _window(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = False) -> int:
    """The number of windows along one axis (PyTorch's rule: with `ceil`, each must begin inside the input)."""
    spare = size + 2 * pad - kernel
    count = (-(-spare // stride) if ceil else spare // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + pad else count


class Builder(Graph):
    """Operators on feature maps; `name` is the submodule that PyTorch would hold the operator in."""

    def conv(
        self,
        x: Value,
        name: str,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        bias: bool = True,
    ) -> Value:
        """A square convolution; `pad` defaults to what keeps the size at stride 1."""
        pad = kernel // 2 if pad is None else pad
        with self.scope(name):
            weights = [self.weight("weight", (channels, x.channels // groups, kernel, kernel))]
            if bias:
                weights.append(self.weight("bias", (channels,)))
            shape = (channels, *(_window(size, kernel, stride, pad) for size in x.shape[1:]))
            result, node = self.spatial(
                "Conv",
                x,
                shape,
                weights,
                dilations=[1, 1],
                group=groups,
                kernel_shape=[kernel] * 2,
                pads=[pad] * 4,
                strides=[stride] * 2,
            )
        self.foldable[result.name] = node
        return result

    def bn(self, x: Value, name: str, epsilon: float = 1e-5) -> Value:
        """Batch norm after anything; folded, it goes into the convolution right before it, if there is one."""
        conv = self.foldable.pop(x.name, None)
        if self.batchnorm == "folded" and conv is not None:
            tensor, *_ = (self.initializers.pop(name) for name in list(conv.input)[1:])
            tensor.name = self.anonymous("Conv")
            self.initializers[tensor.name] = tensor
            conv.input[1:] = [tensor.name, self.weight(self.anonymous("Conv"), (x.channels,), scoped=False)]
            return x
        with self.scope(name):
            kinds = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
            weights = [self.weight(kind, (x.channels,), fill) for kind, fill in kinds.items()]
            return self.spatial("BatchNormalization", x, x.shape, weights, epsilon=epsilon, momentum=0.9)[0]

    def act(self, x: Value, kind: Activation, name: str = "") -> Value:
        """An activation; `name` '' spells a functional call in the current scope."""
        with self.call(name):
            return Value(self._activate(x, kind), x.shape)

    def _activate(self, x: Value, kind: Activation) -> str:
        if kind == "none":
            return x.name
        if kind == "relu6":
            return self.node("Clip", [x.name, self.constant(0, np.float32), self.constant(6, np.float32)])[0]
        if kind == "silu":
            return self.node("Mul", [x.name, *self.node("Sigmoid", [x.name])])[0]
        if kind == "gelu":
            (scaled,) = self.node("Div", [x.name, self.constant(np.sqrt(2), np.float32)])
            (shifted,) = self.node("Add", [*self.node("Erf", [scaled]), self.constant(1, np.float32)])
            (product,) = self.node("Mul", [x.name, shifted])
            return self.node("Mul", [product, self.constant(0.5, np.float32)])[0]
        plain: dict[str, tuple[str, dict[str, Any]]] = {
            "relu": ("Relu", {}),
            "leaky_relu": ("LeakyRelu", {"alpha": 0.1}),
            "sigmoid": ("Sigmoid", {}),
            "hard_swish": ("HardSwish", {}),
            "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6}),
            "softmax": ("Softmax", {"axis": -1}),
        }
        op, attributes = plain[kind]
        return self.node(op, [x.name], **attributes)[0]

    def max_pool(self, x: Value, name: str, kernel: int, stride: int, pad: int = 0, *, ceil: bool = False) -> Value:
        """Max pooling, with rounding up where `ceil`."""
        shape = (x.channels, *(_window(size, kernel, stride, pad, ceil=ceil) for size in x.shape[1:]))
        with self.call(name):
            return self.spatial(
                "MaxPool",
                x,
                shape,
                ceil_mode=int(ceil),
                dilations=[1, 1],
                kernel_shape=[kernel] * 2,
                pads=[pad] * 4,
                strides=[stride] * 2,
            )[0]

    def avg_pool(self, x: Value, name: str, kernel: int, stride: int) -> Value:
        """Average pooling without padding."""
        shape = (x.channels, *(_window(size, kernel, stride, 0) for size in x.shape[1:]))
        with self.call(name):
            return self.spatial(
                "AveragePool",
                x,
                shape,
                ceil_mode=0,
                count_include_pad=1,
                kernel_shape=[kernel] * 2,
                pads=[0] * 4,
                strides=[stride] * 2,
            )[0]

    def global_pool(self, x: Value, name: str) -> Value:
        """Global average pooling to (C, 1, 1)."""
        with self.call(name):
            return self.spatial("GlobalAveragePool", x, (x.channels, 1, 1))[0]

    def mean(self, x: Value) -> Value:
        """`x.mean([2, 3])`: to (C,)."""
        axes = [1, 2] if self.everywhere else [2, 3]
        return Value(self.node("ReduceMean", [x.name], axes=axes, keepdims=0)[0], (x.channels,))

    def add(self, x: Value, y: Value) -> Value:
        return Value(self.node("Add", [x.name, y.name])[0], x.shape)

    def mul(self, x: Value, y: Value) -> Value:
        """`x` times `y`, whose height and width may be 1."""
        return Value(self.node("Mul", [x.name, y.name])[0], x.shape)

    def concat(self, values: Sequence[Value]) -> Value:
        """Along the channels."""
        names = [value.name for value in values]
        shape = (sum(value.channels for value in values), *values[0].shape[1:])
        return Value(self.node("Concat", names, axis=self.channel_axis)[0], shape)

    def split(self, x: Value, sizes: Sequence[int]) -> list[Value]:
        """Along the channels, as `Tensor.split` exports."""
        inputs = [x.name, self.constant(sizes, np.int64)]
        names = self.node("Split", inputs, len(sizes), axis=self.channel_axis)
        return [Value(name, (size, *x.shape[1:])) for name, size in zip(names, sizes, strict=True)]

    def chunk(self, name: str, axis: int) -> list[str]:
        """Two halves, as `Tensor.chunk` exports: two Slices, whose bounds are computed from the shape."""
        (shape,) = self.node("Shape", [name])
        axes = self.constant([axis], np.int64)
        (size,) = self.node("Gather", [shape, axes], axis=0)
        bounds = [self.constant([0], np.int64)]
        (rounded,) = self.node("Add", [size, self.constant([1], np.int64)])
        (half,) = self.node("Div", [rounded, self.constant([2], np.int64)])
        halves = []
        for i in (1, 2):
            bounds += self.node("Mul", [half, self.constant([i], np.int64)])
            halves += self.node("Slice", [name, *bounds[-2:], axes])
        return halves

    def shuffle(self, x: Value, groups: int) -> Value:
        """ShuffleNet's channel shuffle: view, transpose, view."""
        channels, height, width = x.shape
        parts = (groups, channels // groups)
        if self.everywhere:
            views, order = ((height, width, *parts), (height, width, channels)), (0, 1, 2, 4, 3)
        else:
            views, order = ((*parts, height, width), (channels, height, width)), (0, 2, 1, 3, 4)
        name = self.reshape(x.name, views[0])
        return Value(self.reshape(self.transpose(name, order), views[1]), x.shape)

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """To `shape` after the batch."""
        return self.node("Reshape", [name, self.constant([self.batch_dim, *shape], np.int64)])[0]

    def upsample(self, x: Value, name: str, mode: Literal["nearest", "linear"] = "nearest") -> Value:
        """Twice as high and wide; 'linear' aligns the corners."""
        aligned = "align_corners" if mode == "linear" else "asymmetric"
        with self.call(name):
            scales = self.constant([1, 1, 2, 2], np.float32)
            return self.spatial(
                "Resize",
                x,
                (x.channels, 2 * x.shape[1], 2 * x.shape[2]),
                ["", scales],
                coordinate_transformation_mode=aligned,
                mode=mode,
                nearest_mode="floor",
            )[0]

    def conv_transpose(self, x: Value, name: str, channels: int, kernel: int, stride: int) -> Value:
        """A transposed convolution without padding, with bias."""
        shape = (channels, *((size - 1) * stride + kernel for size in x.shape[1:]))
        with self.scope(name):
            weights = [self.weight("weight", (x.channels, channels, kernel, kernel)), self.weight("bias", (channels,))]
            return self.spatial(
                "ConvTranspose",
                x,
                shape,
                weights,
                dilations=[1, 1],
                group=1,
                kernel_shape=[kernel] * 2,
                pads=[0] * 4,
                strides=[stride] * 2,
            )[0]

    def flatten(self, x: Value) -> Value:
        """To (C · H · W,), in that order in every layout."""
        return Value(self.node("Flatten", [self.as_nchw(x)], axis=1)[0], (int(np.prod(x.shape)),))

    def linear(self, x: Value, name: str, features: int) -> Value:
        """A fully connected layer on (features,)."""
        with self.scope(name):
            weights = [self.weight("weight", (features, x.shape[0])), self.weight("bias", (features,))]
            return Value(self.node("Gemm", [x.name, *weights], alpha=1.0, beta=1.0, transB=1)[0], (features,))
