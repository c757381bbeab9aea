"""Convolutions: y = W ∗ x + b. By x they are differentiated by running the windows backwards, by W by taking dL/dy as
the kernel, by b by summing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxvis.graph.view import Node
from onnxvis.graph.windows import transposed_pads
from onnxvis.rewrite.rules.registry import rule
from onnxvis.rewrite.rules.window import Axis, Pads, explicit_pads, spatial_sizes, spread, windows_of
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__: list[str] = []


@rule("Conv")
def conv(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """By x: Wᵀ ∗ dL/dy, a transposed convolution; for stride 1 a convolution with the kernel turned around."""
    x, kernel = node.inputs[:2]
    axes, group = windows_of(node, tape), node.integer("group", 1)
    by_x = by_kernel = None
    if tape.wants(x):
        turned = _turned(kernel, axes, group, tape)
        by_x = _convolved(upstream, turned, _full(axes), group, tape) if turned else None
        by_x = by_x or spread(upstream, kernel, axes, x, tape, group)
    if tape.wants(kernel):
        by_kernel = _by_kernel(x, x, upstream, axes, group, tape)
    return [by_x, by_kernel, _by_bias(node, upstream, axes, tape)]


@rule("ConvTranspose")
def conv_transpose(node: Node, upstream: str, tape: Tape) -> list[str | None]:
    """By x: the convolution W ∗ dL/dy that the transposed one is the transpose of."""
    x, kernel = node.inputs[:2]
    group = node.integer("group", 1)
    axes = [replace(axis, size=None) for axis in windows_of(node, tape, _pads)]  # they slide over y
    by_x = _convolved(upstream, kernel, axes, group, tape) if tape.wants(x) else None
    by_kernel = None
    if tape.wants(kernel):
        by_kernel = _by_kernel(upstream, node.outputs[0], x, axes, group, tape)
    return [by_x, by_kernel, _by_bias(node, upstream, axes, tape)]


def _pads(node: Node, place: int, axis: Axis) -> Pads:
    """How a transposed convolution is padded: see https://onnx.ai/onnx/operators/onnx__ConvTranspose.html."""
    padding, wanted = node.ints("output_padding"), node.ints("output_shape")
    extra = padding[place] if padding else 0
    if extra >= axis.stride:
        raise NotDifferentiable(f"its output_padding {list(padding)} is not less than its stride {axis.stride}")
    auto = node.text("auto_pad", "NOTSET")
    if not wanted and not auto.startswith("SAME"):
        return explicit_pads(node, place)
    if wanted and axis.size is None:
        raise NotDifferentiable(
            f"its padding, given by output_shape {list(wanted)}, depends on the size of its input, which is not known; "
            "fix the input's shape"
        )
    size = axis.size or 1  # the padding of SAME is the same for any
    total = (size - 1) * axis.stride + extra + axis.span - (wanted[place] if wanted else size * axis.stride)
    if wanted and total < 0:
        raise NotDifferentiable(f"its output_shape {list(wanted)} is larger than what its kernel reaches")
    if wanted and wanted[place] < size:
        raise NotDifferentiable(f"its output_shape {list(wanted)} is smaller than its input: ONNX infers no shape then")
    begin = transposed_pads(max(total, 0), upper=auto == "SAME_UPPER")
    return begin, max(total, 0) - begin


def _convolved(image: str, kernel: str, axes: Sequence[Axis], group: int, tape: Tape) -> str:
    return tape.add(
        "Conv",
        [image, kernel],
        strides=[axis.stride for axis in axes],
        dilations=[axis.dilation for axis in axes],
        pads=[*(axis.begin for axis in axes), *(axis.end for axis in axes)],
        group=group,
    )


def _full(axes: Sequence[Axis]) -> list[Axis]:
    """The windows of the turned kernel on dL/dy: padded by what the forward windows were not, up to their span."""
    return [
        Axis(axis.count, axis.kernel, 1, axis.dilation, axis.span - 1 - axis.begin, axis.span - 1 - axis.end)
        for axis in axes
    ]


