from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from onnxvis.errors import InputError, RewriteError
from onnxvis.graph.load import Model, load
from onnxvis.measure.patch_projections import project_patches
from onnxvis.measure.patches import TensorPatches, locate_patches, read_pixels
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from onnxvis.show import patch_pages
from onnxvis.show.patch_pages import PatchPages
from onnxvis.show.patches import channel_page, field_of
from onnxvis.show.projections import projection_picture
from tests.tiny import Array, from_text, tiny, write

ONE = RunOptions("cpu", 1)
Again = Callable[[str], PreparedInput]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(write(tiny(), tmp_path))


@pytest.fixture
def again(model: Model, tmp_path: Path) -> Again:
    """Reads one of ten pictures."""
    for seed in range(10):
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    reading = Reading.of(model, PreprocessFlags.parse(preset="raw", bgr=True))
    return lambda path: next(reading.read([path]))


def located(model: Model, again: Again, tensor: str, channels: list[int] | None = None) -> TensorPatches:
    items = (again(str(model.path.parent / f"{seed}.png")) for seed in range(10))
    (one,) = locate_patches(model, items, [tensor], channels=channels, top=4, options=ONE)
    return one


def silent(what: str, done: int, of: int) -> None:
    """No progress."""


def decoded(data: bytes) -> Array:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert found is not None
    return found[..., ::-1]


def test_a_page_a_channel_holds_its_patches_and_projections(model: Model, again: Again) -> None:
    one = located(model, again, "stage1.x/relu", [1, 2, 3])
    told: list[tuple[str, int, int]] = []
    drawing = PatchPages(model, again, None, ONE, lambda *step: told.append(step))
    files = dict(drawing.pages(one))
    responding = [channel for channel in one.channels if channel.patches]
    assert list(files) == [*(f"channel-{channel.channel:03d}.png" for channel in responding), "overview.png"]
    paths = sorted({patch.path for channel in one.channels for patch in channel.patches})
    (filled,) = read_pixels([one], map(again, paths))
    room = max(len(channel.patches) for channel in one.channels)
    title = f"stage1.x/relu of model.onnx, each value sees 11 × 11 pixels; {one.pictures} pictures"
    for channel in (channel for channel in filled.channels if channel.patches):
        beside = [
            projection_picture(
                next(project_patches(model, again(p.path), one.tensor, [(channel.channel, p)], ONE, "guided")), bgr=True
            )
            for p in channel.patches
        ]
        caption = "what excites it: guided backpropagation"
        page = channel_page(channel, field_of(one.channels), room, title, beside, caption)
        np.testing.assert_array_equal(decoded(files[f"channel-{channel.channel:03d}.png"]), page)
    total = sum(len(channel.patches) for channel in one.channels)
    assert told[-1] == ("projecting patches", total, total)


def test_parts_of_any_size_give_the_same_pages(model: Model, again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
    one = located(model, again, "stage2.y/relu")
    whole = dict(PatchPages(model, again, False, ONE, silent).pages(one))
    reads = 0

    def counted(path: str) -> PreparedInput:
        nonlocal reads
        reads += 1
        return again(path)

    monkeypatch.setattr(patch_pages, "_BUDGET", 1)
    assert dict(PatchPages(model, counted, False, ONE, silent).pages(one)) == whole
    assert reads == sum(len(channel.patches) for channel in one.channels), "a channel at a time"


def test_projections_are_left_out_for_many_channels_unless_asked_for(
    model: Model, again: Again, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = located(model, again, "stage1.x/relu")
    widths = {}
    for name, limit, wanted in (("few", 8, None), ("many", 7, None), ("asked", 7, True), ("declined", 8, False)):
        monkeypatch.setattr(patch_pages, "PROJECTED", limit)
        pages = dict(PatchPages(model, again, wanted, ONE, silent).pages(one))
        widths[name] = decoded(pages[f"channel-{one.channels[1].channel:03d}.png"]).shape[1]
    assert widths["few"] == widths["asked"] > widths["many"] == widths["declined"]


def test_where_no_gradient_passes_there_are_patches_alone(tmp_path: Path) -> None:
    body = "k = Constant <value_int = 2> ()  a = CumSum (x, k)  y = MaxPool <kernel_shape = [2, 2]> (a)"
    model = load(write(from_text(f"g (float[1, 3, 8, 8] x) => (float[1, 3, 7, 7] y) {{ {body} }}"), tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    item = PreparedInput("a", {"x": pixels.transpose(2, 0, 1)[None].astype(np.float32)}, pixels, None, None)
    (one,) = locate_patches(model, [item], ["y"], options=ONE)
    drawing = PatchPages(model, lambda path: item, None, ONE, silent)
    files = dict(drawing.pages(one))
    assert set(files) == {"channel-000.png", "channel-001.png", "channel-002.png", "overview.png"}
    (note,) = drawing.notes
    assert note.startswith("no projections: ")
    assert "CumSum" in note
    with pytest.raises(RewriteError, match="CumSum"):
        dict(PatchPages(model, lambda path: item, True, ONE, silent).pages(one))


def test_a_channel_without_patches_has_no_page_but_a_place_in_the_overview(model: Model, again: Again) -> None:
    one = located(model, again, "stage1.first/relu", [5])
    assert not one.channels[0].patches
    files = dict(PatchPages(model, again, None, ONE, silent).pages(one))
    assert list(files) == ["overview.png"]
    assert decoded(files["overview.png"]).std() > 0


def test_a_picture_that_went_is_an_error(model: Model, again: Again) -> None:
    one = located(model, again, "stage1.x/relu")
    (model.path.parent / "3.png").unlink()

    def pages() -> Iterator[tuple[str, bytes]]:
        return PatchPages(model, again, None, ONE, silent).pages(one)

    with pytest.raises(InputError, match=r"3\.png"):
        list(pages())
