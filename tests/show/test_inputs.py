from __future__ import annotations

import itertools
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.errors import InputError
from onnxvis.graph.load import load
from onnxvis.measure.activations import Activations, Probe
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.session import RunOptions
from onnxvis.show.excited import CHEAP_MACS, ChannelCard
from onnxvis.show.options import ReportOptions
from onnxvis.show.page import Page
from onnxvis.show.report import build_page
from tests.tiny import Array, oracle, photo, tiny, write

UNIT = PreprocessFlags.parse(preset="unit", fit="stretch")
OPTIONS = ReportOptions(run=RunOptions("cpu", 1), preprocess=UNIT)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tiny(), tmp_path)


def page_of(model: Path, inputs: Sequence[Path], options: ReportOptions = OPTIONS) -> Page:
    return build_page(load(model), inputs, options)


def strongest(page: Page) -> dict[str, tuple[ChannelCard, ...]]:
    """{tensor: its channels} of the first input's stages that have some."""
    return {stage.tensor: stage.strongest.channels for stage in page.inputs[0].stages if stage.strongest}


def seen(model: Path, tensors: Sequence[str], picture: Path) -> dict[str, Array]:
    """{tensor: (C, h, w)} by ONNX Runtime alone."""
    pixels = np.asarray(Image.open(picture).convert("RGB"), np.float32) / 255
    found = oracle(model, tensors, {"image": pixels.transpose(2, 0, 1)[None]})
    return {name: found[name][0] for name in tensors}


def test_activations_of_two_inputs_are_never_held_together(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[weakref.ref[Activations]] = []

    class Watching(Probe):
        def run(self, feeds: Mapping[str, Array]) -> Activations:
            assert not any(found() for found in seen)
            found = super().run(feeds)
            seen.append(weakref.ref(found))
            return found

    monkeypatch.setattr("onnxvis.show.inputs.Probe", Watching)
    page_of(model, [photo(tmp_path, f"{seed}.png", seed=seed) for seed in range(3)])
    assert len(seen) == 3


def test_beside_each_stage_stand_the_channels_that_reach_highest(model: Path, tmp_path: Path) -> None:
    picture = photo(tmp_path, height=32, width=32)
    found = strongest(page_of(model, [picture], replace(OPTIONS, channels=4)))
    assert list(found) == ["stage1.y/relu", "stage2.y/relu"]
    for tensor, maps in seen(model, list(found), picture).items():
        peaks = {channel: float(values.max()) for channel, values in enumerate(maps)}
        order = sorted(peaks, key=lambda channel: -peaks[channel])[:4]
        assert [card.channel for card in found[tensor]] == order
        for card in found[tensor]:
            assert card.value == pytest.approx(peaks[card.channel], rel=1e-4)
            assert maps[card.channel][card.row, card.column] == pytest.approx(peaks[card.channel], rel=1e-4)
            assert card.over
            assert card.projection


def test_channels_are_shown_where_heatmaps_are_or_they_are_asked_for(model: Path, tmp_path: Path) -> None:
    pictures = [photo(tmp_path, height=32, width=32)]
    assert not strongest(page_of(model, pictures, replace(OPTIONS, channels=0)))
    assert not strongest(page_of(model, pictures, replace(OPTIONS, heatmaps=())))
    asked = strongest(page_of(model, pictures, replace(OPTIONS, heatmaps=(), projections=True)))
    assert all(card.projection for card in itertools.chain(*asked.values()))
    page = page_of(model, pictures, replace(OPTIONS, projections=False))
    assert page.inputs[0].strongest_note == "Without projections, as asked for."
    assert strongest(page).keys() == asked.keys()
    assert not any(card.projection for card in itertools.chain(*strongest(page).values()))


def test_a_model_that_is_not_quick_is_not_projected_unless_asked(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [photo(tmp_path, f"{seed}.png", 32, 32, seed) for seed in range(2)]
    monkeypatch.setattr("onnxvis.show.excited.macs", lambda _: CHEAP_MACS // 2)
    assert page_of(model, pictures).inputs[1].strongest_note == ""
    monkeypatch.setattr("onnxvis.show.excited.macs", lambda _: CHEAP_MACS // 2 + 1)
    note = page_of(model, pictures).inputs[0].strongest_note
    assert note == (
        "Without projections, as they would take long (2.5 G multiply–accumulates for each of 2 inputs); ask for them "
        "with --projections."
    )
    page = page_of(model, pictures, replace(OPTIONS, projections=True))
    assert page.inputs[0].strongest_note == ""
    assert all(card.projection for card in itertools.chain(*strongest(page).values()))
    assert page_of(model, pictures[:1]).inputs[0].strongest_note == ""


def test_arrays_have_no_picture_to_lay_channels_over(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((1, 3, 32, 32), np.float32))
    page = page_of(model, [tmp_path / "x.npy"])
    assert not strongest(page)
    assert page.inputs[0].strongest_note == ""


def test_patches_are_those_of_the_folder(model: Path, tmp_path: Path) -> None:
    """Values, places and order as ONNX Runtime alone gives them, one picture after the other."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    paths = [photo(folder, f"{seed:02}.png", 32, 32, seed) for seed in range(11)]
    (folder / "notes.txt").write_text("no picture")
    told: list[tuple[Any, ...]] = []
    options = replace(OPTIONS, patches=folder, channels=2)
    page = build_page(load(model), [photo(tmp_path, height=32, width=32)], options, lambda *what: told.append(what))
    found = strongest(page)
    maps = {path: seen(model, list(found), path) for path in paths}
    for tensor, channels in found.items():
        for card in channels:
            peaks = {path: float(maps[path][tensor][card.channel].max()) for path in paths}
            order = sorted(paths, key=lambda path: -peaks[path])[:9]
            assert [Path(patch.path) for patch in card.patches] == order
            for patch in card.patches:
                values = maps[Path(patch.path)][tensor][card.channel]
                assert patch.value == pytest.approx(peaks[Path(patch.path)], rel=1e-4)
                assert values[patch.row, patch.column] == pytest.approx(patch.value, rel=1e-4)
                top, left, bottom, right = patch.window
                assert patch.height * (right - left) == patch.width * (bottom - top)
                pixels = np.asarray(Image.open(patch.path).convert("RGB"))[top:bottom, left:right]
                found_pixels = cv2.imdecode(np.frombuffer(patch.jpeg, np.uint8), cv2.IMREAD_COLOR)
                assert found_pixels is not None
                np.testing.assert_allclose(found_pixels.mean(axis=(0, 1))[::-1], pixels.mean(axis=(0, 1)), atol=3)
    assert max(done for what, done, _ in told if what == "looking for patches") == 11
    assert all(done <= of for _, done, of in told)
    notes = [stage.strongest.notes for stage in page.inputs[0].stages if stage.strongest]
    assert notes == [("patches of 11 pictures; 1 of the files there could not be read",)] * 2


def test_a_folder_without_pictures_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"nothing in .*empty can be read"):
        page_of(model, [photo(tmp_path)], replace(OPTIONS, patches=tmp_path / "empty"))
