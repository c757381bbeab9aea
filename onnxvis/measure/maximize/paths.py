"""Several optimisers' paths up the same activation, over a plane through the model's own landscape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError
from onnxvis.measure.activations import Probe
from onnxvis.measure.maximize.climb import Climb
from onnxvis.measure.maximize.objective import Aim, Objective, short_label
from onnxvis.measure.maximize.optimizers import OPTIMIZERS
from onnxvis.measure.maximize.run import ascend, values_of
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.slope import Slope
from onnxvis.measure.maximize.stage import Stage
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnxvis.graph.load import Model
    from onnxvis.run.reading import Reading

__all__ = ["Landscape", "Path", "compare_optimizers"]

Array = np.ndarray[Any, np.dtype[Any]]

_POINTS, _GRID, _MARGIN = 48, 25, 0.15


@dataclass(frozen=True, eq=False)
class Path:
    """One optimiser's way: `places` (n, 2) on the plane after `steps` (n,), from 0 on; `curve` and `value` as of
    `Maximized`.
    """

    optimizer: str
    steps: Array
    places: Array
    curve: Array
    value: float


@dataclass(frozen=True, eq=False)
class Landscape:
    """The paths, and the activation of `aim` on the plane: `activation` (rows, columns) at `across` (columns,) and `up`
    (rows,), the coordinates of `Path.places`.

    The plane is that of the first two principal components of the pictures at all points of all paths; where it leaves
    0–1, the nearest picture counts. `explained`: the shares of the pictures' variance along them.
    """

    aim: Aim
    paths: tuple[Path, ...]
    across: Array
    up: Array
    activation: Array
    explained: tuple[float, float]
    notes: tuple[str, ...]


def compare_optimizers(
    model: Model,
    objective: Objective,
    settings: Settings | None = None,
    options: RunOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    reading: Reading | None = None,
    names: Sequence[str] = tuple(OPTIMIZERS),
    grid: int = _GRID,
) -> Landscape:
    """Climb to `objective` by each optimiser of `names`, from one start and moved alike, each at its usual rate.

    Of `settings` the optimiser and the rate do not count. `grid`: rows and columns of the landscape; each of its points
    is one run of the model. Up to 49 points of each path are kept, as pictures. Raises as `maximize_all` does.
    """
    settings, options, tell = settings or Settings(), options or RunOptions(), progress or _silent
    stage = Stage.of(model, [objective], options, reading, copies=len(names))
    steps = np.unique([*range(0, settings.steps, max(1, math.ceil(settings.steps / _POINTS))), settings.steps])
    runs: list[_Run] = []
    for first in range(0, len(names), stage.feeding.batch):
        runs += _climbed(stage, settings, options, names[first : first + stage.feeding.batch], steps, tell)
    plane = _Plane.through(np.stack([picture for run in runs for picture in run.pictures]))
    low, high = plane.places.min(axis=0), plane.places.max(axis=0)
    room = _MARGIN * np.maximum(high - low, 1e-6)
    across, up = (np.linspace(low[axis] - room[axis], high[axis] + room[axis], grid) for axis in (0, 1))
    activation = _activations(stage, plane, [(x, y) for y in up for x in across], options, tell)
    paths = tuple(
        Path(name, steps, part, np.asarray(run.curve), run.value)
        for name, run, part in zip(names, runs, np.split(plane.places, len(names)), strict=True)
    )
    notes = dict.fromkeys((*stage.notes, *stage.aims[0].notes, *(note for run in runs for note in run.notes)))
    return Landscape(
        stage.aims[0], paths, across, up, activation.reshape(grid, grid), plane.explained, tuple(notes)
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Run:
    """One climb: its pictures (C, H, W) after the steps that are kept, and the rest of `Path`."""

    pictures: list[Array]
    curve: list[float]
    value: float
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Plane:
    """`middle` + x · axes[0] + y · axes[1], of pictures of `shape`; `places` (n, 2): where the points' shadows fall."""

    shape: tuple[int, ...]
    middle: Array
    axes: Array
    places: Array
    explained: tuple[float, float]

    @classmethod
    def through(cls, points: Array) -> _Plane:
        """By the first two principal components of `points` (n, C, H, W), of the small matrix of their products."""
        flat = points.reshape(len(points), -1)
        middle = flat.mean(axis=0)
        flat -= middle
        spread, vectors = np.linalg.eigh(flat.astype(np.float64) @ flat.T.astype(np.float64))
        strongest = np.maximum(spread[::-1][:2], 0)
        scores = vectors[:, ::-1][:, :2] * np.sqrt(strongest)
        lengths = np.where(strongest > 0, np.sqrt(strongest), 1)[:, None]
        axes = (vectors[:, ::-1][:, :2].T @ flat) / lengths
        shares = strongest / max(float(spread.sum()), 1e-30)
        return cls(points.shape[1:], middle, axes, scores, (float(shares[0]), float(shares[1])))

    def picture(self, x: float, y: float) -> Array:
        """The picture at a place, (C, H, W) in 0–1."""
        return np.asarray(np.clip(self.middle + x * self.axes[0] + y * self.axes[1], 0, 1).reshape(self.shape))


def _climbed(
    stage: Stage,
    settings: Settings,
    options: RunOptions,
    names: Sequence[str],
    steps: Array,
    tell: Callable[[str, int, int], None],
) -> list[_Run]:
    """Climb by each of `names`, all at once."""
    climbs = [
        Climb(stage.feeding.shape, replace(settings, optimizer=name, rate=None), stage.aims[0].label) for name in names
    ]
    aims = [stage.aims[0]] * len(names)
    pictures = [[climb.picture()] for climb in climbs]
    wanted = {int(step) for step in steps}

    def watch(step: int, _: float) -> None:
        if step in wanted:
            for kept, climb in zip(pictures, climbs, strict=True):
                kept.append(climb.picture())
        tell(f"climbing by {', '.join(names)}", step, settings.steps)

    with Slope(stage.feeding, aims[0].tensor, options) as slope:
        ascend(climbs, aims, stage.feeding, slope, settings, watch)
        values = values_of(climbs, aims, stage.feeding, slope)
    for kept in pictures:
        kept += kept[-1:] * (len(steps) - len(kept))  # of climbs that stopped early
    return [
        _Run(kept, climb.curve, value, (*slope.notes, *climb.notes))
        for kept, climb, value in zip(pictures, climbs, values, strict=True)
    ]


def _activations(
    stage: Stage,
    plane: _Plane,
    places: Sequence[tuple[float, float]],
    options: RunOptions,
    tell: Callable[[str, int, int], None],
) -> Array:
    """The aim's value for the picture at each place."""
    aim, feeding = stage.aims[0], stage.feeding
    found: list[float] = []
    with Probe(feeding.model, [aim.tensor], replace(options, exact=bool(options.exact)), only=True) as probe:
        for first in range(0, len(places), feeding.batch):
            part = places[first : first + feeding.batch]
            values = probe.run(feeding.feeds([feeding.fed(plane.picture(*place)) for place in part])).values[aim.tensor]
            found += [aim.value(values[k : k + 1] if feeding.batch > 1 else values) for k in range(len(part))]
            tell("measuring the landscape", len(found), len(places))
    if not np.isfinite(found).all():
        raise InputError(f"'{short_label(aim.label)}' is not finite somewhere on the plane of the paths; lower --steps")
    return np.asarray(found)


def _silent(what: str, done: int, of: int) -> None:
    del what, done, of
