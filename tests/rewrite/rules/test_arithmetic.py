from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.arithmetic import CASES
from tests.rewrite.differences import Case, model_of, run, single, worst_error
from tests.tiny import Array

Slopes = Callable[[Array, Array], tuple[Array, Array]]

SLOPES: dict[str, Slopes] = {
    "Add": lambda a, b: (np.ones_like(a), np.ones_like(b)),
    "Sub": lambda a, b: (np.ones_like(a), -np.ones_like(b)),
    "Mul": lambda a, b: (b, a),
    "Div": lambda a, b: (1 / b, -a / b**2),
    "Pow": lambda a, b: (b * a ** (b - 1), a**b * np.log(a)),
    "Max": lambda a, b: (np.heaviside(a - b, 0.5), np.heaviside(b - a, 0.5)),
    "Min": lambda a, b: (np.heaviside(b - a, 0.5), np.heaviside(a - b, 0.5)),
    "Mean": lambda a, b: (np.full_like(a, 0.5), np.full_like(b, 0.5)),
}
"""Of two operands repeated to one shape."""


@st.composite
def operands(draw: st.DrawFn) -> tuple[list[Array], list[list[int | str]]]:
    """Two arrays that can be broadcast to each other, and how their shapes are declared."""
    sizes = draw(st.lists(st.integers(1, 3), max_size=4))
    arrays: list[Array] = []
    declared: list[list[int | str]] = []
    for key in "ab":
        shape = [draw(st.sampled_from((size, size, 1))) for size in sizes[draw(st.integers(0, len(sizes))) :]]
        values = draw(st.lists(st.integers(1, 9), min_size=1, max_size=81))
        arrays.append(np.resize(np.array(values, np.float32) / 4, shape))
        ways: list[tuple[int | str, ...]] = [
            (size, f"{key}{axis}", f"of size {size}") for axis, size in enumerate(shape)
        ]
        declared.append([draw(st.sampled_from(way)) for way in ways])
    return arrays, declared


def added_up(slope: Array, upstream: Array, shape: Sequence[int]) -> Array:
    """Each element of the operand gets what the elements of the output that it was repeated to have."""
    places = np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), upstream.shape)
    total = np.zeros(int(np.prod(shape)))
    np.add.at(total, places.reshape(-1), (slope * upstream).reshape(-1))
    return total.reshape(shape)


def gradients(model: ModelProto, feeds: dict[str, Array], upstream: Array, wrt: Sequence[str]) -> dict[str, Array]:
    found = differentiate(Model(Path("m.onnx"), model, Path.cwd()), ["y"], wrt)
    values = run(found.proto, {**feeds, found.seeds["y"]: upstream}, list(found.gradients.values()))
    return {name: values[gradient] for name, gradient in found.gradients.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@settings(max_examples=120)
@given(op=st.sampled_from(sorted(SLOPES)), both=operands())
def test_what_was_repeated_is_added_up(op: str, both: tuple[list[Array], list[list[int | str]]]) -> None:
    (a, b), declared = both
    model = model_of([helper.make_node(op, ["a", "b"], ["y"])], {"a": declared[0], "b": declared[1]}, {})
    whole = np.broadcast_arrays(a.astype(np.float64), b.astype(np.float64))
    upstream = np.random.default_rng(2).standard_normal(whole[0].shape).astype(np.float32)
    found = gradients(model, {"a": a, "b": b}, upstream, ["a", "b"])
    for name, value, slope in zip("ab", (a, b), SLOPES[op](*whole), strict=True):
        expected = added_up(slope, upstream, value.shape)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5 * float(np.abs(slope).max()))
        assert found[name].shape == value.shape


