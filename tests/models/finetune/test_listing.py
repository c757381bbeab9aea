"""Folders and lists of pictures: what is listed, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.errors import InputError
from onnxvis.models.finetune.listing import list_file, list_folder, list_pictures


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def lines(path: Path, *content: str) -> Path:
    path.write_text("\n".join(content) + "\n", encoding="utf-8")
    return path


def test_a_folder_has_one_class_a_folder_sorted_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "dog/b.JPG", "dog/a.png", "cat/deep/c.webp", "cat/notes.txt", "cat/.hidden.png", ".git/x.png")
    touch(tmp_path, "loose.png")
    (tmp_path / "empty").mkdir()
    found = list_folder(tmp_path)
    assert found.labels == ("cat", "dog", "empty")
    assert found.entries == (
        (tmp_path / "cat/deep/c.webp", 0),
        (tmp_path / "dog/a.png", 1),
        (tmp_path / "dog/b.JPG", 1),
    )
    assert list_pictures(tmp_path) == found


def test_links_to_folders_do_not_lead_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    assert list_folder(tmp_path).entries == ((tmp_path / "cat/a.png", 0),)


def test_a_folder_without_folders_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(InputError, match="holds no folders; give one folder for each class"):
        list_folder(tmp_path)


def test_a_list_gives_paths_from_its_own_folder(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "list.txt", "# pictures", "", "some pictures/a 1.png dog", "\tb.png   cat ", "./b.png cat",
        f"{tmp_path}/c.png dog",
    )  # fmt: skip
    found = list_pictures(path)
    assert found.labels == ("cat", "dog")
    assert found.entries == ((tmp_path / "some pictures/a 1.png", 1), (tmp_path / "b.png", 0), (tmp_path / "c.png", 1))


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    assert list_file(lines(tmp_path / "a.txt", "a.png 10", "b.png 9")).labels == ("9", "10")
    assert list_file(lines(tmp_path / "b.txt", "a.png 10", "b.png 9", "c.png x")).labels == ("10", "9", "x")


def test_a_picture_has_one_label(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 2: x/../a\.png is 'dog' here and 'cat' in line 1"):
        list_file(lines(tmp_path / "a.txt", "a.png cat", "x/../a.png dog"))


@pytest.mark.parametrize("line", ["a.png", f"a.png {'x' * 201}"])
def test_a_line_without_a_label_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match=r"line 2: .* is not a path and a short label"):
        list_file(lines(tmp_path / "a.txt", "b.png 1", line))


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file or folder"):
        list_pictures(tmp_path / "nothing")
    (tmp_path / "picture").write_bytes(b"\x89PNG\xff")
    with pytest.raises(InputError, match="no text in UTF-8"):
        list_pictures(tmp_path / "picture")
