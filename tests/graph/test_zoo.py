"""The zoo is what the other graph tests trust, so its networks are held against published figures."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import shape_inference

from tests.zoo import NAMES, build, materialize, save

if TYPE_CHECKING:
    from tests.zoo.core import BatchNorm, Layout, Names

# torchvision's and timm's documentation, Ultralytics' model summaries, and the parameters that PyTorch counts for
# well-known public implementations of YOLOv3, Darknet-53 and U-Net (2 classes).
PARAMETERS = {
    "alexnet": 61_100_840,
    "darknet53": 41_609_928,
    "densenet121": 7_978_856,
    "efficientnet_b0": 5_288_548,
    "googlenet": 6_624_904,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_small": 2_542_856,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "shufflenet_v2_x1_0": 2_278_604,
    "shufflenet_v2_x1_0_split": 2_278_604,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "unet": 31_037_698,
    "unet_resize": 17_263_042,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vit_tiny": 5_717_416,
    "yolov3": 61_949_149,
    "yolov8n": 3_157_200,
}

SPATIAL_OUTPUTS = {
    "unet": [(2, 224, 224)],
    "unet_resize": [(2, 224, 224)],
    "yolov3": [(255, 13, 13), (255, 26, 26), (255, 52, 52)],
}
FLAT_OUTPUTS = {"yolov8n": [(84, 8400)]}

# The most channels found at each size of the feature maps, from the papers' tables and Darknet's cfg files.
MAPS = {
    "alexnet": {55: 64, 27: 192, 13: 384, 6: 256},
    "darknet53": {416: 32, 208: 64, 104: 128, 52: 256, 26: 512, 13: 1024},
    "densenet121": {112: 64, 56: 256, 28: 512, 14: 1024, 7: 1024},
    "googlenet": {112: 64, 56: 192, 28: 480, 14: 832, 7: 1024},
    "resnet18": {112: 64, 56: 64, 28: 128, 14: 256, 7: 512},
    "shufflenet_v2_x1_0": {112: 24, 56: 58, 28: 116, 14: 232, 7: 1024},
    "squeezenet1_0": {109: 96, 54: 256, 27: 512, 13: 1000},
    "squeezenet1_1": {111: 64, 55: 128, 27: 256, 13: 1000},
    "vgg16": {224: 64, 112: 128, 56: 256, 28: 512, 14: 512, 7: 512},
}

VARIANTS: list[tuple[BatchNorm, Names, Layout]] = [
    ("kept", "scopes", "nchw"),
    ("folded", "numbers", "nchw"),
    ("folded", "scopes", "nhwc"),
    ("kept", "scopes", "nhwc_everywhere"),
    ("folded", "numbers", "nhwc_everywhere"),
]

RUN = [
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x1_0",
    "shufflenet_v2_x1_0_split",
    "squeezenet1_1",
    "vit_tiny",
]


def shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shapes that ONNX infers when it is told none but the input's."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True).graph
    return {
        info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)
        for info in (*inferred.value_info, *inferred.output)
    }


def expected_outputs(name: str, layout: Layout) -> list[tuple[int, ...]]:
    if name in SPATIAL_OUTPUTS:
        return [(1, c, h, w) if layout == "nchw" else (1, h, w, c) for c, h, w in SPATIAL_OUTPUTS[name]]
    return [(1, *shape) for shape in FLAT_OUTPUTS.get(name, [(1000,)])]


def ops(model: onnx.ModelProto, op: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op]


def infer(model: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return cast("npt.NDArray[np.float32]", session.run(None, {session.get_inputs()[0].name: x})[0])


@pytest.mark.parametrize(("batchnorm", "names", "layout"), VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_valid_with_the_published_outputs(
    name: str, batchnorm: BatchNorm, names: Names, layout: Layout, tmp_path: Path
) -> None:
    model = build(name, batchnorm=batchnorm, names=names, layout=layout)
    onnx.checker.check_model(str(save(model, tmp_path)))
    inferred = shapes(model)
    assert [inferred[output.name] for output in model.graph.output] == expected_outputs(name, layout)
    assert model.ByteSize() < 1_000_000


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
@pytest.mark.parametrize("name", NAMES)
def test_symbolic_batch(name: str, layout: Layout) -> None:
    model = build(name, layout=layout, batch="N")
    assert [output.type.tensor_type.shape.dim[0].dim_param for output in model.graph.output] == ["N"] * len(
        model.graph.output
    )
    shapes(model)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_published_ones(name: str) -> None:
    weights = [tensor for tensor in build(name).graph.initializer if ".running_" not in tensor.name]
    assert sum(prod(tensor.dims) for tensor in weights) == PARAMETERS[name]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc_everywhere"])
def test_maps_are_the_published_ones(name: str, layout: Layout) -> None:
    model = build(name, layout=layout)
    inferred = shapes(model)
    most: dict[int, int] = {}
    for op in ("Conv", "MaxPool", "AveragePool", "Concat", "Add"):
        for node in ops(model, op):
            shape = inferred[node.output[0]]
            if len(shape) != 4:
                continue
            nhwc = layout == "nhwc_everywhere" and op in {"Concat", "Add"}
            channels, size = (shape[3], shape[1]) if nhwc else (shape[1], shape[2])
            if size > 1:
                most[size] = max(most.get(size, 0), channels)
    assert most == MAPS[name]


def test_resnet101_has_104_batch_norms_until_they_are_folded() -> None:
    assert len(ops(build("resnet101"), "BatchNormalization")) == 104
    assert not ops(build("resnet101", batchnorm="folded"), "BatchNormalization")


def test_batch_norm_after_concat_is_not_folded() -> None:
    folded = ops(build("densenet121", batchnorm="folded"), "BatchNormalization")
    assert len(folded) == 58 + 3 + 1  # the first of each dense layer, the transitions' and the last


def test_folding_leaves_the_network_without_batch_norm() -> None:
    folded, other = build("vgg16_bn", batchnorm="folded"), build("vgg16")
    assert [node.op_type for node in folded.graph.node] == [node.op_type for node in other.graph.node]


def test_names_are_the_exporter_s() -> None:
    model = build("resnet18")
    node = ops(model, "Conv")[1]
    assert (node.name, *node.input, *node.output) == (
        "/layer1/layer1.0/conv1/Conv",
        "/maxpool/MaxPool_output_0",
        "layer1.0.conv1.weight",
        "/layer1/layer1.0/conv1/Conv_output_0",
    )
    assert ops(model, "Relu")[2].name == "/layer1/layer1.0/relu_1/Relu"
    assert ops(build("mobilenet_v2"), "Conv")[1].name == "/features/features.1/conv/conv.0/conv.0.0/Conv"
    assert ops(build("yolov8n"), "Conv")[3].name == "/model.2/m.0/cv1/conv/Conv"
    assert ops(build("resnet18", batchnorm="folded"), "Conv")[0].input[1] == "onnx::Conv_1"


@pytest.mark.parametrize("name", NAMES)
def test_numbers_say_nothing(name: str) -> None:
    scopes, numbers = build(name), build(name, names="numbers")
    assert [node.op_type for node in numbers.graph.node] == [node.op_type for node in scopes.graph.node]
    assert not any(node.name for node in numbers.graph.node)
    assert all(value.name.isdigit() for value in (*numbers.graph.input, *numbers.graph.output))
    assert all(tensor.name.isdigit() for tensor in numbers.graph.initializer)
    for old, new in zip(scopes.graph.node, numbers.graph.node, strict=True):
        assert all(
            a.isdigit() == bool(b) for a, b in zip([*new.input, *new.output], [*old.input, *old.output], strict=True)
        )


@pytest.mark.parametrize("name", RUN)
def test_layouts_compute_the_same(name: str) -> None:
    x = np.random.default_rng(1).random((1, 3, 224, 224), np.float32)
    plain = infer(materialize(build(name), seed=3), x)
    assert np.isfinite(plain).all()
    assert plain.std() > 1e-3
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for layout, names in (("nhwc", "scopes"), ("nhwc_everywhere", "numbers")):
        model = build(name, layout=cast("Layout", layout), names=cast("Names", names))
        result = infer(materialize(model, seed=3), nhwc)
        np.testing.assert_allclose(result, plain, rtol=1e-4, atol=1e-4 * float(np.abs(plain).max()))


def test_shufflenet_s_halves_may_be_spelled_either_way() -> None:
    x = np.random.default_rng(1).random((2, 3, 224, 224), np.float32)
    slices, split = (
        infer(materialize(build(name, batch="N"), seed=3), x)
        for name in ("shufflenet_v2_x1_0", "shufflenet_v2_x1_0_split")
    )
    np.testing.assert_array_equal(slices, split)


def test_materialize_is_a_copy_drawn_from_the_seed() -> None:
    model = build("squeezenet1_1")
    before = model.SerializeToString()
    first, again, other = (materialize(model, seed).SerializeToString() for seed in (0, 0, 1))
    assert model.SerializeToString() == before
    assert first == again != other


def test_saved_network_opens_in_onnx_runtime(tmp_path: Path) -> None:
    path = save(build("resnet18"), tmp_path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"input": np.ones((1, 3, 224, 224), np.float32)})
    assert not np.asarray(result).any()
