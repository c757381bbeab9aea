"""What a training measured along the way, as rows of a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from onnxvis.errors import InputError

__all__ = ["COLUMNS", "Row", "csv_text", "plain_rows", "rows_from_plain"]

COLUMNS = ("step", "train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy", "lr")


@dataclass(frozen=True)
class Row:
    """After `step` steps: the mean loss (natural logarithm) and share of right answers over the batches since the row
    before, as they were trained on; the same over all held-out pictures in evaluation mode; the highest rate of the
    last step."""

    step: int
    train_loss: float
    train_accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    rate: float


def csv_text(rows: Sequence[Row]) -> str:
    """The rows under the names of COLUMNS, six significant digits."""
    lines = [",".join((str(row.step), *(f"{value:.6g}" for value in astuple(row)[1:]))) for row in rows]
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"


def plain_rows(rows: Sequence[Row]) -> list[list[float]]:
    """The rows as lists of numbers."""
    return [list(astuple(row)) for row in rows]


def rows_from_plain(content: object, where: str) -> list[Row]:
    """What `plain_rows` made, read from the file `where`. Raises InputError for anything else."""
    try:
        rows = [Row(int(step), *map(float, numbers)) for step, *numbers in content]  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{where}: its curves are damaged ({error}); start anew without --resume") from error
    steps = [row.step for row in rows]
    if steps != sorted(set(steps)) or min(steps, default=1) < 1 or not all(map(_is_finite, rows)):
        raise InputError(
            f"{where}: its curves are damaged (steps or losses that cannot be); start anew without --resume"
        )
    return rows


def _is_finite(row: Row) -> bool:
    return all(map(math.isfinite, astuple(row)))
