"""A model that explains itself: a heatmap as one more output, for any runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import RewriteError
from onnxvis.files import one_line
from onnxvis.graph.load import Model
from onnxvis.rewrite.backward import backward
from onnxvis.rewrite.prepare import prepare
from onnxvis.rewrite.tape import Tape

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["EMBEDDABLE", "Embedded", "embed"]

_SPACE = (2, 3)
_EACH = (1, 2, 3)
_TINY, _SHARE = np.float32(1e-7), np.float32(1e-6)
_LEAST = np.float32(1e-30)
_NONE, _ONE = np.int64(0), np.int64(1)


@dataclass(frozen=True)
class Embedded:
    """`heatmap`: the output (N, H, W) float32 in 0–1; `target`: the input, int64, one class for each picture or one
    for all, −1 for the top class. `notes`: what a reader should know.
    """

    proto: ModelProto
    heatmap: str
    target: str
    notes: tuple[str, ...]


def embed(model: Model, method: str, scores: str, source: str, picture: str) -> Embedded:
    """`model` with the heatmap by `method`, one of `EMBEDDABLE`, among its outputs.

    `scores`: the tensor of class scores (N, K) or (N, K, 1, 1) that is explained; `source`: the layer that the map is
    made of, for saliency the picture; `picture`: the input whose size the map gets. The model's own outputs stay first,
    in order. Only standard operators are added. The model given is not changed.
    Raises RewriteError as `gradient.differentiate`, and where a tensor is no feature map.
    """
    if method not in EMBEDDABLE:
        raise RewriteError(f"no map by '{one_line(method)}' can be embedded; there are: {', '.join(EMBEDDABLE)}")
    if source not in model.maps:
        raise RewriteError(
            f"'{one_line(source)}' is no feature map: a heatmap needs rows and columns; list feature maps with: "
            f"onnxvis layers {model.name}"
        )
    prepared = prepare(model)
    scores, source, picture = (prepared.names.get(name, name) for name in (scores, source, picture))
    tape = Tape(prepared.proto, model.folder)
    target, heatmap = tape.fresh("target"), tape.fresh("heatmap")
    seed = _seed(tape, scores, target)
    gradient = backward(tape, {scores: seed}, [source])[source]
    activation = source
    if model.maps.layouts.get(source) == "NHWC":
        activation, gradient = (tape.add("Transpose", [name], perm=[0, 3, 1, 2]) for name in (source, gradient))
    made = EMBEDDABLE[method](tape, activation, gradient)
    rectified = made if method in ("cam", "saliency") else tape.add("Relu", [made])
    shown = _stretched(tape, rectified)
    if method != "saliency":
        shown = _unit(tape, _upsampled(tape, shown, picture, model))
    _finish(tape, shown, heatmap, target)
    return Embedded(tape.proto, heatmap, target, (*prepared.notes, *tape.notes))


def _seed(tape: Tape, scores: str, target: str) -> str:
    """1 at the class that is explained, else 0: of the shape of `scores`."""
    flat = tape.add("Reshape", [scores, tape.ints([0, -1])])
    top = tape.add("ArgMax", [flat], axis=1, keepdims=0)
    chosen = tape.add("Where", [tape.add("Less", [target, tape.ints([0])]), top, target])
    count = tape.add("Gather", [tape.add("Shape", [flat]), tape.constant(_ONE)])
    classes = tape.add("Range", [tape.constant(_NONE), count, tape.constant(_ONE)])
    hits = tape.add("Equal", [tape.unsqueeze(chosen, [1]), tape.unsqueeze(classes, [0])])
    return tape.reshape_like(tape.cast(hits, tape.dtype(scores)), scores)


def _weighed(tape: Tape, weights: str, activation: str) -> str:
    return tape.reduce_sum(tape.add("Mul", [weights, activation]), [1])


def _gradcam(tape: Tape, activation: str, gradient: str) -> str:
    return _weighed(tape, tape.reduce_mean(gradient, _SPACE), activation)


def _cam(tape: Tape, activation: str, gradient: str) -> str:
    return _weighed(tape, tape.reduce_sum(gradient, _SPACE), activation)


def _hirescam(tape: Tape, activation: str, gradient: str) -> str:
    return _weighed(tape, gradient, activation)


def _layercam(tape: Tape, activation: str, gradient: str) -> str:
    return _weighed(tape, tape.add("Relu", [gradient]), activation)


def _gradcam_plus_plus(tape: Tape, activation: str, gradient: str) -> str:
    square = tape.add("Mul", [gradient, gradient])
    total = tape.reduce_sum(activation, _SPACE)
    cubic = tape.add("Mul", [tape.add("Mul", [total, square]), gradient])
    twice = tape.add("Add", [tape.add("Add", [square, square]), cubic])
    share = tape.add("Div", [square, tape.add("Add", [twice, tape.constant(_SHARE)])])
    return _weighed(tape, tape.reduce_sum(tape.add("Mul", [tape.add("Relu", [gradient]), share]), _SPACE), activation)


def _saliency(tape: Tape, activation: str, gradient: str) -> str:
    del activation
    return _extreme(tape, "ReduceMax", tape.add("Abs", [gradient]), [1])


EMBEDDABLE: dict[str, Callable[[Tape, str, str], str]] = {
    "gradcam": _gradcam,
    "layercam": _layercam,
    "hirescam": _hirescam,
    "gradcam++": _gradcam_plus_plus,
    "cam": _cam,
    "saliency": _saliency,
}
"""{method: how activation and gradient, (N, K, h, w), become a map (N, 1, h, w)}, defined as in `measure.heatmaps`."""


def _extreme(tape: Tape, op: str, source: str, axes: tuple[int, ...] | list[int]) -> str:
    if tape.opset >= 18:
        return tape.add(op, [source, tape.ints(axes)], keepdims=1)
    return tape.add(op, [source], axes=list(axes), keepdims=1)


def _stretched(tape: Tape, source: str) -> str:
    """`_unit` of a map whose largest magnitude was made 1 first, so that one of tiny gradients does not fade."""
    largest = _extreme(tape, "ReduceMax", tape.add("Abs", [source]), _EACH)
    return _unit(tape, tape.add("Div", [source, tape.add("Max", [largest, tape.constant(_LEAST)])]))


def _unit(tape: Tape, source: str) -> str:
    """(m − min) / (1e-7 + max of that), each picture by itself."""
    shifted = tape.add("Sub", [source, _extreme(tape, "ReduceMin", source, _EACH)])
    above = tape.add("Add", [_extreme(tape, "ReduceMax", shifted, _EACH), tape.constant(_TINY)])
    return tape.add("Div", [shifted, above])


def _upsampled(tape: Tape, source: str, picture: str, model: Model) -> str:
    """Bilinear at the picture's size, pixel centres at halves."""
    axes = (1, 2) if model.maps.layouts.get(picture) == "NHWC" else (2, 3)
    sizes = [tape.size_of(picture, axis) for axis in axes]
    outer = tape.add("Slice", [tape.add("Shape", [source]), tape.ints([0]), tape.ints([2])])
    wanted = tape.add("Concat", [outer, *sizes], axis=0)
    return tape.add("Resize", [source, "", "", wanted], mode="linear", coordinate_transformation_mode="half_pixel")


def _finish(tape: Tape, shown: str, heatmap: str, target: str) -> None:
    from onnx import TensorProto, helper

    graph = tape.proto.graph
    graph.node.append(helper.make_node("Squeeze", [shown, tape.ints([1])], [heatmap]))
    graph.input.append(helper.make_tensor_value_info(target, TensorProto.INT64, ["targets"]))
    graph.output.append(helper.make_tensor_value_info(heatmap, TensorProto.FLOAT, [None, None, None]))
