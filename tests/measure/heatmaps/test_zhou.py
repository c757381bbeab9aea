"""The map is compared with sum_k W[c, k] A_k, with W read from the model's file and A by onnxruntime alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper, numpy_helper, parser

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model, load
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.heatmaps.finish import unit, upsample
from onnxvis.measure.heatmaps.zhou import CAM, linear_head_layer
from tests.rewrite.differences import model_of, run
from tests.tiny import Array

CHANNELS, CLASSES, TARGET = 6, 5, 3
RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 3, 10, 9)).astype(np.float32)
KERNEL = RNG.standard_normal((CHANNELS, 3, 3, 3)).astype(np.float32)
W = RNG.standard_normal((CLASSES, CHANNELS)).astype(np.float32)
BIAS = RNG.standard_normal(CLASSES).astype(np.float32)

GAP = "p = GlobalAveragePool (A)"
HEADS = {
    "Flatten, Gemm": (GAP, "f = Flatten (p)", "y = Gemm <transB = 1> (f, W, b)"),
    "Squeeze, Gemm": (GAP, "f = Squeeze (p, axes)", "y = Gemm <transB = 1> (f, W, b)"),
    "Dropout": (GAP, "f = Flatten (p)", "d, m = Dropout (f)", "y = Gemm <transB = 1> (d, W, b)"),
    "a weighed Gemm": (GAP, "f = Flatten (p)", "y = Gemm <alpha = 1.0, transB = 1> (f, W)"),
    "MatMul, Add": ("f = ReduceMean <axes = [2, 3], keepdims = 0> (A)", "s = MatMul (f, WT)", "y = Add (s, b)"),
    "Add the other way": ("f = ReduceMean <axes = [-1, -2], keepdims = 0> (A)", "s = MatMul (f, WT)", "y = Add (b, s)"),
    "MatMul alone": (GAP, "f = Reshape (p, flat)", "y = MatMul (f, WT)"),
    "AveragePool": ("p = AveragePool <kernel_shape = [8, 7]> (A)", "f = Flatten (p)", "y = MatMul (f, WT)"),
    "a convolution": (GAP, "c = Conv (p, W4, b)", "y = Flatten (c)"),
    "a convolution alone": (GAP, "y = Conv (p, W4, b)"),
}


def built(lines: tuple[str, ...], end: str = "", opset: int = 17) -> ModelProto:
    """conv → Relu 'A', 8 × 7 → the head `lines`, whose y is renamed to z where `end` makes y of it."""
    head = [_node(line) for line in lines]
    if end:
        head[-1].output[0] = "z"
        head.append(helper.make_node(end, ["z"], ["y"]))
    first = [helper.make_node("Conv", ["x", "K"], ["a"]), helper.make_node("Relu", ["a"], ["A"])]
    weights = {
        "K": KERNEL, "W": W, "WT": np.ascontiguousarray(W.T), "W4": W[:, :, None, None], "b": BIAS,
        "axes": np.array([2, 3]), "flat": np.array([1, CHANNELS]),
    }  # fmt: skip
    used = {name for node in (*first, *head) for name in node.input}
    return model_of([*first, *head], {"x": X.shape}, {k: v for k, v in weights.items() if k in used}, opset=opset)


def _node(line: str) -> NodeProto:
    found = NodeProto()
    found.CopyFrom(parser.parse_graph(f"g () => () {{ {line} }}").node[0])
    return found


def opened(proto: ModelProto) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def explained(proto: ModelProto, method: str = "cam") -> Heatmap:
    return explain(opened(proto), {"x": X}, [method], target=f"y:{TARGET}")[0]


def layer(proto: ModelProto) -> Array:
    exposed = ModelProto()
    exposed.CopyFrom(proto)
    exposed.graph.output.append(helper.make_empty_tensor_value_info("A"))
    return np.asarray(run(exposed, {"x": X})["A"][0], np.float64)


def expected(maps: Array) -> Array:
    found = np.zeros(maps.shape[1:])
    for k in range(CHANNELS):
        found += float(W[TARGET, k]) * maps[k]
    return found


@pytest.mark.parametrize("end", ["", "Softmax", "LogSoftmax"])
@pytest.mark.parametrize("head", HEADS)
def test_cam_is_the_weights_of_the_class_times_the_maps(head: str, end: str) -> None:
    proto = built(HEADS[head], end)
    found, wanted = explained(proto), expected(layer(proto))
    assert found.layers == ("A",)
    np.testing.assert_allclose(found.raw, wanted, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_allclose(found.map, unit(upsample(wanted, X.shape[2:])), atol=1e-5)
    assert wanted.min() < 0, "nothing is cut off"


def test_axes_may_be_an_input() -> None:
    lines = ("f = ReduceMean <keepdims = 0> (A, axes)", "y = Gemm <transB = 1> (f, W, b)")
    proto = built(lines, opset=18)
    np.testing.assert_allclose(explained(proto).raw, expected(layer(proto)), atol=1e-4)


def test_a_convolution_before_the_pooling_makes_the_classes_own_maps() -> None:
    """Zhou's sum over k is what the 1 × 1 convolution computes, up to its bias."""
    proto = built(("c = Conv (A, W4, b)", "p = GlobalAveragePool (c)", "y = Flatten (p)"), "Softmax")
    found, wanted = explained(proto), expected(layer(proto))
    assert found.layers == ("c",)
    np.testing.assert_allclose(found.raw, wanted + BIAS[TARGET], atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_allclose(found.map, unit(upsample(wanted, X.shape[2:])), atol=1e-5)


def test_channels_last() -> None:
    lines = (
        "t = Transpose <perm = [0, 2, 3, 1]> (A)", "f = ReduceMean <axes = [1, 2], keepdims = 0> (t)",
        "y = Gemm <transB = 1> (f, W, b)",
    )  # fmt: skip
    proto = built(lines)
    found = explained(proto)
    assert found.layers == ("A",)
    np.testing.assert_allclose(found.raw, expected(layer(proto)), atol=1e-4)
    with pytest.raises(UsageError, match="before the class scores stands ReduceMean node"):
        linear_head_layer(opened(built((lines[0], lines[1].replace("[1, 2]", "[2, 3]"), "y = MatMul (f, f)"))), "y")


def test_grad_cam_is_the_same_but_for_the_relu_and_a_factor() -> None:
    """W[c, k] = h w · mean of the gradient: what the message of a refusal says."""
    proto = built(HEADS["Flatten, Gemm"])
    cam, grad_cam = explained(proto), explained(proto, "gradcam")
    np.testing.assert_allclose(cam.raw, grad_cam.raw * 56, rtol=1e-4, atol=1e-5)


REFUSED = {
    "a layer between": ((GAP, "f = Flatten (p)", "r = Relu (f)", "y = Gemm <transB = 1> (r, W, b)"), "Relu node"),
    "two linear layers": (
        (GAP, "f = Flatten (p)", "g = Gemm <transB = 1> (f, W, b)", "h = Gemm (g, W)", "y = Gemm <transB = 1> (h, W)"),
        "Gemm node",
    ),
    "no pooling": (("f = Flatten (A)", "y = ReduceSum (f)"), "ReduceSum node"),
    "the maximum": (("p = GlobalMaxPool (A)", "f = Flatten (p)", "y = MatMul (f, WT)"), "GlobalMaxPool node"),
    "a pooling of parts": (
        ("p = AveragePool <kernel_shape = [8, 6]> (A)", "s = ReduceSum (p)", "y = Flatten (s)"),
        "ReduceSum node",
    ),
    "a mean over columns": (("p = ReduceMean <axes = [3]> (A)", "y = Flatten (p)"), "ReduceMean node"),
    "a sigmoid": ((GAP, "f = Flatten (p)", "g = MatMul (f, WT)", "y = Sigmoid (g)"), "Sigmoid node"),
    "a product with itself": ((GAP, "f = Flatten (p)", "g = MatMul (f, WT)", "y = Add (g, g)"), "Add node"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_another_head_is_refused_with_the_node_that_stands_there(case: str) -> None:
    lines, reason = REFUSED[case]
    with pytest.raises(
        UsageError, match=f"cam needs a global average pooling.*before the class scores stands {reason}"
    ):
        linear_head_layer(opened(built(lines)), "y")


def test_nothing_is_computed_at_an_input() -> None:
    with pytest.raises(UsageError, match="nothing is computed there"):
        linear_head_layer(opened(built(HEADS["MatMul alone"])), "x")


def test_another_layer_is_refused() -> None:
    model = opened(built(HEADS["MatMul alone"]))
    with pytest.raises(UsageError, match="cam is defined for 'A' alone"):
        explain(model, {"x": X}, ["cam"], target="y:0", layers=["a"])
    assert explain(model, {"x": X}, ["cam"], target="y:0", layers=["A"])[0].layers == ("A",)


def test_the_weights_are_the_sum_of_the_gradient() -> None:
    rng = np.random.default_rng(1)
    activation, gradient = rng.standard_normal((2, 4, 3, 5))
    wanted = sum(float(gradient[k].sum()) * activation[k] for k in range(4))
    np.testing.assert_allclose(CAM().combine(activation, gradient), wanted)


def test_the_shipped_classifier(classifier: Path) -> None:
    """Its head is a Gemm over the mean of the last stage: the weights are read from the file."""
    import onnx

    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(classifier).graph.initializer}
    model = load(classifier)
    x = np.random.default_rng(0).standard_normal((1, 3, 112, 112)).astype(np.float32)
    found = explain(model, {"image": x}, ["cam", "layercam"], target="4")
    (name,) = found[0].layers
    exposed = onnx.load(classifier)
    exposed.graph.output.append(helper.make_empty_tensor_value_info(name))
    maps = run(exposed, {"image": x})[name][0]
    weights = next(value for value in stored.values() if value.shape == (10, len(maps)))
    wanted = np.tensordot(weights[4].astype(np.float64), maps.astype(np.float64), 1)
    np.testing.assert_allclose(found[0].raw, wanted, atol=1e-5 * np.abs(wanted).max())
