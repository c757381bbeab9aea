from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageDraw

from onnxvis.measure.patches import ChannelPatches, Patch, TensorPatches
from onnxvis.show.patches import channel_page, describe_patches, field_of, overview_page, patch_grid
from tests.tiny import Array

RNG = np.random.default_rng(0)
GAP = 3
EMPTY, WHITE = (233, 236, 241), (255, 255, 255)


def patch(window: tuple[int, int, int, int], value: float = 1.0, path: str = "a.png") -> Patch:
    y0, x0, y1, x1 = window
    return Patch(path, value, 0, 0, window, RNG.integers(0, 200, (y1 - y0, x1 - x0, 3), np.uint8))


def channel(*patches: Patch, number: int = 7) -> ChannelPatches:
    return ChannelPatches(number, patches)


def enlarged(pixels: Array, factor: int) -> Array:
    return np.kron(pixels, np.ones((factor, factor, 1), np.uint8))


def test_the_field_holds_every_patch() -> None:
    assert field_of([channel(patch((0, 0, 5, 3))), channel(patch((1, 1, 3, 8)))]) == (5, 7)
    assert field_of([channel()]) == (1, 1)


def test_patches_stand_in_order_enlarged_by_a_whole_factor() -> None:
    one = channel(*(patch((y, y, y + 10, y + 8)) for y in (3, 4, 5, 6)))
    grid = patch_grid([p.pixels for p in one.patches], one, (10, 8), 5, tile=29)
    assert grid.shape == (2 * 20 + GAP, 3 * 16 + 2 * GAP, 3)  # room for five is two rows of three
    for place, p in enumerate(one.patches):
        y, x = place // 3 * (20 + GAP), place % 3 * (16 + GAP)
        np.testing.assert_array_equal(grid[y : y + 20, x : x + 16], enlarged(p.pixels, 2))
    assert (grid[23:43, 19:35] == EMPTY).all(), "room for a fifth"
    assert (grid[23:, 38:] == WHITE).all(), "no room for a sixth"
    assert (grid[20:23] == WHITE).all()


def test_a_patch_cut_by_the_pictures_edge_keeps_its_place_in_the_field() -> None:
    one = channel(patch((0, 4, 3, 10)), patch((9, 0, 14, 4)), patch((0, 0, 2, 2)))
    grid = patch_grid([p.pixels for p in one.patches], one, (6, 6), 3, tile=6)
    cells = [grid[:6, :6], grid[:6, 9:15], grid[9:15, :6]]
    for cell, p, (top, left) in zip(cells, one.patches, ((3, 0), (0, 2), (4, 4)), strict=True):
        height, width = p.pixels.shape[:2]
        inside = np.zeros((6, 6), bool)
        inside[top : top + height, left : left + width] = True
        np.testing.assert_array_equal(cell[inside], p.pixels.reshape(-1, 3))
        assert (cell[~inside] == EMPTY).all()


