"""Picture files as training data: what is left out, what is split, and that pixels come back as they were read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from onnxvis.errors import InputError
from onnxvis.models.finetune.data import Split, normalised
from onnxvis.models.finetune.listing import Listing, list_folder
from onnxvis.models.finetune.pictures import PicturePart, picture_split

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read(path: Path) -> NDArray[np.uint8]:
    found = cv2.imread(str(path))
    if found is None:
        raise InputError(f"{path.name} is no picture")
    return np.asarray(found[..., ::-1], np.uint8)


def folder(root: Path, **classes: int) -> Path:
    """Random pictures of 32 pixels: `classes` says how many of each."""
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(root / name / f"{number}.png"), rng.integers(0, 256, (32, 32, 3), np.uint8))
    return root


def parts(data: Split) -> tuple[PicturePart, PicturePart]:
    assert isinstance(data.train, PicturePart)
    assert isinstance(data.held_out, PicturePart)
    return data.train, data.held_out


@pytest.mark.parametrize("room", [0, 5 * 32 * 32 * 3, 1 << 30])
def test_batches_are_the_files_and_their_labels(tmp_path: Path, room: int) -> None:
    listing = list_folder(folder(tmp_path, cat=6, dog=4))
    told: list[tuple[int, int]] = []
    data = picture_split(listing, read, 0.25, 0, lambda done, of: told.append((done, of)), room)
    assert told == [(number, 10) for number in range(10)]
    train, held = parts(data)
    assert not set(train.members) & set(held.members)
    assert sorted((*train.members, *held.members)) == list(range(10))
    for part in (train, held):
        pictures, labels = part.batch(range(part.count))
        files = [listing.entries[number] for number in part.members]
        assert labels.tolist() == [label for _, label in files]
        np.testing.assert_array_equal(pictures, normalised(np.stack([read(path) for path, _ in files])))
    assert Counter(held.batch(range(held.count))[1].tolist()) == {0: 2, 1: 1}


def test_training_pictures_are_varied_only_where_asked(tmp_path: Path) -> None:
    train, _ = parts(picture_split(list_folder(folder(tmp_path, cat=6, dog=4)), read, 0.25, 0))
    plain, varied = (train.batch(range(5), rng)[0] for rng in (None, np.random.default_rng(0)))
    assert not np.array_equal(plain, varied)
    np.testing.assert_array_equal(train.batch(range(5), np.random.default_rng(0))[0], varied)
    np.testing.assert_array_equal(train.batch(range(5))[0], plain)


def test_unreadable_pictures_and_copies_are_left_out_and_named(tmp_path: Path) -> None:
    root = folder(tmp_path, cat=4, dog=4)
    (root / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (root / "dog" / "copy.png").write_bytes((root / "cat" / "0.png").read_bytes())
    listing = list_folder(root)
    missing = Listing(listing.labels, (*listing.entries, (root / "gone.png", 0)), "list")
    data = picture_split(missing, read, 0.25, 0)
    assert [reason.split(" ")[0].rsplit("/")[-1] for reason in data.skipped] == ["broken.png", "copy.png", "gone.png"]
    assert "holds the same bytes as" in data.skipped[1]
    train, held = parts(data)
    assert train.count + held.count == 8
    assert data.source != picture_split(Listing(listing.labels, listing.entries[1:], ""), read, 0.25, 0).source
    assert data.source == picture_split(listing, read, 0.25, 0).source


def test_a_class_left_without_pictures_is_told_with_the_first_reason(tmp_path: Path) -> None:
    root = folder(tmp_path, cat=4, dog=0)
    (root / "dog" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"class 'dog' has no picture .*1 left out, the first: broken\.png is no pict"):
        picture_split(list_folder(root), read, 0.25, 0)
