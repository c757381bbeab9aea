"""Our own descriptions of YOLOv3 and YOLOv3-tiny."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.models.darknet.cfg import parse_cfg, read_cfg
from onnxvis.models.darknet.layers import Shortcut, Yolo
from onnxvis.models.darknet.plan import make_plan
from onnxvis.models.darknet.structures import yolov3, yolov3_tiny


@pytest.mark.parametrize(("name", "text"), [("yolov3", yolov3()), ("yolov3-tiny", yolov3_tiny())])
def test_they_are_the_networks_of_darknets_own_files(corpus: Path, name: str, text: str) -> None:
    theirs = make_plan(read_cfg(corpus / "darknet" / f"{name}.cfg"))
    ours = make_plan(parse_cfg(text, name))
    assert (ours.picture, ours.layers) == (theirs.picture, theirs.layers)


def test_darknet_53_has_52_convolutions_and_23_shortcuts() -> None:
    """The paper's 53 counts the classifier's own."""
    backbone = make_plan(parse_cfg(yolov3(), "x")).layers[:75]
    assert sum(layer.kind == "convolutional" for layer in backbone) == 52
    assert sum(isinstance(layer.what, Shortcut) for layer in backbone) == 23
    assert backbone[-1].shape == (1024, 13, 13)


def test_size_and_classes() -> None:
    for describe, cells in ((yolov3, [10, 20, 40]), (yolov3_tiny, [10, 20])):
        plan = make_plan(parse_cfg(describe(320, 3), "x"))
        assert [head.shape for head in plan.heads] == [(24, side, side) for side in cells]
        anchors = [pair for head in plan.heads if isinstance(head.what, Yolo) for pair in head.what.anchors]
        assert len(set(anchors)) == 3 * len(cells)
