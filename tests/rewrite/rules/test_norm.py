from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from tests.rewrite.cases.norm import CASES, parameters
from tests.rewrite.differences import Case, apart, run, single, worst_error
from tests.tiny import Array

_SIZE = st.integers(1, 3)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@settings(max_examples=30)
@given(st.lists(_SIZE, min_size=2, max_size=5), st.floats(1e-6, 1), st.booleans())
def test_batch_normalization_of_any_shape(shape: list[int], epsilon: float, free: bool) -> None:
    declared = [f"d{axis}" if free and axis != 1 else size for axis, size in enumerate(shape)]
    weights = parameters(shape[1], statistics=True)
    model = single("BatchNormalization", declared, weights, epsilon=epsilon)
    factor = weights["scale"].astype(np.float64) / np.sqrt(weights["variance"].astype(np.float64) + epsilon)
    seed = apart(shape, seed=1)
    expected = np.moveaxis(np.moveaxis(seed, 1, -1) * factor, -1, 1)
    np.testing.assert_allclose(_gradient(model, apart(shape), seed), expected, rtol=1e-6)


def test_batch_normalization_of_operator_set_9_is_that_of_inference() -> None:
    weights = parameters(3, statistics=True)
    seed = apart((2, 3, 2, 2), seed=1)
    factor = weights["scale"] / np.sqrt(weights["variance"] + 1e-5)
    found = _gradient(single("BatchNormalization", seed.shape, weights, opset=9), apart(seed.shape), seed)
    np.testing.assert_allclose(found, seed * factor[:, None, None], rtol=1e-6)


def test_batch_normalization_of_training_is_refused() -> None:
    model = single(
        "BatchNormalization", (2, 3, 4), parameters(3, statistics=True), outputs=3, opset=15, training_mode=1
    )
    with pytest.raises(RewriteError, match=r"BatchNormalization.*training_mode is 1.*export the model for inference"):
        differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])


@settings(max_examples=30)
@given(st.sampled_from(["LayerNormalization", "RMSNormalization"]), st.lists(_SIZE, min_size=1, max_size=4), st.data())
def test_layer_and_rms_normalization_from_any_axis_on(op: str, shape: list[int], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    shape[-1] += 3  # over two elements and fewer the derivative all but vanishes
    epsilon = data.draw(st.sampled_from([1e-5, 0.3]))
    weights = {"scale": 1 + apart(shape[axis:], 0.3)}
    model = single(op, shape, weights, axis=axis, epsilon=epsilon, opset=23)
    axes = tuple(range(axis % len(shape), len(shape)))

    def forward(x: Array) -> Array:
        if op == "LayerNormalization":
            x = x - x.mean(axes, keepdims=True)
        return weights["scale"] * x / np.sqrt((x**2).mean(axes, keepdims=True) + epsilon)  # type: ignore[no-any-return]

    _check(model, forward, apart(shape, 0.2))


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 3), st.lists(_SIZE, min_size=1, max_size=2), st.sampled_from([18, 21, 26]))
def test_group_normalization_of_any_groups(groups: int, each: int, spatial: list[int], opset: int) -> None:
    shape = (2, groups * each, *spatial[:-1], spatial[-1] + 3)
    weights = parameters(groups * each if opset >= 21 else groups)
    model = single(
        "GroupNormalization", ("n", shape[1], *"hw"[: len(spatial)]), weights, opset=opset, num_groups=groups
    )
    scale, bias = (
        np.repeat(weights[name], 1 if opset >= 21 else each).reshape(-1, *[1] * len(spatial))
        for name in ("scale", "bias")
    )

    def forward(x: Array) -> Array:
        split = x.reshape(2, groups, -1)
        split = split - split.mean(-1, keepdims=True)
        split = split / np.sqrt((split**2).mean(-1, keepdims=True) + 1e-5)
        return split.reshape(shape) * scale + bias  # type: ignore[no-any-return]

    _check(model, forward, apart(shape, 0.2))


@settings(max_examples=30)
@given(st.integers(1, 2), st.integers(1, 6), st.integers(0, 4), st.sampled_from([0.5, 0.75, 2.0]), st.booleans())
def test_lrn_of_any_window(batch: int, channels: int, half: int, beta: float, free: bool) -> None:
    size, shape = 2 * half + 1, (batch, channels, 2, 1)
    model = single("LRN", ("n", "c", "h", "w") if free else shape, size=size, alpha=1.5, beta=beta, bias=1.2)

    def forward(x: Array) -> Array:
        total = np.stack(
            [(x[:, max(0, place - half) : place + half + 1] ** 2).sum(1) for place in range(channels)], axis=1
        )
        return x / (1.2 + 1.5 / size * total) ** beta

    _check(model, forward, apart(shape, 0.3))


@pytest.mark.parametrize("axes", [(0, 2, 3), (2, 3), (1,), (-1,)])
def test_mean_variance_normalization_over_any_axes(axes: tuple[int, ...]) -> None:
    model = single("MeanVarianceNormalization", ("n", 3, "h", "w"), axes=list(axes))

    def forward(x: Array) -> Array:
        centred = x - x.mean(axes, keepdims=True)
        return centred / (np.sqrt((centred**2).mean(axes, keepdims=True)) + 1e-9)  # type: ignore[no-any-return]

    _check(model, forward, apart((2, 3, 2, 3), 0.2))


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_lp_normalization_of_values_of_both_signs(power: int, axis: int) -> None:
    def forward(x: Array) -> Array:
        return x / (np.abs(x) ** power).sum(axis, keepdims=True) ** (1 / power)  # type: ignore[no-any-return]

    _check(single("LpNormalization", (2, 3, 4), p=power, axis=axis), forward, apart((2, 3, 4), 0.2))


@pytest.mark.parametrize("power", [1, 2])
def test_the_normalised_zero_vector_has_gradient_zero(power: int) -> None:
    x = np.array([[0, 0], [3, -4]], np.float32)
    found = _gradient(single("LpNormalization", x.shape, p=power), x, np.array([[1, 2], [1, 0]], np.float32))
    by_hand = [[0, 0], [4 / 49, 3 / 49] if power == 1 else [16 / 125, 12 / 125]]
    np.testing.assert_allclose(found, np.array(by_hand), rtol=1e-5)


def _check(model: ModelProto, forward: Callable[[Array], Array], x: Array) -> None:
    """The model computes `forward`, and its gradient is that of `forward` by central differences in float64."""
    x = x.astype(np.float32)
    seed = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    np.testing.assert_allclose(run(model, {"x": x})["y"], forward(x.astype(np.float64)), rtol=1e-4, atol=1e-4)
    expected = np.empty(x.size)
    for place in range(x.size):
        sides = []
        for step in (1e-5, -1e-5):
            moved = x.astype(np.float64)
            moved.reshape(-1)[place] += step
            sides.append((seed * forward(moved)).sum())
        expected[place] = (sides[0] - sides[1]) / 2e-5
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(_gradient(model, x, seed), expected.reshape(x.shape), rtol=0, atol=1e-4 * scale)


def _gradient(model: ModelProto, x: Array, seed: Sequence[float] | Array) -> Array:
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    return run(found.proto, {"x": x, found.seeds["y"]: np.asarray(seed)})[found.gradients["x"]]
