from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import Gradient, differentiate
from tests.rewrite.cases.matrix import CASES, product
from tests.rewrite.differences import Case, model_of, run, worst_error

_SIZE = st.integers(1, 3)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_central_differences(case: Case) -> None:
    assert worst_error(case) <= (1e-5 if case.linear else 1e-4)


@settings(max_examples=40)
@given(st.lists(_SIZE, max_size=2), st.integers(0, 2), st.integers(0, 2), _SIZE, _SIZE, _SIZE, st.data())
def test_matmul_of_any_leading_dimensions_known_or_free(
    lead: list[int], left: int, right: int, rows: int, inner: int, columns: int, data: st.DataObject
) -> None:
    """Either side has the last so many of `lead`, some of them 1 instead, or is a vector."""
    shapes = []
    for count, matrix, vector in ((left, [rows, inner], [inner]), (right, [inner, columns], [inner])):
        kept = lead[max(0, len(lead) - count) :]
        repeated = [data.draw(st.sampled_from([1, size])) for size in kept]
        shapes.append(vector if not repeated and data.draw(st.booleans()) else [*repeated, *matrix])
    free = data.draw(st.booleans())
    declared = [[f"{key}{axis}" for axis in range(len(shape))] for key, shape in zip("ab", shapes, strict=True)]
    assert worst_error(product("MatMul", "drawn", shapes, declared=declared if free else ())) <= 1e-4


@settings(max_examples=30)
@given(st.integers(0, 1), st.integers(0, 1), _SIZE, _SIZE, _SIZE, st.data())
def test_gemm_of_any_flags_and_sizes(
    turned_a: int, turned_b: int, rows: int, inner: int, columns: int, data: st.DataObject
) -> None:
    a, b = [rows, inner][:: -1 if turned_a else 1], [inner, columns][:: -1 if turned_b else 1]
    c = data.draw(st.sampled_from([(), (1,), (columns,), (1, columns), (rows, 1), (1, 1), (rows, columns)]))
    alpha, beta = data.draw(st.sampled_from([1.0, -0.5])), data.draw(st.sampled_from([1.0, 2.5]))
    wrt = data.draw(st.sampled_from(["a", "b", "c", "ab", "abc"]))
    case = product("Gemm", "drawn", (a, b, c), wrt, transA=turned_a, transB=turned_b, alpha=alpha, beta=beta)
    assert worst_error(case) <= 1e-4


@pytest.mark.parametrize(
    "case",
    [
        product("Gemm", "", ((2, 40), (40, 30)), "a"),
        product("Gemm", "", ((2, 40), (30, 40)), "a", transB=1),
        product("MatMul", "", ((2, 3, 40), (40, 30)), "a"),
    ],
)
def test_a_weight_is_neither_transposed_nor_stored_twice(case: Case) -> None:
    found = _differentiated(case)
    assert "Transpose" not in {node.op_type for node in found.proto.graph.node}
    sizes = sorted(np.prod(item.dims) for item in found.proto.graph.initializer)
    assert [size for size in sizes if size > 8] == [40 * 30]


@pytest.mark.parametrize(
    ("equation", "shapes", "reason"),
    [
        ("ii->i", ((3, 3),), "has one twice in an operand"),
        ("...i,ij->...j", ((2, 3), (3, 4)), "leaves indices to '...'"),
        ("ij,jk", ((2, 3), (3, 4)), "names no output"),
        ("ij,jk->ik", ((2, 1), (3, 4)), "index 'j' of 'ij,jk->ik' has sizes 1 and 3"),
    ],
)
def test_einsum_refuses_equations_that_it_would_get_wrong(
    equation: str, shapes: tuple[tuple[int, ...], ...], reason: str
) -> None:
    with pytest.raises(RewriteError, match=r"Einsum.*" + reason.replace(".", r"\.")):
        _differentiated(product("Einsum", "", shapes, "ab"[: len(shapes)], equation=equation))


def test_einsum_stops_where_a_free_dimension_turns_out_to_be_repeated() -> None:
    case = product("Einsum", "", ((2, 1), (2, 4)), declared=(("n", "k"), ("n", "k")), equation="ij,ij->i")
    found = _differentiated(case)
    with pytest.raises(Exception, match="Reshape"):
        run(found.proto, {**case.feeds, found.seeds["y"]: np.ones(2, np.float32)})


def test_both_factors_may_be_one_tensor() -> None:
    model = model_of([helper.make_node("MatMul", ["x", "x"], ["y"])], {"x": ("n", "n")}, {})
    x = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    assert worst_error(Case("MatMul", "a square", model, {"x": x})) <= 1e-4


def _differentiated(case: Case) -> Gradient:
    return differentiate(Model(Path("case.onnx"), case.model, Path.cwd()), ["y"], list(case.feeds))
