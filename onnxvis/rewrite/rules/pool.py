"""Pools: a maximum passes its gradient to the place that it came from, a mean shares it out among its places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxvis.graph.view import Node
from onnxvis.graph.windows import sliding
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.rules.window import Axis, spread, windows_of
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []


@rule("MaxPool")
def max_pool(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx at a place = the sum of dL/dy over the windows that have their maximum there.

    The node itself tells the places by its second output, counted through all of x: so ties fall as they do forward.
    """
    _check_shape(node, tape)
    x, y = node.inputs[0], node.outputs[0]
    if not _reaches_everywhere(node, tape):
        least = tape.number(float(np.finfo(tape.dtype(y)).min), y)
        upstream = tape.masked(upstream, tape.add("Greater", [y, least]), y)
    flat = tape.ints([-1])
    places, values, zeros = (
        tape.add("Reshape", [item, flat]) for item in (_maximum_places(node, tape), upstream, tape.zeros_like(x))
    )
    summed = tape.add("ScatterElements", [zeros, places, values], axis=0, reduction="add")
    if not node.integer("storage_order", 0):
        return [tape.reshape_like(summed, x)]
    # Columns first: the spatial axes are counted in the other order.
    turned = [0, 1, *range(1 + len(node.ints("kernel_shape")), 1, -1)]
    shape = tape.add("Gather", [tape.shape_of(x), tape.ints(turned)])
    return [tape.add("Transpose", [tape.add("Reshape", [summed, shape])], perm=turned)]


def _check_shape(node: Node, tape: Tape) -> None:
    """Refuse a pool whose output's shape ONNX gets wrong: other rules would build upon it, and the runtime too.

    Before operator set 22 its inference counts a last window that begins in the padding behind the input.
    """
    if not node.integer("ceil_mode", 0) or node.text("auto_pad", "NOTSET") != "NOTSET":
        return
    counts = tuple(axis.count for axis in windows_of(node, tape))
    shape = (tape.view.shape(node.outputs[0]) or ())[2:]
    if any(isinstance(size, int) and count not in (size, None) for size, count in zip(shape, counts, strict=False)):
        raise NotDifferentiable(
            f"ONNX takes its output to have {shape} pixels with ceil_mode and these pads, where it has {counts}; "
            "operator set 22 mends that, so export the model with it or with ceil_mode=0"
        )


def _maximum_places(node: Node, tape: Tape) -> str:
    outputs = node.proto.output
    if len(outputs) < 2:
        outputs.append(tape.fresh(f"{node.outputs[0]}.indices"))
    elif not outputs[1]:
        outputs[1] = tape.fresh(f"{node.outputs[0]}.indices")
    return str(outputs[1])


def _reaches_everywhere(node: Node, tape: Tape) -> bool:
    """Whether every window is known to hold a pixel. Only one whose steps are wider than the input can lie in padding
    throughout; its maximum is the least number there is, and its place is none.
    """
    dilations = node.ints("dilations")
    sizes = tape.view.shape(node.inputs[0]) or ()
    known = dict(enumerate(sizes[2:]))
    return all(
        step == 1 or (isinstance(size := known.get(place), int) and size >= step)
        for place, step in enumerate(dilations)
    )


