from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onnxvis.graph.load import load
from onnxvis.measure.activations import run_deployed
from onnxvis.measure.boxes.find import decode_all, find_heads
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions
from tests.measure.boxes.yolo import FLAGS, columns, declared, opened, outputs_of, picture, raw, with_metadata


def test_the_size_is_that_of_what_is_fed() -> None:
    proto, feeds = raw(), picture()
    outputs = outputs_of(proto, feeds)
    heads, _ = find_heads(opened(proto), feeds, outputs, FLAGS)
    assert heads is not None
    assert [head.stride for head in heads.heads] == [8, 16]
    half = {"image": feeds["image"][:, :, :32]}
    assert find_heads(opened(proto), half, outputs, FLAGS) == (None, "")
    assert find_heads(opened(proto), {}, outputs, FLAGS) == (None, "")


def test_every_head_is_decoded_from_its_output() -> None:
    proto, feeds = raw(), picture()
    outputs = outputs_of(proto, feeds)
    heads, _ = find_heads(opened(proto), feeds, outputs, FLAGS)
    assert heads is not None
    first, second = decode_all(heads, outputs)
    assert (first.head.output, second.head.output) == ("head8", "head16")
    assert (first.scores.shape, second.scores.shape) == ((2, 8, 8, 3), (2, 4, 4, 3))


def test_outputs_without_numbers_are_passed_over() -> None:
    proto, feeds = raw(), picture()
    floats = outputs_of(proto, feeds)
    outputs = {"labels": np.zeros((1, 5, 5), np.int64), "texts": ["a"], **floats}
    assert find_heads(opened(proto), feeds, outputs, FLAGS)[0] is not None
    whole = {name: value.astype(np.int32) for name, value in floats.items()}
    assert find_heads(opened(proto), feeds, whole, FLAGS) == (None, "")


def test_the_reason_names_what_is_missing() -> None:
    proto, feeds = raw(), picture()
    outputs = outputs_of(proto, feeds)
    bare = {name: np.repeat(value, 3, axis=1) for name, value in outputs.items()}
    assert "give --anchors" in find_heads(opened(proto), feeds, bare, NO_FLAGS)[1]
    broken = with_metadata(raw(), onnxvis__detector=json.dumps(declared(classes=5)))
    assert "metadata onnxvis.detector" in find_heads(opened(broken), feeds, outputs, NO_FLAGS)[1]
    proto = columns()
    logits = {"output0": 5 * outputs_of(proto, feeds)["output0"]}
    assert "what should be scores goes from" in find_heads(opened(proto), feeds, logits, NO_FLAGS)[1]


@pytest.mark.parametrize(
    ("names", "classes"),
    [("{0: 'a', 1: 'b'}", 2), ("{0: 'a', 1: 'b', 2: 'c'}", 3), ("{0: 'a', 9: 'b'}", 3), ("{", 3), ("[]", 3), ("{}", 3)],
)
def test_ultralytics_names_count_the_classes(names: str, classes: int) -> None:
    proto, feeds = with_metadata(columns(), names=names), picture()
    heads, _ = find_heads(opened(proto), feeds, outputs_of(proto, feeds), DetectorFlags())
    assert heads is not None
    assert heads.classes == classes


@pytest.mark.parametrize(
    "name", ["fastestdet", "yunet_n_dynamic", "blazeface_front_128_barracuda", "mtcnn_pnet_classic_op11"]
)
def test_other_detectors_stay_raw(corpus: Path, name: str) -> None:
    model = load(corpus / "models" / f"{name}.onnx")
    photo = sorted((corpus / "photos").iterdir())[0]
    feeds = next(Reading.of(model, None).read([photo])).feeds
    (outputs,), _ = run_deployed(model, [feeds], RunOptions())
    assert find_heads(model, feeds, outputs, NO_FLAGS) == (None, "")
