"""The windows of convolutions and pools: where along each axis they lie, and the way back from them to the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from onnxvis.graph.types import Dim
from onnxvis.graph.view import Node
from onnxvis.graph.windows import pooled_count, same_pads
from onnxvis.rewrite.tape import NotDifferentiable, Tape

__all__ = ["Axis", "Pads", "explicit_pads", "kernel_shape", "spatial_sizes", "spread", "windows_of"]

Pads = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """The windows along one axis of an input of `size` positions, None where that is not known.

    Window o reads the positions o · stride − begin + k · dilation for k in [0, kernel); those outside the input are
    padding, `end` of it behind the input. With `ceil` a last window may hang over that; then `begin` and `end` are less
    than the kernel, as they are for every pool.
    """

    size: int | None
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    ceil: bool = False

    @property
    def span(self) -> int:
        """From a window's first position to its last, both counted."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def count(self) -> int | None:
        """How many windows there are, None where the size is not known."""
        if self.size is None:
            return None
        pads = (self.begin, self.end)
        return pooled_count(self.size, self.kernel, self.stride, self.dilation, pads, ceil=self.ceil)

    @property
    def rest(self) -> int | None:
        """How many positions behind the last window none reads, padding counted; less than 0 where it hangs over.

        Always less than the stride, and more than −stride. None where the size is not known and the stride not 1.
        """
        if self.stride == 1:
            return 0
        if self.size is None or self.count is None:
            return None
        return self.size + self.begin + self.end - (self.count - 1) * self.stride - self.span


def kernel_shape(node: Node, tape: Tape) -> tuple[int, ...]:
    """The kernel's size along each axis, from the attribute or the second input."""
    kernel = node.ints("kernel_shape")
    if kernel:
        return kernel
    shape = tape.view.shape(node.input(1))
    sizes = tuple(size for size in shape[2:] if isinstance(size, int)) if shape else ()
    if shape is None or len(sizes) != len(shape) - 2:
        raise NotDifferentiable(f"the shape of its kernel, {shape}, is not known, and it has no kernel_shape")
    return sizes


def windows_of(node: Node, tape: Tape, pads: Callable[[Node, int, Axis], Pads] | None = None) -> tuple[Axis, ...]:
    """The windows of a convolution or pool along each spatial axis of its first input.

    `pads` says how an axis is padded, given the node, which axis it is (counted from the end, -1 for the last) and the
    axis without padding; without it the attributes of Conv and the pools do.
    """
    kernel = kernel_shape(node, tape)
    ones = (1,) * len(kernel)
    sizes: Sequence[Dim] = (tape.view.shape(node.inputs[0]) or (None, None, *(None for _ in kernel)))[2:]
    strides, dilations = node.ints("strides") or ones, node.ints("dilations") or ones
    ceil = bool(node.integer("ceil_mode", 0))
    axes = []
    for place, (size, width, stride, dilation) in enumerate(
        zip(sizes, kernel, strides, dilations, strict=True), -len(kernel)
    ):
        bare = Axis(size if isinstance(size, int) else None, width, stride, dilation, 0, 0, ceil)
        begin, end = (pads or _pads)(node, place, bare)
        axes.append(replace(bare, begin=begin, end=end))
    return tuple(axes)


def _pads(node: Node, place: int, axis: Axis) -> Pads:
    auto = node.text("auto_pad", "NOTSET")
    return _same_pads(node, auto, axis) if auto.startswith("SAME") else explicit_pads(node, place)


def explicit_pads(node: Node, place: int) -> Pads:
    """The padding that the node spells out, of the spatial axis `place`, counted from the end."""
    pads = node.ints("pads") if node.text("auto_pad", "NOTSET") == "NOTSET" else ()
    return (pads[place - len(pads) // 2], pads[place]) if pads else (0, 0)


def _same_pads(node: Node, auto: str, axis: Axis) -> Pads:
    """As the standard has it, refusing what ONNX Runtime pads in another way."""
    if node.op != "Conv" and axis.dilation > 1:
        raise NotDifferentiable(
            f"it has auto_pad {auto} with dilations, where ONNX Runtime departs from the standard; use explicit pads"
        )
    if axis.stride > 1 and axis.size is None:
        raise NotDifferentiable(
            f"its padding, auto_pad {auto} with strides {list(node.ints('strides'))}, depends on the size of its "
            "input, which is not known; fix the input's shape"
        )
    length = axis.size or 1  # with stride 1 any length gives the same
    if (-(-length // axis.stride) - 1) * axis.stride + axis.span < length - 1:
        raise NotDifferentiable(
            f"it has auto_pad {auto} with strides {list(node.ints('strides'))} that step over more than one pixel on "
            f"{length}, where ONNX Runtime departs from the standard; use explicit pads"
        )
    return same_pads(length, axis.kernel, axis.stride, axis.dilation, lower=auto == "SAME_LOWER")


def spatial_sizes(name: str, tape: Tape) -> str:
    """The sizes of a given tensor but for its first two, as a vector of int64."""
    shape = tape.view.shape(name) or (None,)
    known = [size for size in shape[2:] if isinstance(size, int)]
    if len(known) == len(shape) - 2:
        return tape.ints(known)
    return tape.add("Slice", [tape.shape_of(name), tape.ints([2]), tape.ints([2**31 - 1])])


def spread(upstream: str, weights: str, axes: Sequence[Axis], like: str, tape: Tape, group: int = 1) -> str:
    """What windows of `weights` gathered, given back to the positions it came from, added up where windows overlap.

    A transposed convolution (in, out / group, *kernel) to the spatial sizes of the given tensor `like`. Its padding is
    the same at both ends, for on CUDA ONNX Runtime has no other: what is then too much is cut off. It makes what lies
    behind the last window by output_padding, as the window may read some of what `end` would cut off.
    """
    pads, extras, starts = zip(*map(_frame, axes), strict=True)
    whole = tape.add(
        "ConvTranspose",
        [upstream, weights],
        kernel_shape=[axis.kernel for axis in axes],
        strides=[axis.stride for axis in axes],
        dilations=[axis.dilation for axis in axes],
        pads=pads * 2,
        output_padding=[max(extra, 0) for extra in extras],
        group=group,
    )
    if min(extras) >= 0 and not any(starts) and all(axis.rest is not None for axis in axes):
        return whole
    begins, ends = tape.ints(starts), spatial_sizes(like, tape)
    if any(starts):
        ends = tape.add("Add", [ends, begins])
    return tape.add("Slice", [whole, begins, ends, tape.ints(range(2, 2 + len(axes)))])


def _frame(axis: Axis) -> tuple[int, int, int]:
    """The padding at both ends, how much behind it is to be made (cut off if less than 0), and where to begin to read.

    Where it is not known how much lies behind the last window, as much as there may be.
    """
    rest = axis.stride - 1 if axis.rest is None else axis.rest
    extra = axis.begin - axis.end + rest
    if extra < axis.stride:
        return axis.begin, extra, 0
    return axis.end, rest, axis.begin - axis.end
