"""Operators that compute, each alone: which rows and columns of its input a position reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.graph.receptive import receptive_field
from tests.graph.test_receptive_step import parsed

W = "w = Constant <value = float[1, 3, 3, 1] {1, 2, 3, 4, 5, 6, 7, 8, 9}> ()"
V = "v = Constant <value = float[6, 2] {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> ()"

# body: the field (y0, y1, x0, x1) of position (1, 2)
FIELDS = {
    "y = Relu (x)": (1, 2, 2, 3),
    "y = IsNaN (x)": (1, 2, 2, 3),
    f"{W} y = Conv <pads = [1, 0, 1, 0]> (x, w)": (0, 3, 2, 3),
    f"{W} y = Conv <strides = [2, 1]> (x, w)": (2, 5, 2, 3),
    "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)": (2, 4, 4, 6),
    "y = InstanceNormalization (x, one, one)": (0, 8, 0, 6),
    "y = Softmax <axis = 2> (x)": (0, 8, 2, 3),
    "y = Softmax <axis = 1> (x)": (1, 2, 2, 3),
    "y = LayerNormalization <axis = -1> (x, one)": (1, 2, 0, 6),
}
ONE = "one = Constant <value = float[3] {1, 1, 1}> ()"


@pytest.mark.parametrize("body", FIELDS)
def test_what_a_position_reads(body: str, tmp_path: Path) -> None:
    model = parsed(f"{ONE if 'one' in body else ''} {body}", tmp_path)
    assert receptive_field(model, "y").at(1, 2) == FIELDS[body]


@pytest.mark.parametrize(
    ("body", "field"),
    {
        "y = GlobalAveragePool (x)": (0, 8, 0, 6),
        "y = ReduceMax <axes = [2, 3]> (x)": (0, 8, 0, 6),
        f"{V} y = MatMul (x, v)": (0, 1, 0, 6),
        "y = ReduceMean <axes = [3]> (x)": (0, 1, 0, 6),
    }.items(),
)
def test_what_reduces(body: str, field: tuple[int, int, int, int], tmp_path: Path) -> None:
    assert receptive_field(parsed(body, tmp_path), "y").at(0, 0) == field
