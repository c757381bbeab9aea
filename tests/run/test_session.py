"""Sessions: the provider that really runs, options, errors of one sentence, and memory that goes with the session."""

from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, numpy_helper, parser

from onnxvis.errors import InputError, ModelError, ProviderError
from onnxvis.graph.load import Model, load
from onnxvis.rewrite.expose import expose
from onnxvis.run import session as sessions
from onnxvis.run.session import RunOptions, Session, resolve_provider
from tests.zoo import build, materialize

Array = npt.NDArray[Any]
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
HAS_CUDA = CUDA in ort.get_available_providers() and sessions.cuda_devices()


def text(body: str, header: str = "") -> ModelProto:
    return parser.parse_model(f'<ir_version: 8, opset_import: ["": 17{header}]> {body}')


RELU = text("relu (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
ONES = {"x": np.ones((2, 3), np.float32)}


def pretend(monkeypatch: pytest.MonkeyPatch, providers: list[str], device: bool) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)
    monkeypatch.setattr(sessions, "cuda_devices", lambda: device)


def one_sentence(error: BaseException) -> str:
    message = str(error)
    assert "\n" not in message
    assert len(message) < 600
    for leaked in ("onnxruntime_src", ".cc:", "ONNXRuntimeError", "Traceback"):
        assert leaked not in message
    return message


def test_auto_takes_cuda_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, [CUDA, CPU], device=True)
    assert resolve_provider("auto") == (CUDA, ())


@pytest.mark.parametrize(
    ("providers", "device", "reason"),
    [
        ([CUDA, CPU], False, "ran on the CPU: no CUDA device was found"),
        ([CPU], True, "ran on the CPU: this ONNX Runtime has no CUDA provider"),
    ],
)
def test_auto_on_the_cpu_says_why(
    providers: list[str], device: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, providers, device)
    assert resolve_provider("auto") == (CPU, (reason,))


@pytest.mark.parametrize(
    ("providers", "device", "reason"),
    [([CUDA, CPU], False, "no CUDA device was found"), ([CPU], True, "is not in this ONNX Runtime")],
)
@pytest.mark.parametrize("name", ["cuda", "CUDA", CUDA])
def test_cuda_that_is_missing_is_an_error_that_says_what_to_install(
    name: str, providers: list[str], device: bool, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, providers, device)
    with pytest.raises(ProviderError, match=r"pip install 'onnxvis\[cuda\]'") as caught:
        resolve_provider(name)
    assert reason in one_sentence(caught.value)


@pytest.mark.parametrize("name", ["openvino", "OpenVINO", "OpenVINOExecutionProvider", "openvinoexecutionprovider"])
def test_any_provider_goes_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, ["OpenVINOExecutionProvider", CPU], device=False)
    assert resolve_provider(name) == ("OpenVINOExecutionProvider", ())


@pytest.mark.parametrize("name", ["nonesuch", "", "cpu\n\x1b[31m", "CoreML"])
def test_an_unknown_provider_is_named_with_those_that_are_there(name: str) -> None:
    with pytest.raises(ProviderError, match="CPUExecutionProvider") as caught:
        resolve_provider(name)
    assert "\x1b" not in one_sentence(caught.value)


