"""Receptive fields through operators that move positions about: transposes, reshapes, joins, pads, slices, resizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from onnxvis.graph.receptive_step import Step, from_end, rule
from onnxvis.graph.tracks import Axis, Interior, Track, Unknown, regular
from onnxvis.graph.types import Shape
from onnxvis.graph.windows import Taps, resized

__all__: list[str] = []


@rule("Transpose")
def _transpose(step: Step) -> Track:
    rank = step.rank()
    order = step.node.ints("perm") or tuple(reversed(range(rank)))
    rows, columns = (None if place is None else order.index(place + rank) - rank for place in step.only.places)
    return step.only._replace(places=(rows, columns))


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(step: Step) -> Track:
    """An axis stays where one of the new ones has its length and as many elements behind it. Rows and columns may be
    put into one axis, as channel shuffles do, and taken apart again. Else what was a position depends on all.
    """
    track = step.only
    if track.places == (None, None):
        return track
    shape, after = (step.model.view.shape(name) for name in (step.node.inputs[0], step.node.outputs[0]))
    if shape is None or after is None:
        raise Unknown("the shapes it reshapes from and to are not known")
    before, merged = _sized(shape, track)
    if merged:
        return _laid(track, after, *merged)
    for which, place in enumerate(track.places):
        found = None if place is None else _place(after, len(track.axis(which)), _elements(before, place + 1))
        if place is not None and found is None:
            track = track.collapsed(which)
        else:
            track = track._replace(places=(found, track.places[1]) if which == 0 else (track.places[0], found))
    return track


def _sized(shape: Shape, track: Track) -> tuple[Shape, tuple[int, int] | None]:
    """The shape with the track's lengths in it; where rows and columns are one stretch: its elements, those behind."""
    rows, columns = track.places
    sizes = list(shape)
    if rows is not None and rows == columns:
        return shape, (len(track.rows) * len(track.columns), _elements(shape, rows + 1))
    for place, axis in ((rows, track.rows), (columns, track.columns)):
        if place is not None:
            sizes[place] = len(axis)
    if rows is None or columns != rows + 1:
        return tuple(sizes), None
    return tuple(sizes), (len(track.rows) * len(track.columns), _elements(tuple(sizes), columns + 1))


def _laid(track: Track, after: Shape, count: int, behind: int) -> Track:
    """Rows and columns that lie next to each other, found again side by side or merged."""
    columns = _place(after, len(track.columns), behind)
    rows = _place(after, len(track.rows), behind * len(track.columns))
    if rows is not None and columns is not None:
        return track._replace(places=(rows, columns))
    merged = _place(after, count, behind)
    return track.vector() if merged is None else track._replace(places=(merged, merged))


def _place(shape: Shape, size: int, behind: int) -> int | None:
    """The axis of that size with so many elements behind it, counted from the end."""
    return next((at for at in range(-len(shape), 0) if shape[at] == size and _elements(shape, at + 1) == behind), None)


def _elements(shape: Shape, first: int) -> int:
    """The number of elements in the axes from `first`, counted from the end, on."""
    behind = shape[first:] if first else ()
    if not all(isinstance(size, int) for size in behind):
        raise Unknown("the shapes it reshapes from and to are not known")
    return math.prod(size for size in behind if isinstance(size, int))


@rule("Concat", "QLinearConcat")
def _concat(step: Step) -> Track:
    first = next(i for i, track in enumerate(step.tracks) if track)
    place = from_end(step.node.integer("axis", 1), step.rank(first))
    tracks = [track.apart(place) for track in step.tracks if track]
    which = next((tracks[0].places.index(place) for _ in (0,) if place in tracks[0].places), None)
    if which is None:
        return reduce(Track.union, tracks)
    pieces, others = [], []
    for name, track in zip(step.node.inputs, step.tracks, strict=True):
        if track is None:
            pieces.append(Axis.nothing(step.shape(name)[place]))
        elif track.places != tracks[0].places:
            raise Unknown("it joins maps whose rows and columns lie along different axes")
        else:
            pieces.append(track.axis(which))
            others.append(track.axis(1 - which))
    joined = Axis(np.concatenate([p.first for p in pieces]), np.concatenate([p.last for p in pieces]), None)
    return tracks[0].with_axis(which, joined).with_axis(1 - which, reduce(Axis.union, others))


@rule("Pad")
def _pad(step: Step) -> Track:
    track, rank = step.only, step.rank()
    pads, mode = step.listed("pads", 1) or step.listed("paddings", 1), step.text("mode", "constant")
    axes = step.listed("axes", 3)
    if pads is None or (axes is None and len(step.node.inputs) > 3 and step.node.inputs[3]):
        raise Unknown("its pads are computed")
    places = [from_end(axis, rank) for axis in (range(rank) if axes is None else axes)]
    for place in places:
        track = track.apart(place)
    for place, before, after in zip(places, pads[: len(places)], pads[len(places) :], strict=True):
        if place in track.places:
            which = track.places.index(place)
            axis = track.axis(which)
            taps = _padded(len(axis), before, after, mode)[:, None]
            track = track.with_axis(which, axis.through(taps, Interior(1, 1, -before)))
    return track


def _padded(length: int, before: int, after: int, mode: str) -> Taps:
    """Which position each padded one shows; a negative pad crops."""
    kept = np.arange(max(-before, 0), length - max(-after, 0))
    width = (max(before, 0), max(after, 0))
    if mode == "constant":
        return np.pad(kept, width, constant_values=-1)
    numpy_mode: Any = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}.get(mode)
    if numpy_mode is None:
        raise Unknown(f"padding mode '{mode}' is not known")
    return np.pad(kept, width, mode=numpy_mode)


