from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.graph.load import Model, load
from onnxvis.graph.target_layer import last_map, map_at_scale, same_map
from tests.tiny import from_text
from tests.zoo import NAMES, build
from tests.zoo.core import Layout, Names

LAYERS = {
    "alexnet": ("/features/features.12/MaxPool_output_0", (256, 6, 6)),
    "convnext_tiny": ("/features/features.7/features.7.2/Add_output_0", (768, 7, 7)),
    "darknet53": ("/backbone/stage5/blocks/blocks.3/Add_output_0", (1024, 13, 13)),
    "densenet121": ("/Relu_output_0", (1024, 7, 7)),
    "efficientnet_b0": ("/features/features.8/features.8.2/Mul_output_0", (1280, 7, 7)),
    "googlenet": ("/inception5b/Concat_output_0", (1024, 7, 7)),
    "mobilenet_v2": ("/features/features.18/features.18.2/Clip_output_0", (1280, 7, 7)),
    "mobilenet_v3_small": ("/features/features.12/features.12.2/HardSwish_output_0", (576, 7, 7)),
    "resnet18": ("/layer4/layer4.1/relu_1/Relu_output_0", (512, 7, 7)),
    "resnet34": ("/layer4/layer4.2/relu_1/Relu_output_0", (512, 7, 7)),
    "resnet50": ("/layer4/layer4.2/relu_2/Relu_output_0", (2048, 7, 7)),
    "resnet101": ("/layer4/layer4.2/relu_2/Relu_output_0", (2048, 7, 7)),
    "shufflenet_v2_x1_0": ("/conv5/conv5.2/Relu_output_0", (1024, 7, 7)),
    "shufflenet_v2_x1_0_split": ("/conv5/conv5.2/Relu_output_0", (1024, 7, 7)),
    "squeezenet1_0": ("/classifier/classifier.2/Relu_output_0", (1000, 13, 13)),
    "squeezenet1_1": ("/classifier/classifier.2/Relu_output_0", (1000, 13, 13)),
    "unet": ("/down4/maxpool_conv/maxpool_conv.1/double_conv/double_conv.5/Relu_output_0", (1024, 14, 14)),
    "unet_resize": ("/down4/maxpool_conv/maxpool_conv.1/double_conv/double_conv.5/Relu_output_0", (512, 14, 14)),
    "unet_mixed": ("/down4/down4.5/Relu_output_0", (512, 14, 14)),
    "vgg16": ("/features/features.30/MaxPool_output_0", (512, 7, 7)),
    "vgg16_bn": ("/features/features.43/MaxPool_output_0", (512, 7, 7)),
    "yolov3": ("/backbone/stage5/blocks/blocks.3/Add_output_0", (1024, 13, 13)),
    "yolov8n": ("/model.9/cv2/act/Mul_output_0", (256, 20, 20)),
}
"""Of classifiers what the pooling reads, of a U-Net and detectors what the deepest stage hands on."""


def opened(text: str) -> Model:
    return Model(Path("case.onnx"), from_text(text), Path.cwd())


def network(name: str, layout: Layout = "nchw", names: Names = "scopes") -> Model:
    return Model(Path(f"{name}.onnx"), build(name, layout=layout, names=names), Path.cwd())


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_last_map_of_well_known_networks(name: str, layout: Layout) -> None:
    model = network(name, layout)
    found = last_map(model, model.outputs[0].name)
    tensor, size = LAYERS[name]
    assert (found, model.maps.chw(found or "")) == (tensor, size)


def test_no_network_is_left_out() -> None:
    assert set(NAMES) - LAYERS.keys() == {"vit_tiny"}


@pytest.mark.parametrize("name", ["densenet121", "googlenet", "mobilenet_v3_small", "resnet18", "vgg16", "yolov8n"])
def test_names_say_nothing(name: str) -> None:
    plain, numbered = network(name), network(name, names="numbers")
    found = last_map(numbered, numbered.outputs[0].name)
    places = {name: place for place, name in enumerate(tensor.name for tensor in plain.view.intermediates)}
    assert found == [tensor.name for tensor in numbered.view.intermediates][places[LAYERS[name][0]]]


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
def test_the_patches_of_a_transformer_are_no_feature_map(layout: Layout) -> None:
    model = network("vit_tiny", layout)
    assert last_map(model, model.outputs[0].name) is None


def test_one_convolution_that_slides_is_a_feature_map() -> None:
    model = opened(
        "g (float[1, 3, 8, 8] x) => (float[1, 4] y) <float[4, 3, 3, 3] w, int64[2] flat = {1, 4}> "
        "{ a = Conv (x, w)  b = Relu (a)  c = GlobalAveragePool (b)  y = Reshape (c, flat) }"
    )
    assert last_map(model, "y") == "b"


def test_without_a_map_there_is_none() -> None:
    model = opened("g (float[1, 8] x) => (float[1, 4] y) <float[8, 4] w> { y = MatMul (x, w) }")
    assert last_map(model, "y") is None


