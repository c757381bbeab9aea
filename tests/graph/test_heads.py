from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from onnxvis.graph.heads import RawHead, raw_heads
from onnxvis.graph.load import Model
from tests.rewrite.differences import run
from tests.tiny import from_text, tiny
from tests.zoo import build
from tests.zoo.core import Layout

SIZES = "int64[1] most = {5}, float[1] overlap = {0.5}, float[1] least = {0.1}"


def opened(proto: ModelProto) -> Model:
    return Model(Path("case.onnx"), proto, Path.cwd())


def suppressing() -> ModelProto:
    """Two branches of one map, for boxes and for scores, and ONNX's own suppression behind them."""
    proto = from_text(
        "g (float[1, 3, 16, 16] image) => (chosen) "
        f"<{SIZES}, int64[3] four = {{1, 4, 64}}, int64[3] two = {{1, 2, 64}}> {{ "
        "  a = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (image, w)  b = Relu (a) "
        "  box = Conv (b, wb)  label = Conv (b, wl) "
        "  c = Reshape (box, four)  boxes = Transpose <perm = [0, 2, 1]> (c) "
        "  d = Reshape (label, two)  scores = Sigmoid (d) "
        "  chosen = NonMaxSuppression (boxes, scores, most, overlap, least) }"
    )
    rng = np.random.default_rng(0)
    for name, shape in (("w", (6, 3, 3, 3)), ("wb", (4, 6, 1, 1)), ("wl", (2, 6, 1, 1))):
        proto.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name))
    proto.graph.node[-1].name = "nms"
    return proto


def test_what_the_suppression_reads_and_the_convolutions_behind() -> None:
    proto = suppressing()
    assert run(proto, {"image": np.zeros((1, 3, 16, 16), np.float32)})["chosen"].shape[1] == 3
    assert raw_heads(opened(proto)) == (
        RawHead("boxes", "NonMaxSuppression", "nms", "boxes"),
        RawHead("scores", "NonMaxSuppression", "nms", "scores"),
        RawHead("box", "NonMaxSuppression", "nms", "convolution"),
        RawHead("label", "NonMaxSuppression", "nms", "convolution"),
    )


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nhwc_everywhere"])
@pytest.mark.parametrize("op", ["EfficientNMS_TRT", "BatchedNMSDynamic_TRT"])
def test_other_runtimes_suppressions_and_every_scale(op: str, layout: Layout) -> None:
    """Of YOLOv8, whose boxes pass a convolution over bins, which is no head's."""
    proto = build("yolov8n", layout=layout)
    boxes = next(node for node in proto.graph.node if node.output[0] == "output0")
    proto.graph.node.append(helper.make_node(op, list(boxes.input), ["n", "b", "s", "c"], "", domain="trt"))
    proto.opset_import.append(helper.make_opsetid("trt", 1))
    found = raw_heads(opened(proto))
    assert [(head.tensor, head.role) for head in found[:2]] == [(boxes.input[0], "boxes"), (boxes.input[1], "scores")]
    wanted = [f"/model.22/cv{branch}.{n}/cv{branch}.{n}.2/Conv_output_0" for n in range(3) for branch in (2, 3)]
    assert [head.tensor for head in found[2:]] == wanted
    assert {head.role for head in found[2:]} == {"convolution"}
    assert {(head.feeds, head.node) for head in found} == {(op, f"{op} making 'n'")}


def test_boxes_that_are_stored_are_no_head() -> None:
    proto = from_text(
        f"g (float[1, 1, 2] scores) => (chosen) <{SIZES}, float[1, 2, 4] boxes = {{0, 0, 1, 1, 5, 5, 6, 6}}> "
        "{ chosen = NonMaxSuppression (boxes, scores, most, overlap, least) }"
    )
    assert [(head.tensor, head.role) for head in raw_heads(opened(proto))] == [("scores", "scores")]


def test_a_tensor_that_is_boxes_and_scores_is_said_once() -> None:
    proto: Any = from_text("g (float[1, 5, 8, 8] x) => (y) { b = Relu (x)  y = here.MultiClassNMS (b, b) }")
    proto.opset_import.append(helper.make_opsetid("here", 1))
    assert [head.tensor for head in raw_heads(opened(proto))] == ["b"]


def test_without_a_suppression_there_is_none() -> None:
    assert raw_heads(opened(tiny())) == ()
    assert raw_heads(opened(build("yolov3"))) == ()
