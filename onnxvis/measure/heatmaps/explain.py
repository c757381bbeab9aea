"""Heatmaps of one picture by any methods, with what they were made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph.select import select
from onnxvis.graph.target_layer import last_map, map_at_scale, same_map
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.heatmaps import cams, changed, eigen, masked, pixels
from onnxvis.measure.heatmaps.finish import blank_reason, fused, stretched, upsample
from onnxvis.measure.heatmaps.method import METHODS, HeatmapMethod, LayerMethod, Needs, PixelMethod
from onnxvis.measure.heatmaps.probe import GradientProbe
from onnxvis.measure.heatmaps.response import Response
from onnxvis.measure.heatmaps.zhou import CAM, linear_head_layer
from onnxvis.measure.target import TOP, Target, resolve_target
from onnxvis.run.picture_input import image_input
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["METHOD_NAMES", "Heatmap", "explain", "find_methods"]

Array = np.ndarray[Any, np.dtype[Any]]

METHOD_NAMES = (
    cams.GradCAM.name, cams.GradCAMPlusPlus.name, cams.XGradCAM.name, cams.HiResCAM.name, cams.ElementwiseGradCAM.name,
    cams.LayerCAM.name, CAM.name, eigen.EigenCAM.name, eigen.EigenGradCAM.name, Response.name, pixels.Saliency.name,
    pixels.InputTimesGradient.name, pixels.IntegratedGradients.name, pixels.SmoothGrad.name,
    pixels.GuidedBackprop.name, pixels.Deconvnet.name, pixels.GuidedGradCAM.name, masked.ScoreCAM.name,
    changed.AblationCAM.name, changed.ReciproCAM.name, masked.RISE.name, masked.Occlusion.name,
)  # fmt: skip
"""All methods, in the order in which lists show them."""


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where a model looked. `map`: (H, W) float32 in 0–1, of the picture's size as it is fed.

    `raw`: the method's values before they were made a map: (h, w) of the layer for class activation maps (with several
    layers: their mean, upsampled), signed (C, H, W) for gradients by the picture. `layers`: the tensors it was made of,
    none for methods of the picture alone. `definition`: the formula. `notes`: what should be known, such as why the map
    is blank.
    """

    method: str
    definition: str
    layers: tuple[str, ...]
    target: Target
    map: Array
    raw: Array
    notes: tuple[str, ...]
    provider: str


def find_methods(names: Sequence[str | HeatmapMethod]) -> list[HeatmapMethod]:
    """The methods of these names, once each; what is a method already, with settings of its own, stays as it is.

    Raises UsageError, with all names there are.
    """
    for name in names:
        if isinstance(name, str) and name not in METHODS:
            raise UsageError(f"no heatmap method is called '{one_line(name)}'; there are: {', '.join(METHOD_NAMES)}")
    return [METHODS[name] if isinstance(name, str) else name for name in dict.fromkeys(names)]


def explain(
    model: Model,
    feeds: Mapping[str, Array],
    methods: Sequence[str | HeatmapMethod] = ("gradcam",),
    *,
    target: Target | str = TOP,
    layers: Sequence[str] = (),
    flags: DetectorFlags = NO_FLAGS,
    options: RunOptions | None = None,
    random_seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Heatmap, ...]:
    """A heatmap by each of `methods` of the first picture of `feeds`: names, or methods such as `RISE(masks=4000)`.

    `target`: see `resolve_target`; `flags`: of its boxes; `layers`: tensors, blocks or patterns (default: the last
    feature map before the head, for a box the last at its own scale, for `cam` the one before the pooling). `progress`
    is told what is done, how much of it, of how much.
    Raises UsageError, TensorNotFound, InputError, RewriteError with the node that has no gradient, and the errors of
    running.
    """
    found = find_methods(methods)
    options = options or RunOptions()
    tell = progress or _silent
    seen = model.at({name: tuple(value.shape) for name, value in feeds.items()})
    picture = image_input(seen.inputs) or next((item for item in seen.inputs if item.name in seen.maps), None)
    if picture is None:
        raise UsageError(f"{model.name} takes no picture, so there is nothing that a heatmap could be laid over")
    if isinstance(target, str):
        tell("running the model", 0, 0)
        outputs, _ = run_deployed(seen, [feeds], options)
        target = _resolved(seen, target, outputs[0], found, feeds, flags)
    asked = select(seen, layers).tensors if layers else ()
    chosen = [_layers(seen, item, target, asked) for item in found]
    differentiated = {
        names for item, (names, _) in zip(found, chosen, strict=True) if Needs.GRADIENT & item.needs
    }  # fmt: skip
    probe = GradientProbe(seen, feeds, picture.name, target, options, random_seed=random_seed)
    made = []
    for item, (names, notes) in zip(found, chosen, strict=True):
        runs = bool(Needs.RUNS & item.needs)
        what = f"{'runs' if runs else 'gradients'} for {item.name}"
        tell(what, 0, 0)
        step = partial(tell, what if runs else "gradients")
        made.append(_made(item, probe.at(names, gradients=names in differentiated, progress=step), notes))
    return tuple(made)


