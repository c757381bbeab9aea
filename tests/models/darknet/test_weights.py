"""Weights files: headers, the order of their floats, and files that are cut off or of another network."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from onnxvis.errors import ModelError
from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.layers import tensors
from onnxvis.models.darknet.plan import Plan, make_plan
from onnxvis.models.darknet.structures import yolov3_tiny
from onnxvis.models.darknet.weights import FileWeights
from tests.models.darknet.cfgs import plan_of
from tests.references.make_darknet import weights_bytes

HEADER = struct.pack("<3iq", 0, 2, 5, 32013312)


@pytest.fixture
def plan() -> Plan:
    return plan_of(
        "conv batch_normalize=1 filters=2", "maxpool", "connected output=3 batch_normalize=1", "conv filters=2"
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.weights"


def write(path: Path, plan: Plan, header: bytes = HEADER) -> None:
    path.write_bytes(header + np.arange(plan.parameters, dtype="<f4").tobytes())


@pytest.mark.parametrize(
    "header",
    [HEADER, struct.pack("<4i", 0, 1, 0, 7), struct.pack("<3iq", 1, 0, 0, 7), struct.pack("<3iq", 0, 2, 999, -1)],
)
def test_floats_come_in_darknets_order_after_either_header(plan: Plan, path: Path, header: bytes) -> None:
    write(path, plan, header)
    weights = FileWeights(path, plan)
    first, _, second, third = (weights.of(layer) for layer in plan.layers)
    assert {name: values.reshape(-1).tolist() for name, values in first.items()} == {
        "bias": [0, 1], "scale": [2, 3], "mean": [4, 5], "variance": [6, 7], "weight": [8, 9, 10, 11, 12, 13],
    }  # fmt: skip
    count = 3 * 2 * 16 * 16
    assert second["bias"].tolist() == [14, 15, 16]
    np.testing.assert_array_equal(second["weight"].reshape(-1), np.arange(17, 17 + count))
    assert second["variance"].tolist() == [17 + count + number for number in (6, 7, 8)]
    assert third["weight"].reshape(-1).tolist() == [28 + count + number for number in range(6)]
    assert weights.notes == ()


def test_matrices_may_be_transposed(plan: Plan, path: Path) -> None:
    """A version above 1000 says that they stand (inputs, outputs)."""
    write(path, plan, struct.pack("<3iq", 1001, 0, 0, 7))
    matrix = FileWeights(path, plan).of(plan.layers[2])["weight"]
    assert matrix.shape == (3, 512)
    assert matrix[:2, :2].tolist() == [[17, 20], [18, 21]]


@pytest.mark.parametrize("size", [0, 1, 8, 11, 12, 19])
def test_a_file_that_ends_in_its_header(plan: Plan, path: Path, size: int) -> None:
    path.write_bytes(HEADER[:size])
    least = 20 if size >= 12 else 16
    with pytest.raises(
        ModelError, match=f"^x.weights ends within its header: it has {size} bytes of at least {least}$"
    ):
        FileWeights(path, plan)


def test_a_file_that_ends_after_its_header(plan: Plan, path: Path) -> None:
    path.write_bytes(HEADER)
    with pytest.raises(
        ModelError, match=r"x.weights is cut off.* section 0 \[convolutional\] needs 2 floats for its bias"
    ):
        FileWeights(path, plan)


def test_a_file_cut_off_anywhere_names_what_is_missing(path: Path) -> None:
    """At every end of a tensor of YOLOv3-tiny, a float before and a float after, and in the middle of a float."""
    plan = make_plan(parse_cfg(yolov3_tiny(), "tiny.cfg"))
    path.write_bytes(HEADER)
    tried = 0
    start = 0
    for layer in plan.layers:
        for name, shape in tensors(layer.what).items():
            count = math.prod(shape)
            for held, odd in ((start, 0), (start + 1, 0), (start + count - 1, 0), (start + count - 1, 3)):
                os.truncate(path, len(HEADER) + 4 * held + odd)
                with pytest.raises(ModelError) as caught:
                    FileWeights(path, plan)
                missing = start + count - held
                assert str(caught.value) == (
                    f"x.weights is cut off, or belongs to another cfg: section {layer.number} [convolutional] needs "
                    f"{count:,} floats for its {name} at {start:,}, {missing:,} are missing; tiny.cfg takes "
                    f"{plan.parameters:,} in all, the file has {held:,}"
                )
                tried += 1
            start += count
    assert tried == 4 * (11 * 5 + 2 * 2)
    os.truncate(path, len(HEADER) + 4 * start)
    assert FileWeights(path, plan)


@pytest.mark.parametrize("extra", [1, 4, 4000])
def test_a_file_with_more_than_the_network_takes(plan: Plan, path: Path, extra: int) -> None:
    write(path, plan)
    path.write_bytes(path.read_bytes() + bytes(extra))
    with pytest.raises(
        ModelError, match=f"^x.weights has {extra:,} bytes left after the last layer of x.cfg, which takes"
    ):
        FileWeights(path, plan)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>" * 9, b"\x08\x08" * 99, b"PK\x03\x04" * 99, b"\xff" * 99])
def test_files_of_another_kind(plan: Plan, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"^x\.weights does not begin as a \.weights file of Darknet does$"):
        FileWeights(path, plan)


def test_what_is_no_file(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist; name a"):
        FileWeights(tmp_path / "none", plan)
    with pytest.raises(ModelError, match="is not a file; name a"):
        FileWeights(tmp_path, plan)


def test_numbers_that_are_none_are_told(plan: Plan, path: Path) -> None:
    floats = np.ones(plan.parameters, "<f4")
    floats[9], floats[12], floats[6], floats[-1] = np.nan, np.inf, -1, np.nan
    path.write_bytes(HEADER + floats.tobytes())
    weights = FileWeights(path, plan)
    for layer in plan.layers:
        weights.of(layer)
    assert weights.notes == (
        "x.weights: section 0 [convolutional] has a variance below 0: wrong cfg?",
        "x.weights: section 0 [convolutional] has 2 of 6 numbers that are not finite in its weight",
    )


def test_a_network_without_weights(path: Path) -> None:
    path.write_bytes(HEADER)
    plan = plan_of("maxpool")
    assert FileWeights(path, plan).of(plan.layers[0]) == {}


def test_weights_are_views_of_the_file(path: Path) -> None:
    plan = plan_of("convolutional filters=4 batch_normalize=1")
    path.write_bytes(weights_bytes(plan))
    arrays = FileWeights(path, plan).of(plan.layers[0])
    assert all(isinstance(values, np.memmap) for values in arrays.values())
