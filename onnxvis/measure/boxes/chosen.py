"""The one box that a heatmap explains, and the numbers in the outputs that stand for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.measure.boxes.candidates import Candidates, candidates
from onnxvis.measure.boxes.decode import Decoded
from onnxvis.measure.boxes.detections import Box, box_at, detect
from onnxvis.measure.boxes.find import decode_all, find_heads
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.boxes.heads import Head, Heads, element

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["Chosen", "choose", "is_box"]

Array = np.ndarray[Any, np.dtype[Any]]

_BOX = re.compile(r"box:(\d{1,9})")
_CLASS = re.compile(r"class:(\d{1,9})@(\d{1,9}),(\d{1,9})(?:@(.+))?", re.DOTALL)


@dataclass(frozen=True)
class Chosen:
    """`box`, and `numbers`: the indices in the box's output, without the batch, of its class and, where it has one, its
    objectness. `grid`: rows and columns of its head. `raw`: whether those numbers are still to become scores. `notes`.
    """

    box: Box
    numbers: tuple[tuple[int, ...], ...]
    grid: tuple[int, int]
    raw: bool
    notes: tuple[str, ...]


def is_box(text: str) -> bool:
    """Whether a target is 'box:K' or 'class:CLASS@ROW,COLUMN', with '@WHERE' behind it or not."""
    return bool(_BOX.fullmatch(text) or _CLASS.fullmatch(text))


def choose(
    model: Model,
    feeds: Mapping[str, Array],
    outputs: Mapping[str, Any],
    text: str,
    flags: DetectorFlags = NO_FLAGS,
) -> Chosen:
    """The box that `text` means, see `is_box`.

    'box:K' is box K after non-maximum suppression, 0 the strongest: where there is none, the strongest candidate.
    'class:CLASS@ROW,COLUMN' is class CLASS in that cell before it, whatever else the cell scores: of all heads that
    have the cell and all anchors, where it scores most; WHERE is the head's output, or its stride.
    Raises UsageError, with the reason where the outputs hold no boxes.
    """
    heads, reason = find_heads(model, feeds, outputs, flags)
    if heads is None:
        raise UsageError(f"no boxes in the outputs of {model.name}: {reason or 'they look like no known detector'}")
    decoded = decode_all(heads, outputs)
    notes: tuple[str, ...] = ()
    if match := _BOX.fullmatch(text):
        box, notes = _after_suppression(model, feeds, outputs, flags, decoded, int(match[1]))
    elif match := _CLASS.fullmatch(text):
        place = int(match[2]), int(match[3])
        box = _of_class(model, heads, decoded, int(match[1]), place, match[4])
    else:
        raise UsageError(f"'{one_line(text)}' is no box; give box:0 or class:CLASS@ROW,COLUMN")
    head = next(head for head in heads.heads if (head.output, head.stride) == (box.output, box.stride))
    shape = outputs[box.output].shape[1:]
    places = [heads.first_class + box.label, *([4] if heads.objectness else [])]
    numbers = tuple(element(head, shape, (box.anchor, box.row, box.column), place) for place in places)
    raw = bool(head.anchors) and not head.activated
    return Chosen(box, numbers, (head.rows, head.columns), raw, notes)


def _after_suppression(
    model: Model,
    feeds: Mapping[str, Array],
    outputs: Mapping[str, Any],
    flags: DetectorFlags,
    decoded: Sequence[Decoded],
    wanted: int,
) -> tuple[Box, tuple[str, ...]]:
    found = detect(model, feeds, outputs, flags, most=max(100, wanted + 1))
    boxes = found.boxes if found else ()
    if wanted < len(boxes):
        return boxes[wanted], ()
    every = candidates(decoded)
    if boxes or wanted or not len(every.scores):
        there = f"box:0 to box:{len(boxes) - 1}" if boxes else "none"
        raise UsageError(f"{model.name} found no box {wanted} in this picture; it found {there}")
    least = found.least_score if found else 0
    return _box(decoded, every), (f"no box reaches a score of {least:g}: box:0 is the strongest candidate",)


def _of_class(
    model: Model, heads: Heads, decoded: Sequence[Decoded], label: int, place: tuple[int, int], where: str | None
) -> Box:
    if label >= heads.classes:
        raise UsageError(f"{model.name} has no class {label}: its boxes have {heads.classes}, from 0")
    named = [item for item in decoded if where is None or _is_at(item.head, where, decoded)]
    if not named:
        there = ", ".join(f"{one_line(item.head.output, 40)} (stride {item.head.stride})" for item in decoded)
        raise UsageError(f"{model.name} has no head '{one_line(where or '')}'; it has {there}")
    row, column = place
    cells = [_cell(item, row, column) for item in named if row < item.head.rows and column < item.head.columns]
    if not cells:
        sizes = ", ".join(f"{item.head.rows}×{item.head.columns}" for item in named)
        raise UsageError(f"{model.name} has no cell in row {row} and column {column}; its grids have {sizes}")
    found = candidates(cells, label=label)
    if not len(found.scores):
        raise UsageError(
            f"the boxes of {model.name} in row {row} and column {column} hold NaN, infinite numbers or a side below 0"
        )
    box = _box(cells, found)
    return Box(**{**vars(box), "row": row, "column": column})


def _is_at(head: Head, where: str, decoded: Sequence[Decoded]) -> bool:
    """Whether `where` names the head: an output's name first, else a stride."""
    if any(item.head.output == where for item in decoded):
        return head.output == where
    return str(head.stride) == where


def _cell(item: Decoded, row: int, column: int) -> Decoded:
    """One cell of a head."""
    rows, columns = slice(row, row + 1), slice(column, column + 1)
    return Decoded(item.head, item.corners[:, rows, columns], item.scores[:, rows, columns])


def _box(decoded: Sequence[Decoded], found: Candidates) -> Box:
    return box_at([item.head for item in decoded], found, 0)
