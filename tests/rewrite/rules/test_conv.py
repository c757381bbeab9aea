from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

from onnxvis.errors import RewriteError
from onnxvis.graph.load import Model
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.tape import Choices
from tests.rewrite.cases.conv import CASES, MISJUDGED
from tests.rewrite.differences import Case, apart, central_differences, model_of, run, single
from tests.rewrite.linear import linear_error

_FORMS = {"turned": Choices(flip_convolutions=True), "transposed": Choices(flip_convolutions=False)}


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("case", CASES + MISJUDGED, ids=str)
def test_gradients_are_those_of_the_transposed_matrix(case: Case, form: str) -> None:
    assert linear_error(case.model, case.feeds, case.wrt[0], _FORMS[form]) <= 1e-5


@st.composite
def _geometry(draw: st.DrawFn) -> tuple[list[int], list[int], dict[str, Any]]:
    """Sizes, kernel and attributes."""
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    sizes = each(4, 9 if rank == 1 else 6 if rank == 2 else 4)
    kernel, strides, dilations = each(1, 4), each(1, 3), each(1, 2)
    pads = [draw(st.integers(0, side - 1)) for side in kernel * 2]
    return sizes, kernel, {"strides": strides, "dilations": dilations, "pads": pads}


@st.composite
def _convolutions(draw: st.DrawFn, transposed: bool) -> tuple[ModelProto, dict[str, Any]]:
    """A model that is fed its data `x`, of free sizes or not, and its kernel `w`."""
    sizes, kernel, how = draw(_geometry())
    rank, group, each_in, each_out = len(sizes), *(draw(st.integers(1, 2)) for _ in range(3))
    spans = [step * (side - 1) + 1 for side, step in zip(kernel, how["dilations"], strict=True)]
    padding = [how["pads"][axis] + how["pads"][axis + rank] for axis in range(rank)]
    if transposed:
        how["output_padding"] = [draw(st.integers(0, stride - 1)) for stride in how["strides"]]
        for size, stride, span, pad in zip(sizes, how["strides"], spans, padding, strict=True):
            assume((size - 1) * stride + span > pad)
        shape = [group * each_in, each_out, *kernel]
    else:
        assume(all(size + pad >= span for size, pad, span in zip(sizes, padding, spans, strict=True)))
        shape = [group * each_out, each_in, *kernel]
    fed = [draw(st.integers(1, 2)), group * each_in, *sizes]
    free = draw(st.booleans())
    declared: list[Any] = ["batch", group * each_in, *(f"size{axis}" for axis in range(rank))] if free else fed
    node = helper.make_node("ConvTranspose" if transposed else "Conv", ["x", "w"], ["y"], "node", group=group, **how)
    model = model_of([node], {"x": declared, "w": shape}, {}, opset=draw(st.sampled_from([11, 16, 22, 26])))
    return model, {"x": apart(fed, seed=1), "w": apart(shape, 0.3, seed=2)}


@settings(max_examples=40)
@given(_convolutions(transposed=False), st.sampled_from(["x", "w"]), st.sampled_from(sorted(_FORMS)))
def test_any_convolution_has_the_gradient_of_its_matrix(
    drawn: tuple[ModelProto, dict[str, Any]], wrt: str, form: str
) -> None:
    assert linear_error(*drawn, wrt, _FORMS[form]) <= 1e-5


@settings(max_examples=40)
@given(_convolutions(transposed=True), st.sampled_from(["x", "w"]))
def test_any_transposed_convolution_has_the_gradient_of_its_matrix(
    drawn: tuple[ModelProto, dict[str, Any]], wrt: str
) -> None:
    assert linear_error(*drawn, wrt) <= 1e-5


def test_a_gradient_passes_a_kernel_that_the_graph_computes() -> None:
    """Siamese trackers slide one map over another, channel by channel."""
    nodes = [
        helper.make_node("Mul", ["z", "z"], ["squared"]),
        helper.make_node("Reshape", ["squared", "shape"], ["kernel"]),
        helper.make_node("Conv", ["x", "kernel"], ["y"], group=3, pads=[1, 0, 0, 1]),
    ]
    model = model_of(nodes, {"x": (1, 3, 5, 4), "z": (1, 3, 3, 2)}, {"shape": np.array([3, 1, 3, 2])})
    feeds = {"x": apart((1, 3, 5, 4)), "z": apart((1, 3, 3, 2), 0.2)}
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x", "z"])
    seed = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    given_ = run(found.proto, {**feeds, found.seeds["y"]: seed})
    expected = central_differences(Case("Conv", "", model, feeds), {"y": seed}, ["x", "z"])
    for name in ("x", "z"):
        np.testing.assert_allclose(given_[found.gradients[name]], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "group"), [((96, 96, 3, 3), 1), ((96, 24, 3, 3), 4), ((96, 1, 3, 3), 96)])
def test_the_turned_kernel_is_no_copy_in_the_file_and_is_folded_by_the_runtime(
    shape: tuple[int, ...], group: int, tmp_path: Path
) -> None:
    kernel = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    model = single("Conv", (1, 96, 8, 8), {"w": kernel}, group=group, pads=[1, 1, 1, 1])
    found = differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    assert found.proto.ByteSize() - model.ByteSize() < 3000
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(found.proto.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    optimised = Model(tmp_path / "optimised.onnx", _load(tmp_path / "optimised.onnx"), tmp_path)
    assert [node.op_type for node in optimised.proto.graph.node] == ["Conv", "Conv"]


def _load(path: Path) -> ModelProto:
    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    return model


@pytest.mark.parametrize(
    ("shape", "how", "reason"),
    [
        ((1, 2, "width"), {"output_shape": [9], "strides": [2]}, "output_shape [9], depends on the size of its input"),
        ((1, 2, 4), {"output_padding": [2], "strides": [2]}, "output_padding [2] is not less than its stride 2"),
        ((1, 2, 4), {"output_shape": [20], "strides": [2]}, "output_shape [20] is larger than what its kernel reaches"),
        ((1, 2, 9), {"output_shape": [8]}, "output_shape [8] is smaller than its input"),
    ],
)
def test_a_transposed_convolution_of_unclear_padding_is_refused(
    shape: tuple[int | str, ...], how: dict[str, Any], reason: str
) -> None:
    model = single("ConvTranspose", shape, {"w": np.ones((2, 1, 3), np.float32)}, **how)
    with pytest.raises(RewriteError) as refusal:
        differentiate(Model(Path("case.onnx"), model, Path.cwd()), ["y"], ["x"])
    assert reason in str(refusal.value)
