"""Darknet in slow NumPy: reads the text of a cfg and the floats of a .weights file by itself, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ACTIVATIONS", "forward"]

Array = npt.NDArray[Any]
Options = dict[str, str]

ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "leaky": lambda x: x if x > 0 else 0.1 * x,
    "relu": lambda x: x if x > 0 else 0,
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "swish": lambda x: x / (1 + math.exp(-x)),
    "logistic": lambda x: 1 / (1 + math.exp(-x)),
    "elu": lambda x: x if x >= 0 else math.exp(x) - 1,
    "selu": lambda x: 1.0507 * x if x >= 0 else 1.0507 * 1.6732 * (math.exp(x) - 1),
    "tanh": lambda x: 2 / (1 + math.exp(-2 * x)) - 1,
    "relu6": lambda x: min(max(x, 0), 6),
    "hardtan": lambda x: -1 if x < -1 else 1 if x > 1 else x,
    "hard_mish": lambda x: x if x > 0 else x * x / 2 + x if x > -2 else 0,
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(0.797885 * x + 0.035677 * x**3)),
    "loggy": lambda x: 2 / (1 + math.exp(-x)) - 1,
    "relie": lambda x: x if x > 0 else 0.01 * x,
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "lhtan": lambda x: 0.001 * x if x < 0 else 0.001 * (x - 1) + 1 if x > 1 else x,
    "plse": lambda x: 0.01 * (x + 4) if x < -4 else 0.01 * (x - 4) + 1 if x > 4 else 0.125 * x + 0.5,
}


def forward(text: str, weights: bytes, picture: Array) -> list[Array]:
    """What each section after [net] gives for a picture (C, H, W): arrays (C, H, W)."""
    floats = np.frombuffer(weights, "<f4").astype(np.float64)
    position = 0

    def take(*shape: int) -> Array:
        nonlocal position
        values = floats[position : position + math.prod(shape)].reshape(shape)
        position += math.prod(shape)
        return values

    outputs: list[Array] = []
    for index, (kind, options) in enumerate(_sections(text)[1:]):
        x = outputs[-1] if outputs else picture.astype(np.float64)
        others = [outputs[int(n) if int(n) >= 0 else index + int(n)] for n in _list(options, kind)]
        outputs.append(_KINDS[kind](x, options, others, take))
    assert position == len(floats)
    return outputs


def _sections(text: str) -> list[tuple[str, Options]]:
    found: list[tuple[str, Options]] = []
    for line in text.split():
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        else:
            key, value = line.split("=")
            found[-1][1][key] = value
    return found


def _list(options: Options, kind: str) -> list[str]:
    return options.get("layers" if kind == "route" else "from", "").split(",") if kind in _JOINS else []


def _activate(x: Array, options: Options, default: str) -> Array:
    rule = ACTIVATIONS[options.get("activation", default)]
    return np.array([rule(value) for value in x.reshape(-1)]).reshape(x.shape)


def _normalise(x: Array, bias: Array, statistics: tuple[Array, Array, Array]) -> Array:
    scale, mean, variance = (values[:, None, None] for values in statistics)
    return np.asarray(scale * (x - mean) / (np.sqrt(variance) + 1e-6) + bias[:, None, None])


def _convolutional(x: Array, options: Options, _others: list[Array], take: Callable[..., Array]) -> Array:
    filters, size = int(options["filters"]), int(options.get("size", 1))
    groups, dilation = int(options.get("groups", 1)), int(options.get("dilation", 1))
    down, across = (int(options.get(f"stride_{axis}", options.get("stride", 1))) for axis in "yx")
    padding = dilation * (size // 2 if options.get("pad") == "1" else int(options.get("padding", 0)))
    normalised = options.get("batch_normalize") == "1"
    bias = take(filters)
    statistics = (take(filters), take(filters), take(filters)) if normalised else None
    kernels = take(filters, x.shape[0] // groups, size, size)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    reach = dilation * (size - 1) + 1
    rows, columns = (padded.shape[1] - reach) // down + 1, (padded.shape[2] - reach) // across + 1
    y = np.zeros((filters, rows, columns))
    of, to = x.shape[0] // groups, filters // groups
    for group in range(groups):
        own, makes = padded[group * of : (group + 1) * of], slice(group * to, (group + 1) * to)
        for r in range(rows):
            for c in range(columns):
                window = own[:, r * down : r * down + reach : dilation, c * across : c * across + reach : dilation]
                y[makes, r, c] = (kernels[makes].reshape(to, -1) * window.reshape(1, -1)).sum(axis=1)
    y = _normalise(y, bias, statistics) if statistics else y + bias[:, None, None]
    return _activate(y, options, "logistic")


def _connected(x: Array, options: Options, _others: list[Array], take: Callable[..., Array]) -> Array:
    outputs = int(options["output"])
    bias, matrix = take(outputs), take(outputs, x.size)
    y = (matrix @ x.reshape(-1))[:, None, None]
    if options.get("batch_normalize") == "1":
        y = _normalise(y, bias, (take(outputs), take(outputs), take(outputs)))
    else:
        y = y + bias[:, None, None]
    return _activate(y, options, "logistic")


def _batchnorm(x: Array, _options: Options, _others: list[Array], take: Callable[..., Array]) -> Array:
    count = x.shape[0]
    return _normalise(x, take(count), (take(count), take(count), take(count)))


def _shortcut(x: Array, options: Options, others: list[Array], _take: Callable[..., Array]) -> Array:
    y = x.copy()
    for other in others:
        step = other.shape[1] // x.shape[1]
        for c in range(min(x.shape[0], other.shape[0])):
            for i in range(x.shape[1]):
                for j in range(x.shape[2]):
                    y[c, i, j] += other[c, i * step, j * step]
    return _activate(y, options, "linear")


def _route(_x: Array, options: Options, others: list[Array], _take: Callable[..., Array]) -> Array:
    groups, group = int(options.get("groups", 1)), int(options.get("group_id", 0))
    return np.concatenate([np.split(other, groups)[group] for other in others])


def _upsample(x: Array, options: Options, _others: list[Array], _take: Callable[..., Array]) -> Array:
    stride = int(options.get("stride", 2))
    return float(options.get("scale", 1)) * np.kron(x, np.ones((1, stride, stride)))


def _pool(x: Array, options: Options, average: bool) -> Array:
    both = int(options.get("stride", 1))
    down, across = (int(options.get(f"stride_{axis}", both)) for axis in "yx")
    size = int(options.get("size", both))
    padding = int(options.get("padding", size - 1))
    rows, columns = ((side + padding - size) // stride + 1
                     for side, stride in ((x.shape[1], down), (x.shape[2], across)))  # fmt: skip
    y = np.zeros((x.shape[0], rows, columns))
    for c in range(x.shape[0]):
        for i in range(rows):
            for j in range(columns):
                seen = [
                    x[c, a, b]
                    for a in range(i * down - padding // 2, i * down - padding // 2 + size)
                    for b in range(j * across - padding // 2, j * across - padding // 2 + size)
                    if 0 <= a < x.shape[1] and 0 <= b < x.shape[2]
                ]
                y[c, i, j] = sum(seen) / len(seen) if average else max(seen)
    return y


def _softmax(x: Array, options: Options, _others: list[Array], _take: Callable[..., Array]) -> Array:
    parts = x.reshape(int(options.get("groups", 1)), -1) / float(options.get("temperature", 1))
    raised = np.exp(parts)
    return np.asarray((raised / raised.sum(axis=1, keepdims=True)).reshape(x.shape))


def _reorg(x: Array, options: Options, _others: list[Array], _take: Callable[..., Array]) -> Array:
    """Darknet's reorg_cpu, index by index: it takes the input's width, height and channels for the output's."""
    stride, (channels, height, width) = int(options["stride"]), x.shape
    inner = channels // stride**2
    flat, result = x.reshape(-1), np.zeros(x.size)
    for k in range(channels):
        for j in range(height):
            for i in range(width):
                offset = k // inner
                w2, h2 = i * stride + offset % stride, j * stride + offset // stride
                place = w2 + width * stride * (h2 + height * stride * (k % inner))
                result[i + width * (j + height * k)] = flat[place]
    return result.reshape(channels * stride**2, height // stride, width // stride)


def _reorg3d(x: Array, options: Options, _others: list[Array], _take: Callable[..., Array]) -> Array:
    stride = int(options["stride"])
    return np.concatenate([x[:, u::stride, v::stride] for u in range(stride) for v in range(stride)])


_JOINS = ("route", "shortcut", "sam", "scale_channels")
_KINDS: dict[str, Callable[[Array, Options, list[Array], Callable[..., Array]], Array]] = {
    "activation": lambda x, options, *_: _activate(x, options, "linear"),
    "avgpool": lambda x, *_: x.mean(axis=(1, 2), keepdims=True),
    "batchnorm": _batchnorm,
    "connected": _connected,
    "convolutional": _convolutional,
    "cost": lambda x, *_: x,
    "dropout": lambda x, *_: x,
    "local_avgpool": lambda x, options, *_: _pool(x, options, average=True),
    "maxpool": lambda x, options, *_: _pool(x, options, average=False),
    "region": lambda x, *_: x,
    "reorg": _reorg,
    "reorg3d": _reorg3d,
    "route": _route,
    "sam": lambda x, options, others, _: _activate(x * others[0], options, "linear"),
    "scale_channels": lambda x, options, others, _: _activate(x * others[0], options, "linear"),
    "shortcut": _shortcut,
    "softmax": _softmax,
    "upsample": _upsample,
    "yolo": lambda x, *_: x,
}
