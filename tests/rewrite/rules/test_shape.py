from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx.defs import onnx_opset_version
from onnx.reference import ReferenceEvaluator

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import Gradient, differentiate
from tests.rewrite.cases.shape import CASES
from tests.rewrite.differences import Case, model_of, run, single, worst_error
from tests.tiny import Array

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@st.composite
def moves(draw: st.DrawFn) -> tuple[str, list[int], dict[str, Array], dict[str, Any]]:
    """An operator that moves values: its name, the shape of x, what else it reads, attributes."""
    op = draw(st.sampled_from(["Transpose", "Expand", "Tile", "Flatten", "Unsqueeze", "DepthToSpace", "SpaceToDepth"]))
    shape = draw(SHAPES)
    rank = len(shape)
    if op == "Transpose":
        return op, shape, {}, {"perm": draw(st.permutations(range(rank)))}
    if op == "Flatten":
        return op, shape, {}, {"axis": draw(st.integers(-rank, rank))}
    if op == "Unsqueeze":
        return op, shape, {"axes": np.array([draw(st.integers(-rank - 1, rank))])}, {}
    if op == "Tile":
        return op, shape, {"repeats": np.array([draw(st.integers(1, 3)) for _ in shape])}, {}
    if op == "Expand":
        sizes = [*draw(SHAPES)[:1], *(size if size > 1 else draw(st.integers(1, 3)) for size in shape)]
        return op, shape, {"sizes": np.array(sizes[draw(st.integers(0, 1)) :])}, {}
    block = draw(st.integers(1, 3))
    batch, channels, height, width = (draw(st.integers(1, 3)) for _ in range(4))
    if op == "SpaceToDepth":
        return op, [batch, channels, height * block, width * block], {}, {"blocksize": block}
    mode = draw(st.sampled_from(["DCR", "CRD"]))
    return op, [batch, channels * block**2, height, width], {}, {"blocksize": block, "mode": mode}


def gradient_of(model: ModelProto) -> Gradient:
    return differentiate(Model(Path("m.onnx"), model, Path.cwd()), ["y"], ["x"])


def moved_back(places: Array, upstream: Array, shape: Sequence[int]) -> Array:
    """`places` says which element of x each element of the output is: each gets the sum of what they have."""
    total = np.zeros(int(np.prod(shape)))
    np.add.at(total, places.reshape(-1).astype(np.int64), upstream.reshape(-1))
    return total.reshape(shape)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@settings(max_examples=100)
