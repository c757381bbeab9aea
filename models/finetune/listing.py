"""Which picture shows what: a folder with one folder a class, or a text file of paths and labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from onnxvis.errors import InputError
from onnxvis.files import one_line

__all__ = ["Listing", "list_file", "list_folder", "list_pictures"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_LARGEST_LIST = 256 * 1024 * 1024
_MOST_PICTURES = 2_000_000
_LONGEST_LABEL = 200


@dataclass(frozen=True)
class Listing:
    """`labels`: names of the classes by index; `entries`: (file, index of its class); `where`: what was listed."""

    labels: tuple[str, ...]
    entries: tuple[tuple[Path, int], ...]
    where: str


def list_pictures(path: Path) -> Listing:
    """The pictures of a folder (`list_folder`) or of a list (`list_file`). Raises InputError."""
    return list_folder(path) if path.is_dir() else list_file(path)


def list_folder(folder: Path) -> Listing:
    """The pictures below `folder`: each folder in it is a class, in the order of their names.

    A class may hold folders of its own; links to folders are not followed. Hidden entries and files of other kinds than
    JPEG, PNG, WebP, BMP and TIFF, by their endings, are passed over. Raises InputError where there is no such folder.
    """
    try:
        with os.scandir(folder) as found:
            labels = sorted(entry.name for entry in found if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"cannot read the folder {one_line(folder)}: {error.strerror}") from error
    if not labels:
        raise InputError(
            f"{one_line(folder)} holds no folders; give one folder for each class, its name the label, with the "
            "pictures in it"
        )
    entries = [(path, index) for index, label in enumerate(labels) for path in _pictures_below(folder / label)]
    return Listing(tuple(labels), tuple(_limited(entries, folder)), one_line(folder))


def list_file(path: Path) -> Listing:
    """The pictures that the text file `path` names, one a line: `path label`, the path as seen from the file's folder.

    The label is the last word; a path may hold spaces. Empty lines and those that begin with # are passed over. Labels
    are words, sorted by name, or all numbers, sorted as numbers. A line that comes twice counts once.
    Raises InputError where the file cannot be read, a line has no label, or a picture has two labels.
    """
    named: dict[Path, tuple[str, int]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.strip().rsplit(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2 or len(words[1]) > _LONGEST_LABEL:
            raise InputError(f"{one_line(path)}, line {number}: '{one_line(line, 60)}' is not a path and a short label")
        picture = Path(os.path.normpath(path.parent / words[0]))
        label, first = named.setdefault(picture, (words[1], number))
        if label != words[1]:
            raise InputError(
                f"{one_line(path)}, line {number}: {one_line(words[0])} is '{one_line(words[1])}' here and "
                f"'{one_line(label)}' in line {first}; a picture has one label"
            )
    labels = {label for label, _ in named.values()}
    ordered = sorted(labels, key=int) if all(map(_is_number, labels)) else sorted(labels)
    index = {label: place for place, label in enumerate(ordered)}
    entries = [(picture, index[label]) for picture, (label, _) in named.items()]
    return Listing(tuple(ordered), tuple(_limited(entries, path)), one_line(path))


def _pictures_below(folder: Path) -> list[Path]:
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(base, name)
            for name in sorted(names)
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES  # noqa: PTH122
        ]
    return found


def _limited(entries: list[tuple[Path, int]], where: Path) -> list[tuple[Path, int]]:
    if len(entries) > _MOST_PICTURES:
        raise InputError(f"{one_line(where)} lists {len(entries):,} pictures; {_MOST_PICTURES:,} are the most")
    return entries


def _text(path: Path) -> str:
    name = one_line(path)
    if not path.is_file():
        raise InputError(
            f"there is no file or folder {name}; give a folder of pictures, or a list of 'path label' lines"
        )
    if path.stat().st_size > _LARGEST_LIST:
        raise InputError(f"{name} is too large for a list of pictures ({_LARGEST_LIST >> 20} MB at most)")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is no text in UTF-8; a list has a 'path label' line for each picture") from error
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit() and len(label) <= 9