def _resolved(
    model: Model,
    text: str,
    outputs: Mapping[str, Any],
    methods: Sequence[HeatmapMethod],
    feeds: Mapping[str, Array],
    flags: DetectorFlags,
) -> Target:
    """The target; where no method asks for one and there is no top class, the whole first output stands for it."""
    try:
        return resolve_target(model, text, outputs, feeds=feeds, flags=flags)
    except UsageError:
        if text != TOP or not outputs or any(item.needs != Needs.LAYER for item in methods):
            raise
        output = next(iter(outputs))
        return Target(output, (), output, np.shape(outputs[output]), ("the method has no target",))


def _silent(what: str, done: int, of: int) -> None:
    del what, done, of


def _layers(
    model: Model, item: HeatmapMethod, target: Target, asked: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers that a method is given, and notes on how they were found."""
    if not Needs.LAYER & item.needs:
        return (), ()
    if isinstance(item, CAM):
        only = linear_head_layer(model, target.tensor)
        if asked and tuple(same_map(model, name) for name in asked) != (only,):
            raise UsageError(f"cam is defined for '{one_line(only)}' alone, which the pooling reads; leave --layer out")
        return (only,), ()
    if asked:
        return asked[-1:] if isinstance(item, pixels.GuidedGradCAM) else asked, ()
    if target.grid is not None and (at_scale := map_at_scale(model, target.tensor, target.grid)) is not None:
        rows, columns = target.grid
        said = f"the layer, as none was named, is the last feature map at the box's own scale, {rows} × {columns}"
        return (at_scale,), (said,)
    default = last_map(model, target.tensor)
    if default is None:
        raise UsageError(
            f"{model.name} has no feature map with rows and columns before '{one_line(target.output)}'; name a layer "
            "with --layer, or use a method of the picture alone, such as saliency"
        )
    return (default,), ("the layer, as none was named, is the deepest feature map before the head",)


def _made(item: HeatmapMethod, probe: GradientProbe, notes: tuple[str, ...]) -> Heatmap:
    size = probe.picture.shape[1:]
    if isinstance(item, PixelMethod):
        raw = item.explain(probe)
        flat = item.flatten(raw.values)
        # Of a picture of zeros, what is multiplied by it says nothing about the gradient, nor do methods without one.
        of_gradient = probe.picture.any() and not Needs.RUNS & item.needs
        reason = blank_reason(flat, raw.values if of_gradient else None, rectified=False)
        shown = np.zeros(size, np.float32) if reason else stretched(flat).astype(np.float32)
        values, own = raw.values, raw.notes
    else:
        assert isinstance(item, LayerMethod)
        shown, values, own = _of_layers(item, probe, size)
        reason = ""
    every = (*notes, *own, *probe.target.notes, *probe.notes, *([reason] if reason else []))
    return Heatmap(
        item.name, item.definition, tuple(probe.layers), probe.target, shown, values, every, probe.provider
    )  # fmt: skip


def _of_layers(item: LayerMethod, probe: GradientProbe, size: tuple[int, ...]) -> tuple[Array, Array, tuple[str, ...]]:
    """The map, the values behind it, and why it or the part of a layer is blank."""
    maps = {name: item.combine(both[0], item.worth(probe, name)) for name, both in probe.layers.items()}
    values = next(iter(maps.values()))
    if len(maps) > 1:
        values = np.mean([upsample(one, size) for one in maps.values()], axis=0)
    uses_gradient = bool(Needs.GRADIENT & item.needs)
    reasons = {
        name: blank_reason(one, probe.layers[name][1] if uses_gradient else None, rectified=item.rectified)
        for name, one in maps.items()
    }
    told = tuple(
        reason if len(maps) == 1 else f"layer '{one_line(name)}' is left out: {reason}"
        for name, reason in reasons.items()
        if reason
    )
    kept = [one for name, one in maps.items() if not reasons[name]]
    if not kept:
        return np.zeros(size, np.float32), values, told
    if isinstance(item, Response):
        seen = item.over(probe.picture, np.mean([upsample(one, size) for one in kept], axis=0))
        return stretched(seen).astype(np.float32), values, told
    return fused(kept, size, rectified=item.rectified), values, told