def test_large_patches_are_shrunk_to_their_mean() -> None:
    one = channel(patch((1, 1, 65, 33)))
    grid = patch_grid([one.patches[0].pixels], one, (64, 32), 1, tile=16)
    expected = one.patches[0].pixels.reshape(16, 4, 8, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(grid, expected, atol=0.51)


def test_a_page_shows_patches_left_and_projections_right() -> None:
    one = channel(patch((1, 1, 65, 65), 12.25), patch((2, 2, 66, 66), 3.5))
    projections = [RNG.integers(0, 200, (64, 64, 3), np.uint8) for _ in range(2)]
    page = channel_page(one, (64, 64), 2, "tensor of model", projections, "guided")
    for left, pictures in ((14, [p.pixels for p in one.patches]), (14 + 259 + 14, projections)):
        for place, pixels in enumerate(pictures):
            x = left + place * 131
            np.testing.assert_array_equal(page[84:212, x : x + 128], enlarged(pixels, 2))
    alone = channel_page(one, (64, 64), 2, "tensor of model")
    assert alone.shape[1] < page.shape[1]
    np.testing.assert_array_equal(alone[84:212, 14:142], page[84:212, 14:142])


def test_texts_are_drawn_and_none_can_break_the_page() -> None:
    one = channel(patch((1, 1, 65, 65), 12.25))
    plain = channel_page(one, (64, 64), 1, "tensor of model")
    assert (channel_page(channel(patch((1, 1, 65, 65), 99.0)), (64, 64), 1, "tensor of model")[:36] != plain[:36]).any()
    assert (channel_page(one, (64, 64), 1, "another")[36:60] != plain[36:60]).any()
    hostile = "<script>\x1b[31m\u202e\udcff\n" * 500
    page = channel_page(one, (64, 64), 1, hostile, [one.patches[0].pixels], hostile)
    np.testing.assert_array_equal(page[84:212, 14:142], plain[84:212, 14:142])


@pytest.mark.parametrize("projected", [True, False])
def test_what_a_value_sees_is_never_cut_from_a_title(projected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the narrowest pages: of the names before it the ends stay, and all of it lies on the page."""
    written: list[tuple[str, int, float]] = []
    draw = ImageDraw.ImageDraw.text

    def noted(
        self: ImageDraw.ImageDraw, xy: tuple[float, float], text: str, fill: object, font: Any, **more: Any
    ) -> None:
        written.append((text, self.im.size[0], xy[0] + font.getlength(text)))
        draw(self, xy, text, fill, font, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    one = channel(patch((1, 1, 65, 65), 12.25))
    sees = ", each value sees 1047 x 1047 pixels; 60000 pictures"
    title = f"/layer2/layer2.0/conv{'/deeper' * 20}/Conv_output_0 of a_long_name.onnx{sees}"
    channel_page(one, (64, 64), 1, title, [one.patches[0].pixels] if projected else None)
    overview_page([(one, patch_grid([one.patches[0].pixels], one, (64, 64), 1))], title)
    lines = [line for line in written if line[0].endswith(sees)]
    assert len(lines) == 2
    for text, width, end in lines:
        assert text.startswith("/lay")
        assert ".onnx," in text
        assert end <= width - 14
    assert overview_page([(one, one.patches[0].pixels)], f"{sees * 500}").shape[1] < 700, "a name is no title"


def test_an_overview_has_eight_channels_a_row_and_says_which_never_respond() -> None:
    channels = [channel(patch((1, 1, 5, 5), value), number=number) for number, value in enumerate(range(9))]
    grids = [patch_grid([c.patches[0].pixels], c, (4, 4), 1) for c in channels]
    page = overview_page(list(zip(channels, grids, strict=True)), "title")
    side = grids[0].shape[0]
    for place, grid in enumerate(grids):
        y, x = 44 + place // 8 * (side + 36), 14 + place % 8 * (side + 16)
        np.testing.assert_array_equal(page[y : y + side, x : x + side], grid)
    silent = [(channel(number=0), np.full((120, 120, 3), EMPTY, np.uint8))]
    spoken = [(channel(patch((1, 1, 2, 2), 1.0), number=0), silent[0][1])]
    assert (overview_page(silent, "title") != overview_page(spoken, "title")).any()


def test_the_data_say_where_patches_stand() -> None:
    found = TensorPatches(
        "t", (channel(patch((1, 2, 5, 7), 0.5, "a\udcff.png")), channel(number=8)), 40, (4, 5), ("n",)
    )
    data = json.loads(json.dumps(describe_patches(Path("m.onnx"), [found]), allow_nan=False))
    assert data["model"] == "m.onnx"
    (tensor,) = data["tensors"]
    assert tensor == {
        "tensor": "t",
        "receptive_field": [4, 5],
        "pictures": 40,
        "notes": ["n"],
        "channels": [
            {
                "channel": 7,
                "patches": [{"path": "a\udcff.png", "value": 0.5, "row": 0, "column": 0, "window": [1, 2, 5, 7]}],
            },
            {"channel": 8, "patches": []},
        ],
    }