HEADS = """
g (float[1, 3, 16, 16] x) => (float[1, 4] scores, float[1, 64, 2] boxes, float[1, 2, 8, 8] mask)
<float[4, 3, 3, 3] w, float[8, 4, 3, 3] v, float[4, 8] u, float[2, 4, 1, 1] t, int64[3] flat = {1, 2, 64}> {
  a = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w)  high = Relu (a)
  b = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (high, v)  deep = Relu (b)
  c = GlobalAveragePool (deep)  d = Flatten (c)  scores = Gemm <transB = 1> (d, u)
  mask = Conv (high, t)
  e = Reshape (mask, flat)  f = Transpose <perm = [0, 2, 1]> (e)  boxes = Sigmoid (f)
}
"""


def test_a_map_that_does_not_lead_to_the_target_is_none_of_its() -> None:
    """`mask` is made of `high` alone, and `boxes` is `mask` in another order."""
    model = opened(HEADS)
    assert last_map(model, "scores") == "deep"
    assert model.view.shape(last_map(model, "mask") or "") == (1, 4, 8, 8)
    assert model.view.shape(last_map(model, "boxes") or "") == (1, 4, 8, 8)


def test_a_map_is_followed_back_to_where_it_was_made() -> None:
    model = opened(
        "g (float[1, 8, 8, 3] x) => (float[1, 4, 6, 6] y) <float[4, 3, 3, 3] w> "
        "{ n = Transpose <perm = [0, 3, 1, 2]> (x)  a = Conv (n, w)  b = Identity (a)  c, m = Dropout (b) "
        "  d = AveragePool <kernel_shape = [1, 1]> (c)  e = Transpose <perm = [0, 2, 3, 1]> (d)"
        "  f = Transpose <perm = [0, 3, 1, 2]> (e)  y = MaxPool <kernel_shape = [1, 1], strides = [1, 1]> (f) }"
    )
    assert same_map(model, "y") == "a"
    assert same_map(model, "a") == "a"


def test_a_pooling_that_takes_every_other_pixel_makes_a_new_map() -> None:
    model = opened(
        "g (float[1, 3, 8, 8] x) => (float[1, 3, 4, 4] y) "
        "{ a = Relu (x)  y = MaxPool <kernel_shape = [1, 1], strides = [2, 2]> (a) }"
    )
    assert same_map(model, "y") == "y"


CORPUS = {
    ("blazeface_front_128_barracuda.onnx", "Identity:0"): (88, 16, 16),
    ("blazeface_front_128_barracuda.onnx", "Identity_1:0"): (96, 8, 8),
    ("ch_ppocr_mobile_v2.0_cls_infer.onnx", "save_infer_model/scale_0.tmp_1"): (200, 3, 56),
    ("efficientnet_lite0_ort_qdq_int8.onnx", "logits"): (1280, 7, 7),
    ("fastestdet.onnx", "758"): (192, 11, 11),
    ("mtcnn_pnet_classic_op11.onnx", "prob"): (32, 107, 107),
    ("silero_vad_16k_op15.onnx", "output"): None,
    ("winml_squeezenet_fp16.onnx", "softmaxout_1"): (1000, 13, 13),
    ("yunet_n_dynamic.onnx", "cls_8"): (64, 7, 7),
}


@pytest.mark.parametrize(("name", "output"), CORPUS)
def test_the_last_map_of_real_models(corpus: Path, name: str, output: str) -> None:
    model = load(corpus / "models" / name)
    found = last_map(model, output)
    assert (model.maps.chw(found) if found else None) == CORPUS[name, output]


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
@pytest.mark.parametrize("place", range(3))
def test_the_last_map_at_each_scale_of_yolov3(layout: Layout, place: int) -> None:
    """What the convolution of the raw head reads."""
    model = network("yolov3", layout)
    side = 13 * 2**place
    found = map_at_scale(model, f"output{place}", (side, side))
    assert found == f"/head/head.{place}/conv/act/LeakyRelu_output_0"
    assert model.maps.chw(found) == (1024 // 2**place, side, side)


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
@pytest.mark.parametrize("place", range(3))
def test_the_last_map_at_each_scale_of_yolov8(layout: Layout, place: int) -> None:
    """The last of the branch for classes, whether the way starts from the branch or from the output."""
    model = network("yolov8n", layout)
    side = 80 // 2**place
    branch = f"/model.22/cv3.{place}/cv3.{place}.2/Conv_output_0"
    for tensor in ("output0", branch):
        assert map_at_scale(model, tensor, (side, side)) == f"/model.22/cv3.{place}/cv3.{place}.1/act/Mul_output_0"


def test_a_grid_that_no_convolution_makes_has_no_map() -> None:
    model = opened(HEADS)
    assert map_at_scale(model, "mask", (8, 8)) == "high"
    assert map_at_scale(model, "mask", (5, 5)) is None
    assert map_at_scale(model, "nothing", (8, 8)) is None
