"""What the model file says about itself."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from onnxvis.errors import UsageError
from onnxvis.models.darknet.describe import metadata
from onnxvis.models.darknet.plan import Plan
from onnxvis.run.flags import override
from onnxvis.run.hints import from_our_metadata
from onnxvis.run.preprocess import apply, preset
from tests.models.darknet.cfgs import plan_of

YOLO = "yolo anchors=1,2,3,4,5,6 num=3 scale_x_y=1.05"


@pytest.fixture
def detector() -> Plan:
    return plan_of(
        "convolutional filters=14 stride=4", f"{YOLO} mask=2,0 classes=2", "route layers=0", "upsample",
        "convolutional filters=7", f"{YOLO} mask=1 classes=2 new_coords=1", net="width=32 height=16 channels=3",
    )  # fmt: skip


def said(plan: Plan, **options: Any) -> dict[str, Any]:
    return {key.partition(".")[2]: json.loads(value) for key, value in metadata(plan, **options).items()}


def test_the_heads_of_a_detector(detector: Plan) -> None:
    found = said(detector)
    assert set(found) == {"preprocess", "detector"}
    assert found["detector"] == {
        "kind": "yolo",
        "classes": 2,
        "heads": [
            {"output": "head4x8", "stride": 4, "anchors": [[5, 6], [1, 2]], "scale_xy": 1.05, "new_coords": False},
            {"output": "head8x16", "stride": 2, "anchors": [[3, 4]], "scale_xy": 1.05, "new_coords": True},
        ],
    }
    assert (found["preprocess"]["size"], found["preprocess"]["fit"]) == ([16, 32], "letterbox")


def test_boxes_and_labels_are_named_where_they_are(detector: Plan) -> None:
    found = said(detector, labels=["a", "b"], decoded=True)
    assert found["labels"] == ["a", "b"]
    assert (found["detector"]["boxes"], found["detector"]["scores"]) == ("boxes", "scores")


def test_a_classifier_is_cropped() -> None:
    plan = plan_of("convolutional filters=5", "avgpool", "softmax")
    found = said(plan, labels=list("abcde"))
    assert set(found) == {"preprocess", "labels"}
    assert (found["preprocess"]["fit"], found["preprocess"]["shorter"]) == ("crop", 16)


def test_a_picture_becomes_red_green_blue_from_0_to_1(detector: Plan) -> None:
    flags = from_our_metadata(metadata(detector))
    assert flags is not None
    settings = override(preset("imagenet"), flags)
    picture = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    values, _ = apply(picture, settings)
    np.testing.assert_allclose(values[0], picture.transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b", "c"]])
def test_labels_must_be_as_many_as_the_classes(detector: Plan, labels: list[str]) -> None:
    with pytest.raises(UsageError, match=f"^{len(labels)} labels do not go with the 2 classes of x.cfg$"):
        metadata(detector, labels)
    with pytest.raises(UsageError, match="labels do not go with the 5 classes of"):
        metadata(plan_of("connected output=5"), labels)


def test_boxes_need_heads_of_the_same_classes() -> None:
    with pytest.raises(UsageError, match=r"x.cfg has no \[yolo\] section: there are no boxes to decode"):
        metadata(plan_of("region"), decoded=True)
    mixed = plan_of(
        "convolutional filters=7", "yolo anchors=1,2 classes=2", "route layers=-2",
        "convolutional filters=8", "yolo anchors=1,2 classes=3",
    )  # fmt: skip
    with pytest.raises(UsageError, match="has heads of different numbers of classes"):
        metadata(mixed, decoded=True)
    assert set(said(mixed)) == {"preprocess"}


def test_the_raw_output_of_yolov2_says_nothing_of_heads() -> None:
    found = said(plan_of("region"), labels=["whatever"])
    assert set(found) == {"preprocess", "labels"}
    assert found["preprocess"]["fit"] == "letterbox"
