"""A model's weights as numbers, against NumPy on what the onnx package reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import onnxvis
from onnxvis.errors import InputError, TensorNotFound
from onnxvis.measure.statistics import TensorStatistics
from onnxvis.measure.weights import WeightTable, measure_weights
from tests.tiny import Array, from_text, tiny, write

RNG = np.random.default_rng(3)


def assert_numbers(found: TensorStatistics, array: Array) -> None:
    """Equal to NumPy's in float64."""
    values = array.astype(np.float64).ravel()
    assert (found.count, found.nan, found.inf) == (values.size, np.isnan(values).sum(), np.isinf(values).sum())
    assert found.zero_fraction == np.count_nonzero(values == 0) / values.size
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, found.counts.size)
    assert found.counts.tolist() == counts.tolist()
    assert found.edges.tolist() == edges.tolist()
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12, abs=1e-15 * np.abs(values).max())
    if values.size > 1:
        assert found.std == pytest.approx(np.std(values, ddof=1), rel=1e-12, abs=1e-15 * np.abs(values).max())


def check_file(path: Path, bins: int = 50) -> WeightTable:
    table = measure_weights(onnxvis.load(path), bins=bins)
    graph = onnx.load(path).graph
    stored = {item.name: item for item in graph.initializer}
    stored |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    compared = 0
    for item in table.weights:
        if item.name in stored:
            array = numpy_helper.to_array(stored.pop(item.name))
            assert_numbers(item.steps or item.statistics, array)
            assert item.shape == array.shape
            compared += 1
    assert compared
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    left = {name for name, item in stored.items() if item.data_type in floats and 0 not in item.dims}
    # Bounds, scales and exponents are settings, not weights.
    readers = {node.op_type for node in graph.node if left.intersection(node.input)}
    assert readers <= {"Clip", "Resize", "Upsample", "Pow"}
    assert not table.unread
    return table


def test_the_built_in_model_has_numpys_numbers(classifier: Path) -> None:
    table = check_file(classifier)
    kernel = table.weights[0]
    assert (kernel.name, kernel.role, kernel.op, kernel.shape) == ("conv1.weight", "conv kernel", "Conv", (16, 3, 3, 3))
    assert kernel.quantization is None
    assert kernel.steps is None


@pytest.mark.parametrize("bins", [1, 64, 1000])
def test_other_numbers_of_bins(classifier: Path, bins: int) -> None:
    check_file(classifier, bins)


def test_real_models_have_numpys_numbers(corpus: Path) -> None:
    models = sorted((corpus / "models").glob("*.onnx"))
    assert models
    for model in models:
        check_file(model)


def test_results_are_the_same_whatever_the_threads(tmp_path: Path) -> None:
    model = onnxvis.load(write(tiny(), tmp_path))
    one, *others = (measure_weights(model, threads=threads) for threads in (1, 2, 5))
    names = [item.name for item in onnx.load(model.path).graph.initializer]
    assert [item.name for item in one.weights] == names
    for other in others:
        assert [item.name for item in other.weights] == names
        for mine, theirs in zip(one.weights, other.weights, strict=True):
            assert repr(mine.statistics) == repr(theirs.statistics)
            assert mine.statistics.counts.tobytes() == theirs.statistics.counts.tobytes()


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_counts_to_the_end(tmp_path: Path, threads: int) -> None:
    told: list[tuple[int, int]] = []
    table = measure_weights(
        onnxvis.load(write(tiny(), tmp_path)), threads=threads, progress=lambda done, of: told.append((done, of))
    )
    count = len(table.weights)
    assert told == [(done, count) for done in range(1, count + 1)]


