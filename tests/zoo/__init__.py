"""Well-known vision networks as ONNX graphs for tests: true shapes, any spelling, no weights of note."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.zoo import attention, dense, detect, mobile, plain, residual, segment
from tests.zoo.builder import Builder
from tests.zoo.core import BatchNorm, Layout, Names
from tests.zoo.names import number
from tests.zoo.weights import materialize, save

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["NAMES", "build", "materialize", "save"]

_NETWORKS: dict[str, Callable[[Builder], None]] = {
    function.__name__: function
    for function in (
        attention.vit_tiny,
        dense.densenet121,
        dense.googlenet,
        dense.squeezenet1_0,
        dense.squeezenet1_1,
        detect.yolov3,
        detect.yolov8n,
        mobile.efficientnet_b0,
        mobile.mobilenet_v2,
        mobile.mobilenet_v3_small,
        mobile.shufflenet_v2_x1_0,
        mobile.shufflenet_v2_x1_0_split,
        plain.alexnet,
        plain.vgg16,
        plain.vgg16_bn,
        residual.darknet53,
        residual.resnet18,
        residual.resnet34,
        residual.resnet50,
        residual.resnet101,
        segment.unet,
        segment.unet_resize,
    )
}

NAMES = tuple(_NETWORKS)


def build(
    name: str,
    *,
    batchnorm: BatchNorm = "kept",
    names: Names = "scopes",
    layout: Layout = "nchw",
    batch: int | str = 1,
) -> ModelProto:
    """The network `name` (one of NAMES), at opset 17.

    batchnorm: 'folded' puts each batch norm that directly follows a convolution into it.
    names: 'scopes' as PyTorch's TorchScript exporter, 'numbers' for tensors called 0, 1, 2 and nodes not at all.
    layout: 'nhwc' transposes once at the input and at spatial outputs; 'nhwc_everywhere' around every operator that
    needs NCHW.
    batch: the batch dimension of inputs and outputs; a string makes it symbolic.

    Weights above 4 kB refer to a file that does not exist: `save` writes one of zeros, `materialize` draws random ones.
    """
    builder = Builder(layout, batchnorm, batch)
    _NETWORKS[name](builder)
    model = builder.model(name)
    if names == "numbers":
        number(model)
    return model
