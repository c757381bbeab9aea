"""At which resolution a feature map stands."""

from __future__ import annotations

from fractions import Fraction

import onnx
import pytest

from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.levels import Level, find_levels
from onnxvis.graph.view import GraphView
from tests.zoo import build

W = "w = Constant <value = float[3, 3, 1, 1] {1, 2, 3, 4, 5, 6, 7, 8, 9}> ()"


def levels_of(body: str, inputs: str = "float[1, 3, 32, 32] x") -> dict[str, Level]:
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[] y) {{ {W} {body} }}'
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    view = GraphView(model)
    return find_levels(view, FeatureMaps(view))


def level(down: Fraction | int, across: Fraction | int | None = None) -> Level:
    return Fraction(down), Fraction(down if across is None else across)


def test_strides_multiply_and_borders_do_not_count() -> None:
    found = levels_of("""
        a = Conv <strides = [2, 2]> (x, w) b = MaxPool <kernel_shape = [3, 3]> (a)
        c = AveragePool <kernel_shape = [2, 2], strides = [2, 1]> (b) y = Relu (c)""")
    assert found == {"x": level(1), "a": level(2), "b": level(2), "c": level(4, 2), "y": level(4, 2)}


def test_ways_up_come_back_to_the_level() -> None:
    found = levels_of("""
        s = Constant <value = float[4] {1, 1, 2, 2}> ()
        a = MaxPool <kernel_shape = [2, 2], strides = [4, 4]> (x) b = Resize (a, , s)
        y = ConvTranspose <strides = [4, 2]> (b, w)""")
    assert found["b"] == level(2)
    assert found["y"] == level(Fraction(1, 2), 1)


def test_what_a_global_pool_leaves_has_no_level() -> None:
    found = levels_of("""
        a = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) g = GlobalAveragePool (a) h = Conv (g, w)
        m = Mul (a, h) y = ReduceMean <axes = [2, 3]> (m)""")
    assert found == {"x": level(1), "a": level(2), "m": level(2)}


def test_space_to_depth_and_slices_change_the_level() -> None:
    found = levels_of("""
        d = SpaceToDepth <blocksize = 2> (x)
        z = Constant <value = int64[2] {0, 0}> () e = Constant <value = int64[2] {32, 32}> ()
        q = Constant <value = int64[2] {2, 3}> () t = Constant <value = int64[2] {2, 2}> ()
        s = Slice (x, z, e, q, t) y = Relu (s)""")
    assert (found["d"], found["s"], found["y"]) == (level(2), level(2), level(2))


@pytest.mark.parametrize(
    ("name", "expected"), {"resnet50": {1, 2, 4, 8, 16, 32}, "unet": {1, 2, 4, 8, 16}, "vit_tiny": {1, 16}}.items()
)
def test_the_levels_of_whole_networks(name: str, expected: set[int]) -> None:
    view = GraphView(build(name))
    found = find_levels(view, FeatureMaps(view))
    assert set(found.values()) == {level(stride) for stride in expected}
