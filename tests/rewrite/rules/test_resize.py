from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.resize import BY_MATRIX, CASES
from tests.rewrite.differences import Case, worst_error
from tests.rewrite.transposes import linear_case, matrix_error
from tests.tiny import Array

_NONE = np.zeros(0, np.float32)
_MOVED = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
_ROUNDED = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
_MODES: list[dict[str, Any]] = [
    *({"mode": "nearest", "nearest_mode": rounded} for rounded in _ROUNDED),
    {"mode": "linear"},
    {"mode": "cubic"},
    {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
    {"mode": "linear", "antialias": 1},
    {"mode": "cubic", "antialias": 1},
]


def _resize(shape: tuple[int, ...], scales: Any = (), sizes: Any = (), **given: Any) -> Case:
    others: dict[str, Array] = {
        "roi": _NONE,
        "scales": np.array(scales, np.float32),
        "sizes": np.array(sizes, np.int64),
    }
    return linear_case("Resize", shape, others, **given)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= 1e-5


@pytest.mark.parametrize("case", BY_MATRIX, ids=str)
def test_gradients_are_those_of_the_matrix(case: Case) -> None:
    assert matrix_error(case) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(_MODES),
    moved=st.sampled_from(_MOVED),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    scales=st.tuples(*[st.floats(1, 3, width=32) | st.sampled_from([0.5, 1, 1.1, 2, 3, 0.75])] * 2),
    free=st.booleans(),
    fed=st.booleans(),
)
def test_any_resize_by_scales_has_the_gradient_of_its_matrix(
    mode: dict[str, Any], moved: str, size: tuple[int, int], scales: tuple[float, float], free: bool, fed: bool
) -> None:
    scales = (max(scales[0], 1 / size[0]), max(scales[1], 1 / size[1]))  # no size becomes 0
    names = ["scales"] if fed else []
    attributes = {**mode, "coordinate_transformation_mode": moved}
    assert matrix_error(_resize((1, 1, *size), (1, 1, *scales), fed=names, free=free, **attributes)) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(_MODES),
    moved=st.sampled_from(_MOVED),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    target=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    free=st.booleans(),
    fed=st.booleans(),
)
def test_any_resize_to_sizes_has_the_gradient_of_its_matrix(
    mode: dict[str, Any], moved: str, size: tuple[int, int], target: tuple[int, int], free: bool, fed: bool
) -> None:
    names = ["sizes"] if fed else []
    attributes = {**mode, "coordinate_transformation_mode": moved}
    case = _resize((1, 1, *size), sizes=(1, 1, *target), fed=names, free=free, **attributes)
    assert matrix_error(case) <= 1e-5


@pytest.mark.parametrize("factor", [2, 3, 5, 7])
@pytest.mark.parametrize(
    ("moved", "rounded"),
    [("asymmetric", "floor"), *((half, to) for half in ("half_pixel", "pytorch_half_pixel") for to in _ROUNDED[2:])],
)
def test_values_repeated_a_whole_number_of_times_are_summed_in_blocks(moved: str, rounded: str, factor: int) -> None:
    attributes = {"mode": "nearest", "nearest_mode": rounded, "coordinate_transformation_mode": moved}
    case = _resize((1, 1, 40, 1), (1, 1, factor, 1), free=True, **attributes)
    found = differentiate(Model(Path("case.onnx"), case.model, Path.cwd()), ["y"], ["x"], only=True)
    assert "Resize" not in {node.op_type for node in found.proto.graph.node}
    assert matrix_error(case) <= 1e-5


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"keep_aspect_ratio_policy": "not_larger"}, "its keep_aspect_ratio_policy is 'not_larger'"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "is tf_crop_and_resize, which also crops"),
    ],
)
def test_what_is_not_a_matrix_of_each_axis_is_refused(attributes: dict[str, str], reason: str) -> None:
    case = _resize((1, 1, 4, 4), sizes=(1, 1, 7, 5), **attributes)
    with pytest.raises(RewriteError, match=reason):
        differentiate(Model(Path("case.onnx"), case.model, Path.cwd()), ["y"], ["x"])
