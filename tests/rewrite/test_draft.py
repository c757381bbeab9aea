from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from onnxvis.errors import RewriteError
from onnxvis.rewrite.draft import Draft
from tests.rewrite.differences import model_of, run
from tests.tiny import Array, from_text

_RNG = np.random.default_rng(0)


def _draft(inputs: Mapping[str, Sequence[int | str]], opset: int = 20) -> Draft:
    """A draft of a graph with these inputs."""
    nodes = [helper.make_node("Identity", [next(iter(inputs))], ["y"])]
    return Draft(model_of(nodes, inputs, {}, opset=opset), Path.cwd())


def _values(draft: Draft, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """What ONNX Runtime computes for these tensors."""
    model = ModelProto()
    model.CopyFrom(draft.proto)
    model.graph.output.extend(ValueInfoProto(name=name) for name in names)
    found = run(model, feeds, list(dict.fromkeys(names)))
    return [found[name] for name in names]


def _random(shape: Sequence[int]) -> Array:
    return _RNG.standard_normal(tuple(shape)).astype(np.float32)


def test_constants_are_one_where_they_are_equal_in_values_type_and_shape() -> None:
    draft = _draft({"x": (2,)})
    arrays: list[Any] = [np.zeros(1, np.int64), np.zeros((), np.int64), np.zeros(1, np.float32), np.ones(1, np.int64)]
    names = [draft.constant(array) for array in arrays]
    assert [draft.constant(array.copy()) for array in arrays] == names
    assert len(set(names)) == len(names) == len(draft.proto.graph.initializer)
    for array, value in zip(arrays, _values(draft, names, {"x": _random((2,))}), strict=True):
        np.testing.assert_array_equal(value, array, strict=True)


def test_vectors_and_numbers_have_the_type_that_is_asked_for() -> None:
    draft = _draft({"x": (2,)})
    vector, none, number = _values(
        draft, [draft.ints([3, -1]), draft.ints([]), draft.number(1.5, "x")], {"x": _random((2,))}
    )
    np.testing.assert_array_equal(vector, np.array([3, -1]), strict=True)
    np.testing.assert_array_equal(none, np.zeros(0, np.int64), strict=True)
    np.testing.assert_array_equal(number, np.array(1.5, np.float32), strict=True)


def test_names_are_new_even_where_a_branch_has_the_same() -> None:
    model = from_text("""g (float[2] x, bool c) => (float[2] y) {
        y = If (c) <
            then_branch = a () => (float[2] n) { added = Neg(x)  n = Neg(added) },
            else_branch = b () => (float[2] m) { "added.2/Neg_1" = Neg(x)  m = Neg("added.2/Neg_1") }
        >
    }""")
    draft = Draft(model, Path.cwd())
    made = draft.add("Neg", ["x"])
    assert made == "added.2/Neg_1.2"
    assert draft.fresh("m") == "m.2"
    assert draft.fresh("m") == "m.3"
    x = _random((2,))
    np.testing.assert_array_equal(_values(draft, [made], {"x": x, "c": np.array(True)})[0], -x)


def test_the_model_given_is_not_changed() -> None:
    model = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": (2,)}, {})
    before = model.SerializeToString()
    draft = Draft(model, Path.cwd())
    draft.add("Neg", ["y"])
    draft.constant(np.zeros(3))
    assert model.SerializeToString() == before


def test_a_tensor_of_unknown_rank_is_named() -> None:
    model = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": (2,)}, {})
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(RewriteError, match="the rank of tensor 'x' is not known"):
        Draft(model, Path.cwd()).rank("x")


def test_what_is_known_of_a_tensor_is_its_shape_type_and_stored_value() -> None:
    weight = _random((3,))
    model = model_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"x": ("n", 2, 3)}, {"w": weight})
    draft = Draft(model, Path.cwd())
    assert draft.shape("y") == ("n", 2, 3)
    assert draft.sizes("y") is None
    assert draft.sizes("y", 1) == (2, 3)
    assert draft.dtype("y") == "float32"
    assert draft.value("y") is None
    assert draft.value("") is None
    stored = draft.value("w")
    assert stored is not None
    np.testing.assert_array_equal(stored, weight, strict=True)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, "c", 4), ("n", 3, "w"), ("n", "c", "w")])
def test_shapes_and_sizes_are_those_of_the_run(shape: tuple[int | str, ...]) -> None:
    draft = _draft({"x": shape})
    names = [draft.shape_of("x"), *(draft.size_of("x", axis) for axis in (0, 1, 2, -1, -2))]
    found = _values(draft, names, {"x": _random((2, 3, 4))})
    for value, expected in zip(found, ([2, 3, 4], [2], [3], [4], [4], [3]), strict=True):
        np.testing.assert_array_equal(value, np.array(expected), strict=True)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, "c", 4), ("n", 3, "w"), ("n", "c", "w")])
def test_tensors_take_the_shape_of_another(shape: tuple[int | str, ...]) -> None:
    draft = _draft({"x": shape, "flat": (24,), "row": (3, 1)})
    names = [draft.reshape_like("flat", "x"), draft.expand_like("row", "x"), draft.zeros_like("x")]
    feeds = {"x": _random((2, 3, 4)), "flat": _random((24,)), "row": _random((3, 1))}
    reshaped, expanded, zeros = _values(draft, names, feeds)
    np.testing.assert_array_equal(reshaped, feeds["flat"].reshape(2, 3, 4), strict=True)
    np.testing.assert_array_equal(expanded, np.broadcast_to(feeds["row"], (2, 3, 4)), strict=True)
    np.testing.assert_array_equal(zeros, np.zeros((2, 3, 4), np.float32), strict=True)


