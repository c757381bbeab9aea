from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from onnxvis.measure.maximize.objective import Aim
from onnxvis.measure.maximize.run import Maximized
from onnxvis.run.labels import Labels
from onnxvis.show.maximized import (
    COLOURS,
    aim_name,
    ascent_picture,
    ascent_table,
    describe_maximized,
    maximized_arrays,
    maximized_page,
    whole_steps,
)

Array = np.ndarray[Any, np.dtype[Any]]


def found(label: str = "logits:4", index: int | None = 4, side: int = 32, seed: int = 0) -> Maximized:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (side, side, 3)).astype(np.uint8)
    fed = rng.random((3, side, side)).astype(np.float32)
    aim = Aim("logits", np.ones((1, 10)), label, index)
    return Maximized(aim, picture, fed, np.array([0.5, 2.0, 3.5]), 4.25, "CPU", ("a note",))


def labels() -> Labels:
    return Labels({4: "star"}, "test")


def test_names_are_the_class_s_where_it_is_one() -> None:
    assert aim_name(found().aim, labels()) == "4 star"
    assert aim_name(found().aim, None) == "class 4"
    assert aim_name(found("layer1:7@2,3", None).aim, labels()) == "layer1:7@2,3"


def test_the_page_holds_every_picture_enlarged_pixel_by_pixel() -> None:
    items = [(found(seed=seed), f"name {seed}") for seed in range(5)]
    page = maximized_page(items, "title")
    tile = 7 * 32
    seen = []
    for one, _ in items:
        large = one.picture.repeat(7, axis=0).repeat(7, axis=1)
        corners = np.argwhere((page[: 1 - tile, : 1 - tile] == large[0, 0]).all(axis=2))
        places = [(top, left) for top, left in corners if (page[top : top + tile, left : left + tile] == large).all()]
        assert len(places) == 1
        seen += places
    assert len(set(seen)) == 5
    assert [place[0] for place in seen] == sorted(place[0] for place in seen), "row by row"
    assert (page[0, 0] == 255).all()


def test_a_curve_rises_from_left_to_right() -> None:
    """The line's own colour, found in the picture: its mean height in each quarter of the chart."""
    picture = ascent_picture([("it", np.linspace(-3, 8, 40))], "title")
    ours = np.abs(picture[:, 72:590].astype(int) - COLOURS[0]).max(axis=2) < 12
    heights = [np.nonzero(quarter)[0].mean() for quarter in np.array_split(ours, 4, axis=1)]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] - heights[-1] > 150


def test_curves_have_colours_and_lengths_of_their_own() -> None:
    picture = ascent_picture([("long", np.arange(30.0)), ("short", np.arange(10.0))], "title")
    reach = []
    for colour in COLOURS[:2]:
        ours = np.abs(picture[:, 72:588].astype(int) - colour).max(axis=2) < 12
        reach.append(np.nonzero(ours)[1].max())
    assert reach[0] > 500
    assert 140 < reach[1] < 180


def test_steps_are_written_as_whole_numbers() -> None:
    assert [whole_steps(last) for last in (1, 2, 3, 4)] == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4]]
    for last in (5, 6, 8, 11, 12, 13, 100, 512, 1_000_000):
        steps = whole_steps(last)
        assert 2 <= len(steps) <= 8
        assert all(isinstance(step, int) and 1 <= step <= last for step in steps)


def test_the_legend_keeps_the_channel_of_a_long_name() -> None:
    """Two names that differ in the channel before a long position are drawn differently, and one name the same."""
    one, same, other = (
        ascent_picture([("deep/" * 60 + end, np.arange(9.0))], "title")[40:80, 600:]
        for end in (":31@100,100", ":31@100,100", ":32@100,100")
    )
    assert (one == same).all()
    assert (one != other).any()


def test_flat_and_single_curves_are_drawn() -> None:
    for values in (np.array([2.0]), np.full(5, -1.0)):
        picture = ascent_picture([("it", values)], "title")
        assert (np.abs(picture.astype(int) - COLOURS[0]).max(axis=2) < 12).any()


def test_the_table_reads_back() -> None:
    lines = [('a "b", c', np.array([1.5, -2.25])), ("d", np.array([0.1, 0.2, 1e-7]))]
    rows = list(csv.reader(io.StringIO(ascent_table(lines))))
    assert rows[0] == ["step", 'a "b", c', "d"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3"]
    assert [float(row[1]) for row in rows[1:3]] == [1.5, -2.25]
    assert rows[3][1] == ""
    assert [float(row[2]) for row in rows[1:]] == [0.1, 0.2, 1e-7]


def test_arrays_go_by_label() -> None:
    one, other = found(), found("layer1:3", None, seed=1)
    arrays = maximized_arrays([one, other])
    assert list(arrays) == [
        f"{label}/{kind}" for label in ("logits:4", "layer1:3") for kind in ("picture", "fed", "curve")
    ]
    assert arrays["layer1:3/fed"] is other.fed
    assert arrays["logits:4/picture"] is one.picture
    assert arrays["logits:4/curve"] is one.curve


def test_facts_have_no_pixels() -> None:
    assert describe_maximized(found(), labels()) == {
        "objective": "logits:4",
        "tensor": "logits",
        "label": "4 star",
        "value": 4.25,
        "start": 0.5,
        "steps": 3,
        "size": [32, 32],
        "notes": ["a note"],
        "provider": "CPU",
    }