def _turned(kernel: str, axes: Sequence[Axis], group: int, tape: Tape) -> str | None:
    """The kernel with its in- and outputs swapped and every axis reversed, by nodes that the runtime folds.

    None where the gradient is not to be had so: at other strides, or more padding than the kernel has room for.
    """
    room = min(axis.span - 1 - max(axis.begin, axis.end) for axis in axes)
    if not tape.choices.flip_convolutions or room < 0 or any(axis.stride > 1 for axis in axes):
        return None
    swapped = _swapped(kernel, axes, group, tape)
    turning = [place for place, axis in enumerate(axes, 2) if axis.kernel > 1]
    if swapped is None or not turning:
        return swapped
    backwards = tape.ints([-1] * len(turning))  # from the last on, and by steps of -1
    before_first = tape.ints(-1 - axes[place - 2].kernel for place in turning)
    return tape.add("Slice", [swapped, backwards, before_first, tape.ints(turning), backwards])


def _swapped(kernel: str, axes: Sequence[Axis], group: int, tape: Tape) -> str | None:
    """(out, in / group, …) as (in, out / group, …). None where a kernel in groups is of a size that is not known."""
    if group == 1:
        return tape.add("Transpose", [kernel], perm=[1, 0, *range(2, 2 + len(axes))])
    shape = tape.view.shape(kernel)
    if shape is None or not isinstance(shape[0], int) or not isinstance(shape[1], int):
        return None
    out_each, in_each = shape[0] // group, shape[1]
    if out_each == in_each == 1:
        return kernel
    sizes = [axis.kernel for axis in axes]
    split = tape.add("Reshape", [kernel, tape.ints([group, out_each, in_each, *sizes])])
    swapped = tape.add("Transpose", [split], perm=[0, 2, 1, *range(3, 3 + len(axes))])
    return tape.add("Reshape", [swapped, tape.ints([group * in_each, out_each, *sizes])])


def _by_kernel(image: str, like: str, windows: str, axes: Sequence[Axis], group: int, tape: Tape) -> str:
    """The gradient of a kernel that slid over `image`, of the shape of the given tensor `like`, to make `windows`.

    A convolution of the image by the windows in which examples and channels change places, and so do strides and
    dilations. It has more places than the kernel where positions behind the last window were not read.
    """
    spatial = range(2, 2 + len(axes))
    image, windows = (tape.add("Transpose", [item], perm=[1, 0, *spatial]) for item in (image, windows))
    if group > 1:
        image = _groups_as_examples(image, like, group, axes, tape)
    exchanged = [Axis(None, 1, axis.dilation, axis.stride, axis.begin, axis.end) for axis in axes]
    found = tape.add("Transpose", [_convolved(image, windows, exchanged, group, tape)], perm=[1, 0, *spatial])
    if all(axis.rest == 0 for axis in axes):
        return found
    starts, ends = tape.ints([0] * len(axes)), tape.ints(axis.kernel for axis in axes)
    return tape.add("Slice", [found, starts, ends, tape.ints(spatial)])


def _groups_as_examples(image: str, like: str, group: int, axes: Sequence[Axis], tape: Tape) -> str:
    """(channels, examples, …) as (channels / group, group · examples, …)."""
    sizes = spatial_sizes(like, tape)
    examples = tape.add("Gather", [tape.shape_of(like), tape.ints([0])])
    split = tape.add("Concat", [tape.ints([group, -1]), examples, sizes], axis=0)
    turned = tape.add("Transpose", [tape.add("Reshape", [image, split])], perm=[1, 0, *range(2, 3 + len(axes))])
    return tape.add("Reshape", [turned, tape.add("Concat", [tape.ints([0, -1]), sizes], axis=0)])


def _by_bias(node: Node, upstream: str, axes: Sequence[Axis], tape: Tape) -> str | None:
    if not tape.wants(node.input(2)):
        return None
    return tape.reduce_sum(upstream, [0, *range(2, 2 + len(axes))], keepdims=False)
