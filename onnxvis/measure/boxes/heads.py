"""A detector's heads: grids of boxes, and where in an output each of their numbers stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Form", "Head", "Heads", "as_grid", "element"]

Array = np.ndarray[Any, np.dtype[Any]]
Form = Literal["channels", "channels last", "stacked", "rows", "columns"]
"""How an output holds B boxes a cell with V numbers each, without the batch: (B·V, R, C), (R, C, B·V), (B, R, C, V),
(boxes, V) or (V, boxes); in the last two the boxes of several grids follow each other, each as (B, R, C)."""


@dataclass(frozen=True)
class Head:
    """One grid of boxes in output `output`: `rows` × `columns` cells of `stride` pixels, `boxes` in each.

    `first`: the place of its first box where an output holds several grids. `anchors`: (width, height) in pixels of the
    input for each box of a cell where the numbers are raw, () where the graph has decoded them. Of raw numbers:
    `scale_xy`, how far a centre may leave its cell; `activated`, they are behind their sigmoid; `squared`, a side is
    (2 · sigmoid)² · anchor, not exp · anchor.
    """

    output: str
    stride: int
    rows: int
    columns: int
    boxes: int
    form: Form
    first: int = 0
    anchors: tuple[tuple[float, float], ...] = ()
    scale_xy: float = 1.0
    activated: bool = False
    squared: bool = False


@dataclass(frozen=True)
class Heads:
    """All heads of a model, of one `kind`. Each box has 4 numbers, an objectness where `objectness`, then one for each
    of `classes`; what follows them (masks, key points) is not read.
    """

    kind: str
    classes: int
    heads: tuple[Head, ...]
    objectness: bool
    notes: tuple[str, ...] = ()

    @property
    def first_class(self) -> int:
        """The place of class 0 among a box's numbers."""
        return 5 if self.objectness else 4


def as_grid(head: Head, values: Array) -> Array:
    """One picture's output, without the batch, as (boxes, rows, columns, numbers)."""
    boxes, rows, columns = head.boxes, head.rows, head.columns
    last = head.first + boxes * rows * columns
    match head.form:
        case "channels":
            return values.reshape(boxes, -1, rows, columns).transpose(0, 2, 3, 1)
        case "channels last":
            return values.reshape(rows, columns, boxes, -1).transpose(2, 0, 1, 3)
        case "stacked":
            return values
        case "rows":
            return values[head.first : last].reshape(boxes, rows, columns, -1)
        case "columns":
            return values[:, head.first : last].reshape(-1, boxes, rows, columns).transpose(1, 2, 3, 0)


def element(head: Head, shape: tuple[int, ...], place: tuple[int, int, int], number: int) -> tuple[int, ...]:
    """The index, without the batch, of a number of the box at `place` (box, row, column); `shape` is the output's
    without the batch.
    """
    numbered = as_grid(head, np.arange(int(np.prod(shape))).reshape(shape))
    return tuple(int(axis) for axis in np.unravel_index(int(numbered[(*place, number)]), shape))
