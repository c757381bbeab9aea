"""What stored tensors are for, wherever they stand and however they reach their operator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, parser

from onnxvis.graph import cost
from onnxvis.graph.load import load
from onnxvis.graph.weights import Weights
from tests.tiny import from_text, tiny, write
from tests.zoo import build, save

BODY = """g (float[1,3,8,8] x, int64[2] which, bool flag) => (float[N] y) <
    float[4,3,3,3] kernel, float[4] bias, float[4] scale, float[4] offset, float[4] mean, float[4] variance,
    float[4,1,1] slope, float16[4,4,1,1] half, int8[4,4,1,1] quantised, float[4] q_scale, int8[4] q_zero,
    float[4,4,1,1] simulated, float s, int8 z,
    float[4,1,1] added, float[4,1,1] factor, float[4,1,1] minus, float[4,1,1] divisor,
    float[4,10] dense, float[10] dense_bias, float[10,10] product, float[7,10] table, float[1,1,1] branch,
    float[2,2] unused, int64[2] shape, float[3,4,3,3] up, float[4] alone, float low, float[4,4,1,1] shared
>
{
    c = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x, kernel, bias)
    n = BatchNormalization(c, scale, offset, mean, variance)
    p = PRelu(n, slope)
    w = Cast<to = 1>(half)
    d = Conv<kernel_shape = [1, 1]>(p, w)
    v = DequantizeLinear<axis = 0>(quantised, q_scale, q_zero)
    e = Conv<kernel_shape = [1, 1]>(d, v)
    sq = QuantizeLinear(simulated, s, z)
    sd = DequantizeLinear(sq, s, z)
    e2 = Conv<kernel_shape = [1, 1]>(e, sd)
    f = Add(e2, added)
    h = Mul(f, factor)
    i = Sub(h, minus)
    j0 = Div(i, divisor)
    j1 = Clip(j0, low)
    length = Shape(shared)
    copy = Identity(shared)
    j = Conv(j1, copy)
    br = If(flag) <then_branch = then () => (float[N] t) { t = Add(j, branch) },
                   else_branch = other () => (float[N] o) { o = Identity(j) }>
    k = GlobalAveragePool(br)
    l = Flatten(k)
    m = Gemm(l, dense, dense_bias)
    o = MatMul(m, product)
    q = Gather(table, which)
    r = Add(o, q)
    back = Identity(alone)
    y = Reshape(r, shape)
}"""
ROLES = {
    "kernel": ("conv kernel", "Conv"),
    "bias": ("bias", "Conv"),
    "scale": ("batch norm weight", "BatchNormalization"),
    "offset": ("batch norm bias", "BatchNormalization"),
    "mean": ("batch norm mean", "BatchNormalization"),
    "variance": ("batch norm variance", "BatchNormalization"),
    "slope": ("PRelu slope", "PRelu"),
    "half": ("conv kernel", "Conv"),
    "quantised": ("conv kernel", "Conv"),
    "q_scale": ("scale", "DequantizeLinear"),
    "q_zero": ("zero point", "DequantizeLinear"),
    "simulated": ("conv kernel", "Conv"),
    "s": ("scale", "QuantizeLinear"),
    "z": ("zero point", "QuantizeLinear"),
    "added": ("bias", "Add"),
    "factor": ("scale factor", "Mul"),
    "minus": ("offset", "Sub"),
    "divisor": ("divisor", "Div"),
    "low": ("setting", "Clip"),
    "shared": ("conv kernel", "Conv"),
    "dense": ("fully connected weight", "Gemm"),
    "dense_bias": ("bias", "Gemm"),
    "product": ("fully connected weight", "MatMul"),
    "table": ("embedding", "Gather"),
    "branch": ("bias", "Add"),
    "shape": ("setting", "Reshape"),
    "unused": ("", ""),
    "up": ("", ""),
    "alone": ("", ""),
}


def weights_of(model: ModelProto) -> Weights:
    """Declared tensors that no node makes are stored ones; their numbers do not matter."""
    for value in model.graph.value_info:
        kind = value.type.tensor_type
        dims = [dim.dim_value for dim in kind.shape.dim]
        model.graph.initializer.append(TensorProto(name=value.name, data_type=kind.elem_type, dims=dims))
    return Weights(model, Path())


@pytest.fixture(scope="module")
def weights() -> Weights:
    return weights_of(from_text(BODY))


@pytest.mark.parametrize("name", ROLES)
def test_roles(weights: Weights, name: str) -> None:
    assert weights.role(name) == ROLES[name]


# One operator: what is written after its name, and the roles of its inputs from the second on, in order.
OPERATORS = {
    "ConvTranspose (x, a, b)": "conv kernel, bias",
    "ConvInteger (x, a, b, c)": "conv kernel, zero point, zero point",
    "DeformConv (x, a, b, c)": "conv kernel, constant, bias",
    "QLinearConv (x, a, b, c, d, e, f, g, h)": (
        "scale, zero point, conv kernel, scale, zero point, scale, zero point, bias"
    ),
    "QLinearMatMul (x, a, b, c, d, e, f, g)": (
        "scale, zero point, fully connected weight, scale, zero point, scale, zero point"
    ),
    "MatMulInteger (x, a, b, c)": "fully connected weight, zero point, zero point",
    "com.microsoft.QGemm (x, a, b, c, d, e, f, g, h)": (
        "scale, zero point, fully connected weight, scale, zero point, bias, scale, zero point"
    ),
    "com.microsoft.QLinearAdd (x, a, b, c, d, e, f, g)": (
        "scale, zero point, bias, scale, zero point, scale, zero point"
    ),
    "com.microsoft.QLinearConcat (a, b, x, c, d, e, f, g)": (
        "scale, zero point, scale, zero point, constant, scale, zero point"
    ),
    "com.microsoft.QLinearSigmoid (x, a, b, c, d)": "scale, zero point, scale, zero point",
    "com.microsoft.Attention (x, a, b)": "attention weight, bias",
    "com.microsoft.SkipLayerNormalization (x, x, a, b, c)": "norm weight, norm bias, bias",
    "com.microsoft.BiasGelu (x, a)": "bias",
    "com.microsoft.FusedConv (x, a, b)": "conv kernel, bias",
    "Attention (x, a, b)": "setting, setting",
    "Einsum <equation = \"ij,jk->ik\"> (x, a)": "fully connected weight",
    "MatMul (a, x)": "fully connected weight",
    "LayerNormalization (x, a, b)": "norm weight, norm bias",
    "GroupNormalization (x, a, b)": "norm weight, norm bias",
    "InstanceNormalization (x, a, b)": "norm weight, norm bias",
    "LSTM (x, a, b, c, d, e, f, g)": (
        "recurrent input weight, recurrent weight, bias, setting, initial state, initial state, peephole weight"
    ),
    "GRU (x, a, b, c)": "recurrent input weight, recurrent weight, bias",
    "Resize (x, a, b, c)": "setting, setting, setting",
    "Pad (x, a, b)": "setting, setting",
    "Dropout (x, a)": "setting",
    "Pow (x, a)": "setting",
    "Where (x, a, b)": "constant, constant",
    "Concat (x, a)": "constant",
}  # fmt: skip


@pytest.mark.parametrize("call", OPERATORS)
def test_every_input_of_an_operator(call: str) -> None:
    names = [name.strip(" )") for name in call.split("(")[-1].split(",")]
    stored = [name for name in names if name != "x"]
    declared = ", ".join(f"float[2,2] {name}" for name in stored)
    body = (
        f'<ir_version: 8, opset_import: ["" : 21, "com.microsoft" : 1]> g (float[2,2] x) => (float[2,2] y) <{declared}>'
    )
    weights = weights_of(parser.parse_model(f"{body} {{ y = {call} }}"))
    assert ", ".join(weights.role(name)[0] for name in stored) == OPERATORS[call]


def test_the_gates_of_a_cell_put_together() -> None:
    """PyTorch cuts an LSTM's matrices into gates and puts them together in ONNX's order."""
    body = """g (float[1,1,2] x) => (float[1,1,1,2] y)
    <float[8,2] w, float[8,2] r, float[16] b, int64[1] i, int64[1] k> {
        w1 = Slice (w, i, k) w2 = Slice (w, k, i) w3 = Concat <axis = 0> (w1, w2) w4 = Unsqueeze (w3, i)
        r1 = Slice (r, i, k) r2 = Slice (r, k, i) r3 = Concat <axis = 0> (r2, r1) r4 = Unsqueeze (r3, i)
        b1 = Unsqueeze (b, i)
        y = LSTM <hidden_size = 2> (x, w4, r4, b1)
    }"""
    weights = weights_of(from_text(body))
    assert [weights.role(name)[0] for name in "wrb"] == ["recurrent input weight", "recurrent weight", "bias"]


def test_a_table_of_whole_numbers_is_no_embedding() -> None:
    body = "g (int64[2] x) => (int64[2] y) <int64[9] t> { y = Gather (t, x) }"
    assert weights_of(from_text(body)).role("t") == ("constant", "Gather")


def test_roles_in_bodies_and_functions() -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
    g (float[1,1,4,4] x, bool flag) => (float[1,1,4,4] y) <float[1,1,1,1] given = {3}, float[1,1,1,1] state = {0}> {
        a = If (flag) <
            then_branch = yes () => (float[1,1,4,4] t) <float[1,1,1,1] w = {5}> { t = Conv (x, w) },
            else_branch = no () => (float[1,1,4,4] e) <float[1,1,1,1] w = {6}> {
                k = Constant <value = float[1,1,1,1] {2}> ()
                h = Mul (x, k)
                e = Add (h, w)
            }>
        chosen = If (flag) <
            then_branch = one () => (float[1,1,1,1] p) { p = Constant <value = float[1,1,1,1] {1}> () },
            else_branch = two () => (float[1,1,1,1] q) { q = Constant <value = float[1,1,1,1] {2}> () }>
        b = Conv (a, chosen)
        y = here.F (b, given)
    }
    <domain: "here", opset_import: ["" : 17]>
    F (m, kernel) => (n) {
        c = Constant <value = float {1}> ()
        o = Conv (m, kernel)
        n = PRelu (o, c)
    }"""
    weights = Weights(parser.parse_model(text), Path())
    assert {item.name: weights.role(item.name) for item in weights.all()} == {
        "given": ("conv kernel", "Conv"),
        "state": ("", ""),
        "w": ("conv kernel", "Conv"),
        "w (If a else_branch)": ("bias", "Add"),
        "k": ("scale factor", "Mul"),
        "p": ("conv kernel", "Conv"),
        "q": ("conv kernel", "Conv"),
        "c": ("PRelu slope", "PRelu"),
    }