def test_a_provider_that_does_not_start_is_an_error_and_auto_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As on a machine with an NVIDIA driver and without the CUDA libraries."""
    if HAS_CUDA or CUDA not in ort.get_available_providers():
        pytest.skip("needs an ONNX Runtime whose CUDA provider cannot start")
    monkeypatch.setattr(sessions, "cuda_devices", lambda: True)
    with pytest.raises(ProviderError, match=r"did not start.*pip install") as caught:
        Session(RELU, Path(), RunOptions("cuda"))
    one_sentence(caught.value)
    with Session(RELU, Path(), RunOptions("auto")) as session:
        assert session.placement.provider == CPU
        assert session.placement.notes[0].startswith(f"ran on the CPU: provider '{CUDA}' did not start")
        np.testing.assert_array_equal(session.run(ONES)["y"], ONES["x"])
    assert capfd.readouterr().out == ""


def settings_of(options: RunOptions) -> ort.SessionOptions:
    with Session(RELU, Path(), options) as session:
        assert session._session is not None
        return session._session.get_session_options()


def test_options_reach_the_session() -> None:
    plain, changed = settings_of(RunOptions("cpu")), settings_of(RunOptions("cpu", threads=2, exact=True))
    assert plain.intra_op_num_threads == 0
    assert plain.graph_optimization_level != ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert changed.intra_op_num_threads == 2
    assert changed.graph_optimization_level == ort.GraphOptimizationLevel.ORT_DISABLE_ALL


def test_a_session_says_what_it_returns_and_where_it_ran() -> None:
    with Session(RELU, Path(), RunOptions("cpu", 1)) as session:
        assert session.outputs == ("y",)
        assert (session.placement.provider, session.placement.cpu_nodes, session.placement.notes) == (CPU, (), ())
        assert list(session.run({**ONES, "not an input": np.zeros(1)})) == ["y"]


def test_only_the_outputs_asked_for_are_fetched() -> None:
    proto = text("two (float[3] x) => (float[3] y, float[3] z) { y = Neg(x) z = Exp(x) }")
    with Session(proto, Path(), RunOptions("cpu", 1)) as session:
        assert list(session.run({"x": np.zeros(3, np.float32)}, ["z"])) == ["z"]


@pytest.mark.parametrize(
    ("feeds", "said"),
    [
        ({"x": np.ones((2, 4), np.float32)}, "x float32 [2, 4]"),
        ({"x": np.ones((2, 3), np.int64)}, "x int64 [2, 3]"),
        ({"x": np.ones(3, np.float32)}, "x float32 [3]"),
        ({}, "cannot run on nothing"),
        ({"other\n": np.ones(3, np.float32)}, "other\\x0a float32 [3]"),
        ({"x": [1.0, 2.0]}, "x list"),
    ],
)
def test_feeds_that_do_not_fit_are_an_input_error_with_their_shapes(feeds: dict[str, Any], said: str) -> None:
    with (
        Session(RELU, Path(), RunOptions("cpu", 1), "net.onnx") as session,
        pytest.raises(InputError, match=r"net\.onnx cannot run on") as caught,
    ):
        session.run(feeds)
    assert said in one_sentence(caught.value)


@pytest.mark.parametrize(
    "proto",
    [
        text("g (float[3] x) => (float[3] y) { y = Nonesuch(x) }"),
        text("g (float[3] x) => (float[3] y) { y = Add(x) }"),
        text("g (float[3] x) => (int64[3] y) { y = Relu(x) }"),
        text("g (float[3] x) => (float[3] y) { y = Relu(z) }"),
    ],
    ids=["operator", "inputs", "type", "dangling"],
)
def test_a_graph_that_onnx_runtime_refuses_is_a_model_error(proto: ModelProto) -> None:
    with pytest.raises(ModelError, match=r"^ONNX Runtime cannot load net.onnx: \w") as caught:
        Session(proto, Path(), RunOptions("cpu", 1), "net.onnx")
    one_sentence(caught.value)


SOURCE = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256"
MODEL = "onnxruntime::Model::Model(onnx::ModelProto&&, const onnxruntime::PathString&)"
METHOD = "virtual onnxruntime::Status onnxruntime::Gru<T>::Run(std::function<void(int)>, int) const [with T = float]"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (f"[ONNXRuntimeError] : 1 : FAIL : {SOURCE} {MODEL} IR version: 14 (of 13)\n\n", "IR version: 14 (of 13)"),
        (
            f"[ONNXRuntimeError] : 6 : FAIL : At start: {SOURCE} {METHOD} layout was false.",
            "At start: layout was false.",
        ),
        ("\n [ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : No OneHot(11) node\nstack", "No OneHot(11) node"),
        (f"{SOURCE} SaveInitializedTensors [shape] no value (x) for w", "no value (x) for w"),
        ("", "RuntimeError"),
    ],
)
def test_complaints_are_told_without_the_runtimes_insides(raw: str, said: str) -> None:
    assert sessions._first_line(RuntimeError(raw)) == said


def test_endless_complaints_are_cut() -> None:
    assert len(sessions._first_line(RuntimeError(f"{SOURCE}{'a::b(' * 100_000}"))) <= 300


def external(folder: Path, body: str, **weights: Array) -> Model:
    """A model all of whose weights lie in another file, the small ones too."""
    proto = text(body)
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    onnx.save_model(proto, folder / "net.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    return load(folder / "net.onnx")


def test_a_large_value_that_is_needed_early_is_inlined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime infers shapes from the 600 sizes of this Split, and cannot read them by reference."""
    parts = ", ".join(f"part{index}" for index in range(600))
    body = f"g (float[600, 2] x) => (float[1, 2] part7) {{ {parts} = Split(x, sizes) }}"
    model = external(tmp_path, body, sizes=np.ones(600, np.int64))
    tried, real = [], ort.InferenceSession

    def counting(data: bytes, *arguments: Any, **options: Any) -> ort.InferenceSession:
        tried.append(len(data))
        return real(data, *arguments, **options)

    monkeypatch.setattr(ort, "InferenceSession", counting)
    x = np.arange(1200, dtype=np.float32).reshape(600, 2)
    before = model.proto.SerializeToString()
    with Session(model.proto, model.folder, RunOptions("cpu", 1)) as session:
        np.testing.assert_array_equal(session.run({"x": x})["part7"], [[14, 15]])
    if len(tried) > 1:
        assert tried[1] > tried[0] + 4500
    assert model.proto.SerializeToString() == before


