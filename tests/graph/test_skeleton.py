"""A skeleton read back is the file, bit for bit; broken files are refused in one sentence."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxvis.errors import ModelError
from onnxvis.graph.external import tensors_of
from onnxvis.graph.load import Model, load
from onnxvis.graph.skeleton import INLINE_LIMIT, scan
from onnxvis.graph.wire import UnexpectedWireFormat

Array = np.ndarray[Any, np.dtype[Any]]
DTYPES = sorted(set(helper.get_all_tensor_dtypes()) - {TensorProto.UNDEFINED, TensorProto.STRING})


def tensor(name: str, data_type: int, shape: tuple[int, ...], *, raw: bool, seed: int = 0) -> TensorProto:
    """Random bits of any type. `raw` False puts them into the field that protobuf has for the type."""
    rng = np.random.default_rng(seed)
    dtype = helper.tensor_dtype_to_np_dtype(data_type)
    if raw or data_type >= TensorProto.BFLOAT16:
        integers = rng.integers(0, 4, shape, np.uint8)
        return numpy_helper.from_array(integers.astype(np.float32).astype(dtype), name)
    values = rng.integers(0, 2, shape).astype(dtype)
    return helper.make_tensor(name, data_type, shape, values.flatten().tolist())


def model_of(tensors: list[TensorProto]) -> ModelProto:
    """Tensors in every place a model has: initializers, Constant nodes, branches, functions, sparse ones."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    places: list[list[TensorProto]] = [tensors[i::4] for i in range(4)]
    nodes = [helper.make_node("Constant", [], [f"c.{t.name}"], value=t) for t in places[1]]
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "b", [], [helper.make_tensor_value_info("z", 1, [1])], places[2]
    )
    condition = numpy_helper.from_array(np.array(True), "condition")
    nodes.append(helper.make_node("If", ["condition"], ["y"], name="if", then_branch=branch, else_branch=branch))
    functions = []
    if places[3]:
        inner = [helper.make_node("Constant", [], [f"f.{t.name}"], value=t) for t in places[3]]
        inner.append(helper.make_node("Identity", ["a"], ["b"]))
        functions = [helper.make_function("local", "F", ["a"], ["b"], inner, [helper.make_opsetid("", 17)])]
    graph = helper.make_graph(nodes, "g", [x], [y], [condition, *places[0]])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)


def same_arrays(model: Model, original: ModelProto) -> None:
    expected = list(tensors_of(original))
    stored = model.weights.all()
    assert [(item.name, item.place) for item in expected] == [(s.name.split(" (")[0], s.place) for s in stored]
    for item, known in zip(expected, stored, strict=True):
        array = model.read(known.name)
        value = np.asarray(numpy_helper.to_array(item.tensor))
        assert (array.dtype, array.shape) == (value.dtype, value.shape)
        assert array.tobytes() == value.tobytes()


@st.composite
def models(draw: st.DrawFn) -> ModelProto:
    tensors = []
    for i in range(draw(st.integers(1, 8))):
        count = draw(st.sampled_from([0, 1, 7, 1023, 1024, 1025, 2049, 5000]))
        shape = (count,) if draw(st.booleans()) else (1, count)
        data_type = draw(st.sampled_from(DTYPES))
        tensors.append(tensor(f"t{i}", data_type, shape, raw=draw(st.booleans()), seed=i))
    return model_of(tensors)


@settings(max_examples=60, deadline=None)
@given(models())
def test_reads_back_what_onnx_reads(tmp_path_factory: pytest.TempPathFactory, original: ModelProto) -> None:
    path = tmp_path_factory.mktemp("skeleton") / "m.onnx"
    path.write_bytes(original.SerializeToString())
    before = hashlib.sha256(path.read_bytes()).digest()
    model = load(path)
    same_arrays(model, original)
    assert hashlib.sha256(path.read_bytes()).digest() == before


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("data_type", DTYPES)
def test_every_type_in_either_field(data_type: int, raw: bool, tmp_path: Path) -> None:
    original = model_of([tensor(f"t{i}", data_type, (3, 1777), raw=raw, seed=i) for i in range(4)])
    path = tmp_path / "m.onnx"
    path.write_bytes(original.SerializeToString())
    same_arrays(load(path), original)


def weighted(folder: Path, name: str = "m.onnx", count: int = 60_000) -> Path:
    """x + w, with a weight of 240 kB at an odd offset."""
    w = numpy_helper.from_array(np.arange(count, dtype=np.float32), "w")
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [count]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [w])
    path = folder / name
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return path