@rule("AveragePool")
def average_pool(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx at a place = the sum over the windows that hold it of dL/dy / the number of places averaged there."""
    _check_shape(node, tape)
    x, axes = node.inputs[0], windows_of(node, tape)
    padded = bool(node.integer("count_include_pad", 0))
    for share in _shares(node, axes, padded, tape):
        upstream = tape.add("Mul", [upstream, share])
    return [_mean_back(upstream, axes, x, tape)]


def _mean_back(upstream: str, axes: Sequence[Axis], x: str, tape: Tape) -> str:
    """The way back through the mean over each window of x's channels, all places of the kernel counted."""
    volume = math.prod(axis.kernel for axis in axes)
    kernel = [axis.kernel for axis in axes]
    if all(_tiles(axis) for axis in axes):
        scales = tape.constant(np.array([1, 1, *kernel], np.float32))
        shared = tape.add("Mul", [upstream, tape.number(1 / volume, x)])
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return tape.add("Resize", [shared, "", scales], **how)
    if all(axis.stride == axis.dilation == 1 and max(axis.begin, axis.end) < axis.kernel for axis in axes):
        pads = [axis.kernel - 1 - axis.begin for axis in axes] + [axis.kernel - 1 - axis.end for axis in axes]
        return tape.add("AveragePool", [upstream], kernel_shape=kernel, pads=pads, count_include_pad=1)
    # Channels as examples: they need one kernel, however many they are.
    alone = [-1, 1, *(0 for _ in axes)]
    single = tape.add("Reshape", [upstream, tape.ints(alone)])
    weights = tape.constant(np.full((1, 1, *kernel), 1 / volume, tape.dtype(x)))
    return tape.reshape_like(spread(single, weights, axes, x, tape), x)


def _tiles(axis: Axis) -> bool:
    """Whether every position is known to be in exactly one window."""
    whole = axis.size is not None and axis.size % axis.kernel == 0
    return whole and axis.stride == axis.kernel and axis.dilation == 1 and axis.begin == axis.end == 0


def _shares(node: Node, axes: Sequence[Axis], padded: bool, tape: Tape) -> list[str]:
    """What to multiply by for the number of places that are averaged: kernel / those that lie inside, by axis.

    With `padded`, the padding is inside. Nothing where all are; one constant for the axes of known size.
    """
    known: Any = np.ones((1,) * len(axes))
    shares = []
    for place, axis in enumerate(axes):
        column = [-1, *(1 for _ in axes[place + 1 :])]
        if not axis.ceil and (padded or axis.begin == axis.end == 0):
            continue
        if axis.size is None or axis.count is None:
            shares.append(tape.add("Reshape", [_share_at_run_time(node, place, axis, padded, tape), tape.ints(column)]))
            continue
        taps = sliding(axis.count, axis.kernel, axis.stride, axis.dilation, axis.begin)
        low, high = (-axis.begin, axis.size + axis.end) if padded else (0, axis.size)
        inside = ((taps >= low) & (taps < high)).sum(1)
        known = known * (axis.kernel / np.maximum(inside, 1)).reshape(column)
    if np.any(known != 1):
        shares.append(tape.constant(known.astype(tape.dtype(node.inputs[0]))))
    return shares


def _share_at_run_time(node: Node, place: int, axis: Axis, padded: bool, tape: Tape) -> str:
    """As `_shares` of one axis, from the shapes of x and y as they are in the run."""
    x, y = node.inputs[0], node.outputs[0]
    length, count = (tape.add("Gather", [tape.shape_of(name), _scalar(2 + place, tape)]) for name in (x, y))
    low = -axis.begin if padded else 0
    if padded:
        length = tape.add("Add", [length, _scalar(axis.end, tape)])
    window = tape.add("Range", [_scalar(0, tape), count, _scalar(1, tape)])
    start = tape.unsqueeze(tape.add("Mul", [window, _scalar(axis.stride, tape)]), [1])
    taps = tape.add("Add", [start, tape.ints(step * axis.dilation - axis.begin for step in range(axis.kernel))])
    inside = tape.add("And", [tape.add("GreaterOrEqual", [taps, _scalar(low, tape)]), tape.add("Less", [taps, length])])
    number = tape.reduce_sum(tape.cast(inside, tape.dtype(x)), [1], keepdims=False)
    return tape.add("Div", [tape.number(axis.kernel, x), tape.add("Max", [number, tape.number(1, x)])])


def _scalar(value: int, tape: Tape) -> str:
    return tape.constant(np.array(value, np.int64))


@rule("LpPool")
def lp_pool(node: Node, upstream: str, tape: Tape) -> list[str]:
    """y = (Σ |x|^p)^(1/p): dL/dx = sign(x) |x|^(p - 1) · the sum over the windows that hold x of dL/dy y^(1 - p)."""
    _check_shape(node, tape)
    x, axes = node.inputs[0], windows_of(node, tape)
    volume = tape.number(math.prod(axis.kernel for axis in axes), x)
    scaled = tape.add("Mul", [_over_norm(node, upstream, tape), volume])
    return [_times_power(node, _mean_back(scaled, axes, x, tape), tape)]


@rule("GlobalLpPool")
def global_lp_pool(node: Node, upstream: str, tape: Tape) -> list[str]:
    """As LpPool, with one window."""
    return [_times_power(node, _over_norm(node, upstream, tape), tape)]


def _over_norm(node: Node, upstream: str, tape: Tape) -> str:
    """dL/dy y^(1 - p), where y = 0 dL/dy: there x is 0 throughout, and what this is multiplied by."""
    p, y = node.integer("p", 2), node.outputs[0]
    if p == 1:
        return upstream
    zero = tape.cast(tape.add("Equal", [y, tape.number(0, y)]), tape.dtype(y))
    norm = tape.add("Add", [y, zero])
    return tape.add("Div", [upstream, norm if p == 2 else tape.add("Pow", [norm, tape.number(p - 1, y)])])


def _times_power(node: Node, source: str, tape: Tape) -> str:
    """`source` · sign(x) |x|^(p - 1)."""
    p, x = node.integer("p", 2), node.inputs[0]
    if p == 2:
        return tape.add("Mul", [source, x])
    signed = tape.add("Mul", [source, tape.add("Sign", [x])])
    if p == 1:
        return signed
    return tape.add("Mul", [signed, tape.add("Pow", [tape.add("Abs", [x]), tape.number(p - 1, x)])])


@rule("GlobalAveragePool")
def global_average_pool(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy / the number of pixels, at each of them."""
    x = node.inputs[0]
    sizes = tape.sizes(x, 2)
    if sizes is not None:
        return [tape.expand_like(tape.add("Mul", [upstream, tape.number(1 / math.prod(sizes), x)]), x)]
    pixels = tape.add("Div", [tape.add("Size", [x]), tape.add("Size", [upstream])])
    return [tape.expand_like(tape.add("Div", [upstream, tape.cast(pixels, tape.dtype(x))]), x)]


@rule("GlobalMaxPool")
def global_max_pool(node: Node, upstream: str, tape: Tape) -> list[str]:
    """dL/dx = dL/dy at the first pixel that holds the maximum, else 0."""
    x = node.inputs[0]
    planes = tape.ints([0, 0, -1])
    flat, values, zeros = (tape.add("Reshape", [item, planes]) for item in (x, upstream, tape.zeros_like(x)))
    first = tape.add("ArgMax", [flat], axis=2, keepdims=1)
    return [tape.reshape_like(tape.add("ScatterElements", [zeros, first, values], axis=2), x)]