def test_every_weight_of_a_network_has_a_role(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    for item in model.weights.all():
        role, op = model.weights.role(item.name)
        wanted = "bias" if item.name.endswith("bias") else "fully connected weight" if op == "Gemm" else "conv kernel"
        assert (role, op) == (wanted, "Gemm" if item.name.startswith("fc") else "Conv")


NETWORKS = {
    "resnet50": {"conv kernel": 53, "fully connected weight": 1, "bias": 1, "batch norm weight": 53},
    "vgg16": {"conv kernel": 13, "fully connected weight": 3, "bias": 16},
    "vit_tiny": {"conv kernel": 1, "fully connected weight": 49, "norm weight": 25, "norm bias": 25},
    "unet": {"conv kernel": 23, "batch norm weight": 18, "bias": 5},
    "yolov3": {"conv kernel": 75, "batch norm variance": 72, "bias": 3},
}


@pytest.mark.parametrize("layout", ["nchw", "nhwc_everywhere"])
@pytest.mark.parametrize("name", NETWORKS)
def test_known_networks(name: str, layout: str, tmp_path: Path) -> None:
    model = load(save(build(name, layout="nchw" if layout == "nchw" else "nhwc_everywhere"), tmp_path))
    listed = [item for item in model.weights.all() if cost.carries_values(model, item)]
    found = Counter(model.weights.role(item.name)[0] for item in listed)
    assert {role: found[role] for role in NETWORKS[name]} == NETWORKS[name]
    assert not found[""]


def test_attributes_are_settings() -> None:
    value = helper.make_tensor("v", 1, [1], [2.0])
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["y"], value=value)]
    x, y = (helper.make_tensor_value_info(name, 1, [1]) for name in "xy")
    weights = Weights(helper.make_model(helper.make_graph(nodes, "g", [x], [y])), Path())
    assert weights.role("y.value") == ("setting", "ConstantOfShape")
    assert weights.read("y.value") == np.float32(2)


def test_a_long_chain_ends() -> None:
    steps = "\n".join(f"t{i + 1} = Identity(t{i})" for i in range(100))
    body = f"g (float[2] x) => (float[2] y) <float[2] t0 = {{1, 2}}> {{ {steps}\n y = Add(x, t100) }}"
    assert Weights(from_text(body), Path()).role("t0") == ("", "")


def test_real_models_have_roles(corpus: Path) -> None:
    for path in sorted((corpus / "models").glob("*.onnx")):
        model = load(path)
        for item in model.weights.all():
            role, op = model.weights.role(item.name)
            if cost.carries_values(model, item):
                assert role not in ("", "constant", "setting"), (path.name, item.name, op)
