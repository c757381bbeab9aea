"""Where the backbone is over: pieces of the neck, and a head for each output."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxvis.graph.blocks import find_parts
from onnxvis.graph.flow import Flow
from onnxvis.graph.layout import FeatureMaps
from onnxvis.graph.levels import find_levels
from onnxvis.graph.tail import Tail, split_tail
from onnxvis.graph.view import GraphView
from tests.zoo import build

W = "w = Constant <value = float[2, 2, 1, 1] {1, 2, 3, 4}> () up = Constant <value = float[4] {1, 1, 2, 2}> ()"


def tail_of(body: str, taken: set[str], outputs: str) -> Tail:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1, 2, 16, 16] x) => ({outputs}) {{ {W} {body} }}'
    model = onnx.parser.parse_model(text)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    view = GraphView(model)
    maps = FeatureMaps(view)
    return split_tail(Flow(view, maps), find_levels(view, maps), taken)


def test_a_plain_classifier_has_a_head_only() -> None:
    tail = tail_of("a = Conv (x, w) g = GlobalAveragePool (a) y = Flatten (g)", {"x", "a"}, "float[] y")
    assert tail.neck == ()
    assert [(head.output, head.tensors) for head in tail.heads] == [("y", ("g", "y"))]


PYRAMID = """
    a = Conv <strides = [2, 2]> (x, w) b = Conv <strides = [2, 2]> (a, w) c = Conv <strides = [2, 2]> (b, w)
    u = Resize (c, , up) s = Conv (b, w) p = Add (u, s) v = Resize (p, , up) t = Conv (a, w) q = Add (v, t)
    y2 = Conv (c, w) y1 = Conv (p, w) y0 = Conv (q, w)"""


def test_a_feature_pyramid() -> None:
    tail = tail_of(PYRAMID, {"x", "a", "b", "c"}, "float[] y0, float[] y1, float[] y2")
    assert [(piece.output, piece.tensors) for piece in tail.neck] == [("p", ("u", "s", "p")), ("q", ("v", "t", "q"))]
    assert [(head.output, head.tensors) for head in tail.heads] == [("y2", ("y2",)), ("y1", ("y1",)), ("y0", ("y0",))]


def test_convolutions_after_the_last_fusion_go_with_the_neck_as_after_the_others() -> None:
    body = """
        a = Conv <strides = [2, 2]> (x, w) b = Conv <strides = [2, 2]> (a, w) c = Conv <strides = [2, 2]> (b, w)
        u = Resize (c, , up) p = Concat <axis = 1> (u, b)
        k = Constant <value = float[2, 4, 1, 1] {1, 2, 3, 4, 5, 6, 7, 8}> ()
        p1 = Conv (p, k) p2 = Relu (p1)
        v = Resize (p2, , up) q = Concat <axis = 1> (v, a) q1 = Conv (q, k)
        q2 = Relu (q1) h1 = Conv (q2, w) y = Sigmoid (h1)"""
    tail = tail_of(body, {"x", "a", "b", "c"}, "float[] y")
    assert [piece.output for piece in tail.neck] == ["p2", "q2"]
    assert [head.tensors for head in tail.heads] == [("h1", "y")]


def test_what_two_outputs_need_is_shared() -> None:
    tail = tail_of(
        "a = Conv (x, w) s = Conv (a, w) y = Conv (s, w) z = Conv (s, w)", {"x", "a"}, "float[] y, float[] z"
    )
    assert [piece.tensors for piece in tail.neck] == [("s",)]
    assert [head.output for head in tail.heads] == ["y", "z"]


def test_outputs_inside_the_backbone_make_no_head() -> None:
    tail = tail_of("a = Conv (x, w) y = Conv (a, w)", {"x", "a", "y"}, "float[] y, float[] a")
    assert tail == Tail((), ())


@pytest.mark.parametrize("name", ["unet", "yolov3", "yolov8n"])
def test_pieces_and_heads_cover_all_that_is_left(name: str) -> None:
    view = GraphView(build(name))
    parts = find_parts(view, FeatureMaps(view))
    placed = [tensor for part in parts for tensor in part.tensors]
    assert len(placed) == len(set(placed)) == len(view.data_path) - len(view.inputs)


class Counting(Flow):
    """Counts how often it is asked what comes next, which is what every walk costs."""

    asked = 0

    def after(self, name: str) -> list[str]:
        self.asked += 1
        return super().after(name)


@pytest.mark.parametrize("stay", [True, False], ids=["at one resolution", "each at its own"])
def test_the_work_grows_no_faster_than_the_neck(stay: bool) -> None:
    def work(joins: int) -> int:
        w = numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")
        nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Conv", ["a", "w"], ["j0"])]
        for i in range(joins):
            strides = [1, 1] if stay or i > 5 else [2, 2]
            nodes.append(helper.make_node("Conv", [f"j{i}", "w"], [f"c{i}"], strides=strides))
            nodes.append(helper.make_node("Conv", [f"j{i}", "w"], [f"d{i}"], strides=strides))
            nodes.append(helper.make_node("Add", [f"c{i}", f"d{i}"], [f"j{i + 1}"]))
        nodes.append(helper.make_node("Conv", [f"j{joins}", "w"], ["y"]))
        values = [helper.make_tensor_value_info(name, 1, None) for name in "xy"]
        values[0] = helper.make_tensor_value_info("x", 1, [1, 2, 256, 256])
        graph = helper.make_graph(nodes, "g", values[:1], values[1:], [w])
        view = GraphView(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
        maps = FeatureMaps(view)
        flow = Counting(view, maps)
        tail = split_tail(flow, find_levels(view, maps), {"x", "a"})
        assert len(tail.neck) >= 1
        return flow.asked

    assert work(80) < 2.2 * work(40)
