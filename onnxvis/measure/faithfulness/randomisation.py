"""The parameter-randomisation check: a map that explains a model changes when the model's weights are shuffled.

Adebayo et al., 2018 (Sanity Checks for Saliency Maps, arXiv:1810.03292), cascading from the output down. They draw new
weights; shuffled ones keep each layer's own distribution, so activations stay in their range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.measure.faithfulness.controls import edge_map
from onnxvis.measure.faithfulness.spearman import spearman
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.rewrite.randomize import WeightLayer, randomize, weight_layers

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["DEPENDS_BELOW", "MOST_STEPS", "Similarity", "Survival", "cascade", "check_randomisation"]

Array = np.ndarray[Any, np.dtype[Any]]

DEPENDS_BELOW = 0.7
"""A map depends on the weights where its mean similarity to those of the shuffled models is below this."""

MOST_STEPS = 8


@dataclass(frozen=True)
class Similarity:
    """`layers`: how many of the last layers were shuffled, down to the node `down_to`; `value`: the rank correlation of
    the map then and before, in −1 to 1, 0 where either is blank.
    """

    layers: int
    down_to: str
    value: float


@dataclass(frozen=True)
class Survival:
    """What became of one method's map, step by step. `mean`: of the similarities."""

    method: str
    steps: tuple[Similarity, ...]

    @property
    def mean(self) -> float:
        """The mean similarity over all steps."""
        return sum(step.value for step in self.steps) / len(self.steps)

    @property
    def depends(self) -> bool:
        """Whether the map depends on the weights: `mean` below `DEPENDS_BELOW`."""
        return self.mean < DEPENDS_BELOW


def check_randomisation(
    model: Model,
    item: PreparedInput,
    heatmaps: Sequence[Heatmap],
    options: RunOptions | None = None,
    *,
    picture: Array | None = None,
    most_steps: int = MOST_STEPS,
    random_seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Survival, ...]:
    """Each of `heatmaps`, of one target, computed again of the model with its last layers shuffled.

    `picture` (H, W, C), what is fed: with it comes 'edges', the picture's Sobel magnitude, as a control: no weights
    change that, so its similarity is 1. At most `most_steps` steps, see `cascade`. Raises UsageError where there are no
    layers with weights on the way to the target, and the errors of `randomize` and `explain`.
    """
    target = heatmaps[0].target
    layers = weight_layers(model, target.tensor)
    if not layers:
        raise UsageError(f"{model.name} stores no weights on the way to {target}, so there are none to be shuffled")
    counts = cascade(len(layers), most_steps)
    found: dict[str, list[Similarity]] = {one.method: [] for one in heatmaps}
    for done, count in enumerate(counts, 1):
        shuffled = randomize(model, _weights(layers[:count]), random_seed)
        again = _again(shuffled, item, heatmaps, options, random_seed)
        pairs = [(one.method, one.map, again[one.method].map) for one in heatmaps]
        if picture is not None:
            pairs.append(("edges", edge_map(picture), edge_map(picture)))
        for method, before, after in pairs:
            step = Similarity(count, layers[count - 1].node, spearman(before, after))
            found.setdefault(method, []).append(step)
        if progress is not None:
            progress(done, len(counts))
    return tuple(Survival(method, tuple(steps)) for method, steps in found.items())


def _again(
    shuffled: Model, item: PreparedInput, heatmaps: Sequence[Heatmap], options: RunOptions | None, random_seed: int
) -> dict[str, Heatmap]:
    """{method: its map of another model}, of the same target and layers; those of the same layers share gradients."""
    by_layers: dict[tuple[str, ...], list[str]] = {}
    for one in heatmaps:
        by_layers.setdefault(one.layers, []).append(one.method)
    found: dict[str, Heatmap] = {}
    for layers, methods in by_layers.items():
        made = explain(
            shuffled, item.feeds, methods,
            target=heatmaps[0].target, layers=layers, options=options, random_seed=random_seed,
        )  # fmt: skip
        found |= {one.method: one for one in made}
    return found


def cascade(layers: int, most: int = MOST_STEPS) -> tuple[int, ...]:
    """How many layers are shuffled at each step: from the last one to all, at most `most` steps, evenly apart."""
    return tuple(dict.fromkeys(round(float(count)) for count in np.linspace(1, layers, max(1, min(most, layers)))))


def _weights(layers: Sequence[WeightLayer]) -> list[str]:
    return [name for layer in layers for name in layer.weights]
