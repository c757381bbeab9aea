from __future__ import annotations

import numpy as np
import pytest

from onnxvis.show.colormap import palette
from onnxvis.show.sheet import drawable, fitted, font, titled_sheet
from tests.tiny import Array


def indices(count: int, height: int = 8, width: int = 8) -> Array:
    """Channel k is k + 1 throughout, so that each is known by its value."""
    values = np.arange(1, count + 1, dtype=np.uint8)[:, None, None]
    return np.broadcast_to(values, (count, height, width)).copy()


def sheet(maps: Array, title: str, columns: int = 0, tile: int = 0) -> Array:
    """The page in gray, one number a pixel."""
    page = titled_sheet(maps, palette("gray"), title, columns, tile)
    return page[:, :, 0]


def places(page: Array, count: int) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of each channel's square."""
    found = []
    for value in range(1, count + 1):
        rows, columns = np.nonzero(page == value)
        found.append((int(rows.min()), int(columns.min()), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1))
        assert rows.size == found[-1][2] * found[-1][3]
    return found


@pytest.mark.parametrize(("count", "columns", "wanted"), [(12, 4, 4), (12, 0, 4), (5, 0, 3), (3, 9, 3), (1, 0, 1)])
def test_channels_stand_in_reading_order(count: int, columns: int, wanted: int) -> None:
    found = places(sheet(indices(count), "title", columns), count)
    tops, lefts = sorted({place[0] for place in found}), sorted({place[1] for place in found})
    assert len(lefts) == wanted
    for channel, (top, left, height, width) in enumerate(found):
        assert (top, left) == (tops[channel // wanted], lefts[channel % wanted])
        assert (height, width) == (128, 128)


def test_tiles_keep_their_shape_and_size() -> None:
    assert places(sheet(indices(2, 8, 16), "t"), 2)[0][2:] == (64, 128)
    assert places(sheet(indices(2), "t", tile=40), 2)[0][2:] == (40, 40)
    assert places(sheet(indices(2, 200, 150), "t"), 2)[0][2:] == (200, 150)


def test_text_is_dark_on_white() -> None:
    page = sheet(indices(3), "stage1   3 x 8 x 8")
    assert (page[:, 0] == 255).all()
    assert (page[:40] < 60).any()
    for top, left, height, width in places(page, 3):
        assert (page[top + height : top + height + 20, left : left + width] < 60).any()


def test_maps_have_the_colours_of_the_palette() -> None:
    maps = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) * 4
    page = titled_sheet(maps, palette("jet"), "t", tile=8)
    top = next(row for row in range(40, page.shape[0]) if (page[row, 12:20] == palette("jet")[maps[0, 0]]).all())
    np.testing.assert_array_equal(page[top : top + 8, 12:20], palette("jet")[maps[0]])


def test_captions_differ() -> None:
    page = sheet(indices(2), "t")
    captions = [page[top + height : top + height + 20, left : left + 128] for top, left, height, _ in places(page, 2)]
    assert (captions[0] != captions[1]).any()


def test_the_page_is_wide_enough_for_its_title() -> None:
    short, long = sheet(indices(1), "i"), sheet(indices(1), "W" * 60)
    assert long.shape[1] > short.shape[1]
    assert (long[:40, -8:] == 255).all()
    assert places(long, 1) == places(short, 1)


@pytest.mark.parametrize("title", ["", "\u202e猫🐈", "<b>"])
def test_any_title(title: str) -> None:
    assert len(places(sheet(indices(4), title), 4)) == 4


def test_signs_that_the_font_lacks_are_replaced() -> None:
    assert drawable("3 × 3: −0.5 – 1 ± 2 · ok") == "3 x 3: -0.5 - 1 ± 2 · ok"
    assert drawable("猫 é") == "? ?"
    everything = "".join(map(chr, range(32, 0x2600)))
    missing = bytes(font(20).getmask("\uffff"))
    drawn = set(drawable(everything))
    assert len(drawn) > 90
    assert not {sign for sign in drawn if bytes(font(20).getmask(sign)) == missing and not sign.isspace()}


@pytest.mark.parametrize("width", [0, 150, 300])
@pytest.mark.parametrize("text", ["", "W" * 500, "i" * 500, "a\nb" * 99, "first" + "猫" * 200 + "last"])
def test_texts_are_cut_to_a_width(text: str, width: int) -> None:
    line = fitted(text, 15, width)
    assert font(15).getlength(line) <= width or len(line) == 8
    assert line.isprintable()
    longer = fitted(text, 15, width + 60)
    assert font(15).getlength(longer) >= font(15).getlength(line)


def test_a_text_that_fits_stays_whole() -> None:
    assert fitted("layer1.0.conv1.weight", 15, 300) == "layer1.0.conv1.weight"
    cut = fitted("first" + "-" * 200 + "last", 15, 200)
    assert (cut[:5], cut[-4:]) == ("first", "last")
