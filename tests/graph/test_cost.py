"""Parameters and multiply-accumulates against published figures and against counting by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxvis.graph.cost import carries_values, macs, parameters
from onnxvis.graph.load import Model, load
from tests.zoo import build, save

# Multiply-accumulates in units of 10⁹, as torchvision's documentation states them ("GFLOPS" there).
GIGAMACS = {
    "alexnet": 0.71,
    "densenet121": 2.83,
    "efficientnet_b0": 0.39,
    "googlenet": 1.50,
    "mobilenet_v2": 0.30,
    "mobilenet_v3_small": 0.06,
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "resnet101": 7.80,
    "shufflenet_v2_x1_0": 0.14,
    "shufflenet_v2_x1_0_split": 0.14,
    "squeezenet1_0": 0.82,
    "squeezenet1_1": 0.35,
    "vgg16": 15.47,
    "vgg16_bn": 15.47,
}


@pytest.mark.parametrize("layout", ["nchw", "nhwc_everywhere"])
@pytest.mark.parametrize("name", GIGAMACS)
def test_published_costs(name: str, layout: str, tmp_path: Path) -> None:
    model = load(save(build(name, layout="nchw" if layout == "nchw" else "nhwc_everywhere"), tmp_path))
    found = macs(model.view)
    assert found is not None
    assert found / 1e9 == pytest.approx(GIGAMACS[name], abs=0.011)


@pytest.mark.parametrize(
    ("name", "count"),
    {
        "resnet50": 25_557_032,
        "vgg16": 138_357_544,
        "mobilenet_v2": 3_504_872,
        "yolov3": 61_949_149,
        "efficientnet_b0": 5_288_548,
    }.items(),
)
def test_published_parameters(name: str, count: int, tmp_path: Path) -> None:
    assert parameters(load(save(build(name), tmp_path))) == count


def parsed(body: str, folder: Path, inputs: str = "float[2, 4, 7, 9] x", **weights: tuple[int, ...]) -> Model:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    for name, shape in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return load(path)


def test_a_convolution_counted_tap_by_tap(tmp_path: Path) -> None:
    model = parsed("y = Conv <group = 2, strides = [2, 1], pads = [1, 1, 1, 1]> (x, w)", tmp_path, w=(6, 2, 3, 3))
    height, width = len(range(0, 7 + 2 - 2, 2)), len(range(9 + 2 - 2))
    by_hand = sum(2 * 3 * 3 for _ in range(2) for _ in range(6) for _ in range(height) for _ in range(width))
    assert macs(model.view) == by_hand
    assert parameters(model) == 6 * 2 * 3 * 3


def test_a_transposed_convolution_counts_its_input(tmp_path: Path) -> None:
    model = parsed("y = ConvTranspose <strides = [2, 2]> (x, w)", tmp_path, w=(4, 5, 2, 2))
    assert macs(model.view) == 2 * 4 * 7 * 9 * 5 * 2 * 2


@pytest.mark.parametrize(
    ("body", "shape", "expected"),
    [
        ("y = MatMul (x, w)", (9, 5), 2 * 4 * 7 * 9 * 5),
        ("f = Flatten (x) y = Gemm (f, w)", (252, 3), 2 * 252 * 3),
        ("f = Flatten (x) y = Gemm <transA = 1> (f, w)", (2, 3), 252 * 2 * 3),
        ("y = Relu (x)", (1,), 0),
    ],
)
def test_products(body: str, shape: tuple[int, ...], expected: int, tmp_path: Path) -> None:
    assert macs(parsed(body, tmp_path, w=shape).view) == expected


def test_unknown_shapes_give_no_number(tmp_path: Path) -> None:
    model = parsed("a = NonZero (x) b = Cast <to = 1> (a) y = MatMul (b, w)", tmp_path, w=(9, 5))
    assert macs(model.view) is None


def test_indices_and_shapes_are_no_parameters(tmp_path: Path) -> None:
    model = parsed("s = Constant <value = int64[2] {2, 252}> () y = Reshape (x, s)", tmp_path)
    assert parameters(model) == 0


CARRIED = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,3,8,8] x, uint8[1,3,8,8] u, bool flag) => (float[N] y) {
    filled = ConstantOfShape <value = float[1] {1}> (sizes)
    zeros = ConstantOfShape (sizes)
    a = Conv (x, filled)
    b = Concat <axis = 1> (a, zeros)
    c = Clip (b, low, high)
    d = Resize <mode = "nearest"> (c, roi, scales)
    e = Pad (d, pads, padded)
    f = Dropout (e, ratio)
    codes = QuantizeLinear (f, s, z)
    h = DequantizeLinear (codes, s, z)
    kernel = DequantizeLinear <axis = 0> (q, qs)
    bias = DequantizeLinear <axis = 0> (qb, bs, bz)
    i = Conv (h, kernel, bias)
    j = QLinearConv (u, s, z, q2, s, qz, s, z, b2)
    k = Cast <to = 1> (j)
    l = Reshape (k, shape)
    m = Add (size32, size32)
    n = Expand (l, m)
    o = Mul (n, factor)
    y = Gather (o, which)
}"""
FLOATS = {"low", "high", "roi", "scales", "padded", "ratio", "s", "qs", "bs", "factor"}
OTHERS = {"z": np.uint8, "q": np.int8, "qb": np.int32, "bz": np.int32, "q2": np.int8, "qz": np.int8, "b2": np.int32}
INTEGERS = {"sizes": np.int64, "pads": np.int64, "shape": np.int64, "size32": np.int32, "which": np.int32}


def test_settings_are_left_out_and_companions_of_quantised_weights_are_not(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(CARRIED)
    for name, kind in {**dict.fromkeys(FLOATS, np.float32), **OTHERS, **INTEGERS}.items():
        shape = (4,) if name in ("sizes", "qs", "qb", "bs") else ()
        proto.graph.initializer.append(numpy_helper.from_array(np.full(shape, 2, kind), name))
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    model = load(path)
    carried = {item.name for item in model.weights.all() if carries_values(model, item)}
    assert carried == {"s", "qs", "bs", "factor", "filled", *OTHERS}
    assert parameters(model) == 2**4 + 4  # the filled kernel and the bias; all else is a single number or a scale


def test_parameters_of_bodies_and_functions_count(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
    g (float[2] x, bool flag) => (float[2] y) {
        a = If (flag) <then_branch = yes () => (float[2] t) <float[2] w = {5, 6}> { t = Mul (x, w) },
                       else_branch = no () => (float[2] e) { e = Identity (x) }>
        b = here.F (a)
        y = here.F (b)
    }
    <domain: "here", opset_import: ["" : 17]>
    F (a) => (b) { k = Constant <value = float[3] {1, 2, 3}> () b = PRelu (a, k) }"""
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert parameters(load(path)) == 2 + 3
