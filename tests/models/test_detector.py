"""The detector that ships: what its files hold, how well it finds, and that its recipe runs and exports faithfully."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import onnxvis
import onnxvis.models
from onnxvis.models.crowds import make_crowd
from onnxvis.models.detector import FRESH_SEEDS, HEADS, SIZE, batch_of, detections, metadata, precision
from onnxvis.models.precision import box_iou
from onnxvis.models.shapes import KINDS

DATA = Path(onnxvis.models.__file__).parent / "data"
RAW, DECODED = DATA / "detector.onnx", DATA / "detector_decoded.onnx"
HELD_BACK = FRESH_SEEDS + 500_000

Array = NDArray[np.float32]


def run(model: Path | bytes, pictures: NDArray[np.uint8]) -> list[Array]:
    content = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"image": pictures.astype(np.float32) / 255})]


def weights(path: Path) -> dict[str, NDArray[Any]]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


def test_it_finds_what_is_in_fresh_scenes() -> None:
    assert precision(DECODED.read_bytes(), range(HELD_BACK, HELD_BACK + 150)) >= 0.8


def test_the_files_hold_what_they_should() -> None:
    model = onnx.load(RAW)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said == metadata()
    assert {entry.key: entry.value for entry in onnx.load(DECODED).metadata_props} == metadata(decoded=True)
    assert json.loads(said["onnxvis.labels"]) == list(KINDS)
    assert [head["output"] for head in json.loads(said["onnxvis.detector"])["heads"]] == ["head5", "head10", "head20"]
    assert model.opset_import[0].version == 17
    operators = Counter(node.op_type for node in model.graph.node)
    assert operators["BatchNormalization"] == operators["Conv"] - len(HEADS)
    parameters = sum(int(np.prod(item.dims)) for item in model.graph.initializer)
    assert 400_000 <= parameters <= 1_500_000
    assert RAW.stat().st_size + DECODED.stat().st_size <= 6_000_000


def test_it_has_five_stages_and_three_heads_of_any_batch() -> None:
    model = onnxvis.load(RAW)
    assert [(stage.channels, stage.height) for stage in model.stages()] == [
        (16, 80), (32, 40), (64, 20), (96, 10), (128, 5),
    ]  # fmt: skip
    pictures = np.stack([make_crowd(seed).picture for seed in (1, 2)]).transpose(0, 3, 1, 2)
    values = 3 * (5 + len(KINDS))
    assert [head.shape for head in run(RAW, pictures)] == [(2, values, side, side) for side in (5, 10, 20)]


def test_the_decoded_file_is_the_same_network_with_two_more_outputs() -> None:
    raw, decoded = weights(RAW), weights(DECODED)
    for name, value in raw.items():
        np.testing.assert_array_equal(value, decoded[name])
    pictures = make_crowd(FRESH_SEEDS).picture.transpose(2, 0, 1)[None]
    *heads, boxes, scores = run(DECODED, pictures)
    for one, other in zip(heads, run(RAW, pictures), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert boxes.shape == (1, 1575, 4)
    assert scores.shape == (1, 1575, len(KINDS))


def test_decoded_boxes_are_those_of_a_loop_over_the_cells() -> None:
    pictures = make_crowd(FRESH_SEEDS + 3).picture.transpose(2, 0, 1)[None]
    *heads, boxes, scores = run(DECODED, pictures)
    expected = []
    for values, head in zip(heads, HEADS, strict=True):
        for anchor, (width, height) in enumerate(head.anchors):
            for row, column in np.ndindex(*values.shape[2:]):
                x, y, w, h, there, *kinds = values[0, 15 * anchor : 15 * anchor + 15, row, column].astype(float)
                chance = [1 / (1 + np.exp(-there)) / (1 + np.exp(-kind)) for kind in kinds]
                cx, cy = ((1 / (1 + np.exp(-v)) + cell) * head.stride for v, cell in ((x, column), (y, row)))
                half = np.exp([w, h]) * (width, height) / 2
                expected.append((cx - half[0], cy - half[1], cx + half[0], cy + half[1], *chance))
    found = np.concatenate([boxes[0], scores[0]], axis=1)
    order, wanted = np.lexsort(found.round(2).T), np.lexsort(np.array(expected).round(2).T)
    np.testing.assert_allclose(
        found[order][:, 4:].max(axis=1), np.array(expected)[wanted][:, 4:].max(axis=1), atol=1e-4
    )
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(expected, axis=0), rtol=1e-4, atol=1e-3)


def test_boxes_that_overlap_one_of_their_class_give_way() -> None:
    pictures, _ = batch_of(range(FRESH_SEEDS, FRESH_SEEDS + 8))
    for found in detections(DECODED.read_bytes(), pictures, least=0.1):
        for label in np.unique(found[:, 5]):
            own = found[found[:, 5] == label, :4]
            assert np.triu(box_iou(own, own), 1).max(initial=0) <= 0.45 + 1e-6


def test_the_library_finds_the_same_boxes() -> None:
    """What `onnxvis.detect` makes of the raw heads, against the boxes that the graph decodes itself."""
    picture = make_crowd(FRESH_SEEDS + 5).picture
    feeds = {"image": picture.transpose(2, 0, 1)[None].astype(np.float32) / 255}
    found = onnxvis.detect(onnxvis.load(RAW), feeds)
    assert found is not None
    (other,) = detections(DECODED.read_bytes(), picture.transpose(2, 0, 1)[None], least=0.3)
    ours = [box for box in found.boxes if box.score >= 0.3]
    assert [box.label for box in ours] == other[:, 5].astype(int).tolist()
    corners = np.array([(box.x0, box.y0, box.x1, box.y1) for box in ours])
    np.testing.assert_allclose(corners, other[:, :4], atol=1e-2)


@pytest.mark.slow
def test_the_strongest_box_is_explained_from_inside_it() -> None:
    """Grad-CAM's peak lies in the strongest box on at least 80 % of 200 fresh scenes."""
    model, inside = onnxvis.load(RAW), 0
    for seed in range(HELD_BACK + 1000, HELD_BACK + 1200):
        feeds = {"image": make_crowd(seed).picture.transpose(2, 0, 1)[None].astype(np.float32) / 255}
        found = onnxvis.detect(model, feeds)
        assert found is not None
        box = found.boxes[0]
        heat = onnxvis.heatmap(model, feeds, "gradcam", target="box:0").map
        y, x = np.unravel_index(int(heat.argmax()), heat.shape)
        inside += bool(box.x0 <= x + 0.5 <= box.x1 and box.y0 <= y + 0.5 <= box.y1)
    assert inside >= 160


def test_a_batch_holds_each_scene_and_its_boxes() -> None:
    pictures, truth = batch_of([7, 8])
    assert pictures.shape == (2, 3, SIZE, SIZE)
    for place, seed in enumerate((7, 8)):
        crowd = make_crowd(seed, SIZE)
        np.testing.assert_array_equal(pictures[place].transpose(1, 2, 0), crowd.picture)
        rows = truth[truth[:, 0] == place, 1:].tolist()
        assert rows == [[*map(float, member.box), float(member.label)] for member in crowd.members]


@pytest.mark.slow
def test_the_recipe_lowers_the_loss_and_exports_what_it_trained(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[test,torch]'")
    from onnxvis.models.detector import export, train

    network = train(steps=60, batch=4, workers=0)
    told = [float(line.split("loss ")[1].split()[0]) for line in capsys.readouterr().err.splitlines()]
    assert told[-1] < told[0]
    pictures, _ = batch_of([1, 2])
    with torch.no_grad():
        expected = network(torch.from_numpy(pictures).float() / 255)
    for decoded in (False, True):
        found = run(export(network, decoded).SerializeToString(), pictures)
        assert len(found) == (5 if decoded else 3)
        for ours, theirs in zip(found, expected, strict=False):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4)