def run(model: Model) -> Array:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(model.folder))
    session = ort.InferenceSession(model.skeleton.SerializeToString(), options, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape
    return np.asarray(session.run(None, {"x": np.ones(size, np.float32)})[0])


def test_a_skeleton_is_small_and_small_tensors_stay(tmp_path: Path) -> None:
    small = tensor("small", TensorProto.FLOAT, (INLINE_LIMIT // 4,), raw=True)
    large = tensor("large", TensorProto.FLOAT, (500_000,), raw=True)
    indices = tensor("indices", TensorProto.INT64, (5_000,), raw=True)
    path = tmp_path / "m.onnx"
    path.write_bytes(model_of([small, small, small, small, large]).SerializeToString())
    assert len(scan(path)) < 6 * INLINE_LIMIT < path.stat().st_size / 50
    model = load(path)
    assert {s.name: s.storage for s in model.weights.all()}["large"] == "raw_data"
    path.write_bytes(model_of([indices]).SerializeToString())
    assert {s.name: s.storage for s in load(path).weights.all()}["indices"] == "raw_data"


@pytest.mark.parametrize(
    "name", ["with space.onnx", "größe-模型.onnx", "new\nline.onnx", "a'b\"c.onnx", "-x.onnx", "no ending"]
)
def test_odd_file_names_run(name: str, tmp_path: Path) -> None:
    model = load(weighted(tmp_path, name))
    np.testing.assert_array_equal(run(model), np.arange(60_000, dtype=np.float32) + 1)


def test_a_bare_name_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weighted(tmp_path)
    monkeypatch.chdir(tmp_path)
    model = load("m.onnx")
    assert model.folder.is_absolute()
    monkeypatch.chdir("/")
    assert run(model)[5] == 6
    assert model.read("w")[5] == 5


def test_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    weighted(tmp_path / "real", "original.onnx")
    (tmp_path / "links" / "m.onnx").symlink_to("../real/original.onnx")
    model = load(tmp_path / "links" / "m.onnx")
    assert (model.name, run(model)[5], model.read("w")[5]) == ("m.onnx", 6, 5)


def test_a_hugging_face_cache(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1234"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    whole = onnx.load(weighted(tmp_path))
    onnx.save(whole, tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx_data")
    for name, blob in (("model.onnx", "abc"), ("model.onnx_data", "def")):
        (tmp_path / name).rename(blobs / blob)
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    model = load(snapshot / "model.onnx")
    assert (run(model)[5], model.read("w")[5]) == (6, 5)


def test_a_name_that_is_not_utf8_falls_back_to_reading_it_whole(tmp_path: Path) -> None:
    path = weighted(tmp_path)
    odd = tmp_path / b"\xff.onnx".decode("utf-8", "surrogateescape")
    path.rename(odd)
    with pytest.raises(UnexpectedWireFormat):
        scan(odd)
    model = load(odd)
    assert model.read("w")[7] == 7
    assert {s.name: s.storage for s in model.weights.all()} == {"w": "raw_data"}
    assert model.name.isprintable()


def small_model(folder: Path) -> Path:
    w = tensor("w", TensorProto.FLOAT, (2, 3, 16, 16), raw=True)
    body = "a = Conv (x, w) y = Relu (a)"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1, 3, 32, 32] x) => (float[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.initializer.append(w)
    path = folder / "small.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def look_at_everything(path: Path) -> bool:
    """Open a file as far as the graph can be opened; False for a refusal, which is one line."""
    refusal = ""
    try:
        model = load(path)
        assert model.view.nodes is not None
        assert model.parts is not None
        assert model.tensors() is not None
        assert model.inputs is not None
        for stored in model.weights.all():
            model.read(stored.name)
    except ModelError as error:
        refusal = str(error)
    assert refusal.isprintable()
    return not refusal


def test_cut_short_anywhere(tmp_path: Path) -> None:
    path = small_model(tmp_path)
    whole = path.read_bytes()
    ends = [*range(120), *range(120, len(whole) - 200, 97), *range(len(whole) - 200, len(whole))]
    opened = 0
    for end in ends:
        path.write_bytes(whole[:end])
        opened += look_at_everything(path)
    assert opened < len(ends) / 10  # a few cuts fall between two fields and leave a valid, shorter message


def test_flipped_bytes(tmp_path: Path) -> None:
    path = small_model(tmp_path)
    whole = path.read_bytes()
    head, tail = whole.index(b"Conv") + 80, 120
    for seed in range(400):
        rng = random.Random(seed)
        broken = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 5])):
            place = rng.choice([rng.randrange(head), rng.randrange(head), len(whole) - rng.randrange(1, tail)])
            broken[place] = rng.choice([broken[place] ^ (1 << rng.randrange(8)), rng.randrange(256)])
        path.write_bytes(bytes(broken))
        look_at_everything(path)
