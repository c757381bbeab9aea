"""Receptive fields through operators that compute: elementwise, windows, reductions, normalisations, products."""

from __future__ import annotations

from functools import reduce

from onnxvis.graph.ops import ELEMENTWISE, GLOBAL_POOLS, MATRIX_PRODUCTS, REDUCTIONS
from onnxvis.graph.receptive_step import Step, from_end, rule
from onnxvis.graph.tracks import Interior, Track, Unknown
from onnxvis.graph.windows import pooled_count, same_pads, sliding, transposed, transposed_pads

__all__: list[str] = []

_POSITIONWISE = ELEMENTWISE - {"InstanceNormalization", "GroupNormalization"} | {
    "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Sign", "Mod", "IsNaN", "IsInf",
    "Sin", "Cos", "Tan", "Atan", "Shrink",
}  # fmt: skip
_REDUCING = REDUCTIONS | {"ReduceProd", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ArgMax", "ArgMin"}


@rule(*sorted(_POSITIONWISE))
def _positionwise(step: Step) -> Track:
    """Every position depends on the same position of each input, broadcast."""
    return reduce(Track.union, [track for track in step.tracks if track])


@rule("Conv", "QLinearConv", "ConvInteger", "FusedConv", "NhwcConv")
def _convolution(step: Step) -> Track:
    return _windows(step, step.tracks[0])


@rule("MaxPool", "AveragePool", "LpPool", "QLinearAveragePool")
def _pool(step: Step) -> Track:
    return _windows(step, step.only)


def _windows(step: Step, track: Track | None) -> Track:
    """Size grows by (kernel − 1) · dilation · stride, the offset by −pad · stride, the stride by its factor."""
    if track is None or any(step.tracks[1:]):
        raise Unknown("its weights depend on the picture")
    if not step.spatial():
        return track
    kernel = _kernel(step)
    for which in (0, 1):
        axis = track.axis(which)
        stride, dilation = _pair(step, "strides")[which], _pair(step, "dilations")[which]
        pads = _pads(step, which, len(axis), kernel[which], stride, dilation)
        ceil = bool(step.node.integer("ceil_mode", 0))
        count = pooled_count(len(axis), kernel[which], stride, dilation, pads, ceil=ceil)
        taps = sliding(max(count, 0), kernel[which], stride, dilation, pads[0])
        interior = Interior((kernel[which] - 1) * dilation + 1, stride, -pads[0])
        track = track.with_axis(which, axis.through(taps, interior))
    return track


@rule("ConvTranspose")
def _transposed_convolution(step: Step) -> Track:
    track = step.only
    if not step.spatial():
        return track
    kernel = _kernel(step)
    wanted, extra = step.node.ints("output_shape"), step.node.ints("output_padding") or (0, 0)
    for which in (0, 1):
        axis, stride, dilation = track.axis(which), _pair(step, "strides")[which], _pair(step, "dilations")[which]
        full = (len(axis) - 1) * stride + extra[which] + dilation * (kernel[which] - 1) + 1
        auto = step.text("auto_pad", "NOTSET")
        if wanted or auto.startswith("SAME"):
            count = wanted[-2:][which] if wanted else len(axis) * stride
            pad = transposed_pads(full - count, upper=auto == "SAME_UPPER")
        else:
            pads = step.node.ints("pads") or (0, 0, 0, 0)
            count, pad = full - pads[which] - pads[which + 2], pads[which]
        taps = transposed(count, kernel[which], stride, dilation, pad)
        reach = (kernel[which] - 1) * dilation
        interior = Interior(reach + 1, 1, pad - reach) if stride == 1 else None
        track = track.with_axis(which, axis.through(taps, interior))
    return track


def _kernel(step: Step) -> tuple[int, ...]:
    kernel = step.node.ints("kernel_shape")
    if not kernel:
        kernel = step.shape(step.node.inputs[3 if step.node.op == "QLinearConv" else 1])[2:]
    if len(kernel) != 2:
        raise Unknown(f"its kernel has {len(kernel)} axes")
    return kernel


def _pair(step: Step, attribute: str) -> tuple[int, ...]:
    return step.node.ints(attribute) or (1, 1)


def _pads(step: Step, which: int, length: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    auto = step.text("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        return same_pads(length, kernel, stride, dilation, lower=auto == "SAME_LOWER")
    pads = step.node.ints("pads") if auto == "NOTSET" else ()
    return (pads[which], pads[which + 2]) if pads else (0, 0)


@rule(*sorted(GLOBAL_POOLS))
def _global_pool(step: Step) -> Track:
    places = step.spatial()
    return step.only.collapsed(0, place=places[0]).collapsed(1, place=places[1]) if places else step.only


@rule(*sorted(_REDUCING))
def _reduction(step: Step) -> Track:
    track, rank = step.only, step.rank()
    if step.node.op in {"ArgMax", "ArgMin"}:
        axes: list[int] | None = [step.node.integer("axis", 0)]
    else:
        axes = step.listed("axes", 1)
        if axes is None and len(step.node.inputs) > 1 and step.node.inputs[1]:
            raise Unknown("its axes are computed")
    if axes is None:
        axes = [] if step.node.integer("noop_with_empty_axes", 0) else list(range(rank))
    return _without(track, sorted(from_end(axis, rank) for axis in axes), keep=bool(step.node.integer("keepdims", 1)))


def _without(track: Track, gone: list[int], *, keep: bool) -> Track:
    """The track once the axes `gone` (counted from the end) are reduced to one position, or dropped."""
    for which, place in enumerate(track.places):
        if place in gone:
            track = track.collapsed(which, place=place if keep else None)
    if keep:
        return track
    rows, columns = (None if p is None else p + sum(axis > p for axis in gone) for p in track.places)
    return track._replace(places=(rows, columns))


@rule("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization", "DynamicQuantizeLinear")
def _normalized_over_the_map(step: Step) -> Track:
    """Every position depends on all, through the mean and the deviation."""
    return _mixed(step.only, [place for place in step.only.places if place is not None])


@rule("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization")
def _layer_normalization(step: Step) -> Track:
    return _mixed(step.only, list(range(from_end(step.node.integer("axis", -1), step.rank()), 0)))


@rule("Softmax", "LogSoftmax", "Hardmax", "LpNormalization", "QLinearSoftmax")
def _softmax(step: Step) -> Track:
    """Before opset 13 the axis and all after it are taken together (https://onnx.ai/onnx/operators/onnx__Softmax.html)."""
    flattening = step.model.opset < 13 and step.node.op != "LpNormalization"
    first = from_end(step.node.integer("axis", 1 if flattening else -1), step.rank())
    return _mixed(step.only, list(range(first, 0)) if flattening else [first])


def _mixed(track: Track, axes: list[int]) -> Track:
    """Every position along `axes` depends on all positions along them."""
    for which, place in enumerate(track.places):
        if place in axes:
            axis = track.axis(which)
            track = track.with_axis(which, axis.collapsed().spread(len(axis)))
    return track


@rule(*sorted(MATRIX_PRODUCTS))
def _product(step: Step) -> Track:
    """A product with stored weights mixes the last axis alone; any other mixes everything."""
    tracks = [track for track in step.tracks if track]
    if len(tracks) == 1 and step.tracks[0] and "MatMul" in step.node.op:
        track = tracks[0]
        return _without(track, [-1], keep=True) if -1 in track.places else track
    return reduce(Track.union, [track.vector() for track in tracks])
