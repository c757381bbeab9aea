"""Which tensors are feature maps, and how their axes lie."""

from __future__ import annotations

import onnx
import pytest

from onnxvis.graph.layout import FeatureMaps, fixed, guess_layout
from onnxvis.graph.view import GraphView
from tests.zoo import NAMES, build


def maps_of(body: str, inputs: str = "float[1, 3, 8, 10] x", opset: int = 17) -> FeatureMaps:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[] y) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return FeatureMaps(GraphView(model))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 3, 224, 224), "NCHW"),
        ((1, 224, 224, 3), "NHWC"),
        (("N", 1, "H", "W"), "NCHW"),
        ((None, None, None, 4), "NHWC"),
        ((1, 3, 224, 3), "NCHW"),
        ((1, 64, 56, 56), None),
        (("batch", "height", "width", "channels"), "NHWC"),
        (("batch", "num_channels", "height", "width"), "NCHW"),
        ((None, 0, 0, 3), "NHWC"),
        ((-1, -1, -1, 3), "NHWC"),
        ((None, None, None, None), "NCHW"),
        ((1, 1, 1, 1), None),
        (("N", 64, "H", "W"), None),
        ((None, 224, 224, None), "NHWC"),
        ((None, None, 48, None), "NCHW"),
        ((1, 3, 224), None),
        (None, None),
    ],
)
def test_guess(shape: tuple[int | str | None, ...] | None, expected: str | None) -> None:
    assert guess_layout(shape) == expected


def test_the_graph_is_believed_unless_it_contradicts_the_channels() -> None:
    assert guess_layout(("a", "b", "c", "d"), "NHWC") == "NHWC"
    assert guess_layout((1, 3, 8, 3), "NHWC") == "NHWC"
    assert guess_layout((1, 3, 32, 32), "NHWC") == "NCHW"


def test_what_counts_as_a_number() -> None:
    assert [fixed(size) for size in (7, 0, -1, "N", None)] == [7, None, None, None, None]


def test_spatial_operators_settle_what_they_read_and_make() -> None:
    maps = maps_of(
        "a = Transpose <perm = [0, 3, 1, 2]> (x) b = MaxPool <kernel_shape = [2, 2]> (a) y = Relu (b)",
        "float[1, 8, 10, 64] x",
    )
    assert maps.layouts == {"x": "NHWC", "a": "NCHW", "b": "NCHW", "y": "NCHW"}
    assert (maps.chw("x"), maps.chw("y")) == ((64, 8, 10), (64, 7, 9))


def test_what_is_no_map() -> None:
    maps = maps_of("f = Flatten (x) s = Shape (x) y = Softmax (f)")
    assert set(maps.layouts) == {"x"}
    assert "f" not in maps
    assert maps.chw("f") is None


def test_weights_are_no_maps() -> None:
    maps = maps_of("w = Constant <value = float[1, 3, 1, 1] {1, 2, 3}> () v = Relu (w) y = Conv (x, v)")
    assert set(maps.layouts) == {"x", "y"}


def test_unknown_sizes_have_no_numbers() -> None:
    maps = maps_of("y = Relu (x)", "float[N, 3, H, W] x")
    assert maps.layouts["y"] == "NCHW"
    assert maps.chw("y") is None


def test_a_swap_of_axes_and_back() -> None:
    maps = maps_of("""
        a = MaxPool <kernel_shape = [1, 1]> (x) t = Transpose <perm = [0, 3, 2, 1]> (a) s = Softmax (t)
        y = Transpose <perm = [0, 3, 2, 1]> (s)""")
    assert set(maps.layouts) == {"x", "a", "y"}
    assert maps.chw("y") == (3, 8, 10)


def test_a_mean_that_keeps_its_axes() -> None:
    maps = maps_of("y = ReduceMean <axes = [2, 3], keepdims = 1> (x)")
    assert maps.chw("y") == (3, 1, 1)


@pytest.mark.parametrize("name", NAMES)
def test_all_spellings_have_the_same_maps(name: str) -> None:
    """The sizes of the convolutions' results do not depend on how the graph lays them out."""
    found = []
    for layout in ("nchw", "nhwc", "nhwc_everywhere"):
        view = GraphView(build(name, layout=layout))
        maps = FeatureMaps(view)
        found.append([maps.chw(node.outputs[0]) for node in view.nodes if node.op == "Conv"])
        assert maps.layouts[view.inputs[0].name] == ("NCHW" if layout == "nchw" else "NHWC")
    assert found[0] == found[1] == found[2]
    assert all(size is not None for size in found[0])