def quantised(tmp_path: Path, codes: Array, scale: Array, zero: Array, axis: int) -> Path:
    text = f"""g (float[1,3,8,8] x) => (float[1,?,6,6] y) {{
        w = DequantizeLinear<axis = {axis}>(codes, scale, zero)
        y = Conv(x, w)
    }}"""
    model = from_text(text)
    arrays = (("codes", codes), ("scale", scale), ("zero", zero))
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays)
    return write(model, tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantised_weights_in_real_units_and_in_steps(tmp_path: Path, dtype: str) -> None:
    low = 0 if dtype == "uint8" else -128
    codes = RNG.integers(low, low + 256, (5, 3, 3, 3)).astype(dtype)
    scale = RNG.uniform(0.01, 0.1, 5).astype(np.float32)
    zero = RNG.integers(low, low + 256, 5).astype(dtype)
    table = measure_weights(onnxvis.load(quantised(tmp_path, codes, scale, zero, 0)))
    found = next(item for item in table.weights if item.name == "codes")
    shape = (5, 1, 1, 1)
    real = (codes.astype(np.float32) - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
    assert_numbers(found.statistics, real)
    assert found.steps is not None
    assert_numbers(found.steps, codes)
    assert found.quantization is not None
    assert (found.quantization.axis, found.quantization.zero_point) == (0, "zero")
    assert (found.role, found.dtype) == ("conv kernel", dtype)


def with_initializers(tmp_path: Path, *tensors: TensorProto) -> Path:
    """A model that stores these as well and reads none of them but by an Add to its first."""
    model = from_text("g (float[2] x) => (float[2] y) { y = Add(x, w) }")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, -2], np.float32), "w"))
    model.graph.initializer.extend(tensors)
    return write(model, tmp_path)


def odd_tensors() -> list[TensorProto]:
    return [
        numpy_helper.from_array(np.array([3, 4, 5], np.int64), "axes"),
        TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], string_data=[b"cat"]),
        numpy_helper.from_array(np.zeros((0, 3), np.float32), "empty"),
        numpy_helper.from_array(np.array(0.5, np.float32), "single"),
        numpy_helper.from_array(np.array([np.nan, np.inf, 2, 0], np.float32), "holes"),
        TensorProto(name="short", data_type=TensorProto.FLOAT, dims=[4], raw_data=b"\0" * 12),
    ]


def test_what_is_left_out_and_what_cannot_be_read(tmp_path: Path) -> None:
    table = measure_weights(onnxvis.load(with_initializers(tmp_path, *odd_tensors())))
    assert {item.name: item.statistics.mean for item in table.weights} == {"w": -0.5, "single": 0.5, "holes": 1}
    assert table.left_out == 2
    assert len(table.unread) == 1
    assert "'short' of shape [4] cannot be read" in table.unread[0]
    holes = table.weights[-1].statistics
    assert (holes.count, holes.nan, holes.inf, holes.zero_fraction) == (4, 1, 1, 0.25)


def test_named_tensors_alone_whatever_they_carry(tmp_path: Path) -> None:
    model = onnxvis.load(with_initializers(tmp_path, *odd_tensors()))
    table = measure_weights(model, names=["single", "axes", "single", "empty"])
    assert [(item.name, item.statistics.count) for item in table.weights] == [("axes", 3), ("empty", 0), ("single", 1)]
    table = measure_weights(model, names=["texts"])
    assert not table.weights
    assert "no order" in table.unread[0]


def test_a_name_that_is_not_stored(tmp_path: Path) -> None:
    model = onnxvis.load(with_initializers(tmp_path, *odd_tensors()))
    with pytest.raises(TensorNotFound, match=r"stores no tensor 'sinlge'; nearest: 'single'.*onnxvis weights"):
        measure_weights(model, names=["w", "sinlge"])


@pytest.mark.parametrize(("options", "text"), [({"bins": 0}, "cannot have 0 bins"), ({"threads": 0}, "0 threads")])
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        measure_weights(onnxvis.load(write(tiny(), tmp_path)), **options)


def test_a_filled_weight_takes_no_longer_for_being_large(tmp_path: Path) -> None:
    model = from_text(
        "g (float[1,8] x) => (float[1,16777216] y) { s = Constant<value_ints = [8, 16777216]>() "
        "w = ConstantOfShape<value = float[1] {0.5}>(s) y = MatMul(x, w) }"
    )
    opened = onnxvis.load(write(model, tmp_path))
    before = time.perf_counter()
    table = measure_weights(opened)
    assert time.perf_counter() - before < 2
    numbers = table.weights[0].statistics
    assert (numbers.count, numbers.mean, numbers.std, int(numbers.counts.sum())) == (8 << 24, 0.5, 0, 8 << 24)