@given(move=moves(), free=st.lists(st.booleans(), min_size=4, max_size=4))
def test_values_are_moved_back_to_where_they_came_from(
    move: tuple[str, list[int], dict[str, Array], dict[str, Any]], free: list[bool]
) -> None:
    op, shape, weights, attributes = move
    if op == "DepthToSpace":
        free[1] = False
    declared = [f"n{axis}" if free[axis] else size for axis, size in enumerate(shape)]
    model = single(op, declared, weights, **attributes)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    places = run(model, {"x": x})["y"]
    upstream = np.random.default_rng(3).standard_normal(places.shape).astype(np.float32)
    found = gradient_of(model)
    gradient = run(found.proto, {"x": x, found.seeds["y"]: upstream})[found.gradients["x"]]
    np.testing.assert_allclose(gradient, moved_back(places, upstream, shape), rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(sizes=st.lists(st.integers(1, 3), min_size=1, max_size=4), axis=st.integers(-3, 2), free=st.booleans())
def test_what_is_split_and_joined_in_another_order_comes_back(sizes: list[int], axis: int, free: bool) -> None:
    """The first part goes nowhere, the others are joined from the last to the first."""
    shape = [2, 3, 2]
    shape[axis] = 1 + sum(sizes)
    parts = [f"part{place}" for place in range(len(sizes) + 1)]
    nodes = [
        helper.make_node("Split", ["x", "sizes"], parts, axis=axis),
        helper.make_node("Concat", parts[:0:-1], ["y"], axis=axis),
    ]
    declared = ["n", "c", "w"] if free else shape
    model = model_of(nodes, {"x": declared}, {"sizes": np.array([1, *sizes])})
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    places = run(model, {"x": x})["y"]
    upstream = np.random.default_rng(3).standard_normal(places.shape).astype(np.float32)
    found = gradient_of(model)
    gradient = run(found.proto, {"x": x, found.seeds["y"]: upstream})[found.gradients["x"]]
    np.testing.assert_array_equal(gradient, moved_back(places, upstream, shape))


def test_a_tensor_that_is_joined_with_itself_gets_the_sum() -> None:
    found = gradient_of(single("Concat", (2, 2), inputs=["x", "x"], axis=0))
    upstream = np.arange(8, dtype=np.float32).reshape(4, 2)
    gradient = run(found.proto, {"x": np.zeros((2, 2), np.float32), found.seeds["y"]: upstream})[found.gradients["x"]]
    np.testing.assert_array_equal(gradient, [[0 + 4, 1 + 5], [2 + 6, 3 + 7]])


def test_tiles_that_are_no_times_repeated_have_a_gradient_of_zero() -> None:
    found = gradient_of(single("Tile", (2, "w"), {"repeats": np.array([3, 0])}))
    feeds = {"x": np.ones((2, 4), np.float32), found.seeds["y"]: np.zeros((6, 0), np.float32)}
    np.testing.assert_array_equal(run(found.proto, feeds)[found.gradients["x"]], np.zeros((2, 4)))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_of_operator_set_28_has_two_modes(mode: str) -> None:
    """ONNX Runtime does not know that operator set, so ONNX's own evaluator runs it."""
    version = 28
    if version > onnx_opset_version():
        pytest.skip("the installed onnx does not know operator set 28")
    node = helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2, mode=mode)
    model = model_of([node], {"x": (1, 3, 4, 6)}, {}, opset=version)
    x = np.arange(72, dtype=np.float32).reshape(1, 3, 4, 6)
    [places] = map(np.asarray, ReferenceEvaluator(model).run(None, {"x": x}))
    upstream = np.random.default_rng(3).standard_normal(places.shape).astype(np.float32)
    found = gradient_of(model)
    evaluator = ReferenceEvaluator(found.proto)
    [gradient] = evaluator.run([found.gradients["x"]], {"x": x, found.seeds["y"]: upstream})
    np.testing.assert_array_equal(gradient, moved_back(places, upstream, x.shape))


def test_a_whole_number_ends_the_gradient() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Cast", ["whole"], ["back"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["back", "x"], ["y"]),
    ]
    found = gradient_of(model_of(nodes, {"x": (3,)}, {}))
    feeds = {"x": np.array([1.2, 2.7, -3.1], np.float32), found.seeds["y"]: np.array([1, 2, 3], np.float32)}
    np.testing.assert_array_equal(run(found.proto, feeds)[found.gradients["x"]], [1, 2, 3])


def test_a_cast_to_a_handful_of_values_is_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["coarse"], to=TensorProto.FLOAT8E4M3FN),
        helper.make_node("Cast", ["coarse"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(RewriteError, match="float8e4m3fn holds too few values"):
        gradient_of(model_of(nodes, {"x": (3,)}, {}))


def test_dropping_at_random_is_refused() -> None:
    weights = {"ratio": np.array(0.5, np.float32), "training": np.array(True)}
    with pytest.raises(RewriteError, match="training_mode is set"):
        gradient_of(single("Dropout", (2, 3), weights))
    del weights["ratio"]
    with pytest.raises(RewriteError, match="training_mode is set"):
        gradient_of(single("Dropout", (2, 3), weights, inputs=["x", "", "training"]))


def test_dropping_that_the_run_decides_is_refused() -> None:
    model = single("Dropout", (2, 3), inputs=["x", "", "training"])
    model.graph.input.append(helper.make_tensor_value_info("training", TensorProto.BOOL, []))
    with pytest.raises(RewriteError, match="known in the run alone, by 'training'"):
        gradient_of(model)


def test_channels_in_the_order_crd_must_be_known() -> None:
    with pytest.raises(RewriteError, match="number of its channels is not known"):
        gradient_of(single("DepthToSpace", (1, "channels", 2, 2), blocksize=2, mode="CRD"))
