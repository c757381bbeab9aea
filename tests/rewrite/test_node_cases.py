"""Exposing every tensor of ONNX's own node tests changes none of their results.

A case counts where ONNX Runtime on the CPU runs it correctly by itself. Cases with a tensor inside are taken as they
are; the others are put between Identities, so that what was a result becomes a tensor inside.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.case.test_case import TestCase as Case

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model, load
from onnxvis.rewrite.expose import Exposed, expose
from onnxvis.run.session import RunOptions, Session
from tests.rewrite.running import oracle, unoptimised

EXCEPTIONS = {
    "test_attention_4d_causal_fp16_expanded": "fp16, computed in fp32 on the CPU: only outputs are rounded",
}
"""Cases whose results move by more than their tolerance, and why. Without optimisations each is exact."""

COLLECTED, WITH_INTERMEDIATES, WITHOUT = 1884, 357, 1029
TENSORS_INSIDE, TENSORS_WITHOUT = 11020, 4514
"""Cases and exposed tensors with onnx 1.23 and ONNX Runtime 1.31.

The floor below leaves room for other versions, not for a broken test.
"""
FLOOR = 0.9

NOT_TENSORS = {"sequence_type": "is a sequence", "optional_type": "is an optional", "map_type": "is a map"}


class Sample(NamedTuple):
    """A case, with its feeds and expected results by name, one of each a data set."""

    name: str
    model: ModelProto
    runs: list[tuple[dict[str, Any], dict[str, Any]]]
    rtol: float
    atol: float


class Differs(AssertionError):
    """A result is another than the case says."""


def as_fed(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.generic) else value


def sample(case: Case) -> Sample:
    assert case.model is not None
    assert case.data_sets is not None
    given, returned = case.model.graph.input, case.model.graph.output
    runs = [
        (
            {value.name: as_fed(array) for value, array in zip(given, inputs, strict=False)},
            {value.name: as_fed(array) for value, array in zip(returned, outputs, strict=False)},
        )
        for inputs, outputs in case.data_sets
    ]
    return Sample(case.name, case.model, runs, case.rtol, case.atol)


def same(found: Any, expected: Any, case: Sample) -> bool:
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(same(a, b, case) for a, b in zip(found, expected, strict=True))
    if found is None or expected is None:
        return found is expected
    a, b = np.asarray(found), np.asarray(expected)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    return np.allclose(a, b, case.rtol, case.atol, equal_nan=True) if a.dtype.kind in "fc" else np.array_equal(a, b)


def runs_by_itself(case: Sample) -> bool:
    try:
        session = oracle(case.model, exact=False)
        return all(
            same(value, expected[output.name], case)
            for feeds, expected in case.runs
            for output, value in zip(session.get_outputs(), session.run(None, feeds), strict=True)
            if output.name in expected
        )
    except Exception:  # the runtime lacks the operator, the opset or the type: the case says nothing about us
        return False


def has_intermediates(model: ModelProto) -> bool:
    returned = {value.name for value in model.graph.output}
    return any(name and name not in returned for node in model.graph.node for name in node.output)


@pytest.fixture(scope="module")
def cases() -> list[Sample]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows that the cases provoke while they are built
        collected = [sample(case) for case in collect_testcases(None)]
    assert len(collected) >= FLOOR * COLLECTED
    return collected


@pytest.fixture(scope="module")
def runnable(cases: list[Sample]) -> list[Sample]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [case for case in cases if runs_by_itself(case)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    ort.set_default_logger_severity(4)
    yield
    ort.set_default_logger_severity(2)


def expose_all(model: Model) -> tuple[Exposed, int]:
    """Every tensor that can be exposed, and how many were refused for not being tensors."""
    kinds = {tensor.name: tensor.dtype for tensor in model.view.intermediates}
    refused = [name for name, kind in kinds.items() if kind in NOT_TENSORS]
    for name in refused:
        with pytest.raises(RewriteError, match=NOT_TENSORS[kinds[name]]):
            expose(model, [name])
    return expose(model, [name for name in kinds if name not in refused]), len(refused)


def between_identities(case: Sample) -> ModelProto:
    """input → Identity → node → `<output>/inner` → Identity → output, where they are tensors: older opsets have no
    Identity of a sequence."""
    wrapped = ModelProto.FromString(case.model.SerializeToString())
    graph = wrapped.graph
    inputs, outputs = (
        {v.name for v in values if v.type.HasField("tensor_type")} for values in (graph.input, graph.output)
    )
    for node in graph.node:
        node.input[:] = [f"{name}/outer" if name in inputs else name for name in node.input]
        node.output[:] = [f"{name}/inner" if name in outputs else name for name in node.output]
    nodes = [helper.make_node("Identity", [name], [f"{name}/outer"]) for name in sorted(inputs)]
    nodes += [*graph.node, *(helper.make_node("Identity", [f"{name}/inner"], [name]) for name in sorted(outputs))]
    del graph.node[:]
    graph.node.extend(nodes)
    return wrapped


def check(case: Sample, proto: ModelProto, folder: Path) -> Counter[str]:
    """Run a case with all its tensors exposed; raises Differs where a result is another."""
    path = folder / "case.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load(path)
    exposed, refused = expose_all(model)
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1)) as session:
        for feeds, expected in case.runs:
            found = session.run(feeds)
            for name, value in expected.items():
                if not same(found[name], value, case):
                    raise Differs(f"output {name}")
                inner = exposed.outputs.get(f"{name}/inner")
                if inner and f"{name}/inner" not in exposed.casts and not same(found[inner], value, case):
                    raise Differs(f"exposed {name}")
    return Counter(cases=1, tensors=len(exposed.outputs), refused=refused)


def run_all(chosen: list[Sample], folder: Path, *, wrap: bool) -> Counter[str]:
    """The counts of all cases; each must pass, but those of EXCEPTIONS must differ, and in nothing but values."""
    total: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    for case in chosen:
        try:
            total += check(case, between_identities(case) if wrap else case.model, folder)
        except Differs as error:
            if case.name in EXCEPTIONS:
                total["excepted"] += 1
            else:
                wrong[case.name] = str(error)
        except Exception as error:  # all that go wrong are named at once
            wrong[case.name] = repr(error)
        else:
            if case.name in EXCEPTIONS:
                wrong[case.name] = "is listed in EXCEPTIONS and passes: take it out"
    assert not wrong, wrong
    assert total["cases"] + total["excepted"] == len(chosen)
    return total


def test_cases_with_tensors_inside(runnable: list[Sample], tmp_path: Path) -> None:
    chosen = [case for case in runnable if has_intermediates(case.model)]
    assert len(chosen) >= FLOOR * WITH_INTERMEDIATES
    total = run_all(chosen, tmp_path, wrap=False)
    print("node cases with tensors inside:", dict(total))
    assert total["cases"] >= FLOOR * WITH_INTERMEDIATES
    assert total["tensors"] >= FLOOR * TENSORS_INSIDE
    assert total["excepted"] == len(EXCEPTIONS)


def test_single_nodes_between_identities(runnable: list[Sample], tmp_path: Path) -> None:
    chosen = [case for case in runnable if not has_intermediates(case.model)]
    assert len(chosen) >= FLOOR * WITHOUT
    total = run_all(chosen, tmp_path, wrap=True)
    print("node cases between Identities:", dict(total))
    assert total["cases"] >= FLOOR * WITHOUT
    assert total["tensors"] >= FLOOR * TENSORS_WITHOUT


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_an_exception_is_bit_for_bit_the_unoptimised_case(name: str, runnable: list[Sample], tmp_path: Path) -> None:
    case = next(case for case in runnable if case.name == name)
    path = tmp_path / "case.onnx"
    path.write_bytes(case.model.SerializeToString())
    model = load(path)
    exposed, _ = expose_all(model)
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1, exact=True)) as session:
        for feeds, _ in case.runs:
            found, truth = session.run(feeds), unoptimised(path, list(exposed.outputs), feeds)
            for output, value in found.items():
                np.testing.assert_array_equal(value, truth[output], strict=True)


def test_there_are_few_exceptions() -> None:
    assert len(EXCEPTIONS) <= 40


def test_the_wrapper_puts_the_node_between_identities(cases: list[Sample]) -> None:
    relu = next(case for case in cases if case.name == "test_relu")
    wrapped = between_identities(relu)
    onnx.checker.check_model(wrapped)
    assert [(node.op_type, list(node.input), list(node.output)) for node in wrapped.graph.node] == [
        ("Identity", ["x"], ["x/outer"]),
        ("Relu", ["x/outer"], ["y/inner"]),
        ("Identity", ["y/inner"], ["y"]),
    ]
