"""Stored tensors are read as NumPy has them, wherever they hide."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.graph.load import Model, load
from onnxvis.graph.weights import Weights
from tests.graph.storing import FORMS, random_array

MINIMAL = '<ir_version: 10, opset_import: ["" : 21]> g (float[1] x) => (float[1] y) { y = Relu (x) }'
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
    assert {item.name: (item.storage, item.count) for item in model.weights.all()} == {"w": ("raw_data", 90_000)}


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


SHAPES = st.one_of(
    st.lists(st.integers(0, 5), max_size=4).map(tuple), st.sampled_from([(1025,), (3, 1001), (2, 3, 7, 129), (1, 9000)])
)


@pytest.mark.parametrize("form", FORMS)
@given(data_type=st.sampled_from(DTYPES), shape=SHAPES, seed=st.integers(0, 9))
def test_every_form_gives_the_same_bits(form: str, data_type: int, shape: tuple[int, ...], seed: int) -> None:
    if form.startswith("sparse") and data_type == TensorProto.FLOAT8E8M0:
        return  # a type without a zero cannot be sparse
    array = random_array(data_type, shape, seed)
    with tempfile.TemporaryDirectory() as folder:
        stored = FORMS[form](array, data_type, Path(folder))
        path = Path(folder) / "m.onnx"
        path.write_bytes(stored.model.SerializeToString())
        model = load(path)
        (item,) = [item for item in model.weights.all() if item.name == stored.name]
        assert (item.place, item.storage, item.shape) == (stored.place, stored.storage, shape)
        found = model.weights.read(stored.name)
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
        assert not found.flags.writeable
        if form == "handed on":
            assert model.weights.role("w") == ("fully connected weight", "MatMul")


CONSTANTS: dict[str, Any] = {
    "value_float": 0.1,
    "value_floats": [0.1, -2.5, 3e38],
    "value_int": -(2**62),
    "value_ints": [2**40, -1],
    "value_string": "cat",
    "value_strings": ["cat", "größe"],
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_numbers_in_attributes(name: str, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MINIMAL)
    model.graph.node.append(helper.make_node("Constant", [], ["k"], **{name: CONSTANTS[name]}))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    weights = load(tmp_path / "m.onnx").weights
    (item,) = weights.all()
    out = helper.make_empty_tensor_value_info("k")
    alone = helper.make_graph([model.graph.node[-1]], "g", [], [out])
    found_by_onnx = ReferenceEvaluator(alone, opsets={"": 21}).run(None, {})
    assert isinstance(found_by_onnx, list)
    expected = found_by_onnx[0]
    assert (item.place, item.storage, item.shape) == ("Constant k", name, np.shape(expected))
    found = weights.read("k")
    if name.startswith("value_string"):
        texts = [text.decode() for text in found.reshape(-1)]
        assert texts == ([CONSTANTS[name]] if isinstance(CONSTANTS[name], str) else CONSTANTS[name])
    else:
        assert found.dtype == np.asarray(expected).dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape_from", ["initializer", "Constant", "value_ints"])
@pytest.mark.parametrize("data_type", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8])
def test_arrays_of_one_value(data_type: int, shape_from: str, tmp_path: Path) -> None:
    """Caffe2 writes weights so where they are all the same."""
    sizes = numpy_helper.from_array(np.array([64, 3, 7, 7], np.int64), "s")
    model = onnx.parser.parse_model(MINIMAL)
    if shape_from == "initializer":
        model.graph.initializer.append(sizes)
    else:
        given = {"value": sizes} if shape_from == "Constant" else {"value_ints": [64, 3, 7, 7]}
        model.graph.node.append(helper.make_node("Constant", [], ["s"], **given))
    value = numpy_helper.from_array(np.array([3], helper.tensor_dtype_to_np_dtype(data_type)), "")
    model.graph.node.append(helper.make_node("ConstantOfShape", ["s"], ["w"], value=value))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    weights = load(tmp_path / "m.onnx").weights
    item = weights.all()[-1]
    assert (item.name, item.shape, item.storage, item.place) == ("w", (64, 3, 7, 7), "fill", "ConstantOfShape w")
    found = weights.read("w")
    np.testing.assert_array_equal(
        found, np.full((64, 3, 7, 7), 3, helper.tensor_dtype_to_np_dtype(data_type)), strict=True
    )
    assert not any(found.strides)


def test_an_array_of_zeros_needs_no_value(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MINIMAL)
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 0], np.int64), "s"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["s"], ["w"]))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    np.testing.assert_array_equal(load(tmp_path / "m.onnx").read("w"), np.zeros((2, 0), np.float32), strict=True)


def sparse_model(folder: Path, dims: list[int], indices: list[Any], values: int | None = None) -> Model:
    model = onnx.parser.parse_model(MINIMAL)
    places = np.array(indices, np.int64)
    numbers = np.arange(1, 1 + (len(places) if values is None else values), dtype=np.float32)
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(numpy_helper.from_array(numbers, "w"), numpy_helper.from_array(places), dims)
    )
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return load(folder / "m.onnx")


@pytest.mark.parametrize(
    ("dims", "indices", "values", "reason"),
    [
        ([10**6, 10**6], [0, 5], None, "2 stored values stand for 1000000000000; up to 16777216 are read"),
        ([2**40, 2**40], [0], None, "1 stored values stand for"),
        ([4], [0, 4], None, r"an index lies outside the shape \[4\]"),
        ([4], [-1, 2], None, "an index lies outside"),
        ([2, 3], [[0, 0], [0, 3]], None, "an index lies outside"),
        ([4], [1, 1], None, "two values are stored for the same index"),
        ([4], [0, 1], 3, r"indices of shape \[2\] do not fit 3 stored values"),
        ([2, 3], [[0, 0, 0], [0, 1, 0]], None, r"indices of shape \[2, 3\] do not fit"),
        ([-4], [], None, "0 stored values stand for -4"),
    ],
)
def test_sparse_tensors_that_are_refused(
    dims: list[int], indices: list[Any], values: int | None, reason: str, tmp_path: Path
) -> None:
    model = sparse_model(tmp_path, dims, indices, values)
    (item,) = model.weights.all()
    assert item.shape == tuple(dims)
    with pytest.raises(ModelError, match=f"tensor 'w' of shape .* cannot be read: {reason}"):
        model.read("w")


def test_sparse_indices_need_no_order(tmp_path: Path) -> None:
    found = sparse_model(tmp_path, [2, 3], [[1, 2], [0, 1]]).read("w")
    np.testing.assert_array_equal(found, np.array([[0, 2, 0], [0, 0, 1]], np.float32), strict=True)


@pytest.mark.parametrize("sizes", [[10**6, 10**6], [2**40, 2**40], [-1, 4]])
def test_absurd_arrays_of_one_value_are_refused(sizes: list[int], tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MINIMAL)
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), "s"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["s"], ["w"]))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"tensor 'w' of shape .* one value in -?\d+ places"):
        load(tmp_path / "m.onnx").read("w")


def test_names_that_repeat_stay_apart(tmp_path: Path) -> None:
    """Two branches of two Ifs of the same name, and the main graph's own tensor after them."""
    nodes = [
        helper.make_node(
            "If", ["c"], [f"t{i}"], name="choose", then_branch=branch(2 * i), else_branch=branch(2 * i + 1)
        )
        for i in range(2)
    ]
    nodes.append(helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(np.array([9], np.float32))))
    nodes += [
        helper.make_node("Constant", [], [""], value=numpy_helper.from_array(np.array([i], np.float32))) for i in (7, 8)
    ]
    x, y = (helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    nodes.append(helper.make_node("Add", ["x", "w"], ["y"]))
    nameless = numpy_helper.from_array(np.array([6], np.float32), "")
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(np.array(True), "c"), nameless])
    weights = Weights(helper.make_model(graph), tmp_path)
    values = {item.name: weights.read(item.name).tolist() for item in weights.all()}
    assert values == {
        "c": True,
        "unnamed (initializer)": [6],
        "w (If choose else_branch)": [1],
        "w (If choose then_branch)": [0],
        "w (If choose else_branch) #2": [3],
        "w (If choose then_branch) #2": [2],
        "w": [9],
        "unnamed (Constant)": [7],
        "unnamed (Constant) #2": [8],
    }


