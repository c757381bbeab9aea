"""Stages and blocks of well-known networks, in every spelling of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, cast

import onnx
import pytest

from onnxvis.graph.blocks import Block, find_parts
from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.view import GraphView
from tests.zoo import NAMES, build

if TYPE_CHECKING:
    from tests.zoo.core import BatchNorm, Layout, Names

Size = tuple[int, int]

# The stages as (channels, height), after the stem's where there is one: from the papers' tables, except where a stage
# ends in a transition (DenseNet) or at the paper's first of two stages of one resolution (MobileNetV2: 64 and 96).
STAGES: dict[str, tuple[list[Size], list[Size]]] = {
    "alexnet": ([], [(64, 55), (192, 27), (256, 13)]),
    "darknet53": ([(32, 416)], [(64, 208), (128, 104), (256, 52), (512, 26), (1024, 13)]),
    "densenet121": ([(64, 112)], [(128, 56), (256, 28), (512, 14), (1024, 7)]),
    "efficientnet_b0": ([], [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)]),
    "googlenet": ([(64, 112)], [(192, 56), (480, 28), (832, 14), (1024, 7)]),
    "mobilenet_v2": ([], [(16, 112), (24, 56), (32, 28), (96, 14), (320, 7)]),
    "mobilenet_v3_small": ([(16, 112)], [(16, 56), (24, 28), (48, 14), (96, 7)]),
    "resnet18": ([(64, 112)], [(64, 56), (128, 28), (256, 14), (512, 7)]),
    "resnet34": ([(64, 112)], [(64, 56), (128, 28), (256, 14), (512, 7)]),
    "resnet50": ([(64, 112)], [(256, 56), (512, 28), (1024, 14), (2048, 7)]),
    "resnet101": ([(64, 112)], [(256, 56), (512, 28), (1024, 14), (2048, 7)]),
    "shufflenet_v2_x1_0": ([(24, 112), (24, 56)], [(116, 28), (232, 14), (464, 7)]),
    "shufflenet_v2_x1_0_split": ([(24, 112), (24, 56)], [(116, 28), (232, 14), (464, 7)]),
    "squeezenet1_0": ([(96, 109)], [(256, 54), (512, 27), (512, 13)]),
    "squeezenet1_1": ([(64, 111)], [(128, 55), (256, 27), (512, 13)]),
    "unet": ([], [(64, 224), (128, 112), (256, 56), (512, 28), (1024, 14)]),
    "unet_resize": ([], [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14)]),
    "vgg16": ([], [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14)]),
    "vgg16_bn": ([], [(64, 224), (128, 112), (256, 56), (512, 28), (512, 14)]),
    "vit_tiny": ([], [(192, 14)]),
    "yolov3": ([(32, 416)], [(64, 208), (128, 104), (256, 52), (512, 26), (1024, 13)]),
    "yolov8n": ([(16, 320)], [(32, 160), (64, 80), (128, 40), (256, 20)]),
}

# How many blocks each stage has: the published depths, with a convolution that halves the size (Darknet, YOLO), an
# entry (GoogLeNet's conv2 and conv3, the first convolution of MobileNetV2 and EfficientNet) or a transition counted.
DEPTHS = {
    "alexnet": [1, 1, 3],
    "darknet53": [2, 3, 9, 9, 5],
    "densenet121": [2, 2, 2, 1],
    "efficientnet_b0": [2, 2, 2, 6, 5],
    "googlenet": [2, 2, 5, 2],
    "mobilenet_v2": [2, 2, 3, 7, 4],
    "mobilenet_v3_small": [1, 2, 5, 3],
    "resnet18": [2, 2, 2, 2],
    "resnet34": [3, 4, 6, 3],
    "resnet50": [3, 4, 6, 3],
    "resnet101": [3, 4, 23, 3],
    "shufflenet_v2_x1_0": [4, 8, 4],
    "shufflenet_v2_x1_0_split": [4, 8, 4],
    "squeezenet1_0": [3, 4, 1],
    "squeezenet1_1": [2, 2, 4],
    "unet": [2, 2, 2, 2, 2],
    "unet_resize": [2, 2, 2, 2, 2],
    "vgg16": [2, 2, 3, 3, 3],
    "vgg16_bn": [2, 2, 3, 3, 3],
    "vit_tiny": [1],
    "yolov3": [2, 3, 9, 9, 5],
    "yolov8n": [3, 3, 3, 4],
}

NECKS = {
    "unet": [(512, 28), (256, 56), (128, 112), (64, 224)],
    "unet_resize": [(256, 28), (128, 56), (64, 112), (64, 224)],
    "yolov3": [(512, 13), (256, 26), (128, 52)],
    "yolov8n": [(128, 40), (64, 80), (128, 40), (256, 20)],
}

HEADS = {
    "unet": [(2, 224)],
    "unet_resize": [(2, 224)],
    "yolov3": [(255, 13), (255, 26), (255, 52)],
}

SPELLINGS = list(itertools.product(("kept", "folded"), ("scopes", "numbers"), ("nchw", "nhwc", "nhwc_everywhere")))


@cache
def view_of(name: str, batchnorm: str, names: str, layout: str) -> GraphView:
    spelled = cast("tuple[BatchNorm, Names, Layout]", (batchnorm, names, layout))
    return GraphView(build(name, batchnorm=spelled[0], names=spelled[1], layout=spelled[2]))


@cache
def parts_of(name: str, batchnorm: str = "kept", names: str = "scopes", layout: str = "nchw") -> tuple[Block, ...]:
    view = view_of(name, batchnorm, names, layout)
    return find_parts(view, FeatureMaps(view))


def part(parts: tuple[Block, ...], name: str) -> tuple[Block, ...]:
    return next((item.children for item in parts if item.name == name), ())


def sizes(blocks: tuple[Block, ...]) -> list[Size]:
    assert all(block.height == block.width for block in blocks)
    return [(block.channels, block.height) for block in blocks]


def walk(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        yield from walk(block.children)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batchnorm", "names", "layout"), SPELLINGS)
def test_stages_blocks_and_heads(name: str, batchnorm: str, names: str, layout: str) -> None:
    parts = parts_of(name, batchnorm, names, layout)
    stem, stages = STAGES[name]
    assert sizes(part(parts, "stem")) == stem
    assert sizes(part(parts, "backbone")) == stages
    assert [len(stage.children) for stage in part(parts, "backbone")] == DEPTHS[name]
    assert sizes(part(parts, "neck")) == NECKS.get(name, [])
    heads = tuple(item for item in parts if item.kind == "head")
    if name in HEADS:
        assert sizes(heads) == HEADS[name]
    else:
        assert [head.name for head in heads] == ["head"]
    order = [*(["stem"] if stem else []), "backbone", *(["neck"] if name in NECKS else [])]
    assert [item.name for item in parts[: len(order)]] == order


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("batchnorm", "names", "layout"), SPELLINGS)
def test_every_tensor_has_one_place(name: str, batchnorm: str, names: str, layout: str) -> None:
    view, parts = view_of(name, batchnorm, names, layout), parts_of(name, batchnorm, names, layout)
    made = {tensor for node in view.nodes for tensor in node.outputs if tensor in view.data_path}
    ends = [tensor.name for tensor in view.outputs]
    placed = [tensor for item in parts for tensor in item.tensors]
    assert len(placed) == len(set(placed))
    assert set(placed) == made
    assert set(ends) <= set(placed)
    position = {tensor: i for i, tensor in enumerate(tensor for node in view.nodes for tensor in node.outputs)}
    every = list(walk(parts))
    for block in every:
        assert block.output in block.tensors
        assert [position[tensor] for tensor in block.tensors] == sorted(position[tensor] for tensor in block.tensors)
        if block.children:
            inside = [tensor for child in block.children for tensor in child.tensors]
            assert sorted(inside) == sorted(block.tensors)
    keys = [block.key for block in every]
    assert len(keys) == len(set(keys))
    by_name = {block.name: block for block in every}
    assert len(by_name) == len(every)
    # a name may stand where another block's key does, if that block has a name of its own
    assert all(by_name.get(block.key, block).key == block.key or block.name != block.key for block in every)
    if names == "numbers":
        assert all(block.name == block.key for block in every)


def test_resnet_has_pytorch_s_names() -> None:
    stages = part(parts_of("resnet18"), "backbone")
    assert [stage.name for stage in stages] == ["layer1", "layer2", "layer3", "layer4"]
    assert [stage.key for stage in stages] == ["stage1", "stage2", "stage3", "stage4"]
    assert [block.name for stage in stages[:2] for block in stage.children] == [
        "layer1.0",
        "layer1.1",
        "layer2.0",
        "layer2.1",
    ]
    assert {block.kind for stage in stages for block in stage.children} == {"residual"}
    assert [layer.name for layer in stages[1].children[0].children] == [
        "layer2.0.conv1",
        "layer2.0.conv2",
        "layer2.0.downsample",
        "stage2.block1.layer4",
    ]
    assert [layer.kind for layer in stages[1].children[0].children] == ["Conv", "Conv", "Conv", "Add"]


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "densenet121": ["denseblock1", "transition1", "denseblock2", "transition2", "denseblock3"],
        "efficientnet_b0": ["features.0", "features.1", "features.2.0", "features.2.1", "features.3.0"],
        "googlenet": ["conv2", "conv3", "inception3a", "inception3b", "inception4a"],
        "mobilenet_v2": ["features.0", "features.1", "features.2", "features.3", "features.4"],
        "shufflenet_v2_x1_0": ["stage2.0", "stage2.1", "stage2.2", "stage2.3", "stage3.0"],
        "squeezenet1_1": ["features.3", "features.4", "features.6", "features.7", "features.9"],
        "vgg16": ["features.0", "features.2", "features.5", "features.7", "features.10"],
        "yolov3": [
            "backbone.stage1.down",
            "backbone.stage1.blocks",
            "backbone.stage2.down",
            "backbone.stage2.blocks.0",
        ],
    }.items(),
)
def test_names_are_the_exporter_s_modules(name: str, expected: list[str]) -> None:
    blocks = [block.name for stage in part(parts_of(name), "backbone") for block in stage.children]
    assert blocks[: len(expected)] == expected


def test_stages_that_are_no_module_get_a_number() -> None:
    names = [stage.name for stage in part(parts_of("efficientnet_b0"), "backbone")]
    assert names == ["stage1", "features.2", "features.3", "stage4", "stage5"]
    assert [stage.name for stage in part(parts_of("alexnet"), "backbone")] == ["stage1", "stage2", "stage3"]


def test_a_scope_may_be_called_as_another_stage_s_key() -> None:
    stages = part(parts_of("shufflenet_v2_x1_0"), "backbone")
    assert [(stage.key, stage.name) for stage in stages] == [
        ("stage1", "stage2"),
        ("stage2", "stage3"),
        ("stage3", "stage4"),
    ]


def test_decoders_have_names_too() -> None:
    assert [block.name for block in part(parts_of("unet"), "neck")] == ["up1", "up2", "up3", "up4"]
    assert [block.name for block in part(parts_of("yolov3"), "neck")] == ["neck.0", "neck.1", "neck.2"]


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
def test_kinds(layout: str) -> None:
    def kinds(name: str) -> list[str]:
        stages = part(parts_of(name, layout=layout), "backbone")
        return [block.kind for stage in stages for block in stage.children]

    assert kinds("mobilenet_v2") == ["conv", "separable", *["inverted residual"] * 16]
    assert kinds("resnet34") == ["residual"] * 16
    assert kinds("squeezenet1_0") == ["concat"] * 8
    assert kinds("vgg16_bn") == ["conv"] * 13
    assert [block.kind for block in part(parts_of("yolov3", layout=layout), "neck")] == ["conv", "fusion", "fusion"]


def test_stage_outputs_are_activations_where_there_are_some() -> None:
    view = view_of("resnet50", "kept", "scopes", "nchw")
    makers = [view.producer(stage.output) for stage in part(parts_of("resnet50"), "backbone")]
    assert [node.op for node in makers if node] == ["Relu"] * 4


def parsed(body: str, inputs: str = "float[1, 3, 32, 32] x", outputs: str = "float[] y") -> tuple[Block, ...]:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => ({outputs}) {{ {body} }}'
    )
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    view = GraphView(model)
    return find_parts(view, FeatureMaps(view))


@pytest.mark.parametrize(
    "body",
    [
        "y = Relu (x)",
        "y = MaxPool <kernel_shape = [2, 2]> (x)",
        "w = Constant <value = float[2] {1, 2}> () y = Mul (w, w)",
        "s = Shape (x) y = Cast <to = 1> (s)",
    ],
)
def test_no_convolution_no_parts(body: str) -> None:
    assert parsed(body) == ()


def test_a_single_convolution_is_a_stage() -> None:
    w = "w = Constant <value = float[2, 3, 1, 1] {1, 2, 3, 4, 5, 6}> ()"
    (backbone,) = parsed(f"{w} y = Conv (x, w)")
    assert sizes(backbone.children) == [(2, 32)]
    assert [block.kind for block in backbone.children[0].children] == ["conv"]


def test_a_convolution_without_any_path_from_an_input_is_no_stage() -> None:
    w = "w = Constant <value = float[1, 1, 1, 1] {1}> () c = Constant <value = float[1, 1, 1, 1] {1}> ()"
    assert parsed(f"{w} y = Conv (c, w)") == ()


def test_two_pictures_and_unused_branches_do_no_harm() -> None:
    w = "w = Constant <value = float[1, 3, 1, 1] {1, 2, 3}> ()"
    body = f"{w} a = Conv (x, w) b = Conv <strides = [2, 2]> (z, w) y = Add (a, b) unused = Conv (x, w)"
    parts = parsed(body, "float[1, 3, 32, 32] x, float[1, 3, 64, 64] z")
    assert parts[0].name in {"backbone", "stem"}
    placed = [tensor for item in parts for tensor in item.tensors]
    assert {"a", "b", "y"} <= set(placed)
