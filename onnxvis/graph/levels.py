"""At which resolution each feature map stands, told by how far the strides before it have carried."""

from __future__ import annotations

from fractions import Fraction

from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.ops import CONVOLUTIONS, GLOBAL_POOLS, POOLS
from onnxvis.graph.view import GraphView, Node

__all__ = ["Level", "find_levels"]

Level = tuple[Fraction, Fraction]
"""Input pixels per step, down and across. Sizes that differ by borders alone (149 and 147) are one level."""

_ONE = (Fraction(1), Fraction(1))
_SizedLevel = tuple[Level, tuple[int, int]]


def find_levels(view: GraphView, maps: FeatureMaps) -> dict[str, Level]:
    """The level of every feature map of known size, but for those that a global pool has collapsed to one position.

    A gate computed from a global pool (squeeze and excitation) has no level either: it stands beside the maps.
    """
    levels: dict[str, Level] = {}
    by_size: dict[tuple[int, int], Level] = {}
    carried: dict[str, _SizedLevel] = {}
    collapsed: set[str] = set()
    for tensor in view.inputs:
        if size := _size(maps, tensor.name):
            levels[tensor.name] = by_size[size] = _ONE
            carried[tensor.name] = (_ONE, size)
    for node in view.nodes:
        for name in filter(None, node.outputs):
            size = _size(maps, name)
            if size is None:
                _carry(node, name, carried)
            elif _is_collapsed(node, maps, size, collapsed):
                collapsed.add(name)
            else:
                before = _main_input(node, size, carried)
                level = _stepped(node, before, size) if before else by_size.get(size, _ONE)
                levels[name] = level
                by_size.setdefault(size, level)
                carried[name] = (level, size)
    return levels


def _size(maps: FeatureMaps, name: str) -> tuple[int, int] | None:
    found = maps.chw(name)
    return found[1:] if found else None


def _carry(node: Node, name: str, carried: dict[str, _SizedLevel]) -> None:
    """A tensor that is no map in between (a reshaped one) hands its origin's level on."""
    before = next((carried[item] for item in node.inputs if item in carried), None)
    if before:
        carried[name] = before


def _is_collapsed(node: Node, maps: FeatureMaps, size: tuple[int, int], collapsed: set[str]) -> bool:
    if size != (1, 1):
        return False
    data = [item for item in node.inputs if item in maps]
    if data and all(item in collapsed for item in data):
        return True
    pooled = node.op in GLOBAL_POOLS or node.op in POOLS or node.op.startswith(("Reduce", "QLinearReduce"))
    return pooled and any(_size(maps, item) != (1, 1) for item in data)


def _main_input(node: Node, size: tuple[int, int], carried: dict[str, _SizedLevel]) -> _SizedLevel | None:
    found = [carried[item] for item in node.inputs if item in carried]
    return next((item for item in found if item[1] == size), found[0] if found else None)


def _stepped(node: Node, before: _SizedLevel, size: tuple[int, int]) -> Level:
    (down, across), (height, width) = before
    if node.op in CONVOLUTIONS | POOLS:
        strides = node.ints("strides") or (1, 1)
        if node.op == "ConvTranspose":
            return down / strides[0], across / strides[1]
        return down * strides[0], across * strides[1]
    return down * _ratio(height, size[0]), across * _ratio(width, size[1])


def _ratio(before: int, after: int) -> Fraction:
    if min(before, after) == 0:
        return Fraction(1)
    if before * 2 >= after * 3:
        return Fraction(round(before / after))
    if after * 2 >= before * 3:
        return 1 / Fraction(round(after / before))
    return Fraction(1)
