"""Names of element types in both directions, and types as a model declares them."""

from __future__ import annotations

import pytest
from onnx import TensorProto, TypeProto, helper

from onnxvis.graph.types import dtype_name, element_type, type_of


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "FLOAT": "float32",
        "DOUBLE": "float64",
        "FLOAT16": "float16",
        "BFLOAT16": "bfloat16",
        "UINT8": "uint8",
        "INT4": "int4",
        "FLOAT8E4M3FN": "float8e4m3fn",
        "BOOL": "bool",
        "STRING": "string",
        "UNDEFINED": "",
    }.items(),
)
def test_names_of_types(name: str, expected: str) -> None:
    assert dtype_name(TensorProto.DataType.Value(name)) == expected


def test_odd_types() -> None:
    assert dtype_name(999) == ""
    assert type_of(TypeProto()) == (None, "")
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    assert type_of(sequence) == (None, "sequence_type")
    assert type_of(helper.make_tensor_type_proto(TensorProto.FLOAT, None)) == (None, "float32")
    assert type_of(helper.make_tensor_type_proto(TensorProto.FLOAT, [-1, "N", 3])) == ((None, "N", 3), "float32")


def test_every_type_is_found_again_by_its_name() -> None:
    for data_type in TensorProto.DataType.values():
        assert element_type(dtype_name(data_type)) == data_type


def test_the_names_are_numpys() -> None:
    for data_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BOOL, TensorProto.UINT64):
        assert dtype_name(data_type) == helper.tensor_dtype_to_np_dtype(data_type).name


def test_a_name_of_no_type() -> None:
    with pytest.raises(ValueError, match="FLOAT7"):
        element_type("float7")