@pytest.mark.parametrize("same_size", [True, False])
def test_complaints_one_after_the_other_come_to_an_end(
    same_size: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that names a single value each time: what is no larger goes in before the last try."""
    weights = {f"w{i}": np.full(1 if same_size else i + 1, i, np.float32) for i in range(40)}
    body = "g (float[1] x) => (float[N] y) { " + " ".join(f"a{i} = Add(x, w{i})" for i in range(40)) + " y = Relu(a0) }"
    proto = text(body)
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    onnx.save_model(proto, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    outside = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    tried, real = 0, ort.InferenceSession

    def complaining(data: bytes, *arguments: Any, **options: Any) -> ort.InferenceSession:
        nonlocal tried
        tried += 1
        left = [item.name for item in ModelProto.FromString(data).graph.initializer if item.external_data]
        if left:
            raise RuntimeError(f"cannot read {left[0]}")
        return real(data, *arguments, **options)

    monkeypatch.setattr(ort, "InferenceSession", complaining)
    if same_size:
        Session(outside, tmp_path, RunOptions("cpu", 1)).close()
    else:
        with pytest.raises(ModelError, match=r"cannot load the model: cannot read w\d+"):
            Session(outside, tmp_path, RunOptions("cpu", 1))
    assert tried == 8


@pytest.mark.parametrize("exact", [False, True])
def test_small_weights_are_read_from_the_models_folder_and_nowhere_else(
    exact: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime's optimizer would look for them in the current directory, where another file may have the name."""
    (tmp_path / "model").mkdir()
    (tmp_path / "here").mkdir()
    body = """
    g (float[2, 3] x) => (float[1] y, float[2, 3] z) {
        y = If(flag) <
            then_branch = one () => (float[1] t) { t = Constant<value_floats = [1.0]>() },
            else_branch = two () => (float[1] e) { e = Constant<value_floats = [2.0]>() }
        >
        a = Mul(x, scale)
        z = Add(a, shift)
    }
    """
    weights = {"flag": np.array(True), "scale": np.array(3, np.float32), "shift": np.full(3, 0.5, np.float32)}
    model = external(tmp_path / "model", body, **weights)
    monkeypatch.chdir(tmp_path / "here")
    for decoy in (None, bytes(1 << 16)):
        if decoy:
            Path("weights.bin").write_bytes(decoy)
        with Session(model.proto, model.folder, RunOptions("cpu", 1, exact)) as session:
            found = session.run(ONES)
        np.testing.assert_array_equal(found["y"], [1])
        np.testing.assert_array_equal(found["z"], np.full((2, 3), 3.5))


def test_large_weights_are_read_from_the_models_folder_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = tmp_path / "model" / "net.onnx"
    path.write_bytes(materialize(build("squeezenet1_1")).SerializeToString())
    Path("net.onnx").write_bytes(os.urandom(path.stat().st_size))
    model = load(path)
    picture = {"input": np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    (expected,) = ort.InferenceSession(path, options, providers=[CPU]).run(None, picture)
    with Session(model.proto, model.folder, RunOptions("cpu", 1)) as session:
        np.testing.assert_array_equal(session.run(picture)["output"], expected)


def test_closing_releases_the_runtimes_session() -> None:
    with Session(RELU, Path(), RunOptions("cpu", 1)) as session:
        held = weakref.ref(session._session)
        assert held() is not None
    gc.collect()
    assert held() is None
    with pytest.raises(RuntimeError, match="closed"):
        session.run(ONES)
    session.close()


def resident() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_from_session_to_session(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(materialize(build("resnet18")).SerializeToString())
    model = load(path)
    used = []
    for _ in range(12):
        with Session(model.proto, model.folder, RunOptions("cpu", 1)):
            pass
        gc.collect()
        used.append(resident())
    # The first few fill the allocator's pools; what each of the last eight kept would be 376 MB.
    assert used[-1] - used[3] < 100_000_000, f"twelve sessions over 47 MB of weights: {used}"


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18"])
def test_cuda_gives_what_the_cpu_gives(name: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(materialize(build(name)).SerializeToString())
    model = load(path)
    exposed = expose(model, [tensor.name for tensor in model.view.intermediates])
    picture = {"input": np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    with Session(exposed.proto, model.folder, RunOptions("cpu", exact=True)) as session:
        expected = session.run(picture)
    with Session(exposed.proto, model.folder, RunOptions("cuda")) as session:
        assert session.placement.provider == CUDA
        found = session.run(picture)
    for output, value in found.items():
        scale = np.abs(expected[output]).max(initial=1e-9)
        assert np.abs(value - expected[output]).max(initial=0) <= 1e-4 * scale, output


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="no CUDA device")
def test_nodes_that_fell_to_the_cpu_are_named() -> None:
    proto = text("g (float[2, 2] x) => (float y) { h = Relu(x) y = Det(h) }")
    with Session(proto, Path(), RunOptions("cuda")) as session:
        assert session.placement.cpu_nodes == ("Det",)
