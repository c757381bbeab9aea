"""How far a heatmap can be trusted, as a card beside it: its insertion and deletion curves in one small chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import InputError, ModelError, RewriteError, UsageError
from onnxvis.show.chart import Tick, nice_values

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.faithfulness.curves import Curve, Faithfulness
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.session import RunOptions

__all__ = ["TrustCard", "TrustCurve", "draw_trust", "trust_cards"]

_WIDTH, _HEIGHT, _INSET = 240, 88, 4


@dataclass(frozen=True)
class TrustCurve:
    """A score over the share of pixels moved, as `measure.faithfulness` has it. `line_path`: to stroke, `fill_path`:
    what lies below it down to zero; letters and whole numbers only.
    """

    fractions: tuple[float, ...]
    scores: tuple[float, ...]
    area: float
    line_path: str
    fill_path: str


@dataclass(frozen=True)
class TrustCard:
    """Insertion and deletion of one heatmap, drawn in the box 0 0 `width` `height`: the share of pixels from left to
    right, the score upwards, `ticks` beside it. `kind`: what the score is, in words.
    """

    insertion: TrustCurve
    deletion: TrustCurve
    kind: str
    ticks: tuple[Tick, ...]
    width: int = _WIDTH
    height: int = _HEIGHT

    @property
    def view_box(self) -> str:
        """The value of the `viewBox` attribute."""
        return f"0 0 {self.width} {self.height}"


def trust_cards(
    model: Model,
    item: PreparedInput,
    maps: Sequence[Heatmap],
    run: RunOptions,
    progress: Callable[[str, int, int], None],
) -> tuple[list[TrustCard | None], list[str]]:
    """A card for each of `maps` of what is fed in `item`, 54 runs of the model each, and why some have none.

    A blank map says no order in which pixels could come and go. What maps of one target share is computed once, and all
    cards have the same axes.
    """
    from onnxvis.measure.faithfulness.curves import STEPS, Trial
    from onnxvis.measure.faithfulness.score import Scorer

    groups: dict[str, list[int]] = {}
    for place, one in enumerate(maps):
        if one.map.any():
            groups.setdefault(str(one.target), []).append(place)
    found: dict[int, Faithfulness] = {}
    reasons, done = [], 0
    of = 2 * (STEPS - 1) * sum(map(len, groups.values()))

    def tell(more: int) -> None:
        nonlocal done
        done += more
        progress("testing the heatmaps", done, of)

    for places in groups.values():
        try:
            with Scorer(model, item.feeds, maps[places[0]].target, run) as scorer:
                trial = Trial(scorer)
                for place in places:
                    found[place] = trial.both(maps[place].map, tell)
        except (RewriteError, UsageError, InputError, ModelError) as error:
            reasons.append(f"faithfulness: {error}")
    drawn = dict(zip(found, draw_trust(list(found.values())), strict=True))
    return [drawn.get(place) for place in range(len(maps))], reasons


def draw_trust(found: Sequence[Faithfulness]) -> list[TrustCard]:
    """Their curves on the same axes: 0 and every score are on them, and 1 where the highest comes near it or is 0."""
    scores = [score for one in found for curve in (one.insertion, one.deletion) for score in curve.scores]
    low, high = min([0.0, *scores]), max([0.0, *scores])
    high = 1.0 if low == 0 and (high == 0 or 0.5 < high < 1) else high
    ticks = tuple(Tick(_y(value, low, high), label) for value, label in nice_values(low, high, 2))
    return [
        TrustCard(_drawn(one.insertion, low, high), _drawn(one.deletion, low, high), one.kind, ticks) for one in found
    ]


def _drawn(curve: Curve, low: float, high: float) -> TrustCurve:
    corners = [
        f"{round(_WIDTH * share)} {_y(score, low, high)}"
        for share, score in zip(curve.fractions, curve.scores, strict=True)
    ]
    line, floor = "L".join(corners), _y(0.0, low, high)
    return TrustCurve(
        curve.fractions, curve.scores, curve.area, f"M{line}", f"M0 {floor}L{line}L{_WIDTH} {floor}z"
    )  # fmt: skip


def _y(value: float, low: float, high: float) -> int:
    """The height of a score: `high` stands a little below the top of the box, `low` as far above its bottom."""
    return round(_INSET + (_HEIGHT - 2 * _INSET) * (high - value) / (high - low))
