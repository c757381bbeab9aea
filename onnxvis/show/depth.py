"""How the values of a network's weights change over its depth: one chart a role, ready for an inline SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import float_info
from typing import TYPE_CHECKING

from onnxvis.show.chart import Tick, nice_values
from onnxvis.show.text import number, shape, shorten

if TYPE_CHECKING:
    from onnxvis.graph.view import GraphView
    from onnxvis.measure.weights import WeightNumbers

__all__ = ["DepthChart", "DepthPoint", "depth_charts", "reading_order"]

_WIDTH, _HEIGHT, _INSET = 720, 160, 8
_OUTLIER, _FEWEST = 20, 3
_ALONE = 12
_LARGEST = float_info.max
_ROLES = (
    "conv kernel",
    "fully connected weight",
    "bias",
    "batch norm weight",
    "batch norm bias",
    "batch norm mean",
    "batch norm variance",
)


@dataclass(frozen=True)
class DepthPoint:
    """One weight in a chart: its numbers, and where it stands in whole units of the chart's box.

    `x`, `y`: its mean, `y` 0 where it has no finite value; `left`, `width`: the column that is its own, from top to
    bottom of the box. `clipped`: part of it lies outside the chart.
    """

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    min: float
    max: float
    x: int
    y: int
    left: int
    width: int
    clipped: bool

    @property
    def label(self) -> str:
        """Name, shape and numbers in one line, for a tooltip."""
        numbers = f"mean {number(self.mean)}, std {number(self.std)}, {number(self.min)} to {number(self.max)}"
        return f"{shorten(self.name, 80)}, {shape(self.shape)}: {numbers}"


@dataclass(frozen=True)
class DepthChart:
    """The weights of one role (`title`) in order of depth, drawn in the box 0 0 `width` `height`.

    Paths hold letters and whole numbers only. `mean_path`, `min_path`, `max_path`: lines to stroke; `band_path`: mean ±
    std, to fill; `marker_path`: triangles at the edge above or below each clipped value, to fill. Lines are broken at
    weights without a finite value. `ticks`: heights with their values. `notes`: what is clipped or missing.
    """

    title: str
    points: tuple[DepthPoint, ...]
    width: int
    height: int
    mean_path: str
    band_path: str
    min_path: str
    max_path: str
    marker_path: str
    ticks: tuple[Tick, ...]
    notes: tuple[str, ...]

    @property
    def view_box(self) -> str:
        """The value of the `viewBox` attribute."""
        return f"0 0 {self.width} {self.height}"


def depth_charts(weights: Sequence[WeightNumbers], order: Mapping[str, int] | None = None) -> tuple[DepthChart, ...]:
    """A chart for each role with a finite value in it, kernels first.

    From left to right stand the weights of a role as `order` numbers their names (those it does not name last), or as
    they are given. The range is that of all of min, max and mean ± std; where some layers, at most a quarter, reach
    more than 20 times as far from zero as all others, it is that of the others: the rest is clipped and noted.
    """
    if order is not None:
        weights = sorted(weights, key=lambda item: order.get(item.name, math.inf))
    roles = dict.fromkeys(item.role for item in weights)
    sequence = [role for role in _ROLES if role in roles] + [role for role in roles if role not in _ROLES]
    groups = ([item for item in weights if item.role == role] for role in sequence)
    return tuple(_chart(group) for group in groups if any(math.isfinite(item.statistics.mean) for item in group))


def reading_order(view: GraphView) -> dict[str, int]:
    """For every tensor that the main graph reads, the position of the first node it meets the data in.

    So a weight that is cast, transposed or dequantised first stands where it is used, wherever that is done. Numbers
    go into `depth_charts`.
    """
    order: dict[str, int] = {}
    for position, node in reversed(list(enumerate(view.nodes))):
        met = any(name in view.data_path for name in node.outputs)
        used = position if met else min((order[name] for name in node.outputs if name in order), default=position)
        for name in (*node.inputs, *node.captures):
            order[name] = min(used, order.get(name, used))
    return order


@dataclass(frozen=True)
class _Box:
    """Values as heights: `high` stands `_INSET` below the top, `low` as far above the bottom, all else is clipped."""

    low: float
    high: float

    def y(self, value: float) -> int:
        # Halves never overflow, whatever the values are.
        span = self.high / 2 - self.low / 2
        share = (self.high / 2 - value / 2) / span if span else 0.5
        return round(_INSET + (_HEIGHT - 2 * _INSET) * min(1.0, max(0.0, share)))


_Run = list[tuple["WeightNumbers", DepthPoint]]


def _chart(weights: Sequence[WeightNumbers]) -> DepthChart:
    clipped = _outliers(weights)
    low, high = _range(item for place, item in enumerate(weights) if place not in clipped)
    box = _Box(low, high)
    points = tuple(_point(item, place, len(weights), box) for place, item in enumerate(weights))
    runs = list(_runs(weights, points))
    means, lows, highs = (
        "".join(_line(run, [box.y(getattr(item.statistics, field)) for item, _ in run]) for run in runs)
        for field in ("mean", "min", "max")
    )
    return DepthChart(
        title=weights[0].role,
        points=points,
        width=_WIDTH,
        height=_HEIGHT,
        mean_path=means,
        band_path="".join(_band(run, box) for run in runs),
        min_path=lows,
        max_path=highs,
        marker_path="".join(_markers(points, box)),
        ticks=tuple(Tick(box.y(value), label) for value, label in nice_values(low, high)),
        notes=_notes(points, clipped),
    )


def _spread(item: WeightNumbers) -> float:
    """The standard deviation, 0 for a single value."""
    return item.statistics.std if math.isfinite(item.statistics.std) else 0.0


def _outliers(weights: Sequence[WeightNumbers]) -> frozenset[int]:
    """The places of the few layers that would flatten all others."""
    reach = {
        place: max(abs(item.statistics.min), abs(item.statistics.max))
        for place, item in enumerate(weights)
        if math.isfinite(item.statistics.mean)
    }
    places = sorted(reach, key=lambda place: -reach[place])
    most = max(1, len(places) // 4) if len(places) >= _FEWEST else 0
    for count in range(most, 0, -1):
        if reach[places[count - 1]] / _OUTLIER > reach[places[count]] > 0:
            return frozenset(places[:count])
    return frozenset()


def _range(weights: Iterable[WeightNumbers]) -> tuple[float, float]:
    """What the chart spans; a little around the value where all are the same."""
    found = [(item.statistics, _spread(item)) for item in weights if math.isfinite(item.statistics.mean)]
    low = max(-_LARGEST, min(min(numbers.min, numbers.mean - std) for numbers, std in found))
    high = min(_LARGEST, max(max(numbers.max, numbers.mean + std) for numbers, std in found))
    if low == high:
        margin = abs(low) / 2 or 1.0
        low, high = max(-_LARGEST, low - margin), min(_LARGEST, high + margin)
    return low, high


def _point(item: WeightNumbers, place: int, count: int, box: _Box) -> DepthPoint:
    numbers = item.statistics
    left, right = place * _WIDTH // count, (place + 1) * _WIDTH // count
    some = math.isfinite(numbers.mean)
    return DepthPoint(
        name=item.name,
        shape=item.shape,
        mean=numbers.mean,
        std=numbers.std,
        min=numbers.min,
        max=numbers.max,
        x=(left + right) // 2,
        y=box.y(numbers.mean) if some else 0,
        left=left,
        width=max(1, right - left),
        clipped=some and not box.low <= numbers.min <= numbers.max <= box.high,
    )


def _runs(weights: Sequence[WeightNumbers], points: Sequence[DepthPoint]) -> Iterator[_Run]:
    """Neighbours that have finite values."""
    run: _Run = []
    for item, point in zip(weights, points, strict=True):
        if math.isfinite(point.mean):
            run.append((item, point))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _line(run: _Run, heights: Sequence[int]) -> str:
    """A line through `heights`; a layer that stands alone gets a short level one, or nothing of it would show."""
    corners = _corners(run, heights)
    return "M" + "L".join(f"{x} {y}" for x, y in corners)


def _band(run: _Run, box: _Box) -> str:
    upper = _corners(run, [box.y(item.statistics.mean + _spread(item)) for item, _ in run])
    lower = _corners(run, [box.y(item.statistics.mean - _spread(item)) for item, _ in run])
    return "M" + "L".join(f"{x} {y}" for x, y in [*upper, *reversed(lower)]) + "z"


def _corners(run: _Run, heights: Sequence[int]) -> list[tuple[int, int]]:
    points = [point for _, point in run]
    if len(points) == 1:
        half = max(1, min(points[0].width // 2, _ALONE))
        return [(points[0].x - half, heights[0]), (points[0].x + half, heights[0])]
    return [(point.x, y) for point, y in zip(points, heights, strict=True)]


def _markers(points: Sequence[DepthPoint], box: _Box) -> Iterator[str]:
    for point in points:
        if point.clipped and point.max > box.high:
            yield f"M{point.x - 4} 6l4 -6l4 6z"
        if point.clipped and point.min < box.low:
            yield f"M{point.x - 4} {_HEIGHT - 6}l4 6l4 -6z"


def _notes(points: Sequence[DepthPoint], clipped: frozenset[int]) -> tuple[str, ...]:
    beyond = [
        f"beyond the chart: {shorten(point.name)}, {number(point.min)} to {number(point.max)}"
        for place, point in enumerate(points)
        if place in clipped
    ]
    empty = [f"without a finite value: {shorten(point.name)}" for point in points if not math.isfinite(point.mean)]
    return tuple(beyond + empty)
