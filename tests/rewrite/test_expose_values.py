"""Exposed tensors hold what the model computes: against ONNX Runtime over the whole file, and ONNX's own evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from onnxvis.graph.load import Model, load
from onnxvis.rewrite.expose import expose
from onnxvis.run.session import RunOptions, Session
from tests.rewrite.running import Array, corpus, feeds_for, oracle, outputs_of, unoptimised, write
from tests.zoo import build, materialize

QUICK = ("squeezenet1_1", "mobilenet_v2", "shufflenet_v2_x1_0", "resnet18")
MORE = ("densenet121", "efficientnet_b0", "googlenet", "mobilenet_v3_small", "resnet50", "unet_resize", "vit_tiny")
PATHS = corpus()

# Models whose tensors move by more than rounding when other nodes are fused around them, and how far, relative to the
# largest value. At ORT_DISABLE_ALL every one of them is exact.
LOOSE = {
    "efficientnet_lite0_ort_qdq_int8": (0.15, "int8: fused operators round where the graph says Dequantize"),
    "winml_squeezenet_fp16": (3e-3, "fp16: each Conv rounds to fp16, unless it is fused with what follows"),
    "silero_vad_16k_op15": (1e-4, "an LSTM adds in another order once it is optimised, over many steps"),
    "mobilenet_v2": (3e-4, "untrained: Clip leaves 6 of values many times larger, whose rounding stays"),
    "efficientnet_b0": (5e-5, "untrained: Sigmoid leaves 1 of values many times larger, whose rounding stays"),
}


@pytest.fixture(params=QUICK)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write(materialize(build(request.param)), tmp_path, f"{request.param}.onnx")


def run(
    model: Model, tensors: Sequence[str], feeds: dict[str, Array], *, exact: bool, only: bool = False
) -> dict[str, Any]:
    exposed = expose(model, tensors, only=only)
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1, exact), model.name) as session:
        values = session.run(feeds)
    assert tuple(values) == session.outputs
    return {name: values[output] for name, output in exposed.outputs.items()}


def made_by(model: Model) -> list[str]:
    return [tensor.name for tensor in model.view.intermediates]


def check_exact(path: Path) -> None:
    model = load(path)
    tensors, feeds = made_by(model), feeds_for(model)
    truth = unoptimised(path, tensors, feeds)
    found = run(model, tensors, feeds, exact=True)
    assert list(found) == tensors
    for name in tensors:
        np.testing.assert_array_equal(found[name], truth[name], strict=True, err_msg=name)


def check_default(path: Path) -> None:
    """All at once, which leaves nothing to fuse, and a few of them, which leaves much."""
    model = load(path)
    tensors, feeds = made_by(model), feeds_for(model)
    truth = unoptimised(path, tensors, feeds)
    relative, _ = LOOSE.get(path.stem, (1e-5, ""))
    for some in (tensors, tensors[3::7]):
        for name, value in run(model, some, feeds, exact=False).items():
            expected = np.asarray(truth[name])
            assert (value.shape, value.dtype) == (expected.shape, expected.dtype), name
            largest = np.abs(expected.astype(np.float64)).max(initial=0)
            gap = np.abs(value.astype(np.float64) - expected.astype(np.float64)).max(initial=0)
            assert gap <= relative * largest + 1e-6, f"{name}: {gap} of {largest}"


def check_alone(path: Path, tensors: Sequence[str] | None = None) -> None:
    """Each by itself, with the rest of the graph and without.

    ONNX Runtime computes fp16 in fp32 on the CPU, and even unoptimised it rounds only where a tensor is an output: for
    such a model the truth is the file with that one tensor appended.
    """
    model = load(path)
    everything, feeds = made_by(model), feeds_for(model)
    half = any(model.view.tensor(name).dtype == "float16" for name in everything)
    truth = unoptimised(path, everything, feeds)
    for name in tensors or everything:
        expected = unoptimised(path, [name], feeds)[name] if half else truth[name]
        for only in (True, False):
            value = run(model, [name], feeds, exact=True, only=only)[name]
            np.testing.assert_array_equal(value, expected, strict=True, err_msg=f"{name}, only={only}")


def test_every_tensor_is_bit_for_bit_what_the_unoptimised_model_computes(network: Path) -> None:
    check_exact(network)


def test_every_tensor_is_within_rounding_when_optimised(network: Path) -> None:
    check_default(network)


def test_a_tensor_exposed_alone_is_the_same(network: Path) -> None:
    tensors = made_by(load(network))
    check_alone(network, tensors[:: max(1, len(tensors) // 4)])


def test_the_models_own_outputs_are_the_deployed_ones_when_optimised(network: Path) -> None:
    model = load(network)
    feeds = feeds_for(model)
    with Session(model.proto, model.folder, RunOptions("cpu", 1)) as session:
        deployed = session.run(feeds)
    for name, value in outputs_of(oracle(onnx.load(network), exact=False), feeds).items():
        np.testing.assert_array_equal(deployed[name], value)


@pytest.mark.skipif(not PATHS, reason="ONNXVIS_CORPUS is not set")
@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_real_models_are_exact_and_within_rounding(path: Path) -> None:
    check_exact(path)
    check_default(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_more_networks_are_exact_and_within_rounding(name: str, tmp_path: Path) -> None:
    path = write(materialize(build(name)), tmp_path, f"{name}.onnx")
    check_exact(path)
    check_default(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_each_tensor_exposed_alone_is_the_same(name: str, tmp_path: Path) -> None:
    check_alone(write(materialize(build(name)), tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(not PATHS, reason="ONNXVIS_CORPUS is not set")
@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_each_tensor_of_a_real_model_exposed_alone_is_the_same(path: Path) -> None:
    check_alone(path)


UNARY = ("Relu", "Neg", "Abs", "Sigmoid", "Tanh", "Floor", "Identity", "Transpose", "Softplus")
BINARY = ("Add", "Sub", "Mul", "Max", "Min")


@st.composite
def small_graphs(draw: st.DrawFn) -> ModelProto:
    """A random graph of up to nine nodes over square matrices: any tensor may be read by any later node."""
    names = ["x", "z", "w"]
    nodes = []
    for index in range(draw(st.integers(1, 9))):
        op = draw(st.sampled_from(UNARY + BINARY))
        inputs = [draw(st.sampled_from(names)) for _ in range(2 if op in BINARY else 1)]
        nodes.append(helper.make_node(op, inputs, [f"t{index}"]))
        names.append(f"t{index}")
    returned = draw(st.lists(st.sampled_from(names[3:]), min_size=1, max_size=3, unique=True))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [0.25 * i - 2 for i in range(16)])
    graph = helper.make_graph(
        nodes,
        "random",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "n"]) for name in ("x", "z")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in returned],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(proto=small_graphs(), data=st.data())
def test_random_graphs_give_what_onnx_itself_computes(proto: ModelProto, data: st.DataObject, tmp_path: Path) -> None:
    model = load(write(proto, tmp_path))
    rng = np.random.default_rng(7)
    feeds = {name: rng.standard_normal((4, 4)).astype(np.float32) for name in ("x", "z")}
    everything = ["x", "z", "w", *made_by(model)]
    wanted = data.draw(st.lists(st.sampled_from(everything), min_size=1, unique=True))
    only = data.draw(st.booleans())
    before = model.proto.SerializeToString()

    exposed = expose(model, wanted, only=only)
    with Session(exposed.proto, model.folder, RunOptions("cpu", 1)) as session:
        found = session.run(feeds)

    truth = dict(feeds, w=np.asarray(model.read("w")))
    whole = ModelProto.FromString(before)
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in made_by(model))
    computed = ReferenceEvaluator(whole).run(None, feeds)
    truth |= {name: np.asarray(value) for name, value in zip(made_by(model), computed, strict=True)}
    own = [] if only else [value.name for value in proto.graph.output]
    assert list(found) == [*own, *(name for name in wanted if name not in own)]
    for name, value in found.items():
        np.testing.assert_allclose(value, truth[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert model.proto.SerializeToString() == before
