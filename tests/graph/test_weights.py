"""Stored tensors are read as NumPy has them, wherever they hide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.graph.load import Model, load
from onnxvis.graph.weights import Weights

DTYPES = sorted(set(helper.get_all_tensor_dtypes()) - {TensorProto.UNDEFINED, TensorProto.STRING})


def model_with(folder: Path, *tensors: TensorProto) -> Path:
    text = '<ir_version: 10, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(tensors)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def random_bits(data_type: int, shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    """Values of any type, infinities and not-a-numbers among them."""
    dtype = helper.tensor_dtype_to_np_dtype(data_type)
    rng = np.random.default_rng(data_type)
    if data_type == TensorProto.BOOL:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.kind in "fiuc" or data_type == TensorProto.BFLOAT16:
        count = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer(rng.bytes(count), dtype).reshape(shape)
    return rng.integers(0, 2, shape).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("shape", [(7,), (3, 5, 1001), (0, 4)])
@pytest.mark.parametrize("data_type", DTYPES)
def test_every_type(data_type: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    values = random_bits(data_type, shape)
    model = load(model_with(tmp_path, numpy_helper.from_array(values, "w")))
    found = model.read("w")
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    assert found.tobytes() == values.tobytes()
    assert not found.flags.writeable


@pytest.mark.parametrize("offset", [0, 1, 3, 4096, 4097])
@pytest.mark.parametrize("data_type", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT4])
def test_unaligned_external_data(data_type: int, offset: int, tmp_path: Path) -> None:
    values = random_bits(data_type, (3, 5001))
    stored = numpy_helper.from_array(values, "w")
    (tmp_path / "w.bin").write_bytes(b"\xaa" * offset + stored.raw_data + b"\xbb" * 5)
    length = len(stored.raw_data)
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", str(offset)), ("length", str(length))):
        stored.external_data.add(key=key, value=value)
    found = load(model_with(tmp_path, stored)).read("w")
    assert found.dtype == values.dtype
    assert found.tobytes() == values.tobytes()


def test_large_weights_are_views_into_the_file(tmp_path: Path) -> None:
    model = load(model_with(tmp_path, numpy_helper.from_array(np.ones((300, 300), np.float32), "w")))
    first, second = model.read("w"), model.read("w")
    assert np.shares_memory(first, second)
    assert {item.name: (item.storage, item.count) for item in model.weights.all()} == {"w": ("mapped", 90_000)}


def test_strings(tmp_path: Path) -> None:
    stored = TensorProto(name="w", data_type=TensorProto.STRING, dims=[2], string_data=[b"cat", b"dog"])
    assert [str(item) for item in load(model_with(tmp_path, stored)).read("w").tolist()] == ["cat", "dog"]


def test_names_that_do_not_fit() -> None:
    weights = Weights(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
        ),
        Path(),
    )
    with pytest.raises(TensorNotFound, match="stores no tensor 'w'"):
        weights.read("w")


@pytest.mark.parametrize("raw", [b"\x00" * 7, b"", b"\x00" * 400])
def test_bytes_that_do_not_fit_the_shape(raw: bytes, tmp_path: Path) -> None:
    model = load(model_with(tmp_path, TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], raw_data=raw)))
    with pytest.raises(ModelError, match=r"tensor 'w' of shape \[2, 3\] cannot be read"):
        model.read("w")


def test_an_unknown_type(tmp_path: Path) -> None:
    model = load(model_with(tmp_path, TensorProto(name="w", data_type=999, dims=[1], raw_data=b"\x00" * 4)))
    with pytest.raises(ModelError, match="tensor 'w' of shape"):
        model.read("w")


def branch(value: float) -> onnx.GraphProto:
    weight = numpy_helper.from_array(np.array([value], np.float32), "w")
    return helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["t"])], "b", [], [helper.make_tensor_value_info("t", 1, [1])], [weight]
    )


def hidden(folder: Path) -> Model:
    x, y = (helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(np.array([7], np.float32), "any"))
    inner = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array([9], np.float32), ""))
    function = helper.make_function(
        "local", "F", ["a"], ["b"], [inner, helper.make_node("Add", ["a", "c"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [
        constant,
        helper.make_node("If", ["c"], ["t"], name="choose", then_branch=branch(1), else_branch=branch(2)),
        helper.make_node("F", ["t"], ["y"], domain="local"),
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(np.array(True), "c")])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    path = folder / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, functions=[function], ir_version=9).SerializeToString()
    )
    return load(path)


def test_weights_in_constants_branches_and_functions(tmp_path: Path) -> None:
    model = hidden(tmp_path)
    places = {item.name: item.place for item in model.weights.all()}
    assert places["c"] == ""
    assert places["k"] == "Constant k"
    assert places["w"] == "If choose else_branch"
    assert places["w (If choose then_branch)"] == "If choose then_branch"
    assert "function F / Constant c" in places.values()
    values = {name: model.read(name).tolist() for name in places}
    assert (values["k"], values["w"], values["w (If choose then_branch)"]) == ([7], [2], [1])
    assert values[next(name for name, place in places.items() if place.startswith("function"))] == [9]
