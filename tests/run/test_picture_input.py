from __future__ import annotations

import pytest

from onnxvis.graph.view import Tensor
from onnxvis.run.picture_input import image_channels, image_input, image_layout, image_size

Shape = tuple[int | str | None, ...]


@pytest.mark.parametrize(
    ("shape", "layout", "channels", "size"),
    [
        ((1, 3, 224, 224), "NCHW", 3, (224, 224)),
        ((1, 128, 96, 3), "NHWC", 3, (128, 96)),
        (("N", 3, "H", "W"), "NCHW", 3, (None, None)),
        ((-1, 3, -1, -1), "NCHW", 3, (None, None)),
        ((None, None, None, 3), "NHWC", 3, (None, None)),
        ((1, 1, 28, 28), "NCHW", 1, (28, 28)),
        ((1, 28, 28, 1), "NHWC", 1, (28, 28)),
        ((1, 4, 64, 64), "NCHW", 4, (64, 64)),
        ((1, 3, 48, "width"), "NCHW", 3, (48, None)),
        (("batch_size", "num_channels", "height", "width"), "NCHW", 3, (None, None)),
        (("batch", "height", "width", "channels"), "NHWC", 3, (None, None)),
        ((3, 32, 32), "CHW", 3, (32, 32)),
        (("height", "width", 3), "HWC", 3, (None, None)),
        ((480, 640, 3), "HWC", 3, (480, 640)),
    ],
)
def test_layouts_by_shape(shape: Shape, layout: str, channels: int, size: tuple[int | None, int | None]) -> None:
    tensor = Tensor("x", shape, "float32")
    assert image_layout(tensor) == layout
    assert image_channels(tensor, layout) == channels
    assert image_size(tensor, layout) == size
    assert image_input([tensor]) is tensor


@pytest.mark.parametrize(
    "shape",
    [None, (), (1, 10), (1, 80, 3000), (1, 1024, 3), ("batch", 1024, 3), (None, "points", 3), (1, 64, 32, 32),
     (1, 1, 1, 1), (1, 3, 8, 224, 224), (3, 4, 5)],
)  # fmt: skip
def test_what_is_no_picture(shape: Shape | None) -> None:
    assert image_input([Tensor("x", shape, "float32")]) is None


def test_the_graph_is_believed_unless_it_contradicts_the_channels() -> None:
    free = Tensor("x", ("a", "b", "c", "d"), "float32")
    assert image_layout(free) == "NCHW"
    assert image_layout(free, "NHWC") == "NHWC"
    assert image_layout(Tensor("x", (1, 3, 8, 3), "float32"), "NHWC") == "NHWC"
    assert image_layout(Tensor("x", (1, 3, 32, 32), "float32"), "NHWC") == "NCHW"


def test_which_of_several() -> None:
    size = Tensor("im_shape", (1, 2), "float32")
    mask = Tensor("mask", (1, 1, 64, 64), "float32")
    ids = Tensor("ids", (1, 3, 64, 64), "int64")
    photo = Tensor("photo", (1, 3, 64, 64), "float16")
    assert image_input([size, mask, ids, photo]) is photo
    assert image_input([size, mask]) is mask
    assert image_input([size, ids]) is None
