"""Methods in the order of how faithful their maps are, over any number of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from onnxvis.measure.faithfulness.curves import Curve
from onnxvis.measure.faithfulness.judge import Judgement
from onnxvis.measure.faithfulness.randomisation import DEPENDS_BELOW

__all__ = ["Row", "rank"]


@dataclass(frozen=True)
class Row:
    """One method over all pictures. `insertion` and `deletion`: mean curves, whose areas are the means of the areas.

    `hits` of `asked`: how often it points at the subject where that is known. `seconds`: a map takes, on average, None
    for controls. `similarity`: to the maps of shuffled models, mean over steps and pictures; None where that was not
    asked for.
    """

    method: str
    control: bool
    pictures: int
    insertion: Curve
    deletion: Curve
    hits: int
    asked: int
    seconds: float | None
    similarity: float | None

    @property
    def difference(self) -> float:
        """Area of insertion minus that of deletion: what rows are sorted by."""
        return self.insertion.area - self.deletion.area

    @property
    def depends(self) -> bool | None:
        """Whether the maps depend on the model's weights, see `DEPENDS_BELOW`; None where that was not asked for."""
        return None if self.similarity is None else self.similarity < DEPENDS_BELOW


def rank(judgements: Iterable[Judgement]) -> tuple[Row, ...]:
    """A row for each method and control, best `difference` first, then by name."""
    by_method: dict[str, list[Judgement]] = {}
    for one in judgements:
        by_method.setdefault(one.method, []).append(one)
    rows = [_row(method, found) for method, found in by_method.items()]
    return tuple(sorted(rows, key=lambda row: (-row.difference, row.method)))


def _row(method: str, found: Sequence[Judgement]) -> Row:
    asked = [one.pointing for one in found if one.pointing is not None]
    seconds = [one.seconds for one in found if one.seconds is not None]
    survivals = [one.survival.mean for one in found if one.survival is not None]
    return Row(
        method=method,
        control=found[0].control,
        pictures=len(found),
        insertion=_mean(found, lambda one: one.curves.insertion),
        deletion=_mean(found, lambda one: one.curves.deletion),
        hits=sum(asked),
        asked=len(asked),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        similarity=sum(survivals) / len(survivals) if survivals else None,
    )


def _mean(found: Sequence[Judgement], of: Callable[[Judgement], Curve]) -> Curve:
    curves = [of(one) for one in found]
    scores = zip(*(curve.scores for curve in curves), strict=True)
    return Curve(
        curves[0].fractions,
        tuple(sum(values) / len(curves) for values in scores),
        sum(curve.area for curve in curves) / len(curves),
    )
