"""Written models: complete or linked, loaded by others, whole or absent, never over the original."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from onnxvis.errors import ModelError, OutputError
from onnxvis.graph.external import tensors_of
from onnxvis.graph.load import Model, load
from onnxvis.rewrite import save, splice
from onnxvis.rewrite.expose import expose
from onnxvis.rewrite.save import save_linked, save_self_contained
from tests.rewrite.running import Array, corpus, feeds_for, from_text, oracle, outputs_of, write
from tests.zoo import build, materialize

PATHS = corpus()
Save = Callable[[ModelProto, Model, Path], list[Path]]


def weights_of(path: Path) -> dict[str, Array]:
    """Every stored tensor, by onnx alone."""
    proto = onnx.load(path)
    return {f"{i} {item.name}": numpy_helper.to_array(item.tensor) for i, item in enumerate(tensors_of(proto))}


def run_file(path: Path, feeds: dict[str, Array]) -> dict[str, Any]:
    """What ONNX Runtime makes of the file at a path, unoptimised."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return outputs_of(ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]), feeds)


def same_results(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert list(a) == list(b)
    for name, value in a.items():
        np.testing.assert_array_equal(value, b[name], strict=True, err_msg=name)


@pytest.fixture
def network(tmp_path: Path) -> Model:
    return load(write(materialize(build("shufflenet_v2_x1_0")), tmp_path, "net.onnx"))


@pytest.fixture
def hidden(tmp_path: Path) -> Model:
    """Large weights in an initializer, a Constant node, both branches of an If, a sparse tensor, and a function."""
    proto = from_text(HIDDEN, header=', "here": 1')
    rng = np.random.default_rng(0)
    for item in list(tensors_of(proto)):
        if list(item.tensor.dims) == [2048]:
            item.tensor.CopyFrom(
                numpy_helper.from_array(rng.standard_normal(2048).astype(np.float32), item.tensor.name)
            )
    values = numpy_helper.from_array(rng.standard_normal(1500).astype(np.float32), "thin")
    indices = numpy_helper.from_array(np.arange(0, 1500, dtype=np.int64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2048]))
    return load(write(proto, tmp_path, "hidden.onnx"))


HIDDEN = """
hidden (float[2048] x, bool flag) => (float[2048] y)
<float[2048] w = {}>
{
    a = Add(x, w)
    c = Constant<value = float[2048] {}>()
    b = Add(a, c)
    d = If(flag) <
        then_branch = one () => (float[2048] t) { k = Constant<value = float[2048] {}>() t = Mul(b, k) },
        else_branch = two () => (float[2048] e) <float[2048] u = {}> { e = Mul(b, u) }
    >
    f = Add(d, thin)
    y = here.Shift(f)
}
<domain: "here", opset_import: ["": 17]>
Shift (given) => (moved) { s = Constant<value = float[2048] {}>() moved = Add(given, s) }
"""


def hidden_feeds(flag: bool) -> dict[str, Array]:
    return {"x": np.linspace(-1, 1, 2048, dtype=np.float32), "flag": np.array(flag)}


def test_a_self_contained_file_holds_everything(network: Model, tmp_path: Path) -> None:
    exposed = expose(network, ["/maxpool/MaxPool_output_0"])
    target = tmp_path / "elsewhere" / "out.onnx"
    assert save_self_contained(exposed.proto, network, target) == [target]
    written = onnx.load(target, load_external_data=False)
    onnx.checker.check_model(written, full_check=True)
    assert not any(uses_external_data(item.tensor) for item in tensors_of(written))
    original, copied = weights_of(network.path), weights_of(target)
    assert original.keys() == copied.keys()
    for name, value in original.items():
        np.testing.assert_array_equal(value, copied[name], strict=True)
    assert [value.name for value in written.graph.output] == ["output", "/maxpool/MaxPool_output_0"]
    network.path.unlink()
    feeds = feeds_for(network)
    same_results(run_file(target, feeds), outputs_of(oracle(written, exact=True), feeds))


