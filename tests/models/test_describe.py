"""What is written into a model's metadata, as the commands read it back."""

from __future__ import annotations

import json
from pathlib import Path

from onnxvis.models.describe import (
    YoloHead,
    detector_metadata,
    labels_metadata,
    preprocess_metadata,
    square_metadata,
)
from onnxvis.run.hints import from_our_metadata
from onnxvis.run.labels import read_labels


def test_labels_are_read_back_by_index() -> None:
    labels = read_labels(Path("model.onnx"), labels_metadata(("cat", 'a "dog"', "été")))
    assert labels is not None
    assert dict(labels.names) == {0: "cat", 1: 'a "dog"', 2: "été"}


def test_preprocessing_is_read_back_as_flags() -> None:
    said = {"size": (224, 320), "fit": "crop", "shorter": 256, "interpolation": "area", "bgr": False, "divide": 255}
    flags = from_our_metadata(preprocess_metadata({**said, "mean": (0.5, 0.4, 0.3), "std": [0.2]}))
    assert flags is not None
    assert flags.said() == {**said, "mean": (0.5, 0.4, 0.3), "std": (0.2,)}
    preset = from_our_metadata(preprocess_metadata({"preset": "yolo", "size": [416, 416]}))
    assert preset is not None
    assert preset.said() == {"preset": "yolo", "size": (416, 416)}


def test_square_pictures_are_read_back_as_flags() -> None:
    flags = from_our_metadata(square_metadata(96, "letterbox", (0.5, 0.4, 0.3), (0.2, 0.1, 0.3)))
    assert flags is not None
    assert (flags.size, flags.fit, flags.interpolation) == ((96, 96), "letterbox", "area")
    assert (flags.bgr, flags.divide) == (False, 255.0)
    assert (flags.mean, flags.std) == ((0.5, 0.4, 0.3), (0.2, 0.1, 0.3))


def test_heads_of_a_detector_stand_as_json() -> None:
    heads = (
        YoloHead("head13", 32, ((116, 90), (156, 198), (373, 326))),
        YoloHead("head26", 16, ((30, 61.5),), scale_xy=1.05, new_coords=True),
    )
    content = json.loads(detector_metadata(heads, 80)["onnxvis.detector"])
    assert content == {
        "kind": "yolo",
        "classes": 80,
        "heads": [
            {
                "output": "head13",
                "stride": 32,
                "anchors": [[116, 90], [156, 198], [373, 326]],
                "scale_xy": 1.0,
                "new_coords": False,
            },
            {"output": "head26", "stride": 16, "anchors": [[30, 61.5]], "scale_xy": 1.05, "new_coords": True},
        ],
    }
    decoded = json.loads(detector_metadata(heads, 80, ("boxes", "scores"))["onnxvis.detector"])
    assert decoded == {**content, "boxes": "boxes", "scores": "scores"}