def test_what_a_call_gives_is_not_stored(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
    g (float[1] x) => (float[1] y) { y = here.F <alpha = 2.5> (x) }
    <domain: "here", opset_import: ["" : 17]>
    F <alpha> (a) => (b) { k = Constant <value_float: float = @alpha> () b = Mul (a, k) }"""
    (tmp_path / "m.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert load(tmp_path / "m.onnx").weights.all() == ()


@pytest.mark.parametrize("count", [10, 5000])
def test_external_tensors_of_any_size_are_external(count: int, tmp_path: Path) -> None:
    whole = onnx.load(model_with(tmp_path, numpy_helper.from_array(np.arange(count, dtype=np.float32), "w")))
    onnx.save(whole, tmp_path / "far.onnx", save_as_external_data=True, location="far.bin", size_threshold=0)
    model = load(tmp_path / "far.onnx")
    assert [item.storage for item in model.weights.all()] == ["external"]
    assert [item.storage for item in model.at({"x": (1,)}).weights.all()] == ["external"]
    np.testing.assert_array_equal(model.read("w"), np.arange(count, dtype=np.float32))


def test_reading_copies_no_large_weight(tmp_path: Path) -> None:
    values = np.arange(2_000_000, dtype=np.float32)
    model = load(model_with(tmp_path, numpy_helper.from_array(values, "w")))
    assert len(model.weights.all()) == 1
    tracemalloc.start()
    first, real = model.weights.read("w"), model.weights.real("w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000
    assert np.shares_memory(first, real)
    np.testing.assert_array_equal(real, values)


def test_every_weight_of_real_models_is_read(corpus: Path) -> None:
    for path in sorted((corpus / "models").glob("*.onnx")):
        model, whole = load(path), onnx.load(path)
        by_name = {tensor.name: tensor for tensor in whole.graph.initializer}
        by_name |= {
            node.output[0]: item.t for node in whole.graph.node if node.op_type == "Constant" for item in node.attribute
        }
        checked = 0
        for stored in model.weights.all():
            found = model.weights.read(stored.name)
            assert found.shape == stored.shape
            assert model.weights.real(stored.name).shape == stored.shape
            if stored.name in by_name:
                np.testing.assert_array_equal(found, numpy_helper.to_array(by_name[stored.name]), strict=True)
                checked += 1
        assert checked >= len(by_name), path.name


RELEASE = """
import sys
from onnxvis.graph.load import load
resident = lambda: int(next(line for line in open("/proc/self/status") if line.startswith("RssFile")).split()[1])
weights = load(sys.argv[1]).weights
before = resident()
array = weights.read("w")
total, after = float(array.sum(dtype="f8")), resident()
weights.release()
print(after - before > 30_000, resident() - before < 3_000, float(array.sum(dtype="f8")) == total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory held")
def test_what_was_read_can_be_given_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(10_000_000, np.float32)
    path = model_with(tmp_path, numpy_helper.from_array(values, "w"))
    found = subprocess.run([sys.executable, "-c", RELEASE, str(path)], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["True", "True", "True"]