def test_a_round_trip_gives_the_same_results(network: Model, tmp_path: Path) -> None:
    feeds = feeds_for(network)
    expected = run_file(network.path, feeds)
    for name, write_it in (("whole.onnx", save_self_contained), ("linked.onnx", save_linked)):
        write_it(network.proto, network, tmp_path / name)
        same_results(run_file(tmp_path / name, feeds), expected)
        again = load(tmp_path / name)
        assert [t.name for t in again.view.intermediates] == [t.name for t in network.view.intermediates]


def test_weights_hidden_in_branches_constants_and_functions_are_put_back(hidden: Model, tmp_path: Path) -> None:
    assert sum(bool(item.tensor.external_data) for item in tensors_of(hidden.proto)) == 5
    for name, proto in (("flat.onnx", hidden.proto), ("as_it_was.onnx", hidden.skeleton)):
        target = tmp_path / name
        save_self_contained(proto, hidden, target)
        onnx.checker.check_model(onnx.load(target, load_external_data=False))
        for flag in (False, True):
            same_results(run_file(target, hidden_feeds(flag)), run_file(hidden.path, hidden_feeds(flag)))
    as_it_was = onnx.load(tmp_path / "as_it_was.onnx")
    assert as_it_was == onnx.load(hidden.path)


def test_sparse_weights_outside_the_file_are_put_back(tmp_path: Path) -> None:
    """No exporter writes them, but the format allows it."""
    values = np.arange(3000, dtype=np.float32)
    (tmp_path / "far.bin").write_bytes(values.tobytes())
    proto = from_text("g (float[1, 4000] x) => (float[1, 4000] y) { y = Add(x, thin) }")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(values, "thin"), numpy_helper.from_array(np.arange(3000, dtype=np.int64)), [4000]
    )
    proto.graph.sparse_initializer.append(sparse)
    stored = proto.graph.sparse_initializer[0].values
    onnx.external_data_helper.set_external_data(stored, "far.bin", offset=0, length=12000)
    stored.ClearField("raw_data")
    model = load(write(proto, tmp_path))
    save_self_contained(model.proto, model, tmp_path / "out.onnx")
    found = onnx.load(tmp_path / "out.onnx", load_external_data=False).graph.sparse_initializer[0].values
    np.testing.assert_array_equal(numpy_helper.to_array(found), values)


@pytest.mark.skipif(not PATHS, reason="ONNXVIS_CORPUS is not set")
@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_real_models_are_written_back_as_they_were(path: Path, tmp_path: Path) -> None:
    model = load(path)
    target = tmp_path / "copy.onnx"
    save_self_contained(model.skeleton, model, target)
    copied, original = onnx.load(target), onnx.load(path)
    for proto in (copied, original):
        for item in tensors_of(proto):
            item.tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item.tensor), item.tensor.name))
    assert copied == original


def test_a_linked_file_is_small_and_refers_to_the_originals_bytes(network: Model, tmp_path: Path) -> None:
    target = tmp_path / "linked.onnx"
    exposed = expose(network, ["/maxpool/MaxPool_output_0"])
    assert save_linked(exposed.proto, network, target) == [target]
    assert target.stat().st_size < network.size / 10
    written = onnx.load(target, load_external_data=False)
    entries = [{e.key: e.value for e in item.tensor.external_data} for item in tensors_of(written)]
    assert {entry["location"] for entry in entries if entry} == {"net.onnx"}
    whole = network.path.read_bytes()
    for item, entry in zip(tensors_of(written), entries, strict=True):
        if entry:
            start, length = int(entry["offset"]), int(entry["length"])
            value = np.frombuffer(whole[start : start + length], np.float32).reshape(list(item.tensor.dims))
            np.testing.assert_array_equal(value, network.read(item.name))
    onnx.checker.check_model(str(target))
    feeds = feeds_for(network)
    np.testing.assert_array_equal(run_file(target, feeds)["output"], run_file(network.path, feeds)["output"])


