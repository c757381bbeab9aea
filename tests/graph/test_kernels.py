"""Kernels as the operators mean them: a slow convolution with what is read gives what ONNX Runtime gives."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from onnxvis.errors import ModelError, TensorNotFound
from onnxvis.graph.kernels import find_kernels, read_kernel
from onnxvis.graph.load import Model, load
from tests.zoo import build, materialize, save

Array = np.ndarray[Any, np.dtype[Any]]


def opened(proto: ModelProto, folder: Path) -> Model:
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return load(folder / "m.onnx")


def parsed(body: str, folder: Path, inputs: str = "float[1,3,16,16] x", **weights: Any) -> Model:
    """`weights`: arrays, or shapes of random ones."""
    rng = np.random.default_rng(0)
    text = f'<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> g ({inputs}) => (float[] y) {{ {body} }}'
    proto = parser.parse_model(text)
    proto.graph.output[0].CopyFrom(helper.make_empty_tensor_value_info("y"))
    for name, value in weights.items():
        array = rng.standard_normal(value).astype(np.float32) if isinstance(value, tuple) else np.asarray(value)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return opened(proto, folder)


def run(path: Path, x: Array) -> Array:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {session.get_inputs()[0].name: x})[0])


def slow_convolution(
    x: Array, kernel: Array, group: int, strides: tuple[int, ...], dilations: tuple[int, ...]
) -> Array:
    """By the definition: y[m, p] = Σ kernel[m, c, t] · x[channel(m, c), p · stride + t · dilation], no padding."""
    filters, channels, *taps = kernel.shape
    sizes = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[1:], taps, strides, dilations, strict=True)]
    y = np.zeros((filters, *sizes))
    for m, c, *tap in itertools.product(range(filters), range(channels), *map(range, taps)):
        channel = m // (filters // group) * channels + c
        window = [
            slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, n, s in zip(tap, dilations, sizes, strides, strict=True)
        ]
        y[m] += kernel[(m, c, *tap)] * x[channel][tuple(window)]
    return y


def slow_transposed(x: Array, kernel: Array, group: int, strides: tuple[int, ...]) -> Array:
    """Each input element spreads its filter: y[m, p · stride + t] += kernel[m, c, t] · x[channel(m, c), p]."""
    filters, channels, *taps = kernel.shape
    y = np.zeros((filters, *((n - 1) * s + k for n, s, k in zip(x.shape[1:], strides, taps, strict=True))))
    for m, c, *tap in itertools.product(range(filters), range(channels), *map(range, taps)):
        channel = m // (filters // group) * channels + c
        window = [slice(t, t + (n - 1) * s + 1, s) for t, n, s in zip(tap, x.shape[1:], strides, strict=True)]
        y[m][tuple(window)] += kernel[(m, c, *tap)] * x[channel]
    return y


@given(
    group=st.sampled_from([1, 2, 3]),
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    taps=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    transposed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_kernels_convolve_as_the_operator_does(
    group: int, channels: int, filters: int, taps: list[int], stride: int, dilation: int, transposed: bool, seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    rng, rank = np.random.default_rng(seed), len(taps)
    x = rng.standard_normal((1, group * channels, *[7] * rank)).astype(np.float32)
    shape = (group * channels, filters, *taps) if transposed else (group * filters, channels, *taps)
    attributes: dict[str, Any] = {"group": group, "strides": [stride] * rank} | (
        {} if transposed else {"dilations": [dilation] * rank}
    )
    node = helper.make_node("ConvTranspose" if transposed else "Conv", ["x", "w"], ["y"], **attributes)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)]
    weights = [numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), "w")]
    graph = helper.make_graph([node], "g", inputs, [helper.make_empty_tensor_value_info("y")], weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = opened(proto, tmp_path_factory.mktemp("m"))
    (kernel,) = find_kernels(model)
    values = read_kernel(model, kernel)
    assert kernel.shape == values.shape == (group * filters, channels, *taps)
    assert (kernel.group, kernel.strides) == (group, (stride,) * rank)
    if transposed:
        expected = slow_transposed(x[0], values, group, kernel.strides)
    else:
        expected = slow_convolution(x[0], values, group, kernel.strides, kernel.dilations)
    np.testing.assert_allclose(run(model.path, x)[0], expected, rtol=1e-4, atol=1e-5)


CHAINS = {
    "k = Identity (w) y = Conv (x, k)": ("w", (5, 3, 3, 3)),
    "k = Transpose <perm = [3, 2, 0, 1]> (w) y = Conv (x, k)": ("w", (3, 3, 3, 5)),
    "k = Reshape (w, sizes) y = Conv (x, k)": ("w", (5, 27)),
    "h = Cast <to = 10> (w) k = Cast <to = 1> (h) y = Conv (x, k)": ("w", (5, 3, 3, 3)),
    "k = Squeeze (w, axes) y = Conv (x, k)": ("w", (1, 5, 3, 3, 3)),
    "k = Unsqueeze (w, axes) y = Conv (x, k)": ("w", (3, 3, 3)),
}


@pytest.mark.parametrize("body", CHAINS)
def test_weights_behind_other_nodes(body: str, tmp_path: Path) -> None:
    weight, shape = CHAINS[body]
    settings: dict[str, Any] = {}
    if "sizes" in body:
        settings["sizes"] = np.array([5, 3, 3, 3], np.int64)
    if "axes" in body:
        settings["axes"] = np.array([0], np.int64)
    model = parsed(body, tmp_path, w=shape, **settings)
    (kernel,) = find_kernels(model)
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert (kernel.weight, kernel.output, kernel.reads_picture) == (weight, "y", True)
    expected = slow_convolution(x[0], read_kernel(model, kernel), 1, (1, 1), (1, 1))
    np.testing.assert_allclose(run(model.path, x)[0], expected, rtol=1e-4, atol=1e-4)


def test_quantised_kernels_in_real_units(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    codes = rng.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    scale, zero = rng.random(4).astype(np.float32), rng.integers(-3, 3, 4).astype(np.int8)
    real = (codes.astype(np.float64) - zero[:, None, None, None]) * scale[:, None, None, None]
    bodies = {
        "k = DequantizeLinear <axis = 0> (w, s, z) y = Conv (x, k)": "float[1,3,16,16] x",
        "y = QLinearConv (x, one, zero, w, s, z, one, zero)": "uint8[1,3,16,16] x",
        "p = ConvInteger (x, w, zero, z) c = Cast <to = 1> (p) e = Sqrt (d) m = Mul (e, s4) y = Mul (c, m)": (
            "uint8[1,3,16,16] x, float d"
        ),
    }
    for body, inputs in bodies.items():
        weights = {
            "w": codes, "s": scale, "z": zero, "one": np.float32(1), "zero": np.uint8(0), "s4": scale[:, None, None]
        }  # fmt: skip
        model = parsed(body, tmp_path, inputs, **{name: value for name, value in weights.items() if name in body})
        (kernel,) = find_kernels(model)
        assert (kernel.weight, kernel.shape) == ("w", (4, 3, 3, 3))
        np.testing.assert_allclose(read_kernel(model, kernel), real, rtol=1e-6)


def test_an_integer_kernel_without_a_scale_is_codes_less_their_zero_point(tmp_path: Path) -> None:
    codes = np.arange(9, dtype=np.uint8).reshape(1, 1, 3, 3)
    body = "p = ConvInteger (x, w, none, z) y = Cast <to = 1> (p)"
    model = parsed(body, tmp_path, "uint8[1,1,8,8] x", w=codes, z=np.uint8(4), none=np.uint8(0))
    (kernel,) = find_kernels(model)
    np.testing.assert_array_equal(read_kernel(model, kernel), codes.astype(np.float32) - 4)


@pytest.mark.parametrize(
    ("op", "shape", "kind", "label"),
    [
        ("Conv (x, w)", (4, 12, 3, 3), "standard", "3 × 3 conv"),
        ("Conv <strides = [2, 2]> (x, w)", (4, 12, 7, 7), "standard", "7 × 7 conv, stride 2"),
        ("Conv <strides = [2, 1], dilations = [1, 3]> (x, w)", (4, 12, 3, 3), "standard",
         "3 × 3 conv, stride 2 × 1, dilation 1 × 3"),
        ("Conv (x, w)", (4, 12, 1, 1), "pointwise", "1 × 1 conv"),
        ("Conv <group = 12> (x, w)", (24, 1, 3, 3), "depthwise", "3 × 3 depthwise conv"),
        ("Conv <group = 4> (x, w)", (8, 3, 3, 3), "grouped", "3 × 3 conv in 4 groups"),
        ("Conv <group = 3> (x, w)", (3, 4, 1, 1), "grouped", "1 × 1 conv in 3 groups"),
        ("Conv (x, w)", (4, 12, 1, 7), "standard", "1 × 7 conv"),
        ("ConvTranspose <strides = [2, 2]> (x, w)", (12, 5, 4, 4), "transposed", "4 × 4 transposed conv, stride 2"),
        ("ConvTranspose <group = 12> (x, w)", (12, 1, 4, 4), "depthwise", "4 × 4 transposed depthwise conv"),
        ("ConvTranspose <group = 3> (x, w)", (12, 2, 2, 2), "grouped", "2 × 2 transposed conv in 3 groups"),
    ],
)  # fmt: skip
def test_kinds_and_labels(op: str, shape: tuple[int, ...], kind: str, label: str, tmp_path: Path) -> None:
    (kernel,) = find_kernels(parsed(f"y = {op}", tmp_path, "float[1,12,16,16] x", w=shape))
    assert (kernel.kind, kernel.label, kernel.reads_picture) == (kind, label, False)


def test_one_and_three_dimensions(tmp_path: Path) -> None:
    (sound,) = find_kernels(parsed("y = Conv <strides = [4]> (x, w)", tmp_path, "float[1,3,99] x", w=(4, 3, 9)))
    assert (sound.label, sound.reads_picture) == ("9-tap conv, stride 4", False)
    (solid,) = find_kernels(parsed("y = Conv (x, w)", tmp_path, "float[1,3,9,9,9] x", w=(4, 3, 3, 3, 1)))
    assert (solid.label, solid.reads_picture) == ("3 × 3 × 1 conv", False)


def labels(model: Model) -> list[str]:
    return [kernel.label for kernel in find_kernels(model)]


def test_separable_convolutions(tmp_path: Path) -> None:
    body = "a = Conv <group = 3> (x, d) n = BatchNormalization (a, b, b, b, b) r = Relu (n) y = Conv (r, p)"
    separable = "3 × 3 depthwise conv, separable with the 1 × 1 conv after it"
    weights: dict[str, Any] = {"d": (3, 1, 3, 3), "b": (3,)}
    assert labels(parsed(body, tmp_path, p=(8, 3, 1, 1), **weights)) == [separable, "1 × 1 conv"]
    assert labels(parsed(body, tmp_path, p=(8, 3, 3, 3), **weights)) == ["3 × 3 depthwise conv", "3 × 3 conv"]
    crossed = "a = Conv (x, u) r = Relu (a) y = Conv (r, v)"
    assert labels(parsed(crossed, tmp_path, u=(4, 3, 1, 7), v=(4, 4, 7, 1))) == [
        "1 × 7 conv, separable with the 7 × 1 conv after it",
        "7 × 1 conv",
    ]
    assert labels(parsed(crossed, tmp_path, u=(4, 3, 1, 7), v=(4, 4, 5, 1))) == ["1 × 7 conv", "5 × 1 conv"]


def test_only_the_first_convolution_reads_the_picture(tmp_path: Path) -> None:
    body = "n = Sub (x, k) a = Conv (n, w) c = Conv (x, w) b = Conv (a, w) s = Add (b, c) y = Conv (s, w)"
    model = parsed(body, tmp_path, k=(3, 1, 1), w=(3, 3, 3, 3))
    assert {kernel.output: kernel.reads_picture for kernel in find_kernels(model)} == {
        "a": True, "c": True, "b": False, "y": False,
    }  # fmt: skip


def test_what_is_computed_or_does_not_fit_is_passed_over(tmp_path: Path) -> None:
    body = "k = Mul (w, w) a = Conv (x, k) b = Conv (a, flat) c = Conv <group = 2> (x, odd) y = Conv (c, w)"
    model = parsed(body, tmp_path, w=(3, 3, 1, 1), flat=(3, 3), odd=(3, 1, 1, 1))
    assert [kernel.output for kernel in find_kernels(model)] == ["y"]
    with pytest.raises(TensorNotFound, match="no convolution that makes 'k'"):
        read_kernel(model, replace(find_kernels(model)[0], output="k"))
    with pytest.raises(ModelError, match=r"has the shape \[3, 3, 1, 1\], not \[9\]"):
        read_kernel(model, replace(find_kernels(model)[0], shape=(9,)))


def test_kernels_in_functions(tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 17, "here" : 1]>
    g (float[1,1,8,8] x) => (float[1,1,6,6] y) <float[1,1,2,2] w = {1, 2, 3, 4}> { t = here.F (x, w) y = here.F (t, w) }
    <domain: "here", opset_import: ["" : 17]>
    F (a, given) => (b) {
        w = Constant <value = float[1,1,1,1] {5}> ()
        c = Conv (a, given)
        b = Conv (c, w)
    }"""
    model = opened(parser.parse_model(text), tmp_path)
    found = find_kernels(model)
    assert [kernel.weight for kernel in found] == ["w", "w (function F / Constant w)"] * 2
    assert [read_kernel(model, kernel).reshape(-1).tolist() for kernel in found] == [[1, 2, 3, 4], [5]] * 2
    assert [model.view.producer(kernel.output) for kernel in found] == [model.view.nodes[k.order] for k in found]


