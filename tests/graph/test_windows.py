"""Windows along one axis against loops; through whole graphs they are tested with receptive fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.graph.windows import pooled_count, resized, same_pads, sliding, transposed

SMALL = st.integers(1, 4)
PLAIN = {"mode": "linear", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "floor", "antialias": 0}


@settings(deadline=None)
@given(length=st.integers(1, 20), kernel=SMALL, stride=SMALL, dilation=SMALL, pad=st.integers(0, 4))
def test_a_transposed_convolution_is_a_convolution_read_backwards(
    length: int, kernel: int, stride: int, dilation: int, pad: int
) -> None:
    forward = sliding(length, kernel, stride, dilation, pad)
    count = (length - 1) * stride + dilation * (kernel - 1) + 1 - pad
    backward = transposed(max(count, 0), kernel, stride, dilation, pad)
    for o, taps in enumerate(backward):
        reached = {int(tap) for tap in taps if 0 <= tap < length}
        assert reached == {i for i in range(length) if o in forward[i]}


@settings(deadline=None)
@given(length=st.integers(1, 30), kernel=SMALL, stride=SMALL, before=st.integers(0, 3), after=st.integers(0, 3))
def test_counts(length: int, kernel: int, stride: int, before: int, after: int) -> None:
    if length + before + after < kernel:
        return
    starts = range(-before, length + after, stride)
    fitting = [start for start in starts if start + kernel <= length + after]
    assert pooled_count(length, kernel, stride, 1, (before, after), ceil=False) == len(fitting)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "pads", "count"),
    [
        (5, 2, 2, (0, 0), 3),
        (112, 3, 2, (0, 0), 56),  # GoogLeNet's first pool
        (54, 3, 2, (0, 0), 27),  # SqueezeNet's
        (4, 2, 2, (1, 1), 3),
        (3, 1, 2, (0, 1), 2),  # a window that begins in the padding at the end is none
    ],
)
def test_counts_that_round_up(length: int, kernel: int, stride: int, pads: tuple[int, int], count: int) -> None:
    assert pooled_count(length, kernel, stride, 1, pads, ceil=True) == count


@settings(deadline=None)
@given(length=st.integers(1, 40), kernel=SMALL, stride=SMALL, dilation=SMALL)
def test_same_means_as_many_windows_as_strides(length: int, kernel: int, stride: int, dilation: int) -> None:
    for lower in (False, True):
        pads = same_pads(length, kernel, stride, dilation, lower=lower)
        reach = dilation * (kernel - 1) + 1
        if stride <= reach:
            assert pooled_count(length, kernel, stride, dilation, pads, ceil=False) == -(-length // stride)
        assert abs(pads[0] - pads[1]) <= 1
        assert pads[0] >= pads[1] if lower else pads[0] <= pads[1]


def test_interpolation_at_a_pixel_s_centre_reads_that_pixel_alone() -> None:
    taps = resized(3, 9, 3.0, PLAIN)
    assert [sorted(set(row.tolist())) for row in taps] == [[0], [0], [0, 1], [0, 1], [1], [1, 2], [1, 2], [2], [2]]


def test_ties_of_nearest_fall_as_asked() -> None:
    how = {**PLAIN, "mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
    expected = {
        "floor": [0, 0, 1, 1],
        "ceil": [0, 1, 1, 1],
        "round_prefer_floor": [0, 0, 1, 1],
        "round_prefer_ceil": [0, 1, 1, 1],
    }
    for mode, places in expected.items():
        np.testing.assert_array_equal(resized(2, 4, 2.0, {**how, "nearest_mode": mode})[:, 0], places)


@pytest.mark.parametrize(
    "change",
    [
        {"coordinate_transformation_mode": "tf_crop_and_resize"},
        {"mode": "nearest", "nearest_mode": "odd"},
        {"antialias": 1, "coordinate_transformation_mode": "asymmetric"},
    ],
)
def test_what_depends_on_more_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"coordinate|nearest"):
        resized(8, 4, 0.5, {**PLAIN, **change})
