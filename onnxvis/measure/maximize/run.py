"""The pictures that excite parts of a model most, by gradient ascent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.measure.maximize.climb import Climb
from onnxvis.measure.maximize.feeding import Feeding
from onnxvis.measure.maximize.objective import Aim, Objective, short_label
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.slope import Slope
from onnxvis.measure.maximize.stage import Stage
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.run.reading import Reading

__all__ = ["Maximized", "Progress", "ascend", "maximize", "maximize_all", "values_of"]

Array = np.ndarray[Any, np.dtype[Any]]
Progress = Callable[[int, int, float], None]
"""Told how many steps are done, of how many, and the mean activation of what climbs now."""


@dataclass(frozen=True, eq=False)
class Maximized:
    """The picture that was found for `aim`.

    `picture`: (H, W, 3) uint8 RGB; `fed`: what the model is fed of it, (C, H, W) float32; `value`: the activation for
    that. `curve`: (steps,) float64, the activation at each step, of the picture as it was moved before the step.
    """

    aim: Aim
    picture: Array
    fed: Array
    curve: Array
    value: float
    provider: str
    notes: tuple[str, ...]


def maximize(
    model: Model,
    objective: Objective,
    settings: Settings | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
    *,
    reading: Reading | None = None,
) -> Maximized:
    """The picture that excites `objective` most: see `maximize_all`, whose errors it raises."""
    return maximize_all(model, [objective], settings, options, progress, reading=reading)[0]


def maximize_all(
    model: Model,
    objectives: Sequence[Objective],
    settings: Settings | None = None,
    options: RunOptions | None = None,
    progress: Progress | None = None,
    *,
    reading: Reading | None = None,
) -> tuple[Maximized, ...]:
    """A picture for each of `objectives`, in order; up to 16 climb together where the model's batch is free.

    `reading` says how pictures are prepared (default: as the model's file says, else a guess): its size, mean, std,
    divide and order of colours hold, so that what climbs is a picture.
    Raises UsageError, also where nothing excites any of them; TensorNotFound; RewriteError for what has no gradient;
    InputError where numbers overflow; and the errors of running.
    """
    if not objectives:
        return ()
    settings, options = settings or Settings(), options or RunOptions()
    stage = Stage.of(model, objectives, options, reading)
    groups = list(stage.together())
    found: dict[int, Maximized] = {}
    silent: list[str] = []
    for number, places in enumerate(groups):

        def tell(step: int, value: float, before: int = number * settings.steps) -> None:
            if progress is not None:
                progress(before + step, len(groups) * settings.steps, value)

        aims = [stage.aims[place] for place in places]
        climbs = [Climb(stage.feeding.shape, settings, aim.label) for aim in aims]
        with Slope(stage.feeding, aims[0].tensor, options) as slope:
            ascend(climbs, aims, stage.feeding, slope, settings, tell)
            values = values_of(climbs, aims, stage.feeding, slope)
        for place, climb, value in zip(places, climbs, values, strict=True):
            found[place] = _made(stage, climb, stage.aims[place], value, slope)
            silent += [climb.notes[0]] if climb.stuck else []
    if len(silent) == len(stage.aims):
        raise UsageError(f"nothing excites '{short_label(stage.aims[0].label)}': {silent[0]}")
    return tuple(found[place] for place in range(len(stage.aims)))


def ascend(
    climbs: Sequence[Climb],
    aims: Sequence[Aim],
    feeding: Feeding,
    slope: Slope,
    settings: Settings,
    tell: Callable[[int, float], None],
) -> None:
    """Take up to `settings.steps` steps with each of `climbs`, as many as are fed at once, each towards its aim.

    `tell` hears of each step, and of the mean activation. Raises InputError where an activation or a gradient is not
    finite.
    """
    left = list(zip(climbs, aims, strict=True))
    for step in range(1, settings.steps + 1):
        found = slope.at([feeding.fed(climb.next()) for climb, _ in left], [aim for _, aim in left])
        for (climb, aim), (value, gradient) in zip(left, found, strict=True):
            if not (math.isfinite(value) and np.isfinite(gradient).all()):
                raise InputError(_not_finite(feeding.model, aim, step))
            climb.follow(value, feeding.pulled(gradient))
        tell(step, sum(value for value, _ in found) / len(found))
        left = [pair for pair in left if not pair[0].stuck]
        if settings.until is not None and left:
            reached = values_of([climb for climb, _ in left], [aim for _, aim in left], feeding, slope)
            left = [pair for pair, value in zip(left, reached, strict=True) if value < settings.until]
        if not left:
            return


def _not_finite(model: Model, aim: Aim, step: int) -> str:
    what = f"'{short_label(aim.label)}' or its gradient"
    if step > 1:
        return f"{what} is no finite number at step {step}; lower --rate"
    return (
        f"{model.name} itself gives NaN or infinite numbers at the start: {what} is not finite for the grey noise that "
        "every picture climbs from; name a tensor before the one where they begin"
    )


def values_of(climbs: Sequence[Climb], aims: Sequence[Aim], feeding: Feeding, slope: Slope) -> list[float]:
    """Each aim's value for the picture as it is written: of whole numbers 0–255, and not moved."""
    return [value for value, _ in slope.at([feeding.fed(climb.pixels() / 255) for climb in climbs], aims)]


def _made(stage: Stage, climb: Climb, aim: Aim, value: float, slope: Slope) -> Maximized:
    pixels = climb.pixels()
    shown = np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0))
    fed = stage.feeding.fed(pixels / 255).astype(np.float32)
    notes = dict.fromkeys((*stage.notes, *aim.notes, *slope.notes, *climb.notes))
    return Maximized(aim, shown, fed, np.asarray(climb.curve), value, slope.provider, tuple(notes))
