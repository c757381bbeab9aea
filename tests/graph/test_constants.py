"""Where a tensor's numbers stand in the file is told from the file itself; the arrays are in test_weights.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxvis.errors import ModelError
from onnxvis.graph.constants import MAX_ELEMENTS, Files, described
from onnxvis.graph.load import load
from onnxvis.graph.stored import Fill, Numbers


def saved(folder: Path, *tensors: TensorProto) -> Path:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
    )
    model.graph.initializer.extend(tensors)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("count", [3, 1025, 5_000, 40_000, 5_000_000])
def test_the_field_of_a_large_tensor_is_told(count: int, tmp_path: Path) -> None:
    values = np.linspace(-1, 1, count, dtype=np.float32)
    tensors = [
        numpy_helper.from_array(values, "raw"),
        helper.make_tensor("floats", TensorProto.FLOAT, [count], values.tolist()),
        helper.make_tensor("doubles", TensorProto.DOUBLE, [count], values.tolist()),
        helper.make_tensor("halves", TensorProto.FLOAT16, [count], values.astype(np.float16).tolist()),
    ][: 4 if count < 10**6 else 2]
    model = load(saved(tmp_path, *tensors))
    fields = {"raw": "raw_data", "floats": "float_data", "doubles": "double_data", "halves": "int32_data"}
    assert {item.name: item.storage for item in model.weights.all()} == {
        tensor.name: fields[tensor.name] for tensor in tensors
    }


def test_a_linked_model_beside_its_weights(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    path = saved(tmp_path / "far", numpy_helper.from_array(np.ones(5000, np.float32), "w"))
    link = tmp_path / "m.onnx"
    link.symlink_to(path)
    assert [item.storage for item in load(link).weights.all()] == ["raw_data"]


def test_a_file_that_shrank_since_it_was_opened(tmp_path: Path) -> None:
    path = saved(tmp_path, numpy_helper.from_array(np.ones(5000, np.float32), "w"))
    model = load(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"tensor 'w' of shape \[5000\] cannot be read"):
        model.read("w")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    path = saved(tmp_path, numpy_helper.from_array(np.ones(5000, np.float32), "w"))
    model = load(path)
    path.unlink()
    assert [item.name for item in model.weights.all()] == ["w"]
    with pytest.raises(ModelError, match="tensor 'w' of shape"):
        model.read("w")


def test_what_is_stored_described_without_reading() -> None:
    numbers = helper.make_attribute("value_ints", [1, 2, 3])
    assert described(Numbers(numbers)) == ((3,), "int64")
    assert described(Numbers(helper.make_attribute("value_float", 2.0))) == ((), "float32")
    assert described(Fill(None, (10**9, 10**9))) == ((10**9, 10**9), "float32")


@pytest.mark.parametrize("shape", [(MAX_ELEMENTS,), (2, MAX_ELEMENTS // 2), ()])
def test_one_value_in_many_places_takes_no_memory(shape: tuple[int, ...]) -> None:
    found = Files(Path()).read(Fill(None, shape))
    assert (found.shape, found.dtype.name, sum(found.strides)) == (shape, "float32", 0)
    assert not found.flags.writeable


def test_memory_given_back_leaves_arrays_as_they_are(tmp_path: Path) -> None:
    values = np.arange(500_000, dtype=np.float32)
    weights = load(saved(tmp_path, numpy_helper.from_array(values, "w"))).weights
    before = weights.read("w")
    np.testing.assert_array_equal(before, values)
    weights.release()
    np.testing.assert_array_equal(before, values)
    np.testing.assert_array_equal(weights.read("w"), values)
