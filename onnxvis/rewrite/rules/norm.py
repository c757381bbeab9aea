"""Normalisations.

Those that compute statistics of the input have y = gamma x̂ + beta with x̂ = (x - mean) / sigma, and with g = gamma dL/dy
dL/dx = (g - mean(g) - x̂ mean(g x̂)) / sigma, with the means over the axes that are normalised. See Ioffe and Szegedy
(2015, arXiv:1502.03167), section 3, and Ba et al. (2016, arXiv:1607.06450).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxvis.graph.view import Node
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []

_EPSILON = 1e-5  # the operators' default
_LAST = np.iinfo(np.int64).max


@rule("BatchNormalization")
def batch_normalization(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """y = scale (x - mean) / √(var + epsilon) + bias, of given statistics: dL/dx = dL/dy scale / √(var + epsilon)."""
    if node.integer("training_mode", 0):
        raise NotDifferentiable(
            "training_mode is 1, so it would normalise by the very pictures it is shown; export the model for inference"
        )
    x = node.inputs[0]
    by_x = None
    if tape.wants(x):
        by_x = tape.add("Mul", [upstream, _by_channel(_folded(node, tape), x, tape)])
    if not any(map(tape.wants, node.inputs[1:])):
        return [by_x]
    return [by_x, *_batch_parameters(node, upstream, tape)]


def _folded(node: Node, tape: Tape) -> str:
    """scale / √(var + epsilon), a number a channel: a constant where the model stores both."""
    x, scale, _, _, variance = node.inputs
    stored = tape.value(scale), tape.value(variance)
    if stored[0] is None or stored[1] is None:
        return tape.add("Mul", [scale, _inverse(variance, node.number("epsilon", _EPSILON), tape.dtype(x), tape)])
    gamma, var = (item.astype(np.float64) for item in stored if item is not None)
    return tape.constant((gamma / np.sqrt(var + node.number("epsilon", _EPSILON))).astype(tape.dtype(x)))


def _batch_parameters(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """With r = 1 / √(var + epsilon), summed over all axes but the channels': dL/dy (x - mean) r for scale, dL/dy for
    bias, -dL/dy scale r for mean, -dL/dy (x - mean) scale r³ / 2 for var.
    """
    x, scale, bias, mean, variance = node.inputs
    inverse = _inverse(variance, node.number("epsilon", _EPSILON), tape.dtype(x), tape)
    total = _per_channel(upstream, x, bias, tape)
    centred = tape.add("Sub", [x, _by_channel(mean, x, tape)])
    by_scale = tape.add("Mul", [_per_channel(tape.add("Mul", [upstream, centred]), x, scale, tape), inverse])
    slope = tape.add("Mul", [scale, inverse])
    by_mean = tape.add("Neg", [tape.add("Mul", [total, slope])])
    half = tape.add("Mul", [by_scale, tape.number(-0.5, x)])
    by_variance = tape.add("Mul", [half, tape.add("Mul", [slope, inverse])])
    return [by_scale, total, by_mean, by_variance]


@rule("InstanceNormalization")
def instance_normalization(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """Over what is behind the channels, with a scale and a bias a channel."""
    x, scale, bias = node.inputs
    form = _standardise(x, range(2, tape.rank(x)), node.number("epsilon", _EPSILON), tape)
    by_x = form.back(tape.add("Mul", [upstream, _by_channel(scale, x, tape)]), tape)
    by_scale = by_bias = None
    if tape.wants(scale):
        by_scale = _per_channel(tape.add("Mul", [upstream, form.value]), x, scale, tape)
    if tape.wants(bias):
        by_bias = _per_channel(upstream, x, bias, tape)
    return [by_x, by_scale, by_bias]


@rule("LayerNormalization", "RMSNormalization")
def layer_normalization(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """Over the axes from `axis` on; RMSNormalization takes the mean as 0."""
    x, scale, bias = node.inputs[0], node.inputs[1], node.input(2)
    rank = tape.rank(x)
    axes = range(node.integer("axis", -1) % rank, rank)
    form = _standardise(x, axes, node.number("epsilon", _EPSILON), tape, centred=node.op == "LayerNormalization")
    by_x = form.back(tape.add("Mul", [upstream, scale]), tape)
    by_scale = by_bias = None
    if tape.wants(scale):
        by_scale = tape.sum_to(tape.add("Mul", [upstream, form.value]), scale, x)
    if tape.wants(bias):
        by_bias = tape.sum_to(upstream, bias, x)
    return [by_x, by_scale, by_bias]


@rule("GroupNormalization")
def group_normalization(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """Over groups of channels and what is behind them, with a scale and a bias a channel, before operator set 21 a
    group.
    """
    x, scale, bias = node.inputs
    groups = tape.ints([0, node.integer("num_groups", 1), -1])
    grouped = tape.add("Reshape", [x, groups])
    form = _standardise(grouped, [2], node.number("epsilon", _EPSILON), tape, like=x)
    split = tape.add("Reshape", [upstream, groups])
    if tape.opset >= 21:
        scaled = tape.add("Reshape", [tape.add("Mul", [upstream, _by_channel(scale, x, tape)]), groups])
    else:
        scaled = tape.add("Mul", [split, tape.unsqueeze(scale, [1])])
    by_x = tape.reshape_like(form.back(scaled, tape), x)
    by_scale = by_bias = None
    if tape.wants(scale):
        by_scale = _per_group_or_channel(tape.add("Mul", [split, form.value]), x, scale, tape)
    if tape.wants(bias):
        by_bias = _per_group_or_channel(split, x, bias, tape)
    return [by_x, by_scale, by_bias]


def _per_group_or_channel(grouped: str, x: str, like: str, tape: Tape) -> str:
    if tape.opset >= 21:
        return _per_channel(tape.reshape_like(grouped, x), x, like, tape)
    return tape.reduce_sum(grouped, [0, 2], keepdims=False)


@rule("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, upstream: str, tape: Tape) -> list[str]:
    """Over `axes`, without scale and bias."""
    form = _standardise(node.inputs[0], node.ints("axes") or (0, 2, 3), 1e-18, tape)  # √: the 1e-9 added to sigma
    return [form.back(upstream, tape)]


@rule("LpNormalization")
def lp_normalization(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x / |x|: dL/dx = (dL/dy - n sum(dL/dy · y)) / |x|, n = y for p = 2, sign(x) for p = 1; 0 where |x| is 0."""
    x, y = node.inputs[0], node.outputs[0]
    axis, square = node.integer("axis", -1), node.integer("p", 2) == 2
    size = tape.reduce_sum(tape.add("Mul", [x, x]) if square else tape.add("Abs", [x]), [axis])
    size = tape.add("Sqrt", [size]) if square else size
    zero = tape.cast(tape.add("Equal", [size, tape.number(0, x)]), tape.dtype(x))
    inverse = tape.add("Sub", [tape.add("Reciprocal", [tape.add("Add", [size, zero])]), zero])
    along = tape.reduce_sum(tape.add("Mul", [upstream, y]), [axis])
    along = tape.add("Mul", [y if square else tape.add("Sign", [x]), along])
    return [tape.add("Mul", [tape.add("Sub", [upstream, along]), inverse])]