def test_links_lead_down_into_a_folder_but_never_up(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    model = load(write(materialize(build("squeezenet1_1")), tmp_path / "inner", "net.onnx"))
    save_linked(model.proto, model, tmp_path / "above.onnx")
    same_results(run_file(tmp_path / "above.onnx", feeds_for(model)), run_file(model.path, feeds_for(model)))
    (tmp_path / "beside").mkdir()
    with pytest.raises(OutputError, match=r"same folder or below.*leave out --link"):
        save_linked(model.proto, model, tmp_path / "beside" / "linked.onnx")
    assert not list((tmp_path / "beside").iterdir())


def with_external_data(folder: Path) -> Path:
    proto = materialize(build("squeezenet1_1"))
    onnx.save_model(proto, folder / "net.onnx", save_as_external_data=True, location="net.onnx.data")
    return folder / "net.onnx"


def test_external_data_is_taken_in_or_linked(tmp_path: Path) -> None:
    model = load(with_external_data(tmp_path))
    feeds = feeds_for(model)
    expected = run_file(model.path, feeds)
    save_self_contained(model.proto, model, tmp_path / "away" / "whole.onnx")
    save_linked(model.proto, model, tmp_path / "linked.onnx")
    assert [path.name for path in (tmp_path / "away").iterdir()] == ["whole.onnx"]
    same_results(run_file(tmp_path / "away" / "whole.onnx", feeds), expected)
    same_results(run_file(tmp_path / "linked.onnx", feeds), expected)


def test_small_values_in_another_file_are_known_when_shapes_are_inferred(tmp_path: Path) -> None:
    """As exporters write them that put every tensor outside: here are a Resize's scales and a Reshape's shape."""
    proto = from_text("g (float[1, 3, 8, 8] x) => (float[n, m] y) { h = Resize(x, , scales) y = Reshape(h, shape) }")
    scales, shape = np.array([1, 1, 2, 2], np.float32), np.array([1, -1], np.int64)
    proto.graph.initializer.extend([numpy_helper.from_array(scales, "scales"), numpy_helper.from_array(shape, "shape")])
    path = tmp_path / "net.onnx"
    onnx.save_model(proto, path, save_as_external_data=True, location="net.bin", size_threshold=0)
    model = load(path)
    assert (model.view.shape("h"), model.view.shape("y")) == ((1, 3, 16, 16), (1, 768))
    save_linked(model.proto, model, tmp_path / "linked.onnx")
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    twice = x.repeat(2, axis=2).repeat(2, axis=3).reshape(1, -1)
    np.testing.assert_array_equal(run_file(tmp_path / "linked.onnx", {"x": x})["y"], twice)


@pytest.mark.parametrize("write_it", [save_self_contained, save_linked])
@pytest.mark.parametrize("named", ["net.onnx", "net.onnx.data", "soft.onnx", "hard.onnx", "inner/../net.onnx"])
def test_the_original_is_never_written_over(named: str, write_it: Save, tmp_path: Path) -> None:
    model = load(with_external_data(tmp_path))
    (tmp_path / "inner").mkdir()
    (tmp_path / "soft.onnx").symlink_to("net.onnx")
    (tmp_path / "hard.onnx").hardlink_to(tmp_path / "net.onnx.data")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(OutputError, match="never changed; name another -o"):
        write_it(model.proto, model, tmp_path / named)
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_model_without_large_weights_is_not_written_over_either(tmp_path: Path) -> None:
    model = load(write(from_text("g (float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }"), tmp_path))
    with pytest.raises(OutputError, match="never changed"):
        save_self_contained(model.proto, model, model.path)


def test_a_folder_is_no_target(network: Model, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"):
        save_self_contained(network.proto, network, tmp_path)


def test_large_models_get_a_data_file_beside_them(
    network: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(save, "SINGLE_FILE_LIMIT", 1_000_000)
    target = tmp_path / "away" / "big.onnx"
    assert save_self_contained(network.proto, network, target) == [target, tmp_path / "away" / "big.onnx.data"]
    assert target.stat().st_size < 1_000_000
    onnx.checker.check_model(str(target))
    entries = [e for item in tensors_of(onnx.load(target, load_external_data=False)) for e in item.tensor.external_data]
    assert all(int(entry.value) % 4096 == 0 for entry in entries if entry.key == "offset")
    feeds = feeds_for(network)
    same_results(run_file(target, feeds), run_file(network.path, feeds))
    again = load(target)
    np.testing.assert_array_equal(again.read("fc.weight"), network.read("fc.weight"))


def test_the_data_file_is_not_written_over_the_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "SINGLE_FILE_LIMIT", 1000)
    source = with_external_data(tmp_path)
    source.rename(tmp_path / "moved.onnx")
    model = load(tmp_path / "moved.onnx")
    before = (tmp_path / "net.onnx.data").read_bytes()
    with pytest.raises(OutputError, match=r"net.onnx.data is the model or its weights"):
        save_self_contained(model.proto, model, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx.data").read_bytes() == before
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize("limit", [10**9, 1000], ids=["one file", "data beside"])
@pytest.mark.parametrize("older", [False, True])
def test_a_full_disk_leaves_nothing_or_what_was_there(
    limit: int, older: bool, network: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(save, "SINGLE_FILE_LIMIT", limit)
    folder = tmp_path / "out"
    folder.mkdir()
    if older:
        for name in ("out.onnx", "out.onnx.data"):
            (folder / name).write_text("older")
    copy, copied = splice.copy_range, 0

    def full(*arguments: Any) -> None:
        nonlocal copied
        copied += 1
        if copied > 20:
            raise OSError(28, "No space left on device")
        copy(*arguments)

    monkeypatch.setattr(splice, "copy_range", full)
    with pytest.raises(OutputError, match=r"cannot write .*No space left on device"):
        save_self_contained(network.proto, network, folder / "out.onnx")
    assert copied == 21
    left = {path.name: path.read_text() for path in folder.iterdir()}
    assert left == ({"out.onnx": "older", "out.onnx.data": "older"} if older else {})


FULL = """
import resource, sys
from pathlib import Path
from onnxvis.errors import OutputError
from onnxvis.graph.load import load
from onnxvis.rewrite import save

save.SINGLE_FILE_LIMIT = int(sys.argv[4])
model = load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    save.save_self_contained(model.proto, model, Path(sys.argv[2]))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("room", [1000, 3_000_000])
@pytest.mark.parametrize("limit", [10**9, 1000], ids=["one file", "data beside"])
def test_the_systems_own_refusal_leaves_nothing(limit: int, room: int, network: Model, tmp_path: Path) -> None:
    target = tmp_path / "out" / "out.onnx"
    arguments = [sys.executable, "-c", FULL, str(network.path), str(target), str(room), str(limit)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cannot write ")
    assert "File too large" in done.stdout
    assert list(target.parent.iterdir()) == []


def test_weights_that_shrink_while_they_are_read_are_an_error(network: Model, tmp_path: Path) -> None:
    os.truncate(network.path, network.size // 2)
    with pytest.raises(ModelError, match="became shorter while it was read"):
        save_self_contained(network.proto, network, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_spliced_bytes_are_as_many_as_was_said(hidden: Model, tmp_path: Path) -> None:
    pieces = splice.spliced(hidden.skeleton)
    save_self_contained(hidden.skeleton, hidden, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size == splice.length_of(pieces)


def test_holes_stay_holes(tmp_path: Path) -> None:
    size = 64 << 20
    with open(tmp_path / "zeros.bin", "wb") as stream:
        stream.truncate(size)
    proto = from_text("g (float[1] x) => (float[16777216] y) { y = Add(x, w) }")
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size // 4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="zeros.bin")
    proto.graph.initializer.append(weight)
    model = load(write(proto, tmp_path))
    save_self_contained(model.proto, model, tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size > size
    assert (tmp_path / "out.onnx").stat().st_blocks * 512 < size / 8
    written = onnx.load(tmp_path / "out.onnx")
    assert len(written.graph.initializer[0].raw_data) == size
    assert not np.frombuffer(written.graph.initializer[0].raw_data, np.uint8).any()
