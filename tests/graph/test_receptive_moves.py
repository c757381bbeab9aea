"""Operators that move positions about, each alone, against NumPy moving a picture of row and column numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from onnxvis.graph.receptive import receptive_field
from tests.graph.test_receptive_step import parsed

Array = npt.NDArray[Any]
K = "k = Constant <value = int64[{}] {{{}}}> ()"

# body: the same in NumPy on an array of shape (1, 3, 8, 6), with rows and columns last in the result
MOVES: dict[str, Callable[[Array], Array]] = {
    "t = Transpose <perm = [0, 2, 3, 1]> (x) y = Transpose <perm = [0, 3, 1, 2]> (t)": lambda a: a,
    f"{K.format(3, '3, 8, 6')} y = Reshape (x, k)": lambda a: a.reshape(3, 8, 6),
    "a, b = Split <axis = 2> (x) y = Identity (b)": lambda a: a[:, :, 4:],
    "y = Concat <axis = 1> (x, x)": lambda a: np.concatenate([a, a], 1),
    f"""{K.format(2, "1, 2")} e = Constant <value = int64[2] {{8, 6}}> () s = Constant <value = int64[2] {{2, 3}}> ()
    n = Constant <value = int64[2] {{2, 3}}> () y = Slice (x, k, e, n, s)""": lambda a: a[:, :, 1:8:2, 2:6:3],
    "y = DepthToSpace <blocksize = 1> (x)": lambda a: a,
    f"""{K.format(1, "3")} e = Constant <value = int64[1] {{-9}}> () n = Constant <value = int64[1] {{3}}> ()
    s = Constant <value = int64[1] {{-1}}> () y = Slice (x, k, e, n, s)""": lambda a: a[..., 3::-1],
}


@pytest.mark.parametrize("body", MOVES)
def test_positions_go_where_numpy_puts_them(body: str, tmp_path: Path) -> None:
    field = receptive_field(parsed(body, tmp_path, opset=11 if "Split" in body else 17), "y")
    rows, columns = np.meshgrid(np.arange(8), np.arange(6), indexing="ij")
    moved = [MOVES[body](np.broadcast_to(grid, (1, 3, 8, 6))) for grid in (rows, columns)]
    row, column = (grid.reshape(-1, *grid.shape[-2:])[0] for grid in moved)
    assert (len(field.rows), len(field.columns)) == row.shape
    for y, x in np.ndindex(row.shape):
        assert field.at(y, x) == (row[y, x], row[y, x] + 1, column[y, x], column[y, x] + 1)


def test_padding_depends_on_nothing(tmp_path: Path) -> None:
    field = receptive_field(parsed(f"{K.format(8, '0, 0, 1, 2, 0, 0, 0, 0')} y = Pad (x, k)", tmp_path), "y")
    assert field.at(0, 2) == (0, 0, 0, 0)
    assert field.at(1, 2) == (0, 1, 0, 1)


def test_a_flat_vector_depends_on_everything(tmp_path: Path) -> None:
    assert receptive_field(parsed("f = Flatten (x) y = ReduceSum (f)", tmp_path), "y").at(0, 0) == (0, 8, 0, 6)
