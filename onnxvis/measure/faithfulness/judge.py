"""Several heatmaps of one picture judged on the same terms, with the controls beside them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.measure.faithfulness.controls import CONTROLS, control_map
from onnxvis.measure.faithfulness.curves import STEPS, Faithfulness, Trial
from onnxvis.measure.faithfulness.pointing import points_at
from onnxvis.measure.faithfulness.randomisation import Survival, check_randomisation
from onnxvis.measure.faithfulness.score import Scorer
from onnxvis.measure.heatmaps.explain import explain

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.measure.target import Target
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["Judgement", "Terms", "Verdicts", "judge"]

Array = np.ndarray[Any, np.dtype[Any]]
Find = Callable[[tuple[int, int]], Array | None]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Terms:
    """`methods` by name, and how they are judged: `sigma` of the blur in pixels (None: see `curves.BLUR`), `tolerance`
    of the pointing game in pixels, `randomisation`: whether weights are shuffled too; `layers` as for `explain`.
    """

    methods: tuple[str, ...]
    layers: tuple[str, ...] = ()
    sigma: float | None = None
    tolerance: float = 0.0
    randomisation: bool = False
    random_seed: int = 0


@dataclass(frozen=True)
class Judgement:
    """What was found of one map. `control`: it knows nothing of the model. `pointing`: whether it points at the
    subject, None where that is not known. `seconds`: what the map took, None for controls. `survival`: of the shuffled
    weights, None where they were not shuffled. `notes`: those of the map.
    """

    method: str
    control: bool
    curves: Faithfulness
    pointing: bool | None
    seconds: float | None
    survival: Survival | None
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """One picture's: `judgements` and `maps` (H, W) in 0–1 by method, controls last; `notes` on the trial itself."""

    judgements: tuple[Judgement, ...]
    maps: Mapping[str, Array]
    notes: tuple[str, ...]


def judge(
    model: Model,
    item: PreparedInput,
    target: Target,
    terms: Terms,
    find: Find,
    options: RunOptions | None = None,
    progress: Progress | None = None,
) -> Verdicts:
    """Every method of `terms` and every control on what is fed in `item`, about one target.

    `find` is asked for the subject's pixels of a picture of (height, width), None where nothing is known. Each method
    is computed by itself, so that its seconds are its own. Raises the errors of `explain`, `Scorer`, `Trial` and
    `check_randomisation`.
    """
    tell = progress or _silent
    heatmaps, seconds = _heatmaps(model, item, target, terms, options, tell)
    region = find((heatmaps[0].map.shape[0], heatmaps[0].map.shape[1]))
    found: list[Judgement] = []
    with Scorer(model, item.feeds, target, options) as scorer:
        trial, picture = Trial(scorer, terms.sigma, terms.random_seed), scorer.picture
        controls = {name: control_map(name, picture, terms.random_seed) for name in CONTROLS}
        for one, values in [(one, one.map) for one in heatmaps] + [*controls.items()]:
            name = one if isinstance(one, str) else one.method
            curves = trial.both(values, _counted(tell, name))
            hit = points_at(values, region, terms.tolerance) if region is not None else None
            notes = () if isinstance(one, str) else one.notes
            found.append(Judgement(name, name in controls, curves, hit, seconds.get(name), None, notes))
    if terms.randomisation:
        survivals = _survivals(model, item, heatmaps, terms, picture, options, tell)
        found = [replace(one, survival=survivals.get(one.method)) for one in found]
    maps = {one.method: one.map for one in heatmaps} | controls
    return Verdicts(tuple(found), maps, _notes(trial))


def _heatmaps(
    model: Model, item: PreparedInput, target: Target, terms: Terms, options: RunOptions | None, tell: Progress
) -> tuple[list[Heatmap], dict[str, float]]:
    """The map of each method, and the seconds that it took."""
    found, seconds = [], {}
    for method in terms.methods:
        start = time.perf_counter()
        (one,) = explain(
            model, item.feeds, [method],
            target=target, layers=terms.layers, options=options, random_seed=terms.random_seed, progress=tell,
        )  # fmt: skip
        found.append(one)
        seconds[method] = time.perf_counter() - start
    return found, seconds


def _survivals(
    model: Model,
    item: PreparedInput,
    heatmaps: Sequence[Heatmap],
    terms: Terms,
    picture: Array,
    options: RunOptions | None,
    tell: Progress,
) -> dict[str, Survival]:
    def step(done: int, of: int) -> None:
        tell("shuffling weights", done, of)

    found = check_randomisation(
        model, item, heatmaps, options, picture=picture, random_seed=terms.random_seed, progress=step
    )
    return {one.method: one for one in found}


def _notes(trial: Trial) -> tuple[str, ...]:
    if trial.blurry <= trial.sharp / 2:
        return ()
    said = f"the blurred picture still scores {trial.blurry:.3g}, of {trial.sharp:.3g}"
    return (f"{said}, so the curves say little; blur more with --blur",)


def _counted(tell: Progress, name: str) -> Callable[[int], None]:
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        tell(f"inserting and deleting by {name}", done, 2 * (STEPS - 1))

    return count


def _silent(what: str, done: int, of: int) -> None:
    del what, done, of
