from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.index import BY_MATRIX, CASES
from tests.rewrite.differences import Case, worst_error
from tests.rewrite.transposes import linear_case, matrix_error

_SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
_LARGEST = [np.iinfo(kind).max for kind in (np.int32, np.int64)]
_LEAST = [np.iinfo(kind).min for kind in (np.int32, np.int64)]
_BOUNDS = st.integers(-6, 6) | st.sampled_from(_LARGEST + _LEAST)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@pytest.mark.parametrize("case", BY_MATRIX, ids=str)
def test_gradients_are_those_of_the_matrix(case: Case) -> None:
    assert matrix_error(case) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=_SHAPES, free=st.booleans(), steps_differ=st.booleans())
def test_any_slice_has_the_gradient_of_its_matrix(
    data: st.DataObject, shape: tuple[int, ...], free: bool, steps_differ: bool
) -> None:
    axes = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True))
    steps = st.sampled_from([-3, -2, -1, 1, 2, 3]) if steps_differ else st.just(1)
    bounds = {
        "starts": data.draw(st.lists(_BOUNDS, min_size=len(axes), max_size=len(axes))),
        "ends": data.draw(st.lists(_BOUNDS, min_size=len(axes), max_size=len(axes))),
        "axes": [axis - len(shape) if data.draw(st.booleans()) else axis for axis in axes],
        "steps": data.draw(st.lists(steps, min_size=len(axes), max_size=len(axes))),
    }
    pairs = list(zip(bounds["ends"], bounds["steps"], strict=True))
    assume(not any(end in _LARGEST and step < 0 for end, step in pairs))  # ONNX and ONNX Runtime differ there
    fed = data.draw(st.sets(st.sampled_from(["starts", "ends", "steps"])))
    others = {name: np.array(values, np.int64) for name, values in bounds.items()}
    assert matrix_error(linear_case("Slice", shape, others, fed=fed, free=free)) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=_SHAPES, free=st.booleans(), fed=st.booleans(), narrow=st.booleans())
def test_any_gather_has_the_gradient_of_its_matrix(
    data: st.DataObject, shape: tuple[int, ...], free: bool, fed: bool, narrow: bool
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    kept = data.draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    places = np.random.default_rng(len(kept)).integers(-shape[axis], shape[axis], kept)
    others = {"places": np.asarray(places, np.int32 if narrow else np.int64)}
    case = linear_case("Gather", shape, others, fed=["places"] if fed else [], free=free, axis=axis)
    assert matrix_error(case) <= 1e-5


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=_SHAPES, free=st.booleans(), fed=st.booleans())
def test_any_gather_nd_has_the_gradient_of_its_matrix(
    data: st.DataObject, shape: tuple[int, ...], free: bool, fed: bool
) -> None:
    batches = data.draw(st.integers(0, len(shape) - 1))
    depth = data.draw(st.integers(1, len(shape) - batches))
    points = data.draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    sizes = np.array(shape[batches : batches + depth])
    places = np.random.default_rng(depth).integers(-sizes, sizes, (*shape[:batches], *points, depth))
    fed_names = ["places"] if fed else []
    case = linear_case("GatherND", shape, {"places": places}, fed=fed_names, free=free, batch_dims=batches)
    assert matrix_error(case) <= 1e-5


def test_sums_over_places_that_repeat_many_times_lose_nothing_to_threads() -> None:
    places = np.random.default_rng(0).integers(0, 3, 60_000)
    case = linear_case("Gather", (3, 8), {"places": places})
    found = differentiate(Model(Path("case.onnx"), case.model, Path.cwd()), ["y"], ["x"], only=True)
    seed = np.ones((60_000, 8), np.float32)
    counts = np.bincount(places)[:, None].repeat(8, axis=1)
    for _ in range(5):
        session = ort.InferenceSession(found.proto.SerializeToString(), providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {found.seeds["y"]: seed})[0], counts)


def _reason(case: Case) -> str:
    with pytest.raises(RewriteError) as caught:
        differentiate(Model(Path("case.onnx"), case.model, Path.cwd()), ["y"], ["x"])
    return str(caught.value)


def test_a_slice_of_computed_axes_is_refused() -> None:
    bounds = {"starts": np.array([1]), "ends": np.array([2]), "axes": np.array([0])}
    assert "the axes that it cuts are computed, by 'axes'" in _reason(
        linear_case("Slice", (3, 4), bounds, fed=["axes"])
    )


def test_a_scatter_that_multiplies_is_refused() -> None:
    others = {"places": np.array([[1]]), "updates": np.ones((1, 1), np.float32)}
    case = linear_case("ScatterElements", (3, 4), others, fed=["updates"], reduction="mul")
    assert "its reduction is 'mul'; there is a rule for none and add" in _reason(case)
