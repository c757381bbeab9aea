"""The boxes that a detector's outputs hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.measure.boxes.candidates import Candidates, candidates
from onnxvis.measure.boxes.find import decode_all, find_heads
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.boxes.heads import Head
from onnxvis.measure.boxes.suppress import suppress

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["LEAST_SCORE", "OVERLAP", "Box", "Detections", "box_at", "detect", "why_raw"]

Array = np.ndarray[Any, np.dtype[Any]]

LEAST_SCORE, OVERLAP = 0.05, 0.45
_MOST_CANDIDATES = 10_000


@dataclass(frozen=True)
class Box:
    """A box in pixels of the picture as it is fed (x to the right, y down; corners, may leave the picture), its class
    and score in 0–1, and where it was predicted: `output`, `row`, `column`, `anchor` (0 where there are none),
    `stride`.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    label: int
    score: float
    output: str
    row: int
    column: int
    anchor: int
    stride: int


@dataclass(frozen=True)
class Detections:
    """`boxes`: after non-maximum suppression, strongest first; `kind`: 'YOLOv3 heads', 'YOLOv5 heads', 'YOLOv5 rows',
    'YOLOv8 columns' or 'YOLOv8 rows'; `classes`: how many there are; `least_score`, `overlap`: what they were chosen
    under; `found`: how many candidate boxes passed `least_score` before suppression; `notes`: what should be known.
    """

    kind: str
    boxes: tuple[Box, ...]
    classes: int
    least_score: float
    overlap: float
    found: int
    notes: tuple[str, ...]


def detect(
    model: Model,
    feeds: Mapping[str, Array],
    outputs: Mapping[str, Any],
    flags: DetectorFlags = NO_FLAGS,
    *,
    least_score: float = LEAST_SCORE,
    overlap: float = OVERLAP,
    most: int = 100,
) -> Detections | None:
    """The boxes in `outputs`, which `model` gave for `feeds`, of the first picture; None where it has no head of a
    known kind, see `recognise.recognise` for those and `why_raw` for the reason.

    A box has one class, its best, and counts from a score of `least_score`; boxes of one class that cover another by
    more than `overlap` of their union give way to the stronger; at most `most` are returned. Raises UsageError for
    numbers outside their ranges.
    """
    if not (0 <= least_score <= 1 and 0 <= overlap <= 1 and most >= 1):
        raise UsageError("least_score and overlap must be in 0–1, and at least one box must be asked for")
    heads, _ = find_heads(model, feeds, outputs, flags)
    if heads is None:
        return None
    every = candidates(decode_all(heads, outputs), least_score)
    found = len(every.scores)
    chosen = every.first(_MOST_CANDIDATES)
    kept = suppress(chosen.corners, chosen.labels, chosen.scores, overlap)
    notes = [*heads.notes]
    if every.broken:
        notes.append(f"{every.broken} boxes hold NaN, infinite numbers or a side below 0 and are left out")
    if found > _MOST_CANDIDATES:
        notes.append(
            f"of {found:,} boxes of a score of {least_score:g} the strongest {_MOST_CANDIDATES:,} are looked at"
        )
    if len(kept) > most:
        notes.append(f"of {len(kept):,} boxes the strongest {most} are kept")
    boxes = tuple(box_at(heads.heads, chosen, int(place)) for place in kept[:most])
    return Detections(heads.kind, boxes, heads.classes, least_score, overlap, found, tuple(notes))


def why_raw(
    model: Model, feeds: Mapping[str, Array], outputs: Mapping[str, Any], flags: DetectorFlags = NO_FLAGS
) -> str:
    """Why `detect` gives None: what the outputs look like and what is missing; '' where they look like no heads, or
    hold boxes.
    """
    return find_heads(model, feeds, outputs, flags)[1]


def box_at(heads: Sequence[Head], found: Candidates, place: int) -> Box:
    """Candidate number `place` as a box."""
    number, anchor, row, column = found.places[place].tolist()
    x0, y0, x1, y1 = found.corners[place].tolist()
    return Box(
        x0, y0, x1, y1, int(found.labels[place]), float(found.scores[place]),
        heads[number].output, row, column, anchor, heads[number].stride,
    )  # fmt: skip
