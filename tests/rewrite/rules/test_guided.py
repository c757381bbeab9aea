"""Guided backpropagation and deconvnet, against a backward pass by hand in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper

from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.rules.guided import RELU_LIKE
from onnxvis.rewrite.rules.registry import RULES
from onnxvis.rewrite.tape import Variant
from tests.rewrite.differences import apart, model_of, run
from tests.rewrite.slopes import agree, as_model, gradients, model_from
from tests.tiny import Array

X = np.array([[-1.5, 0.25, 2, -0.1, 0, 3, -4, 1]], np.float32)
SEED = np.array([[1, -1, 2, 3, 1, -2, -1, 0.5]], np.float32)


def by_loop(x: Array, seed: Array, variant: Variant) -> Array:
    """One element after the other, as the papers say."""
    given = np.zeros_like(seed)
    for place in np.ndindex(seed.shape):
        passes = seed[place] > 0 and (variant == "deconvnet" or x[place] > 0)
        given[place] = seed[place] if passes else 0
    return given


def noted(body: str, variant: Variant, opset: int = 20, header: str = "") -> tuple[str, ...]:
    return differentiate(model_from(body, opset, header), ["y"], ["x"], variant=variant).notes


def nothing_taken_over(variant: Variant) -> str:
    return f"no unit like Relu lies on the way, so the {variant} rule gives the plain gradient"


def unit(op: str) -> str:
    return {
        "PRelu": "y = PRelu(x, slope)",
        "Elu": "y = Elu<alpha = 0.5>(x)",
    }.get(op, f"y = {op}(x)")


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
@pytest.mark.parametrize("op", RELU_LIKE)
def test_units_that_hold_back_what_is_negative(op: str, variant: Variant) -> None:
    opset = 24 if op == "Swish" else 20
    body = f"g (float[1, 8] x) => (float[1, 8] y) <float[1] slope = {{0.25}}> {{ {unit(op)} }}"
    found = gradients_of(body, variant, opset)
    np.testing.assert_array_equal(found, by_loop(X, SEED, variant), strict=True)
    expected = () if op == "Relu" else (f"{variant} rule extended to {op}",)
    assert noted(body, variant, opset) == expected


def gradients_of(body: str, variant: Variant, opset: int = 20) -> Array:
    return gradients(model_from(body, opset), {"x": X}, ["x"], {"y": SEED}, variant=variant)["x"]


CLIPS = "<float none = {0}, float six = {6}, float low = {-1}, float tiny = {0.5}>"


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
@pytest.mark.parametrize("bounds", ["none, six", "none", "none, tiny"])
def test_a_clip_from_zero_on_is_such_a_unit(bounds: str, variant: Variant) -> None:
    body = f"g (float[1, 8] x) => (float[1, 8] y) {CLIPS} {{ y = Clip(x, {bounds}) }}"
    np.testing.assert_array_equal(gradients_of(body, variant), by_loop(X, SEED, variant), strict=True)
    assert noted(body, variant) == (f"{variant} rule extended to Clip",)


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
@pytest.mark.parametrize("bounds", ["low, six", "low", ", six", "tiny, six"])
def test_other_clips_keep_their_derivative(bounds: str, variant: Variant) -> None:
    body = f"g (float[1, 8] x) => (float[1, 8] y) {CLIPS} {{ y = Clip(x, {bounds}) }}"
    found = agree(model_from(body), {"x": X + np.float32(0.01)}, ["y"], ["x"], variant=variant)["x"]
    assert (found[SEED < 0] != 0).any() or (found != by_loop(X, SEED, variant)).any()
    assert noted(body, variant) == (nothing_taken_over(variant),)


def test_a_bound_of_zero_that_is_computed_keeps_the_derivative() -> None:
    body = "g (float[1, 8] x, float z) => (float[1, 8] y) { y = Clip(x, z) }"
    feeds = {"x": X, "z": np.array(0, np.float32)}
    found = gradients(model_from(body), feeds, ["x"], {"y": SEED}, variant="guided")["x"]
    np.testing.assert_array_equal(found, SEED * (X > 0))


def test_a_clip_of_half_precision_from_zero_on_is_such_a_unit() -> None:
    body = "g (float16[1, 8] x) => (float16[1, 8] y) <float16 none = {0}> { y = Clip(x, none) }"
    found = gradients(model_from(body), {"x": X.astype(np.float16)}, ["x"], {"y": SEED}, variant="guided")["x"]
    np.testing.assert_array_equal(found, by_loop(X, SEED, "guided"), strict=True)


SIGMOID: dict[str, Callable[[Array], Array]] = {
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "HardSigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
}
GATES = {"Sigmoid": "s = Sigmoid(x)", "HardSigmoid": "s = HardSigmoid<alpha = 0.16666667>(x)"}
UNITS = {"Sigmoid": "SiLU, as x · sigmoid(x)", "HardSigmoid": "HardSwish, as x · hardsigmoid(x)"}


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
@pytest.mark.parametrize("operands", ["x, s", "s, x"])
@pytest.mark.parametrize("gate", GATES)
def test_a_tensor_times_its_own_gate_is_such_a_unit(gate: str, operands: str, variant: Variant) -> None:
    body = f"g (float[1, 8] x) => (float[1, 8] y) {{ {GATES[gate]} y = Mul({operands}) }}"
    np.testing.assert_array_equal(gradients_of(body, variant), by_loop(X, SEED, variant), strict=True)
    assert noted(body, variant) == (f"{variant} rule extended to {UNITS[gate]}",)


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
def test_a_gate_that_others_read_passes_their_gradient(variant: Variant) -> None:
    """v = s · 3 as well: its part is the derivative of the sigmoid."""
    body = """
    g (float[1, 8] x) => (float[1, 8] y, float[1, 8] v) <float three = {3}>
    { s = Sigmoid(x) y = Mul(s, x) v = Mul(s, three) }
    """
    other = SEED[:, ::-1].copy()
    found = gradients(model_from(body), {"x": X}, ["x"], {"y": SEED, "v": other}, variant=variant)["x"]
    s = SIGMOID["Sigmoid"](X.astype(np.float64))
    np.testing.assert_allclose(found, by_loop(X, SEED, variant) + 3 * other * s * (1 - s), rtol=1e-5)


def test_a_tensor_times_the_gate_of_another_keeps_its_derivative() -> None:
    """As in squeeze and excitation."""
    body = """
    g (float[1, 8] x) => (float[1, 8] y) <float two = {2}> { t = Mul(x, two) s = Sigmoid(t) y = Mul(x, s) }
    """
    agree(model_from(body), {"x": X}, ["y"], ["x"], variant="guided")
    assert noted(body, "guided") == (nothing_taken_over("guided"),)


def test_the_plain_variant_takes_nothing_over() -> None:
    body = "g (float[1, 8] x) => (float[1, 8] y) { s = Sigmoid(x) a = Mul(s, x) b = Elu(a) y = Gelu(b) }"
    x = X + np.float32(0.01)
    found = gradients(model_from(body, 20), {"x": x}, ["x"], {"y": SEED})["x"]
    assert (found[SEED < 0] < 0).any()
    assert noted(body, "plain") == ()


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
def test_a_network_by_hand(variant: Variant) -> None:
    """Two dense layers with a Relu after each, backwards in NumPy; a Tanh between keeps its derivative."""
    rng = np.random.default_rng(5)
    first, second = (rng.standard_normal(shape).astype(np.float32) for shape in ((4, 6), (6, 3)))
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "second"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    model = as_model(model_of(nodes, {"x": (2, 4)}, {"first": first, "second": second}))
    x, seed = apart((2, 4), 0.37), rng.standard_normal((2, 3)).astype(np.float32)
    a = x @ first
    c = np.tanh(np.maximum(a, 0))
    by_c = by_loop(c @ second, seed, variant) @ second.T
    expected = by_loop(a, by_c * (1 - c**2), variant) @ first.T
    found = gradients(model, {"x": x}, ["x"], {"y": seed}, variant=variant)["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_notes_come_once_and_with_those_of_the_rules() -> None:
    body = """
    g (float16[1, 8] x) => (float16[1, 8] y) { a = Elu(x) b = Elu(a) c = Relu(b) s = Sigmoid(c) y = Mul(s, c) }
    """
    assert noted(body, "guided") == (
        "half-precision numbers are computed in float32: their gradients would underflow",
        "guided rule extended to SiLU, as x · sigmoid(x)",
        "guided rule extended to Elu",
    )


def test_every_unit_has_a_derivative_to_go_back_to() -> None:
    assert all(("", op, "plain") in RULES for op in (*RELU_LIKE, "Clip"))


def test_the_values_of_the_model_are_the_same_in_every_variant() -> None:
    proto = model_from("g (float[1, 8] x) => (float[1, 8] y) { a = Elu(x) y = Relu(a) }").proto
    variants: tuple[Variant, ...] = ("plain", "guided", "deconvnet")
    for variant in variants:
        found = differentiate(as_model(proto), ["y"], ["x"], variant=variant)
        given = run(found.proto, {"x": X, "seed.y": SEED})["y"]
        np.testing.assert_array_equal(given, run(proto, {"x": X})["y"])


@pytest.mark.parametrize("variant", ["guided", "deconvnet"])
def test_a_graph_without_such_units_is_told_of(variant: Variant) -> None:
    told = nothing_taken_over(variant)
    assert noted("g (float[1, 8] x) => (float[1, 8] y) { y = Sigmoid(x) }", variant) == (told,)
    assert told not in noted("g (float[1, 8] x) => (float[1, 8] y) { y = Relu(x) }", variant)
    assert noted("g (float[1, 8] x) => (float[1, 8] y) { y = Sigmoid(x) }", "plain") == ()
