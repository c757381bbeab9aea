from __future__ import annotations

import pytest

from onnxvis.measure.faithfulness.curves import STEPS, Curve, Faithfulness
from onnxvis.measure.faithfulness.judge import Judgement
from onnxvis.measure.faithfulness.randomisation import Similarity, Survival
from onnxvis.measure.faithfulness.rank import rank

SHARES = tuple(step / STEPS for step in range(STEPS + 1))


def judgement(
    method: str, insertion: float, deletion: float, pointing: bool | None = None, seconds: float = 1.0,
    similar: float | None = None,
) -> Judgement:  # fmt: skip
    """With curves that are the same everywhere."""
    curves = [Curve(SHARES, (level,) * len(SHARES), level) for level in (insertion, deletion)]
    survival = None if similar is None else Survival(method, (Similarity(1, "x", similar),))
    return Judgement(method, False, Faithfulness(curves[0], curves[1], "p"), pointing, seconds, survival, ())


def test_rows_are_means_and_the_largest_difference_comes_first() -> None:
    rows = rank([
        judgement("low", 0.5, 0.4, True), judgement("high", 0.9, 0.3, False, 2.0, 0.9), judgement("tie", 0.6, 0.5),
        judgement("low", 0.7, 0.6, None), judgement("high", 0.7, 0.1, True, 4.0, 0.4), judgement("tie", 0.8, 0.7),
    ])  # fmt: skip
    assert [row.method for row in rows] == ["high", "low", "tie"]
    high, low, tie = rows
    assert (high.insertion.area, high.deletion.area) == pytest.approx((0.8, 0.2))
    assert high.insertion.scores == pytest.approx([0.8] * 29)
    assert high.difference == pytest.approx(0.6)
    assert (high.hits, high.asked, high.pictures, high.seconds) == (1, 2, 2, 3.0)
    assert (low.hits, low.asked) == (1, 1)
    assert (tie.hits, tie.asked) == (0, 0)
    assert high.similarity == pytest.approx(0.65)
    assert high.depends
    assert low.depends is None
