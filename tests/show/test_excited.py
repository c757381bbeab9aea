from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import helper

import onnxvis
from onnxvis.measure.activations import Activations
from onnxvis.measure.channels import channel_statistics
from onnxvis.measure.projections import project
from onnxvis.rewrite.tape import Variant
from onnxvis.run.reading import Reading
from onnxvis.run.session import Execution, RunOptions
from onnxvis.show.excited import ExcitedOptions, Patches, Strong, excited_cards, patches_in, strong_in, why_not
from onnxvis.show.options import silent
from onnxvis.show.projections import projection_picture
from tests.tiny import Array, photo, tiny, write

OPTIONS = ExcitedOptions(RunOptions("cpu", 1))


def activations(maps: Array) -> Activations:
    return Activations({"t": maps[None]}, {"t": "NCHW"}, {}, Execution("CPU", (), ()), {})


def decoded(jpeg: bytes) -> Array:
    found = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return np.asarray(found)[:, :, ::-1].astype(int)


def test_the_strongest_have_the_highest_values_and_are_neither_constant_nor_odd() -> None:
    maps = np.random.default_rng(0).standard_normal((12, 5, 7)).astype(np.float32)
    maps[3] = 100
    maps[4, 0, 0] = np.nan
    maps[5, 1, 1] = np.inf
    fit = [channel for channel in range(12) if channel not in (3, 4, 5)]
    order = sorted(fit, key=lambda channel: -max(value for row in maps[channel] for value in row))
    found = strong_in(activations(maps), {"t": channel_statistics(maps)}, 4)
    assert [one.channel for one in found["t"]] == order[:4]
    for one in found["t"]:
        np.testing.assert_array_equal(one.activation, maps[one.channel])
    assert len(strong_in(activations(maps), {"t": channel_statistics(maps)}, 50)["t"]) == 9
    flat = np.ones((2, 3, 3), np.float32)
    assert strong_in(activations(flat), {"t": channel_statistics(flat)}, 3) == {}


def test_a_card_shows_the_channel_and_its_own_projection(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=32, width=32))
    maps = np.zeros((2, 16, 16))
    maps[0, 3, 12], maps[1, 9, 2] = 2, 1
    strong = {"stage1.y/relu": (Strong(6, maps[0]), Strong(1, maps[1]))}
    found = excited_cards(model, item, strong, Patches(), OPTIONS, silent)["stage1.y/relu"]
    assert [(card.channel, card.row, card.column, card.value) for card in found.channels] == [
        (6, 3, 12, 2.0), (1, 9, 2, 1.0),
    ]  # fmt: skip
    for card in found.channels:
        (wanted,) = project(model, item.feeds, "stage1.y/relu", [card.channel], variant="guided", options=OPTIONS.run)
        picture = projection_picture(wanted.values).astype(int).repeat(6, axis=0).repeat(6, axis=1)
        shown = decoded(card.projection)
        assert shown.shape == (card.height, card.width, 3) == picture.shape == (192, 192, 3)
        assert np.abs(shown - picture).mean() < 16
        other = next(one for one in found.channels if one is not card)
        assert np.abs(shown - picture).mean() < np.abs(decoded(other.projection) - picture).mean() / 2
        bright = decoded(card.over).sum(axis=2)
        row, column = np.unravel_index(bright.argmax(), bright.shape)
        assert abs(row - 12 * card.row) < 24
        assert abs(column - 12 * card.column) < 24


def test_without_a_way_back_to_the_pixels_a_note_says_why(tmp_path: Path) -> None:
    """An operator without a rule below the second stage: the first is projected, the second has its maps alone."""
    proto = tiny()
    place = next(place for place, node in enumerate(proto.graph.node) if node.input[0] == "stage2.first/relu")
    for node in proto.graph.node:
        node.input[:] = ["odd" if name == "stage2.first/relu" else name for name in node.input]
    proto.graph.node.insert(place, helper.make_node("Det", ["square"], ["det"]))
    proto.graph.node.insert(place, helper.make_node("MatMul", ["stage2.first/relu", "stage2.first/relu"], ["square"]))
    for number, node in enumerate(proto.graph.node):
        if node.op_type == "Det":
            scaled = [
                helper.make_node("Constant", [], ["axes"], value_ints=[2, 3]),
                helper.make_node("Unsqueeze", ["det", "axes"], ["factor"]),
                helper.make_node("Mul", ["stage2.first/relu", "factor"], ["odd"]),
            ]
            for more in reversed(scaled):
                proto.graph.node.insert(number + 1, more)
            break
    model = onnxvis.load(write(proto, tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=32, width=32))
    strong = {name: (Strong(0, np.eye(4)),) for name in ("stage1.y/relu", "stage2.y/relu")}
    found = excited_cards(model, item, strong, Patches(), OPTIONS, silent)
    assert found["stage1.y/relu"].channels[0].projection
    assert found["stage2.y/relu"].channels[0].projection == b""
    assert found["stage2.y/relu"].channels[0].over
    (note,) = found["stage2.y/relu"].notes
    assert note.startswith("no projection: no gradient passes")
    assert "Det" in note