@rule("Slice")
def _slice(step: Step) -> Track:
    track, rank = step.only, step.rank()
    starts, ends = step.listed("starts", 1), step.listed("ends", 2)
    axes, steps = step.listed("axes", 3), step.listed("steps", 4)
    if axes is None:
        axes = list(range(len(starts) if starts is not None else rank))
    for i, place in enumerate(from_end(axis, rank) for axis in axes):
        track = track.apart(place)
        if place not in track.places:
            continue
        if starts is None or ends is None:
            raise Unknown("its bounds are computed")
        stride = steps[i] if steps else 1
        end = None if stride < 0 and ends[i] < -(2**30) else ends[i]
        track = _picked(track, place, slice(starts[i], end, stride))
    return track


@rule("Split")
def _split(step: Step) -> Track | list[Track]:
    place = from_end(step.node.integer("axis", 0), step.rank())
    track = step.only.apart(place)
    if place not in track.places:
        return track
    length, pieces = len(track.axis(track.places.index(place))), len(step.node.outputs)
    sizes = step.listed("split", 1)
    if sizes is None:
        each = -(-length // pieces)
        sizes = [min(each, length - i * each) for i in range(pieces)]
    starts = [0, *np.cumsum(sizes)]
    return [_picked(track, place, slice(first, end)) for first, end in itertools.pairwise(starts)]


@rule("Gather")
def _gather(step: Step) -> Track:
    rank = step.rank()
    place = from_end(step.node.integer("axis", 0), rank)
    track = step.only.apart(place)
    indices = step.constant(1)
    if indices is None:
        raise Unknown("its indices are computed")
    if place in track.places:
        if indices.ndim > 1:
            raise Unknown("it gathers positions by a table")
        track = _picked(track, place, np.atleast_1d(indices))
    if indices.ndim == 0:
        return _without_single(track, place)
    shift = indices.ndim - 1
    rows, columns = (None if p is None else p - shift * (p < place) for p in track.places)
    return track._replace(places=(rows, columns))


def _without_single(track: Track, place: int) -> Track:
    rows, columns = (None if p is None or p == place else p + (p < place) for p in track.places)
    return track._replace(places=(rows, columns))


@rule("Expand", "Tile")
def _repeated(step: Step) -> Track:
    track = step.only
    if track.places[0] is not None:
        track = track.apart(track.places[0])
    for which, place in enumerate(track.places):
        if place is None:
            continue
        axis, length = track.axis(which), step.shape(step.node.outputs[0])[place]
        if length % len(axis):
            raise Unknown(f"it repeats {len(axis)} positions to {length}")
        taps = np.tile(np.arange(len(axis)), length // len(axis))[:, None]
        track = track.with_axis(which, axis.spread(length) if len(axis) == 1 else axis.through(taps, regular(taps)))
    return track


@rule("DepthToSpace")
def _depth_to_space(step: Step) -> Track:
    size = step.node.integer("blocksize", 1)
    return _blocks(step, lambda n: np.repeat(np.arange(n), size)[:, None])


@rule("SpaceToDepth")
def _space_to_depth(step: Step) -> Track:
    size = step.node.integer("blocksize", 1)
    return _blocks(step, lambda n: np.arange(n // size * size).reshape(-1, size))


def _blocks(step: Step, table: Callable[[int], Taps]) -> Track:
    track = step.only
    if step.spatial():
        for which in (0, 1):
            taps = table(len(track.axis(which)))
            track = track.with_axis(which, track.axis(which).through(taps, regular(taps)))
    return track


@rule("Resize", "Upsample")
def _resize(step: Step) -> Track:
    track, rank = step.only, step.rank()
    if track.places[0] is not None:
        track = track.apart(track.places[0])
    if step.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unknown("it keeps the aspect ratio")
    shape = step.shape(step.node.outputs[0])
    how = _resize_attributes(step)
    axes = [from_end(axis, rank) for axis in step.node.ints("axes") or range(rank)]
    scales = _scales(step)
    for which, place in enumerate(track.places):
        if place is None or place not in axes or (scales is None and shape[place] == len(track.axis(which))):
            continue
        axis = track.axis(which)
        scale = scales[axes.index(place)] if scales else shape[place] / len(axis)
        try:
            taps = resized(len(axis), shape[place], scale, how)
        except (ValueError, KeyError) as error:
            raise Unknown(f"there is no rule for {error}") from error
        track = track.with_axis(which, axis.through(taps, regular(taps)))
    return track


def _resize_attributes(step: Step) -> dict[str, Any]:
    old = step.node.op == "Upsample" or step.model.opset < 11
    return {
        "mode": step.text("mode", "nearest").replace("bilinear", "linear"),
        "coordinate_transformation_mode": "asymmetric"
        if old
        else step.text("coordinate_transformation_mode", "half_pixel"),
        "nearest_mode": "floor" if old else step.text("nearest_mode", "round_prefer_floor"),
        "antialias": step.node.integer("antialias", 0),
    }


def _scales(step: Step) -> list[float] | None:
    """The scales that the node states, None where it states sizes."""
    item = step.node.attribute("scales")
    if item is not None:
        return list(item.floats)
    place = 1 if step.node.op == "Upsample" or step.model.opset < 11 else 2
    value = step.constant(place)
    if value is not None and value.size:
        return [float(scale) for scale in value]
    if value is None and place < len(step.node.inputs) and step.node.inputs[place]:
        raise Unknown("its scales are computed")
    return None


def _picked(track: Track, place: int, index: slice | np.ndarray[Any, np.dtype[Any]]) -> Track:
    """The positions that `index` chooses along the axis at `place`."""
    which = track.places.index(place)
    axis = track.axis(which)
    taps = np.arange(len(axis))[index][:, None]
    return track.with_axis(which, axis.through(taps, regular(taps)))
