from __future__ import annotations

import csv
import io

import cv2
import numpy as np
import pytest

from onnxvis.measure.faithfulness.curves import STEPS, Curve, Faithfulness
from onnxvis.measure.faithfulness.judge import Judgement
from onnxvis.measure.faithfulness.randomisation import Similarity, Survival
from onnxvis.measure.faithfulness.rank import Row
from onnxvis.show.faithfulness import (
    describe_judgement,
    describe_row,
    faithfulness_picture,
    ranking_csv,
    ranking_table,
)
from tests.tiny import Array

SHARES = tuple(step / STEPS for step in range(STEPS + 1))
PICTURE = np.full((20, 40, 3), 90, np.uint8)
BLUE, DARK = (31, 97, 180), (100, 108, 120)


def line(start: float, end: float) -> Curve:
    return Curve(SHARES, tuple(start + (end - start) * share for share in SHARES), (start + end) / 2)


def row(method: str, insertion: Curve, deletion: Curve, *, asked: int = 0, similarity: float | None = None) -> Row:
    control = method in ("random", "edges")
    return Row(method, control, 2, insertion, deletion, 0, asked, None if control else 0.0123, similarity)


ROWS = (
    row("gradcam", line(0, 1), line(0.5, 0), asked=2, similarity=0.25),
    row("edges", line(0.2, 0.2), line(0.4, 0.4), similarity=1.0),
)


def test_the_table_is_aligned_and_has_only_what_is_known() -> None:
    assert ranking_table(ROWS) == [
        "method   insertion  deletion  difference  pointing  similarity  seconds",
        "gradcam      0.500     0.250       0.250       0/2        0.25    0.012",
        "(edges)      0.200     0.400      -0.200         –        1.00        –",
    ]
    assert ranking_table([row("a", line(0, 1), line(1, 0))])[0] == "method  insertion  deletion  difference  seconds"


def test_csv_has_every_number() -> None:
    first, second = csv.DictReader(io.StringIO(ranking_csv(ROWS).decode()))
    assert (first["method"], float(first["insertion"]), first["hits"], first["asked"]) == ("gradcam", 0.5, "0", "2")
    assert (second["control"], second["hits"], second["seconds"]) == ("True", "", "")
    assert "curves" not in first


def test_rows_as_data() -> None:
    said = describe_row(ROWS[0])
    assert said["depends_on_weights"] is True
    assert said["curves"]["insertion"] == list(ROWS[0].insertion.scores)
    assert describe_row(ROWS[1])["hits"] is None


def test_judgements_as_data() -> None:
    curves = Faithfulness(line(0, 1), line(1, 0), "p")
    survival = Survival("gradcam", (Similarity(3, "conv", 0.5),))
    said = describe_judgement(Judgement("gradcam", False, curves, True, 1.5, survival, ("a note",)))
    assert said["similarity"] == [{"layers": 3, "down_to": "conv", "value": 0.5}]
    assert (said["insertion"], said["pointing"], said["notes"], said["score"]) == (0.5, True, ["a note"], "p")
    assert describe_judgement(Judgement("random", True, curves, None, None, None, ()))["similarity"] == []


def column_of(pixels: Array, x: int, colour: tuple[int, int, int], rows: slice = slice(76, 310)) -> float:
    """The mean row of a line's pixels in column `x` of a chart, as a share of its height from below."""
    near = (np.abs(pixels[rows, x].astype(int) - colour) < 40).all(axis=1)
    assert near.any()
    return 1 - float(np.flatnonzero(near).mean()) / 232


@pytest.mark.parametrize(("share", "x"), [(0.25, 52 + 77), (0.5, 52 + 153), (0.75, 52 + 230)])
def test_lines_go_through_the_scores(share: float, x: int) -> None:
    maps = {one.method: np.eye(20, 40, dtype=np.float32) for one in ROWS}
    drawn = faithfulness_picture(ROWS, maps, PICTURE, "a title")
    assert column_of(drawn, x, BLUE) == pytest.approx(share, abs=0.02)
    assert column_of(drawn, x, DARK) == pytest.approx(0.2, abs=0.02)
    assert column_of(drawn, x + 374, BLUE) == pytest.approx(0.5 - share / 2, abs=0.02)
    assert column_of(drawn, x + 374, DARK) == pytest.approx(0.4, abs=0.02)


def test_every_map_is_drawn_after_the_picture() -> None:
    """Two tiles of red and blue, the ends of the colours, where the maps have their ends."""
    left = (np.arange(40) < np.full((20, 1), 20)).astype(np.float32)
    drawn = faithfulness_picture(ROWS, {"gradcam": left, "edges": 1 - left}, PICTURE, "a title")
    top = drawn.shape[0] - (75 + 38 + 14)
    np.testing.assert_array_equal(drawn[top + 10, 14 + 75], PICTURE[0, 0])
    for place, hot in ((1, 20), (2, 130)):
        tile = drawn[top : top + 75, 14 + 164 * place :][:, :150].astype(int)
        cold = 150 - hot
        assert tile[40, hot, 0] > tile[40, hot, 2], "the warm end"
        assert tile[40, hot, 0] > tile[40, cold, 0]


def test_many_methods_negative_scores_and_hostile_names() -> None:
    rows = [row(f"method {place}\n</script>" + "x" * 300, line(-2, 3), line(3, -5)) for place in range(20)]
    maps = {one.method: np.zeros((20, 40), np.float32) for one in rows}
    drawn = faithfulness_picture(rows, maps, None, "t" * 5000)
    assert drawn.shape[1] == 1000
    assert cv2.Laplacian(drawn[76:430, 750:], cv2.CV_64F).any(axis=(1, 2)).mean() > 0.5, "a legend of twenty lines"