def test_how_a_projection_was_made_is_told_once(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(dtype="float16"), tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=32, width=32))
    strong = {"stage1.y/relu": (Strong(0, np.eye(4)), Strong(1, np.eye(4)))}
    found = excited_cards(model, item, strong, Patches(), OPTIONS, silent)["stage1.y/relu"]
    assert found.notes == ()
    rule, precision = found.how
    assert rule.startswith("by guided backpropagation (Springenberg et al., 2015)")
    assert precision == "half-precision numbers are computed in float32: their gradients would underflow"


def test_a_deconvnet_is_used_behind_max_pools_and_guided_backpropagation_before_any(tmp_path: Path) -> None:
    proto = tiny()
    place = next(place for place, node in enumerate(proto.graph.node) if node.name == "stage2.first/Conv")
    pool = helper.make_node(
        "MaxPool", ["stage1.y/relu"], ["most"], "pool", kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1]
    )
    proto.graph.node[place].input[0] = "most"
    proto.graph.node.insert(place, pool)
    model = onnxvis.load(write(proto, tmp_path))
    item = onnxvis.read_input(model, photo(tmp_path, height=32, width=32))
    strong = {name: (Strong(0, np.eye(side)),) for name, side in (("stage1.y/relu", 16), ("stage2.y/relu", 8))}
    found = excited_cards(model, item, strong, Patches(), OPTIONS, silent)
    rules: tuple[tuple[str, Variant, Variant, str], ...] = (
        ("stage1.y/relu", "guided", "deconvnet", "by guided backpropagation (Springenberg"),
        ("stage2.y/relu", "deconvnet", "guided", "through a deconvnet (Zeiler and Fergus, 2014)"),
    )
    for tensor, rule, other, said in rules:
        assert found[tensor].how[0].startswith(said)
        shown = decoded(found[tensor].channels[0].projection)
        apart = []
        for variant in (rule, other):
            (one,) = project(model, item.feeds, tensor, [0], variant=variant, options=OPTIONS.run)
            picture = projection_picture(one.values).astype(int).repeat(6, axis=0).repeat(6, axis=1)
            apart.append(np.abs(shown - picture).mean())
        assert apart[0] < apart[1] / 2


def test_patches_are_searched_for_the_channels_of_all_inputs_together(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(), tmp_path))
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(3):
        photo(folder, f"{seed}.png", 32, 32, seed)
    nothing = np.zeros((1, 1))
    first, second = [Strong(1, nothing), Strong(4, nothing)], [Strong(2, nothing)]
    inputs = [{"stage1.y/relu": first}, {"stage1.y/relu": second}]
    options = ExcitedOptions(OPTIONS.run, folder=folder)
    found = patches_in(model, inputs, Reading.of(model), options, silent)
    assert sorted(found.cards) == [("stage1.y/relu", channel) for channel in (1, 2, 4)]
    assert {len(cards) for cards in found.cards.values()} == {3}
    assert found.notes == {"stage1.y/relu": ("patches of 3 pictures",)}
    assert patches_in(model, [], Reading.of(model), options, silent) == Patches()


def test_why_channels_are_not_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnxvis.load(write(tiny(), tmp_path))
    assert why_not(model, None, 1) == ""
    assert why_not(model, False, 1) == "Without projections, as asked for."
    assert "(5.01 G multiply–accumulates)" in _with_cost(model, monkeypatch, 5_010_000_000)
    assert "cost is not known" in _with_cost(model, monkeypatch, None)
    assert why_not(model, True, 1) == ""


def _with_cost(model: onnxvis.Model, monkeypatch: pytest.MonkeyPatch, cost: int | None) -> str:
    monkeypatch.setattr("onnxvis.show.excited.macs", lambda _: cost)
    return why_not(model, None, 1)