@settings(max_examples=40)
@given(both=operands(), chosen=st.lists(st.booleans(), min_size=1, max_size=9))
def test_a_choice_passes_the_gradient_to_what_was_chosen(
    both: tuple[list[Array], list[list[int | str]]], chosen: list[bool]
) -> None:
    (a, b), declared = both
    condition = np.resize(np.array(chosen), a.shape)
    model = model_of([helper.make_node("Where", ["c", "a", "b"], ["y"])], {"a": declared[0], "b": declared[1]}, {})
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, declared[0]))
    upstream = np.random.default_rng(2).standard_normal(np.broadcast_shapes(a.shape, b.shape)).astype(np.float32)
    found = gradients(model, {"a": a, "b": b, "c": condition}, upstream, ["a", "b"])
    slope = np.broadcast_to(condition, upstream.shape)
    np.testing.assert_allclose(found["a"], added_up(slope, upstream, a.shape), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["b"], added_up(~slope, upstream, b.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("op", ["Min", "Max"])
def test_operands_that_tie_share_the_gradient(op: str) -> None:
    model = model_of([helper.make_node(op, ["a", "b", "c"], ["y"])], dict.fromkeys("abc", (3,)), {})
    same, other = np.array([1, 2, 7], np.float32), np.array([9, 2, 8], np.float32)
    found = gradients(model, {"a": same, "b": same, "c": other}, np.array([1, 3, 5], np.float32), ["a", "b", "c"])
    shares, rest = {"Min": ([0.5, 1, 2.5], [0.0, 1, 0]), "Max": ([0.0, 1, 0], [1.0, 1, 5])}[op]
    np.testing.assert_allclose(found["a"], shares, rtol=1e-6)
    np.testing.assert_allclose(found["b"], shares, rtol=1e-6)
    np.testing.assert_allclose(found["c"], rest, rtol=1e-6)


def test_the_gradient_of_a_remainder_by_the_divisor_is_a_whole_number() -> None:
    a, b = np.random.default_rng(6).uniform(-99, 99, (2, 40)).astype(np.float32) * np.array([[1], [0.01]], np.float32)
    model = model_of([helper.make_node("Mod", ["a", "b"], ["y"], fmod=1)], {"a": (40,), "b": (40,)}, {})
    found = gradients(model, {"a": a, "b": b}, np.ones(40, np.float32), ["a", "b"])
    np.testing.assert_array_equal(found["a"], 1)
    np.testing.assert_array_equal(found["b"], -np.trunc(a.astype(np.float64) / b.astype(np.float64)))


@pytest.mark.parametrize("stored", [True, False])
def test_to_the_power_of_zero_is_flat_even_at_zero(stored: bool) -> None:
    x, exponent = np.array([0, -2, 3], np.float32), np.zeros(() if stored else (3,), np.float32)
    model = single("Pow", (3,), {"e": exponent}) if stored else _power((3,))
    feeds = {"x": x} if stored else {"x": x, "e": exponent}
    np.testing.assert_array_equal(gradients(model, feeds, np.ones(3, np.float32), ["x"])["x"], 0)


def test_the_gradient_by_an_exponent_is_zero_where_the_base_is_and_none_where_it_is_negative() -> None:
    feeds = {"x": np.array([0, 0, -2, 2], np.float32), "e": np.array([2, 0, 2, 3], np.float32)}
    found = gradients(_power((4,)), feeds, np.ones(4, np.float32), ["e"])["e"]
    np.testing.assert_allclose(found, [0, 0, np.nan, 8 * np.log(2)], rtol=1e-6)


def test_powers_of_negative_numbers_and_of_zero_have_their_own_gradients() -> None:
    feeds = {"x": np.array([-2, -2, 0, 0, 0], np.float32), "e": np.array([3, -1, 1, 2, 3], np.float32)}
    found = gradients(_power((5,)), feeds, np.ones(5, np.float32), ["x"])["x"]
    np.testing.assert_allclose(found, [12, -0.25, 1, 0, 0], rtol=1e-6)


def _power(shape: Sequence[int]) -> ModelProto:
    return model_of([helper.make_node("Pow", ["x", "e"], ["y"])], {"x": shape, "e": shape}, {})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Mean", "Where"])
@pytest.mark.parametrize("operand", [0, 1])
def test_nothing_is_computed_for_an_operand_that_needs_no_gradient(op: str, operand: int) -> None:
    inputs = ["w", "w"]
    inputs[operand] = "x"
    weights = {"w": np.full((4, 1, 1), 1.5, np.float32), "c": np.array([True, False, True])}
    attributes: dict[str, Any] = {"fmod": 1} if op == "Mod" else {}
    model = single(op, (2, 3), weights, inputs=["c", *inputs] if op == "Where" else inputs, **attributes)
    graph = differentiate(Model(Path("m.onnx"), model, Path.cwd()), ["y"], ["x"]).proto.graph
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    assert [name for node in graph.node for name in node.output if name not in read] == []
