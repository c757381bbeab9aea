"""What layers are called: by stage and block in the backbone, then neck and heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from .layers import (
    Activation,
    BatchNorm,
    Connected,
    Convolution,
    GlobalPool,
    Layer,
    Pool,
    Region,
    Reorg,
    Route,
    Same,
    Shortcut,
    Softmax,
    Upsample,
    Yolo,
)
from .plan import Plan

__all__ = ["Output", "outputs", "scopes"]

_KINDS: dict[type, str] = {
    Activation: "activation",
    BatchNorm: "bn",
    Connected: "fc",
    Convolution: "conv",
    GlobalPool: "pool",
    Pool: "pool",
    Reorg: "reorg",
    Route: "concat",
    Shortcut: "add",
    Softmax: "softmax",
    Upsample: "upsample",
}
_SHRINKING = (Convolution, Pool, Reorg)
_BACKBONE = "darknet"


def scopes(plan: Plan) -> dict[int, str]:
    """Number of a layer → its scope; no two are alike.

    `darknet/stem`, `darknet/stage1/down`, `darknet/stage1/block1/conv1`, and `darknet/stage1/block1` for the join that
    ends the block; then `neck/…` and `head13/…`, the head by the side of its grid; in a classifier `classifier/…`.
    """
    parts = _parts(plan)
    named = _backbone(plan, [layer for layer in plan.layers if parts[layer.number] == _BACKBONE])
    for part in dict.fromkeys(parts.values()):
        if part != _BACKBONE:
            named |= _numbered(part, [layer for layer in plan.layers if parts[layer.number] == part])
    return dict(sorted(named.items()))


@dataclass(frozen=True)
class Output:
    """An output of the model: what layer `layer` gives, (batch, *shape), flattened first where `flattened`. `section`
    is the [yolo] or [region] that stands for it in the cfg, or `layer` itself.
    """

    name: str
    layer: int
    section: int
    shape: tuple[int, ...]
    flattened: bool = False


def outputs(plan: Plan) -> tuple[Output, ...]:
    """The raw heads `head13`, … by the side of their grid, in the order of the cfg; of a classifier its last layer:
    `probabilities` after a softmax, else `logits`, or `features` where that is a map.
    """
    scope = scopes(plan)
    ends = [layer for layer in plan.layers if isinstance(layer.what, Yolo | Region)]
    if ends:
        return tuple(
            Output(scope[end.number].partition("/")[0], plan.producer(end.inputs[0]), end.number, end.shape)
            for end in ends
        )
    last = plan.layers[-1]
    number = plan.producer(last.number)
    what = plan.layers[number].what if number >= 0 else None
    if isinstance(what, Softmax) or last.shape[1:] == (1, 1):
        name = "probabilities" if isinstance(what, Softmax) else "logits"
        flat = isinstance(what, Softmax | Connected)
        return (Output(name, number, last.number, (last.shape[0] * _area(last),), flattened=not flat),)
    return (Output("features", number, last.number, last.shape),)


def _parts(plan: Plan) -> dict[int, str]:
    """Number → darknet, neck, head…, or classifier."""
    ends = [layer for layer in plan.layers if isinstance(layer.what, Yolo | Region)]
    last = _last_of_detector(plan) if ends else _last_of_classifier(plan)
    parts = {
        layer.number: _BACKBONE if layer.number <= last else "neck" if ends else "classifier" for layer in plan.layers
    }
    readers = Counter(number for layer in plan.layers for number in layer.inputs)
    taken: set[str] = set()
    for end in ends:
        name = _free(f"head{_grid(end)}", taken)
        parts[end.number] = name
        number = end.inputs[0]
        while number > last and readers[number] == 1 and len(plan.layers[number].inputs) == 1:
            layer = plan.layers[number]
            if not isinstance(layer.what, Convolution | Activation | Same):
                break
            parts[number] = name
            number = layer.inputs[0]
    return parts


def _last_of_classifier(plan: Plan) -> int:
    """The last layer before everything has shrunk to one pixel for good."""
    number = len(plan.layers) - 1
    while number >= 0 and plan.layers[number].shape[1:] == (1, 1):
        number -= 1
    return number if number >= 0 else len(plan.layers) - 1


def _last_of_detector(plan: Plan) -> int:
    """The last join at the deepest resolution before the first head or upsampling, with the convolution that mixes
    what it joined; without a join the first of the widest convolutions there.
    """
    stop = next(layer.number for layer in plan.layers if isinstance(layer.what, Upsample | Yolo | Region))
    feeding = {plan.producer(layer.inputs[0]) for layer in plan.layers if isinstance(layer.what, Yolo | Region)}
    before = [layer for layer in plan.layers[:stop] if layer.shape[1:] != (1, 1) and layer.number not in feeding]
    if not before:
        return stop - 1
    deepest = min(_area(layer) for layer in before)
    there = [layer for layer in before if _area(layer) == deepest]
    joins = [layer for layer in there if _joins(plan, layer)]
    if not joins:
        convolutions = [layer for layer in there if isinstance(layer.what, Convolution)] or there
        return max(convolutions, key=lambda layer: layer.shape[0]).number
    last = joins[-1].number
    mixing = plan.layers[last + 1] if last + 1 < stop else None
    if isinstance(joins[-1].what, Route) and mixing is not None and mixing.shape == joins[-1].shape:
        return mixing.number
    return last


def _joins(plan: Plan, layer: Layer) -> bool:
    """Whether a layer brings branches of a stage together; pools side by side (SPP) are no such branches."""
    if isinstance(layer.what, Shortcut):
        return True
    pools = [number for number in layer.inputs if number >= 0 and isinstance(plan.layers[number].what, Pool | Reorg)]
    return isinstance(layer.what, Route) and len(layer.inputs) > 1 and not pools


def _backbone(plan: Plan, layers: Sequence[Layer]) -> dict[int, str]:
    named: dict[int, str] = {}
    stage, first, area = 0, 0, plan.picture[1] * plan.picture[2]
    for index, layer in enumerate(layers):
        source = plan.layers[layer.inputs[0]] if layer.inputs[0] >= 0 else None
        shrinks = _area(layer) < (area if source is None else min(area, _area(source)))
        if isinstance(layer.what, _SHRINKING) and shrinks:
            named |= _stage(plan, stage, layers[first:index])
            stage, first, area = stage + 1, index, _area(layer)
    return named | _stage(plan, stage, layers[first:])


def _stage(plan: Plan, stage: int, layers: Sequence[Layer]) -> dict[int, str]:
    if stage == 0:
        stem = f"{_BACKBONE}/stem"
        return {layers[0].number: stem} if len(layers) == 1 else _numbered(stem, layers)
    scope = f"{_BACKBONE}/stage{stage}"
    first, *rest = layers
    strided = isinstance(first.what, Convolution)
    named = {first.number: f"{scope}/down"} if strided else {}
    block: list[Layer] = []
    blocks = 0
    for layer in rest:
        if _joins(plan, layer):
            blocks += 1
            named |= {layer.number: f"{scope}/block{blocks}"} | _numbered(f"{scope}/block{blocks}", block)
            block = []
        else:
            block.append(layer)
    return named | _numbered(scope, block if strided else [first, *block])


def _numbered(scope: str, layers: Sequence[Layer]) -> dict[int, str]:
    """Names by kind, numbered where a kind comes more than once."""
    kinds = {layer.number: _kind(layer) for layer in layers}
    often, seen = Counter(kinds.values()), Counter[str]()
    named = {}
    for number, kind in kinds.items():
        seen[kind] += 1
        named[number] = f"{scope}/{kind}{seen[kind] if often[kind] > 1 else ''}"
    return named


def _kind(layer: Layer) -> str:
    if isinstance(layer.what, Route) and len(layer.inputs) == 1:
        return "split" if layer.what.groups > 1 else "route"
    return _KINDS.get(type(layer.what), layer.kind)


def _grid(layer: Layer) -> str:
    """'13', or '13x20' where the sides differ, height first."""
    _, height, width = layer.shape
    return str(height) if height == width else f"{height}x{width}"


def _area(layer: Layer) -> int:
    return layer.shape[1] * layer.shape[2]


def _free(name: str, taken: set[str]) -> str:
    number = 1
    while (free := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    taken.add(free)
    return free
