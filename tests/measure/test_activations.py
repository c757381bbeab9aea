from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from onnxvis.errors import InputError, ModelError, RewriteError, TensorNotFound
from onnxvis.graph.load import load
from onnxvis.measure import activations
from onnxvis.measure.activations import Activations, Difference, Probe, differences, run_deployed
from onnxvis.run.session import Execution, RunOptions, Session
from tests.tiny import Array, from_text, oracle, tiny, write

CPU = RunOptions("cpu", 1)
EXACT = RunOptions("cpu", 1, exact=True)
PLACEMENT = Execution("CPUExecutionProvider", (), ())
TENSORS = ("stage1.first/conv", "stage1.x/relu", "stage2.y/add", "pooled", "vector")


def feed(seed: int = 0, side: int = 32) -> dict[str, Array]:
    return {"image": np.random.default_rng(seed).standard_normal((1, 3, side, side)).astype(np.float32)}


def test_values_are_those_of_an_independent_session(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    wanted = oracle(path, TENSORS, feed())
    exact = oracle(path, TENSORS, feed(), exact=True)
    with Probe(load(path), TENSORS, CPU) as probe:
        found = probe.run(feed())
    with Probe(load(path), TENSORS, EXACT) as probe:
        found_exact = probe.run(feed())
    assert list(found.values) == list(TENSORS)
    for name in TENSORS:
        np.testing.assert_allclose(found.values[name], wanted[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found_exact.values[name], exact[name])
    np.testing.assert_array_equal(found_exact.outputs["logits"], exact["logits"])
    assert found.placement.provider == "CPUExecutionProvider"


def test_one_session_takes_many_inputs(tmp_path: Path) -> None:
    path = write(tiny(batch="N", side="S"), tmp_path)
    with Probe(load(path), ["stage1.x/relu"], CPU) as probe:
        for seed, side in ((0, 32), (1, 48), (2, 32)):
            fed = feed(seed, side)
            found = probe.run(fed).maps("stage1.x/relu")
            np.testing.assert_allclose(found, oracle(path, ["stage1.x/relu"], fed)["stage1.x/relu"][0], atol=1e-5)


def test_only_what_is_needed_runs(tmp_path: Path) -> None:
    """The deeper part divides by zero shapes at run time, so it would fail if it ran."""
    body = """g (float[1,3,8,8] x, float[1,2] unfed) => (float[N] y) {
        a = Relu(x)
        shape = Constant<value_ints = [7, 7]>()
        bad = Reshape(a, shape)
        y = ReduceSum<keepdims = 0>(bad)
        z = Add(unfed, unfed)
    }"""
    path = write(from_text(body), tmp_path)
    model = load(path)
    feeds = {"x": np.ones((1, 3, 8, 8), np.float32)}
    with Probe(model, ["a"], CPU, only=True) as probe:
        found = probe.run(feeds)
    assert found.outputs == {}
    np.testing.assert_array_equal(found.values["a"], feeds["x"])
    with pytest.raises(InputError, match=r"model\.onnx cannot run on"), Probe(model, ["a"], CPU) as probe:
        probe.run({**feeds, "unfed": np.ones((1, 2), np.float32)})


def test_bfloat16_comes_as_float32(tmp_path: Path) -> None:
    body = "g (float[1,2,2,2] x) => (float[1,2,2,2] y) { b = Cast<to = 16>(x)\n y = Cast<to = 1>(b) }"
    path = write(from_text(body), tmp_path)
    values = np.random.default_rng(0).standard_normal((1, 2, 2, 2)).astype(np.float32)
    with Probe(load(path), ["b"], CPU, only=True) as probe:
        found = probe.run({"x": values})
    # bfloat16 is float32 with the lower 16 bits rounded away, ties to even.
    bits = values.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    np.testing.assert_array_equal(found.values["b"], rounded)
    assert found.casts == {"b": ("bfloat16", "float32")}


def test_maps_of_either_layout() -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    found = Activations(
        {"nchw": values, "nhwc": values.transpose(0, 2, 3, 1), "vector": values[:, :, 0, 0], "tokens": values[0]},
        {"nhwc": "NHWC", "nchw": "NCHW"}, {}, PLACEMENT, {},
    )  # fmt: skip
    for picture in range(2):
        np.testing.assert_array_equal(found.maps("nchw", picture), values[picture])
        np.testing.assert_array_equal(found.maps("nhwc", picture), values[picture])
        np.testing.assert_array_equal(found.maps("vector", picture)[:, 0, 0], values[picture, :, 0, 0])
    with pytest.raises(InputError, match=r"'tokens' of shape \[3, 4, 5\] is no feature map"):
        found.maps("tokens")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.zeros((1, 2, 3, 3)), True), (np.zeros((1, 4)), True), (np.zeros((1, 4), bool), True),
        (np.zeros((1, 4), np.uint8), True), (np.zeros((1, 0, 3, 3)), False), (np.zeros((0, 2, 3, 3)), False),
        (np.zeros((2, 3, 3)), False), (np.zeros(3), False), (np.zeros((1, 2), complex), False),
        (np.array([["a"]], dtype=object), False),
    ],
)  # fmt: skip
def test_what_is_a_map(value: Array, wanted: bool) -> None:
    assert Activations({"t": value}, {}, {}, PLACEMENT, {}).is_map("t") is wanted


