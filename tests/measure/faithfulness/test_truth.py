from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxvis.errors import InputError, UsageError
from onnxvis.measure.faithfulness.truth import Truth, read_boxes
from onnxvis.run.inputs import PreparedInput


def item(name: str) -> PreparedInput:
    return PreparedInput(f"somewhere/{name}", {}, None, None, None)


def boxes(folder: Path, data: object) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(data))
    return path


def test_boxes_are_found_by_the_last_part_of_the_name(tmp_path: Path) -> None:
    path = boxes(tmp_path, [
        {"file": "scenes/a.png", "box": [1, 2, 3, 4]},
        {"file": "scenes\\b.png", "box": [0, 0, 1.5, 1]},
        {"file": "a.png", "box": [0, 0, 1, 1], "label": 3},
    ])  # fmt: skip
    assert read_boxes(path) == {"a.png": ((1, 2, 3, 4), (0, 0, 1, 1)), "b.png": ((0, 0, 1.5, 1),)}
    truth = Truth.of(None, str(path), folder=True)
    found = truth.region(item("a.png"), (5, 5))
    assert found is not None
    assert sorted(zip(*(where.tolist() for where in found.nonzero()), strict=True)) == [
        (0, 0), (2, 1), (2, 2), (3, 1), (3, 2),
    ]  # fmt: skip
    assert truth.region(item("c.png"), (5, 5)) is None


def test_the_scenes_that_ship_have_boxes_around_their_masks(data: Path) -> None:
    known = read_boxes(data / "scenes.json")
    masks = Truth.of(str(data / "masks"), None, folder=True)
    assert len(known) == 6
    for name, ((x0, y0, x1, y1),) in known.items():
        mask = masks.region(item(name), (256, 256))
        assert mask is not None
        rows, columns = mask.nonzero()
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)


def test_masks_of_a_folder_have_the_picture_s_name_or_end_in_png(tmp_path: Path) -> None:
    for place, name in enumerate(("a.bmp", "b.png")):
        mask = np.zeros((4, 4), np.uint8)
        mask[place, place] = 128
        mask[3, 3] = 127
        Image.fromarray(mask).save(tmp_path / name)
    truth = Truth.of(str(tmp_path), None, folder=True)
    for place, name in enumerate(("a.bmp", "b.jpg")):
        found = truth.region(item(name), (4, 4))
        assert found is not None
        assert [where.tolist() for where in found.nonzero()] == [[place], [place]]
    assert truth.region(item("c.png"), (4, 4)) is None
    one = Truth.of(str(tmp_path / "b.png"), None, folder=False).region(item("any.jpg"), (4, 4))
    assert one is not None
    assert one[1, 1]


def test_one_box_in_numbers() -> None:
    truth = Truth.of(None, "1,0.5,3,2", folder=False)
    assert truth.box == (1, 0.5, 3, 2)
    assert truth.known
    assert not Truth.of(None, None, folder=False).known


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"file": "a.png"}, "is no list of boxes"),
        ([3], 'entry 0 has no "file"'),
        ([{"file": "a.png", "box": "1,2,3,4"}], 'entry 0 has no "file"'),
        ([{"file": "a.png", "box": [1, 2, 3]}], "the box of a.png is no box"),
        ([{"file": "a.png", "box": [1, 2, 3, True]}], "the box of a.png is no box"),
        ([{"file": "a.png", "box": [3, 2, 1, 4]}], "x0 below x1"),
        ([{"file": "a.png", "box": [1, 2, float("nan"), 4]}], "boxes.json|no box"),
    ],
)
def test_files_without_boxes_are_refused(data: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        read_boxes(boxes(tmp_path, data))


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    mask = tmp_path / "m.png"
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(mask)
    for given, folder, said in (
        ((str(mask), "0,0,1,1"), False, "give one of them"),
        ((str(mask), None), True, "a folder of masks for a folder"),
        ((str(tmp_path), None), False, "a mask's file for one picture"),
        ((None, "0,0,1,1"), True, "name a JSON file"),
    ):
        with pytest.raises(UsageError, match=said):
            Truth.of(*given, folder=folder)
    with pytest.raises(InputError, match="--box is no box"):
        Truth.of(None, "2,0,1,1", folder=False)
    with pytest.raises(InputError, match="cannot read"):
        Truth.of(None, "1,2,3", folder=False)
