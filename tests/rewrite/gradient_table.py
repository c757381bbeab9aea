"""The page docs/gradients.md, from running every case: `python -m tests.rewrite.gradient_table`."""

from __future__ import annotations

import pkgutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.rules.book import CONSTANT, RULES
from onnxvis.rewrite.rules.guided import RELU_LIKE
from tests.rewrite import cases
from tests.rewrite.cases.quantize import MovedCase, QuantizedCase
from tests.rewrite.differences import Case, central_differences, run, worst_error
from tests.rewrite.directions import relative_errors
from tests.rewrite.node_gradients import Skipped, case_of, forms, limit, names
from tests.rewrite.transposes import matrix_error
from tests.tiny import Array

__all__ = ["HEADS", "PAGE", "Row", "operators", "own_cases"]

PAGE = Path(__file__).parents[2] / "docs" / "gradients.md"
HEADS = ("operator", "variants", "own cases", "node tests", "worst relative error", "limit")
_RAISED = {"Upsample": "Resize"}
"""Operators of old operator sets, and what stands for them before they are differentiated."""
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")

_TEXT = """\
# Gradients

onnxvis differentiates a model by adding nodes to a copy of its graph: standard ONNX operators, which any runtime can \
run. `onnxvis gradient MODEL -o OUT.onnx` writes the copy; `--of` says what is differentiated, `--wrt` by what. Graphs \
of older operator sets are raised first, and half-precision ones are computed in float32.

- An operator without a rule, and a form of one that its rule does not know, is an error that names the node, the \
operator, the reason and the way to it. `onnxvis gradient MODEL --check` lists all such nodes at once.
- `--rule guided` and `--rule deconvnet` pass the gradient through units like Relu as guided backpropagation and the \
deconvnet do: {units}, Clip where its lower bound is 0, and x · sigmoid(x) and x · hardsigmoid(x) spelt out.
- QuantizeLinear and DequantizeLinear are passed straight through: rounding counts as if it did nothing, and the \
gradient is 0 where a code saturates. So int8 models have gradients too.
- No gradient goes through operators that do not change with a small change of their inputs; that is no error. They \
are {constant}.

## Every operator

- *own cases*: graphs of onnxvis's tests, differentiated element by element. The oracle is central differences in \
float64 of ONNX's reference evaluator, after seeing that it computes what ONNX Runtime computes. Where it does not, it \
is the matrix of a linear operator, column by column from ONNX Runtime, or differences of the operator in NumPy.
- *node tests*: ONNX's own tests of the operator that ONNX Runtime runs on floats of 32 or 64 bits, by all inputs of \
floats, with sizes known and not. The oracle is differences along three random directions.
- *worst relative error*: of all of these, with the gradient computed by ONNX Runtime, mostly in float32. An element \
is compared relative to the gradient's largest, a slope along a direction relative to the gradient's norm.
- *limit*: what that error may be at most: 1e-5 where the operator is linear, whole or piece by piece, in each of its \
inputs, else 1e-4.

Upsample is raised to Resize and counts there.{apart} Measured with onnx {onnx} and ONNX Runtime {ort} on the CPU.
"""


@dataclass(frozen=True)
class Row:
    """One operator of the table."""

    op: str
    variants: tuple[str, ...]
    own_cases: int
    node_tests: int
    worst: float
    limit: float

    def __str__(self) -> str:
        numbers = (str(self.own_cases or "–"), str(self.node_tests or "–"), f"{self.worst:.1e}", f"{self.limit:.0e}")
        return f"| {' | '.join((self.op, ', '.join(self.variants), *numbers))} |"


def operators() -> dict[str, tuple[str, ...]]:
    """{operator with a rule: its variants}, sorted."""
    found: dict[str, list[str]] = defaultdict(list)
    for domain, op, variant in RULES:
        found[f"{domain}:{op}" if domain else op].append(variant)
    order = ("plain", "guided", "deconvnet")
    return {op: tuple(sorted(found[op], key=order.index)) for op in sorted(found)}


def own_cases() -> dict[str, list[Callable[[], float]]]:
    """{operator: what gives the error of each of its cases}."""
    found: dict[str, list[Callable[[], float]]] = defaultdict(list)
    for item in pkgutil.iter_modules(cases.__path__):
        module = import_module(f"{cases.__name__}.{item.name}")
        for case in module.CASES:
            if isinstance(case, Case):
                found[_RAISED.get(case.op, case.op)].append(partial(worst_error, case))
            else:
                for op in _QUANTISING:
                    found[op].append(partial(_straight_through, case))
        for case in getattr(module, "MOVED", ()):
            for op in _QUANTISING:
                found[op].append(partial(_moved, case))
        for case in (*getattr(module, "BY_MATRIX", ()), *getattr(module, "MISJUDGED", ())):
            found[_RAISED.get(case.op, case.op)].append(partial(matrix_error if case.linear else _pool_error, case))
    return dict(found)


def _pool_error(case: Case) -> float:
    from tests.rewrite.rules.test_pool import _nonlinear_error

    return _nonlinear_error(case.model, case.feeds["x"])


def _straight_through(case: QuantizedCase) -> float:
    from tests.rewrite.rules.test_quantize import held_back

    upstream = np.random.default_rng(4).standard_normal(case.x.shape).astype(np.float32)
    expected = held_back(case, upstream)
    return _error(case.model, {"x": case.x}, upstream, expected)


def _moved(case: MovedCase) -> float:
    y = run(case.model, case.floats.feeds)["y"]
    upstream = np.random.default_rng(4).standard_normal(y.shape).astype(np.float32)
    expected = central_differences(case.floats, {"y": upstream}, ["x"])["x"]
    return _error(case.model, case.floats.feeds, upstream, expected)


def _error(model: onnx.ModelProto, feeds: dict[str, Array], upstream: Array, expected: Array) -> float:
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    gradient = run(found.proto, {**feeds, found.seeds["y"]: upstream})[found.gradients["x"]]
    return float(np.abs(gradient - expected).max() / np.abs(expected).max())


def _node_errors() -> dict[str, list[float]]:
    """{operator: the worst error of each node test over its forms, those left out that its rule refuses}."""
    found: dict[str, list[float]] = defaultdict(list)
    for name in names():
        try:
            case = case_of(name)
        except Skipped:
            continue
        errors: list[float] = []
        for form in forms(case):
            try:
                errors.extend(relative_errors(case, form).values())
            except RewriteError:
                continue
        if errors:
            found[case.op].append(max(errors))
    return found


def _rows() -> Iterable[Row]:
    own, nodes = own_cases(), _node_errors()
    for op, variants in operators().items():
        errors = [measured() for measured in own.get(op, ())]
        judged = [*errors, *nodes.get(op, ())]
        yield Row(op, variants, len(errors), len(judged) - len(errors), max(judged), limit(op))


def _page() -> str:
    rows = list(_rows())
    bare = [row.op for row in rows if not row.own_cases]
    apart = f" {', '.join(bare)} is tested against NumPy besides." if bare else ""
    text = _TEXT.format(
        units=", ".join(RELU_LIKE),
        constant=", ".join(sorted(op for _, op in CONSTANT)),
        apart=apart,
        onnx=onnx.__version__,
        ort=ort.__version__,
    )
    lines = [f"| {' | '.join(HEADS)} |", f"|{' --- |' * len(HEADS)}", *map(str, rows)]
    return text + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    ort.set_default_logger_severity(4)
    PAGE.write_text(_page(), encoding="utf-8")
    print(PAGE)