@rule("LRN")
def lrn(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = x d^-beta, d = bias + alpha / size · (sum of x² over a window of channels): dL/dx = dL/dy d^-beta - 2 alpha
    beta / size · x · (sum of dL/dy · y / d over the window turned around).
    """
    x, y = node.inputs[0], node.outputs[0]
    size, alpha, beta = node.integer("size", 1), node.number("alpha", 1e-4), node.number("beta", 0.75)
    before, after = (size - 1) // 2, size // 2
    squares = _window_sum(tape.add("Mul", [x, x]), before, after, tape.rank(x), tape)
    scaled = tape.add("Mul", [squares, tape.number(alpha / size, x)])
    base = tape.add("Add", [scaled, tape.number(node.number("bias", 1.0), x)])
    own = tape.add("Mul", [upstream, tape.add("Pow", [base, tape.number(-beta, x)])])
    shares = tape.add("Div", [tape.add("Mul", [upstream, y]), base])
    others = tape.add("Mul", [x, _window_sum(shares, after, before, tape.rank(x), tape)])
    return [tape.add("Sub", [own, tape.add("Mul", [others, tape.number(2 * alpha * beta / size, x)])])]


def _window_sum(source: str, before: int, after: int, rank: int, tape: Tape) -> str:
    """The sum over channels c - before … c + after, those that there are.

    Shifted copies added up need no weights, nor the number of channels. A convolution with a banded kernel is as fast
    at 64 channels, but its work grows with their square.
    """
    pads = [0] * (2 * rank)
    pads[1], pads[rank + 1] = before, after
    padded = tape.add("Pad", [source, tape.ints(pads)])
    ends = [*range(-before - after, 0), _LAST]
    axis = tape.ints([1])
    return tape.add(
        "Sum",
        [tape.add("Slice", [padded, tape.ints([start]), tape.ints([end]), axis]) for start, end in enumerate(ends)],
    )


@dataclass(frozen=True)
class _Standardised:
    """`value` is x̂ = (x - mean) / √(variance + epsilon) over `axes`, `inverse` 1 / √(variance + epsilon)."""

    value: str
    inverse: str
    axes: Sequence[int]
    centred: bool

    def back(self, gradient: str, tape: Tape) -> str:
        """dL/dx, given dL/dx̂."""
        along = tape.reduce_mean(tape.add("Mul", [gradient, self.value]), self.axes)
        rest = tape.add("Sub", [gradient, tape.add("Mul", [self.value, along])])
        if self.centred:
            rest = tape.add("Sub", [rest, tape.reduce_mean(gradient, self.axes)])
        return tape.add("Mul", [rest, self.inverse])


def _standardise(
    x: str, axes: Sequence[int], epsilon: float, tape: Tape, *, like: str = "", centred: bool = True
) -> _Standardised:
    """`x` standardised over `axes`. `like`: a given tensor of its type, where it is none itself."""
    if centred:
        x, like = tape.add("Sub", [x, tape.reduce_mean(x, axes)]), like or x
    variance = tape.reduce_mean(tape.add("Mul", [x, x]), axes)
    inverse = _inverse(variance, epsilon, tape.dtype(like or x), tape)
    return _Standardised(tape.add("Mul", [x, inverse]), inverse, list(axes), centred)


def _inverse(variance: str, epsilon: float, dtype: str, tape: Tape) -> str:
    """1 / √(variance + epsilon)."""
    shifted = tape.add("Add", [variance, tape.constant(np.array(epsilon, dtype))])
    return tape.add("Reciprocal", [tape.add("Sqrt", [shifted])])


def _by_channel(vector: str, x: str, tape: Tape) -> str:
    """A vector with a number a channel in a shape that broadcasts to that of `x`."""
    rank = tape.rank(x)
    return tape.unsqueeze(vector, range(1, rank - 1)) if rank > 2 else vector


def _per_channel(source: str, x: str, like: str, tape: Tape) -> str:
    """`source`, of the shape of `x`, summed over all axes but the channels', in the shape of `like`."""
    axes = [axis for axis in range(tape.rank(x)) if axis != 1]
    return tape.reshape_like(tape.reduce_sum(source, axes), like)