def test_an_empty_tensor_keeps_its_shape() -> None:
    draft = _draft({"x": (0, 3), "flat": (0,)})
    feeds = {"x": np.zeros((0, 3), np.float32), "flat": np.zeros(0, np.float32)}
    assert _values(draft, [draft.reshape_like("flat", "x")], feeds)[0].shape == (0, 3)


@pytest.mark.parametrize("opset", [16, 17, 18, 20])
def test_reductions_and_casts_compute_what_numpy_does(opset: int) -> None:
    draft = _draft({"x": (2, 3, 4)}, opset)
    condition = draft.add("Greater", ["x", draft.number(0, "x")])
    names = [
        draft.reduce_sum("x", [0, 2]),
        draft.reduce_sum("x", [1], keepdims=False),
        draft.reduce_mean("x", [1, 2]),
        draft.unsqueeze("x", [0, 4]),
        draft.cast("x", "float64"),
        draft.masked("x", condition, "x"),
    ]
    x = _random((2, 3, 4))
    expected = [
        x.sum((0, 2), keepdims=True), x.sum(1), x.mean((1, 2), keepdims=True), x[None, ..., None], x.astype(np.float64),
        np.maximum(x, 0),
    ]  # fmt: skip
    for value, array in zip(_values(draft, names, {"x": x}), expected, strict=True):
        np.testing.assert_allclose(value, array, rtol=1e-5, strict=True)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.lists(st.integers(1, 3), max_size=4))
def test_what_was_broadcast_is_summed_back(data: st.DataObject, shape: list[int]) -> None:
    """Each dimension is known, free by a symbol of its own, or free by one that both shapes share."""
    lead = data.draw(st.integers(0, len(shape)))
    small = [1 if data.draw(st.booleans()) else size for size in shape[lead:]]
    kinds = [data.draw(st.sampled_from(["known", "free", "shared"])) for _ in small]
    first: list[int | str] = [
        f"l{axis}" if data.draw(st.booleans()) else size for axis, size in enumerate(shape[:lead])
    ]
    second: list[int | str] = []
    for axis, (kind, few, many) in enumerate(zip(kinds, small, shape[lead:], strict=True)):
        shared = kind == "shared" and few == many
        first.append(f"s{axis}" if shared else many if kind == "known" else f"a{axis}")
        second.append(f"s{axis}" if shared else few if kind == "known" else f"b{axis}")
    draft = _draft({"large": first, "small": second})
    feeds = {"large": _random(shape), "small": _random(small)}
    found = _values(draft, [draft.sum_to("large", "small", "large")], feeds)[0]
    axes = [lead + axis for axis, size in enumerate(small) if size == 1]
    expected = feeds["large"].sum((*range(lead), *axes), keepdims=True, dtype=np.float64).reshape(small)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nothing_is_summed_where_both_shapes_are_known_to_be_the_same() -> None:
    draft = _draft({"x": ("n", 3), "z": ("n", 3)})
    assert draft.sum_to("x", "z", "x") == "x"


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    count=st.integers(0, 6),
    free=st.booleans(),
    double=st.booleans(),
)
def test_slices_are_summed_at_their_places(
    data: st.DataObject, shape: list[int], count: int, free: bool, double: bool
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    places: Array = np.array(
        data.draw(st.lists(st.integers(-size, size - 1), min_size=count, max_size=count)), np.int64
    )
    dtype: type[np.floating[Any]] = np.float64 if double else np.float32
    given_shape = [count if place == axis % len(shape) else other for place, other in enumerate(shape)]
    feeds = {"x": np.zeros(shape, dtype), "updates": _random(given_shape).astype(dtype), "places": places}
    draft = _scattering(shape, given_shape, free, double)
    found = _values(draft, [draft.scatter_sum("updates", "places", axis, "x")], feeds)[0]
    expected: Array = np.zeros(shape, dtype)
    np.add.at(np.moveaxis(expected, axis, 0), places, np.moveaxis(feeds["updates"], axis, 0))
    np.testing.assert_allclose(found, expected, atol=1e-5, strict=True)


def _scattering(shape: Sequence[int], updates: Sequence[int], free: bool, double: bool) -> Draft:
    """A draft with inputs x, updates and places."""
    given = {"x": shape, "updates": updates}
    inputs = {name: [f"{name}{axis}" for axis in range(len(dims))] if free else dims for name, dims in given.items()}
    model = model_of([helper.make_node("Identity", ["x"], ["y"])], inputs, {})
    for value in model.graph.input if double else ():
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    model.graph.input.append(helper.make_tensor_value_info("places", TensorProto.INT64, ["count"]))
    return Draft(model, Path.cwd())


def test_scattered_slices_may_differ_from_the_tensor_along_other_axes() -> None:
    draft = _scattering((5, 3), (2, 4), free=True, double=False)
    feeds = {"x": _random((5, 3)), "updates": _random((2, 4)), "places": np.array([-1, 0])}
    found = _values(draft, [draft.scatter_sum("updates", "places", 0, "x")], feeds)[0]
    expected = np.zeros((5, 4), np.float32)
    expected[[4, 0]] = feeds["updates"]
    np.testing.assert_array_equal(found, expected, strict=True)
