from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.pad import BY_MATRIX, CASES
from tests.rewrite.differences import Case, worst_error
from tests.rewrite.transposes import linear_case, matrix_error
from tests.tiny import Array

_SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= 1e-5


@pytest.mark.parametrize("case", BY_MATRIX, ids=str)
def test_gradients_are_those_of_the_matrix(case: Case) -> None:
    assert matrix_error(case) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    shape=_SHAPES,
    mode=st.sampled_from(["constant", "reflect", "edge", "wrap"]),
    free=st.booleans(),
    fed=st.booleans(),
)
def test_any_pad_has_the_gradient_of_its_matrix(
    data: st.DataObject, shape: tuple[int, ...], mode: str, free: bool, fed: bool
) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    limits = [{"constant": 3, "edge": 3, "reflect": shape[axis] - 1, "wrap": shape[axis]}[mode] for axis in axes * 2]
    pads: Array = np.array([data.draw(st.integers(0, limit)) for limit in limits], np.int64)
    others = {"pads": pads, "fill": np.zeros(0, np.float32), "axes": np.array(axes, np.int64)}
    case = linear_case("Pad", shape, others, fed=["pads"] if fed else [], free=free, mode=mode)
    assert matrix_error(case) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=_SHAPES, free=st.booleans(), fed=st.booleans())
def test_any_pad_that_cuts_off_has_the_gradient_of_its_matrix(
    data: st.DataObject, shape: tuple[int, ...], free: bool, fed: bool
) -> None:
    before = [data.draw(st.integers(-size, 2)) for size in shape]
    after = [data.draw(st.integers(-size - min(cut, 0), 2)) for size, cut in zip(shape, before, strict=True)]
    others = {"pads": np.array([*before, *after], np.int64)}
    case = linear_case("Pad", shape, others, fed=["pads"] if fed else [], free=free)
    assert matrix_error(case) <= 1e-5


def test_a_pad_of_computed_axes_is_refused_where_it_repeats_values() -> None:
    others = {"pads": np.array([1, 0]), "fill": np.zeros(0, np.float32), "axes": np.array([1])}
    case = linear_case("Pad", (3, 4), others, fed=["axes"], mode="reflect")
    with pytest.raises(RewriteError, match="the axes that it pads are computed, by 'axes'"):
        differentiate(Model(Path("case.onnx"), case.model, Path.cwd()), ["y"], ["x"])


def test_a_pad_of_computed_axes_with_zeros_needs_not_know_them() -> None:
    others = {"pads": np.array([2, 1, 0, 3]), "fill": np.zeros(0, np.float32), "axes": np.array([-1, 0])}
    assert matrix_error(linear_case("Pad", (3, 4, 2), others, fed=["axes"])) <= 1e-5