def test_large_kernels_are_views_of_the_file(tmp_path: Path) -> None:
    model = parsed("y = Conv (x, w)", tmp_path, w=(64, 3, 7, 7))
    (kernel,) = find_kernels(model)
    values = read_kernel(model, kernel)
    assert np.shares_memory(values, model.read("w"))
    assert not values.flags.writeable


@pytest.mark.parametrize(
    ("name", "kinds", "first", "separable"),
    [
        ("resnet50", {"standard": 17, "pointwise": 36}, "7 × 7 conv, stride 2", 0),
        ("mobilenet_v2", {"standard": 1, "pointwise": 34, "depthwise": 17}, "3 × 3 conv, stride 2", 17),
        ("mobilenet_v3_small", {"standard": 1, "pointwise": 40, "depthwise": 11}, "3 × 3 conv, stride 2", 11),
        ("efficientnet_b0", {"standard": 1, "pointwise": 64, "depthwise": 16}, "3 × 3 conv, stride 2", 16),
        ("shufflenet_v2_x1_0", {"standard": 1, "pointwise": 36, "depthwise": 19}, "3 × 3 conv, stride 2", 19),
        ("unet", {"standard": 18, "pointwise": 1, "transposed": 4}, "3 × 3 conv", 0),
        ("yolov3", {"standard": 38, "pointwise": 37}, "3 × 3 conv", 0),
        ("vit_tiny", {"standard": 1}, "16 × 16 conv, stride 16", 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("layout", ["nchw", "nhwc_everywhere"])
def test_known_networks(
    name: str, kinds: dict[str, int], first: str, separable: int, layout: Any, tmp_path: Path
) -> None:
    model = load(save(build(name, layout=layout), tmp_path))
    found = find_kernels(model)
    assert Counter(kernel.kind for kernel in found) == kinds
    assert [kernel.label for kernel in found if kernel.reads_picture] == [first]
    assert found[0].reads_picture
    assert sum("separable" in kernel.label for kernel in found) == separable
    assert [kernel.order for kernel in found] == sorted(kernel.order for kernel in found)
    convolutions = [node for node in model.view.nodes if node.op in ("Conv", "ConvTranspose")]
    assert [(kernel.op, kernel.output) for kernel in found] == [(node.op, node.outputs[0]) for node in convolutions]


def test_the_weights_of_a_network_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(materialize(build("squeezenet1_1")).SerializeToString())
    model = load(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for kernel in find_kernels(model):
        np.testing.assert_array_equal(read_kernel(model, kernel), stored[kernel.weight], strict=True)


CORPUS = {
    "blazeface_front_128_barracuda.onnx": (37, "5 × 5 conv, stride 2"),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": (53, "3 × 3 conv, stride 2"),
    "efficientnet_lite0_ort_qdq_int8.onnx": (49, "3 × 3 conv, stride 2"),
    "fastestdet.onnx": (70, "3 × 3 conv, stride 2"),
    "mtcnn_pnet_classic_op11.onnx": (5, "3 × 3 conv"),
    "silero_vad_16k_op15.onnx": (6, ""),
    "winml_squeezenet_fp16.onnx": (26, "3 × 3 conv, stride 2"),
    "yunet_n_dynamic.onnx": (59, "3 × 3 conv, stride 2"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_real_models(corpus: Path, name: str) -> None:
    model = load(corpus / "models" / name)
    found = find_kernels(model)
    count, first = CORPUS[name]
    assert len(found) == count
    assert "".join(kernel.label for kernel in found if kernel.reads_picture) == first
    for kernel in found:
        values = read_kernel(model, kernel)
        assert values.shape == kernel.shape
        assert np.isfinite(values.astype(np.float32)).all()
