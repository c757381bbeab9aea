from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import onnxvis
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.faithfulness.curves import Curve, Faithfulness, faithfulness_of
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.target import resolve_target
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.session import RunOptions
from onnxvis.show.options import silent
from onnxvis.show.trust import TrustCard, draw_trust, trust_cards
from tests.tiny import photo, tiny, write

ONE = RunOptions("cpu", 1)
SHARES = tuple(step / 28 for step in range(29))


def faithfulness(rising: tuple[float, ...]) -> Faithfulness:
    area = float(np.trapezoid(rising, SHARES))
    return Faithfulness(Curve(SHARES, rising, area), Curve(SHARES, rising[::-1], area), "a score")


def corners(path: str) -> list[tuple[int, int]]:
    assert re.fullmatch(r"M\d+ \d+(L\d+ \d+)*z?", path)
    return [(int(x), int(y)) for x, y in re.findall(r"(\d+) (\d+)", path)]


@pytest.mark.parametrize("scale", [1.0, 0.02, -3.0, 1e30])
def test_curves_are_drawn_to_scale(scale: float) -> None:
    """Read back from the drawing by its ticks, they are what they were, but for half a unit of the box."""
    scores = tuple(scale * (share**2 - 0.25) for share in SHARES)
    (card,) = draw_trust([faithfulness(scores)])
    ticks = [(tick.at, float(tick.label.replace("−", "-"))) for tick in card.ticks]
    (y0, low), (y1, high) = ticks[0], ticks[-1]
    unit = (high - low) / (y1 - y0)
    for curve, wanted in ((card.insertion, scores), (card.deletion, scores[::-1])):
        found = corners(curve.line_path)
        assert [x for x, _ in found] == [round(card.width * share) for share in SHARES]
        assert all(0 <= y <= card.height for _, y in found)
        values = [low + (y - y0) * unit for _, y in found]
        np.testing.assert_allclose(values, wanted, atol=1.6 * abs(unit))
        filled = corners(curve.fill_path)
        assert filled[1:-1] == found
        assert [low + (y - y0) * unit for _, y in (filled[0], filled[-1])] == pytest.approx([0, 0], abs=1.6 * abs(unit))


def test_all_cards_have_the_same_axes() -> None:
    weak, strong = draw_trust([faithfulness((0.1,) * 29), faithfulness((0.8,) * 29)])
    assert weak.ticks == strong.ticks
    assert {y for _, y in corners(strong.insertion.line_path)} < set(range(weak.height // 4))
    assert {y for _, y in corners(weak.insertion.line_path)} < set(range(3 * weak.height // 4, weak.height))


def test_the_axis_reaches_1_where_a_probability_nearly_does() -> None:
    (near,) = draw_trust([faithfulness((0.0, *(0.9999,) * 28))])
    assert [tick.label for tick in near.ticks] == ["0", "0.5", "1"]
    (far,) = draw_trust([faithfulness((0.0, *(0.2,) * 28))])
    assert [tick.label for tick in far.ticks] == ["0", "0.1", "0.2"]


def test_scores_of_nothing_lie_on_the_floor() -> None:
    (card,) = draw_trust([faithfulness((0.0,) * 29)])
    assert [tick.label for tick in card.ticks] == ["0", "0.5", "1"]
    assert {y for _, y in corners(card.insertion.line_path)} == {card.ticks[0].at}
    assert draw_trust([]) == []


@pytest.fixture
def seen(tmp_path: Path) -> tuple[onnxvis.Model, PreparedInput, list[Heatmap]]:
    """The tiny network, a picture, and maps for its two best classes."""
    model = onnxvis.load(write(tiny(), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=32, width=32))
    (outputs,), _ = run_deployed(model, [item.feeds], ONE)
    best = np.argsort(-outputs["logits"][0])[:2]
    targets = [resolve_target(model, f"logits:{index}", outputs) for index in best]
    maps = [explain(model, item.feeds, ["saliency"], target=target, options=ONE)[0] for target in targets]
    return model, item, [*maps, *explain(model, item.feeds, ["eigencam"], target=targets[0], options=ONE)]


def test_each_map_has_the_curves_of_its_own_target(seen: tuple[onnxvis.Model, PreparedInput, list[Heatmap]]) -> None:
    model, item, maps = seen
    told: list[tuple[int, int]] = []
    cards, reasons = trust_cards(model, item, maps, ONE, lambda _, done, of: told.append((done, of)))
    assert reasons == []
    assert told[-1] == (3 * 54, 3 * 54)
    for card, one in zip(cards, maps, strict=True):
        assert isinstance(card, TrustCard)
        wanted = faithfulness_of(model, item, one, one.target, ONE)
        for curve, other in ((card.insertion, wanted.insertion), (card.deletion, wanted.deletion)):
            np.testing.assert_allclose(curve.scores, other.scores, rtol=1e-6)
            assert curve.area == pytest.approx(np.trapezoid(other.scores, other.fractions))
            assert curve.fractions == other.fractions
        assert card.kind == wanted.kind


def test_a_blank_map_is_not_tested(seen: tuple[onnxvis.Model, PreparedInput, list[Heatmap]]) -> None:
    model, item, maps = seen
    blank = replace(maps[0], map=np.zeros_like(maps[0].map))
    cards, reasons = trust_cards(model, item, [blank, maps[1]], ONE, silent)
    assert cards[0] is None
    assert cards[1] is not None
    assert reasons == []


def test_what_cannot_be_scored_has_its_reason(
    seen: tuple[onnxvis.Model, PreparedInput, list[Heatmap]],
) -> None:
    model, item, maps = seen
    odd = replace(maps[0], map=np.ones((3, 3), np.float32))
    cards, reasons = trust_cards(model, item, [odd], ONE, silent)
    assert cards == [None]
    assert reasons[0].startswith("faithfulness: a map of 3×3 cannot order the pixels")
