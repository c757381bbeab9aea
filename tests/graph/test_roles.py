from __future__ import annotations

from pathlib import Path

import pytest
from onnx import parser

from onnxvis.graph.load import load
from onnxvis.graph.roles import find_role
from onnxvis.graph.view import GraphView
from tests.tiny import from_text, tiny, write

BODY = """g (float[1,3,8,8] x, int64[2] which, bool flag) => (float[N] y) <
    float[4,3,3,3] kernel, float[4] bias, float[4] scale, float[4] offset, float[4] mean, float[4] variance,
    float[4,1,1] slope, float16[4,4,1,1] half, int8[4,4,1,1] quantised, float[4] q_scale, int8[4] q_zero,
    float[4,4,1,1] simulated, float s, int8 z,
    float[4,1,1] added, float[4,1,1] factor, float[4,1,1] minus, float[4,1,1] divisor,
    float[4,10] dense, float[10] dense_bias, float[10,10] product, float[7,10] table, float[1,1,1] branch,
    float[2,2] unused, int64[2] shape, float[3,4,3,3] up, float[4] alone
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
    j = Div(i, divisor)
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
    "factor": ("factor", "Mul"),
    "minus": ("offset", "Sub"),
    "divisor": ("divisor", "Div"),
    "dense": ("fully connected weight", "Gemm"),
    "dense_bias": ("bias", "Gemm"),
    "product": ("fully connected weight", "MatMul"),
    "table": ("embedding", "Gather"),
    "branch": ("used in a branch", "If"),
    "shape": ("constant", "Reshape"),
    "unused": ("", ""),
    "up": ("", ""),
    "alone": ("", ""),
    "nobody": ("", ""),
}


@pytest.fixture(scope="module")
def view() -> GraphView:
    return GraphView(from_text(BODY))


@pytest.mark.parametrize("name", ROLES)
def test_roles(view: GraphView, name: str) -> None:
    assert find_role(view, name) == ROLES[name]


def test_every_weight_of_a_network_has_a_role(tmp_path: Path) -> None:
    model = load(write(tiny(), tmp_path))
    for item in model.weights.all():
        role, op = find_role(model.view, item.name)
        wanted = "bias" if item.name.endswith("bias") else "fully connected weight" if op == "Gemm" else "conv kernel"
        assert (role, op) == (wanted, "Gemm" if item.name.startswith("fc") else "Conv")


def test_constants_have_roles_too() -> None:
    body = """g (float[1,2] x) => (float[1,2] y) {
        w = Constant<value = float[2,2] {1, 0, 0, 1}>()
        y = MatMul(x, w)
    }"""
    assert find_role(GraphView(from_text(body)), "w") == ("fully connected weight", "MatMul")


def test_other_spellings() -> None:
    body = """g (float[1,2,4,4] x) => (float[1,2,9,9] y) {
        w = Constant<value = float[2,2,3,3] {1}>()
        y = ConvTranspose(x, w)
    }"""
    text = f'<ir_version: 8, opset_import: ["": 17]> {body}'.replace("{1}", "{" + ",".join(["1"] * 36) + "}")
    assert find_role(GraphView(parser.parse_model(text)), "w") == ("conv kernel", "ConvTranspose")


def test_a_long_chain_ends() -> None:
    steps = "\n".join(f"t{i + 1} = Identity(t{i})" for i in range(100))
    body = f"g (float[2] x) => (float[2] y) <float[2] t0 = {{1, 2}}> {{ {steps}\n y = Add(x, t100) }}"
    assert find_role(GraphView(from_text(body)), "t0") == ("", "")
