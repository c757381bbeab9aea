"""Well-known vision networks as ONNX graphs for tests: true shapes, any spelling, no weights of note."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.zoo import attention, dense, detect, mobile, modern, plain, residual, segment
from tests.zoo.builder import Builder
from tests.zoo.core import BatchNorm, Layout, Names, Value
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
"""Those whose stages and blocks the papers' tables give; `build` knows more."""

_NETWORKS |= {function.__name__: function for function in (modern.convnext_tiny, modern.unet_mixed)}


class _Sized(Builder):
    """Builds for a picture of another size than the network's own."""

    size: int | None = None

    def image(self, size: int, name: str = "input", channels: int = 3) -> Value:
        return super().image(self.size or size, name, channels)


def build(
    name: str,
    *,
    batchnorm: BatchNorm = "kept",
    names: Names = "scopes",
    layout: Layout = "nchw",
    batch: int | str = 1,
    size: int | None = None,
) -> ModelProto:
    """The network `name`, at opset 17.

    batchnorm: 'folded' puts each batch norm that directly follows a convolution into it.
    names: 'scopes' as PyTorch's TorchScript exporter, 'numbers' for tensors called 0, 1, 2 and nodes not at all.
    layout: 'nhwc' transposes once at the input and at spatial outputs; 'nhwc_everywhere' around every operator that
    needs NCHW.
    batch: the batch dimension of inputs and outputs; a string makes it symbolic.
    size: the height and width of the input, where the network's own is too large; fully connected layers follow it.

    Weights above 4 kB refer to a file that does not exist: `save` writes one of zeros, `materialize` draws random ones.
    """
    builder = _Sized(layout, batchnorm, batch)
    builder.size = size
    _NETWORKS[name](builder)
    model = builder.model(name)
    if names == "numbers":
        number(model)
    return model
