"""Derivatives along random directions by differences, as the oracle of the gradients of node tests.

Inputs are moved a little at first, so that none lies at a kink, a tie or the end of a domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from tests.rewrite.differences import Case, central_differences, run
from tests.rewrite.node_gradients import LINEAR, Form, NodeCase, gradients_of, limit
from tests.tiny import Array

__all__ = ["relative_errors"]

_DIRECTIONS = 3
_NUDGES = (0.03, 0.003, 0.0003)
_STEPS = (1e-5, 0.02)
_RUNTIME_STEPS = (0.03, 0.01)


@dataclass(frozen=True)
class _Truth:
    """Where a case is differentiated, the gradients that it starts from, the directions, and the slopes along them."""

    feeds: dict[str, Array]
    values: dict[str, Array]
    seeds: dict[str, Array]
    directions: dict[str, Array]
    slopes: dict[str, Array]


def relative_errors(case: NodeCase, form: Form) -> dict[str, float]:
    """{input: how far the slopes along three random directions are from the oracle's, over the gradient's norm}.

    That norm is what such a slope is on the average, for directions of normal random numbers. An input whose gradient
    is less than a hundredth of that by all inputs is held against that hundredth.
    """
    truth = _truth(case)
    found = gradients_of(case, form)
    fed = {name: value for name, value in truth.feeds.items() if form == "fed" or name in case.wrt}
    given = run(found.proto, {**fed, **{found.seeds[name]: seed for name, seed in truth.seeds.items()}})
    for name, value in truth.values.items():
        np.testing.assert_array_equal(given[name], value)
    gradients = {name: given[found.gradients[name]] for name in case.wrt}
    whole = float(np.sqrt(sum(_norm(gradient) ** 2 for gradient in gradients.values())))
    errors = {}
    for name, gradient in gradients.items():
        assert (gradient.shape, gradient.dtype) == (truth.feeds[name].shape, truth.feeds[name].dtype)
        expected = truth.slopes[name]
        slopes = truth.directions[name].reshape(_DIRECTIONS, -1).astype(np.float64) @ gradient.reshape(-1)
        scale = max(_norm(gradient), float(np.abs(expected).max()), whole / 100)
        assert scale > 0, "a gradient that is zero throughout tests nothing"
        errors[name] = float(np.abs(slopes - expected).max()) / scale
    return errors


def _norm(values: Array) -> float:
    return float(np.linalg.norm(values.astype(np.float64)))


@cache
def _truth(case: NodeCase) -> _Truth:
    """The oracle's slopes near the case's inputs, where differences of two steps agree on them."""
    rng = np.random.default_rng(1)
    directions = {
        key: rng.standard_normal((_DIRECTIONS, *case.feeds[key].shape)).astype(case.feeds[key].dtype)
        for key in case.wrt
    }
    for nudge in _NUDGES:
        feeds = _nudged(case, nudge)
        values = {key: value for key, value in run(case.model, feeds).items() if key in case.outputs}
        if not all(np.isfinite(value).all() for value in values.values()):
            continue
        seeds = {key: rng.standard_normal(value.shape).astype(value.dtype) for key, value in values.items()}
        slopes = _agreed(case, _moving(case, feeds, directions), seeds, values)
        if slopes is not None:
            return _Truth(feeds, values, seeds, directions, slopes)
    raise AssertionError(f"{case.name}: no place without a kink is near")


def _nudged(case: NodeCase, size: float) -> dict[str, Array]:
    """The inputs, each value a little larger, none by as much as another of the same input."""
    rng = np.random.default_rng(0)
    feeds = dict(case.feeds)
    for name in case.wrt:
        x = np.nan_to_num(feeds[name], nan=0.5, posinf=0.7, neginf=-0.4)
        steps = (rng.permutation(x.size) + 0.5).reshape(x.shape) / x.size
        feeds[name] = np.asarray(x + (0.2 + steps) * size, x.dtype)
    return feeds


def _moving(case: NodeCase, feeds: Mapping[str, Array], directions: Mapping[str, Array]) -> Case:
    """The node where each input x that it is differentiated by is x + t.x · directions, for a vector t.x."""
    model = ModelProto.FromString(case.model.SerializeToString())
    graph = model.graph
    stored = {name: feeds[name] for name in case.settings}
    moved = []
    for name in case.wrt:
        parts = [f"{part}.{name}" for part in ("at", "along", "shape", "t", "flat", "step")]
        at, along, shape, t, flat, step = parts
        lines = directions[name].reshape(_DIRECTIONS, -1)
        stored |= {at: feeds[name], along: lines, shape: np.array(feeds[name].shape, np.int64)}
        moved += [
            helper.make_node("MatMul", [t, along], [flat]),
            helper.make_node("Reshape", [flat, shape], [step]),
            helper.make_node("Add", [at, step], [name]),
        ]
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    kept = [value for value in graph.output if value.name in case.outputs]
    nodes = [*moved, *graph.node]
    for field, items in (("input", []), ("output", kept), ("node", nodes)):
        del getattr(graph, field)[:]
        getattr(graph, field).extend(items)
    graph.input.extend(helper.make_tensor_value_info(f"t.{name}", kinds[name], [_DIRECTIONS]) for name in case.wrt)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items())
    start = {f"t.{name}": np.zeros(_DIRECTIONS, feeds[name].dtype) for name in case.wrt}
    return Case(case.op, case.name, model, start)


def _agreed(
    case: NodeCase, moving: Case, seeds: Mapping[str, Array], values: Mapping[str, Array]
) -> dict[str, Array] | None:
    """The slopes by the reference evaluator, or by ONNX Runtime where the evaluator fails or computes something else.

    None where differences of two steps say different slopes.
    """

    def by_evaluator(step: float) -> dict[str, Array]:
        return central_differences(replace(moving, step=step), seeds, list(moving.feeds), values)

    def by_runtime(step: float) -> dict[str, Array]:
        return _runtime_differences(moving, seeds, step)

    try:
        central_differences(moving, seeds, [], values)  # asserts that both compute the same
    except Exception:  # the evaluator's errors have no type of their own
        ways = [(by_runtime, step) for step in ((1.0,) if case.op in LINEAR else _RUNTIME_STEPS)]
    else:
        ways = [(by_evaluator, step) for step in _STEPS]
    for slopes_by, step in ways:
        first, second = slopes_by(step), slopes_by(0.6 * step)
        largest = max(float(np.abs(slopes).max()) for slopes in first.values())
        apart = max(float(np.abs(first[name] - second[name]).max()) for name in first)
        if apart <= largest * limit(case.op) / 5:
            return {name.removeprefix("t."): slopes for name, slopes in first.items()}
    return None


def _runtime_differences(moving: Case, seeds: Mapping[str, Array], step: float) -> dict[str, Array]:
    """Differences of the fourth order of what ONNX Runtime computes."""
    found = {}
    for name, start in moving.feeds.items():
        found[name] = np.zeros(_DIRECTIONS)
        for place in range(_DIRECTIONS):
            for distance, weight in ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12)):
                moved = start.copy()
                moved[place] += distance * step
                outputs = run(moving.model, {**moving.feeds, name: moved})
                loss = sum(float((seeds[key].astype(np.float64) * outputs[key]).sum()) for key in seeds)
                found[name][place] += weight * loss / step
    return found
