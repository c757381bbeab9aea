"""The sets of operators against ONNX's own list of operators."""

from __future__ import annotations

import onnx
import pytest

from onnxvis.graph import ops

ONNX_OPS = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
RUNTIMES_OWN = {
    "FusedConv", "NhwcConv", "QGemm", "FusedMatMul", "FusedGemm", "FastGelu", "QuickGelu", "BiasGelu", "QLinearSigmoid",
    "QLinearLeakyRelu", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool",
    "QLinearReduceMean", "QAttention", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulNBits",
}  # fmt: skip
"""https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md"""


@pytest.mark.parametrize("name", ops.__all__)
def test_every_name_is_an_operator(name: str) -> None:
    known = getattr(ops, name)
    assert isinstance(known, frozenset)
    assert known
    assert known <= ONNX_OPS | RUNTIMES_OWN


def test_what_has_windows_or_moves_positions_is_not_elementwise() -> None:
    moving = ops.CONVOLUTIONS | ops.POOLS | ops.GLOBAL_POOLS | ops.RESIZERS | ops.REDUCTIONS | ops.MATRIX_PRODUCTS
    assert ops.ELEMENTWISE.isdisjoint(moving | {"Concat", "QLinearConcat", "Transpose", "Reshape", "Pad"})
    assert ops.ACTIVATIONS.isdisjoint(ops.PASS_THROUGH)


def test_kinds_of_layers_do_not_overlap() -> None:
    kinds = (ops.CONVOLUTIONS, ops.POOLS, ops.GLOBAL_POOLS, ops.RESIZERS, ops.REDUCTIONS, ops.MATRIX_PRODUCTS)
    assert len(frozenset().union(*kinds)) == sum(map(len, kinds))