def test_a_nhwc_network_gives_channels_first(tmp_path: Path) -> None:
    body = """g (float[1,8,9,3] x) => (float[1,8,9,4] y) {
        t = Transpose<perm = [0, 3, 1, 2]>(x)
        c = Conv<kernel_shape = [1, 1]>(t, w)
        y = Transpose<perm = [0, 2, 3, 1]>(c)
    }"""
    model = from_text(body)
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((4, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "w"))
    path = write(model, tmp_path)
    values = rng.standard_normal((1, 8, 9, 3)).astype(np.float32)
    with Probe(load(path), ["y", "c"], CPU) as probe:
        found = probe.run({"x": values})
    wanted = np.einsum("hwc,kc->khw", values[0], kernel[:, :, 0, 0])
    np.testing.assert_allclose(found.maps("y"), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.maps("c"), wanted, rtol=1e-5, atol=1e-6)


def test_deployed_outputs_of_every_input(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    found, placement = run_deployed(load(path), [feed(0), feed(1)], CPU)
    for seed, outputs in enumerate(found):
        np.testing.assert_allclose(outputs["logits"], oracle(path, [], feed(seed))["logits"], rtol=1e-6)
    assert placement.cpu_nodes == ()


def test_the_deployed_run_is_optimised_whatever_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`exact` is for what is exposed: a prediction must not hang on it."""
    seen: list[RunOptions] = []

    class Recording(Session):
        def __init__(self, model: ModelProto, folder: Path, options: RunOptions, name: str) -> None:
            seen.append(options)
            super().__init__(model, folder, options, name)

    monkeypatch.setattr(activations, "Session", Recording)
    model = load(write(tiny(dtype="float16"), tmp_path))
    fed = {name: value.astype(np.float16) for name, value in feed().items()}
    (plain,), _ = run_deployed(model, [fed], CPU)
    (exact,), _ = run_deployed(model, [fed], EXACT)
    assert seen == [RunOptions("cpu", 1, exact=False)] * 2
    np.testing.assert_array_equal(exact["logits"], plain["logits"])
    with Probe(model, ["pooled"], EXACT):
        assert seen[-1] == EXACT


def test_what_is_exposed_is_exact_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tiny(), tmp_path)
    wanted = {exact: oracle(path, TENSORS, feed(), exact=exact) for exact in (False, True)}
    for asked, exact in ((None, True), (True, True), (False, False)):
        with Probe(load(path), TENSORS, RunOptions("cpu", 1, asked), only=True) as probe:
            found = probe.run(feed())
        assert (probe.exact, found.exact) == (exact, exact)
        for name in TENSORS:
            np.testing.assert_allclose(found.values[name], wanted[exact][name], rtol=0 if exact else 1e-5, atol=0)


def test_quantised_models_are_looked_at_as_they_are_deployed(tmp_path: Path) -> None:
    body = """g (float[1,1,2,2] x) => (float[1,1,2,2] y) <float scale = {0.1}, int8 zero = {0}> {
        q = QuantizeLinear(x, scale, zero)
        d = DequantizeLinear(q, scale, zero)
        y = Relu(d)
    }"""
    with Probe(load(write(from_text(body), tmp_path)), ["d"], CPU) as probe:
        assert not probe.exact


def test_a_graph_that_runs_only_when_optimised_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(Session):
        def __init__(self, model: ModelProto, folder: Path, options: RunOptions, name: str) -> None:
            if options.exact:
                raise ModelError("no kernel for Fancy(1)")
            super().__init__(model, folder, options, name)

    monkeypatch.setattr(activations, "Session", Picky)
    model = load(write(tiny(), tmp_path))
    with Probe(model, ["pooled"], CPU) as probe:
        assert not probe.exact
        assert probe.run(feed()).values["pooled"].shape == (1, 16, 1, 1)
    with pytest.raises(ModelError, match="Fancy"):
        Probe(model, ["pooled"], EXACT)


def test_what_cannot_be_exposed(tmp_path: Path) -> None:
    body = "g (float[2] x) => (float[2] y) { s = SequenceConstruct(x, x)\n y = ConcatFromSequence<axis = 0>(s) }"
    model = load(write(from_text(body), tmp_path))
    with pytest.raises(RewriteError, match="'s' is a sequence, not a tensor"):
        Probe(model, ["s"], CPU)
    with pytest.raises(TensorNotFound, match="no tensor 'q'"):
        Probe(model, ["q"], CPU)
    with pytest.raises(InputError, match=r"cannot run on x float32 \[3, 3\]"), Probe(model, ["y"], CPU) as probe:
        probe.run({"x": np.zeros((3, 3), np.float32)})


def test_differences() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3)), rng.standard_normal((2, 3))
    (found,) = differences({"y": a}, {"y": b})
    gaps = [abs(x - y) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    largest = max(abs(x) for x in b.ravel())
    assert found == Difference("y", max(gaps), max(gaps) / largest)


@pytest.mark.parametrize(
    ("exposed", "deployed", "wanted"),
    [
        ([np.nan, 1.0], [np.nan, 1.0], (0, 0)),
        ([np.inf, 1.0, -np.inf], [np.inf, 2.0, -np.inf], (1, 0.5)),
        ([np.inf], [np.inf], (0, 0)),
        ([0.0, 0.0], [0.0, 0.0], (0, 0)),
        ([0.5, 0.0], [0.0, 0.0], (0.5, 1.0)),
        ([3e38], [-3e38], (6e38, 2)),
    ],
)
def test_differences_at_the_edges(exposed: list[float], deployed: list[float], wanted: tuple[float, float]) -> None:
    (found,) = differences({"y": np.array(exposed, np.float32)}, {"y": np.array(deployed, np.float32)})
    np.testing.assert_allclose((found.max_abs, found.relative), wanted, rtol=1e-6)


def test_differences_of_bytes_do_not_wrap() -> None:
    (found,) = differences({"y": np.array([1], np.uint8)}, {"y": np.array([3], np.uint8)})
    assert found.max_abs == 2


def test_differences_leave_out_what_cannot_be_compared() -> None:
    array = np.zeros(2)
    deployed = {
        "list": [array], "text": np.array(["a"], object), "missing": array, "shape": array, "empty": np.zeros(0),
    }  # fmt: skip
    exposed = {**deployed, "shape": np.zeros(3)}
    del exposed["missing"]
    assert differences(exposed, deployed) == ()
