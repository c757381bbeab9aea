from __future__ import annotations

import itertools

import numpy as np
import pytest

from onnxvis.measure.boxes.heads import Form, Head, Heads, as_grid, element
from tests.tiny import Array

ROWS, COLUMNS, BOXES, NUMBERS, FIRST = 2, 3, 2, 7, 4
PLACES = list(itertools.product(range(BOXES), range(ROWS), range(COLUMNS), range(NUMBERS)))


def head(form: Form) -> Head:
    return Head("y", 8, ROWS, COLUMNS, BOXES, form, FIRST if form in ("rows", "columns") else 0)


def values(form: Form) -> Array:
    """Each number of each box is 1000 · box + 100 · row + 10 · column + number, set one by one; -1 elsewhere."""
    more = FIRST + BOXES * ROWS * COLUMNS + 3
    shapes: dict[Form, tuple[int, ...]] = {
        "channels": (BOXES * NUMBERS, ROWS, COLUMNS), "channels last": (ROWS, COLUMNS, BOXES * NUMBERS),
        "stacked": (BOXES, ROWS, COLUMNS, NUMBERS), "rows": (more, NUMBERS), "columns": (NUMBERS, more),
    }  # fmt: skip
    made = np.full(shapes[form], -1)
    for box, row, column, number in PLACES:
        line = FIRST + (box * ROWS + row) * COLUMNS + column
        index: dict[Form, tuple[int, ...]] = {
            "channels": (box * NUMBERS + number, row, column), "channels last": (row, column, box * NUMBERS + number),
            "stacked": (box, row, column, number), "rows": (line, number), "columns": (number, line),
        }  # fmt: skip
        made[index[form]] = 1000 * box + 100 * row + 10 * column + number
    return made


@pytest.mark.parametrize("form", ["channels", "channels last", "stacked", "rows", "columns"])
def test_every_number_is_found_in_its_cell(form: Form) -> None:
    made = values(form)
    grid = as_grid(head(form), made)
    assert grid.shape == (BOXES, ROWS, COLUMNS, NUMBERS)
    for box, row, column, number in PLACES:
        wanted = 1000 * box + 100 * row + 10 * column + number
        assert grid[box, row, column, number] == wanted
        assert made[element(head(form), made.shape, (box, row, column), number)] == wanted


def test_classes_stand_behind_the_objectness() -> None:
    assert Heads("", 3, (), objectness=True).first_class == 5
    assert Heads("", 3, (), objectness=False).first_class == 4
