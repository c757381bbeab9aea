"""The rows of the curves as a table, and through a checkpoint."""

from __future__ import annotations

import csv

import pytest

from onnxvis.errors import InputError
from onnxvis.models.finetune.curves import Row, csv_text, plain_rows, rows_from_plain

ROWS = [Row(20, 1.3862944, 0.25, 1.5, 0.2, 0.001), Row(40, 0.5, 0.75, 1e-7, 1.0, 5e-4)]


def test_the_table_reads_back_as_the_rows() -> None:
    read = list(csv.DictReader(csv_text(ROWS).splitlines()))
    assert list(read[0]) == ["step", "train_loss", "train_accuracy", "held_out_loss", "held_out_accuracy", "lr"]
    assert [[float(value) for value in row.values()] for row in read] == [
        pytest.approx([20, 1.3862944, 0.25, 1.5, 0.2, 0.001], rel=1e-5),
        pytest.approx([40, 0.5, 0.75, 1e-7, 1.0, 5e-4], rel=1e-5),
    ]
    assert read[0]["step"] == "20"


def test_rows_come_back_from_plain_lists() -> None:
    assert rows_from_plain(plain_rows(ROWS), "x.pth") == ROWS


@pytest.mark.parametrize(
    "content",
    [None, 5, [1], [[1, 2]], [["a"] * 6], [[float("inf")] * 6], [[]], [[0, 1, 1, 1, 1, 1]],
     [[2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]], [[1, float("nan"), 1, 1, 1, 1]], {"a": 1}],
)  # fmt: skip
def test_damaged_rows_are_refused(content: object) -> None:
    with pytest.raises(InputError, match=r"^x\.pth: its curves are damaged"):
        rows_from_plain(content, "x.pth")
