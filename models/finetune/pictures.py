"""Picture files as training data: each read once to see whether it can be, kept in memory as far as there is room."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnxvis.errors import InputError
from onnxvis.files import one_line, sha256

from .data import Batch, Split, augmented, check_classes, normalised, split_by_class
from .listing import Listing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PicturePart", "Read", "picture_split"]

Read = Callable[[Path], "NDArray[np.uint8]"]
"""Reads a file as (S, S, 3) uint8 RGB, S the side of the input; raises InputError for what is no picture."""

_KEPT = 1 << 30


class PicturePart:
    """Pictures that `pixels` gives, (S, S, 3) uint8 RGB, by the numbers in `members`; `labels`: by the same numbers."""

    def __init__(
        self, pixels: Callable[[int], NDArray[np.uint8]], labels: NDArray[np.int64], members: Sequence[int]
    ) -> None:
        self._pixels, self._labels, self.members = pixels, labels, tuple(members)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.members)

    def batch(self, indices: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        """Pictures (N, 3, S, S) float32 and labels (N,); `rng`: mirrored and moved as `augmented` does."""
        numbers = [self.members[index] for index in indices]
        pixels = np.stack([self._pixels(number) for number in numbers])
        return normalised(pixels if rng is None else augmented(pixels, rng)), self._labels[numbers]


def picture_split(
    listing: Listing,
    read: Read,
    held_out: float,
    seed: int,
    tell: Callable[[int, int], None] | None = None,
    room: int = _KEPT,
) -> Split:
    """The pictures of `listing` that can be read, a share of each class held out (`split_by_class`).

    Left out, and named in `skipped`: what cannot be read, and files with the same bytes as an earlier one, which could
    else stand on both sides. `tell` hears how many are done; `room`: bytes of pixels kept, others are read again each
    time they are seen. Raises InputError as `check_classes` does.
    """
    kept: dict[int, NDArray[np.uint8]] = {}
    files: list[Path] = []
    labels: list[int] = []
    skipped: list[str] = []
    seen: dict[str, Path] = {}
    for place, (path, label) in enumerate(listing.entries):
        if tell is not None:
            tell(place, len(listing.entries))
        try:
            pixels, digest = read(path), sha256(path)
        except (InputError, OSError) as error:
            skipped.append(str(error) if isinstance(error, InputError) else f"cannot read {one_line(path)}")
            continue
        first = seen.setdefault(digest, path)
        if first is not path:
            skipped.append(f"{one_line(path)} holds the same bytes as {one_line(first)}")
            continue
        if (len(kept) + 1) * pixels.nbytes <= room:
            kept[len(files)] = pixels
        files.append(path)
        labels.append(label)
    counts = np.bincount(np.array(labels, np.int64), minlength=len(listing.labels))
    _check(listing, counts.tolist(), skipped)
    numbers = np.array(labels, np.int64)
    train, held = split_by_class(numbers, held_out, seed)

    def pixels_of(number: int) -> NDArray[np.uint8]:
        found = kept.get(number)
        return read(files[number]) if found is None else found

    return Split(
        listing.labels,
        PicturePart(pixels_of, numbers, train),
        PicturePart(pixels_of, numbers, held),
        f"{len(files)} pictures, {_digest([*seen, *map(str, labels), *listing.labels])}",
        tuple(skipped),
    )


def _check(listing: Listing, counts: Sequence[int], skipped: Sequence[str]) -> None:
    try:
        check_classes(listing.labels, counts, listing.where)
    except InputError as error:
        first = f" ({len(skipped)} left out, the first: {skipped[0]})" if skipped else ""
        raise InputError(f"{error}{first}") from error


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
