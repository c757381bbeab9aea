from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxvis
from onnxvis.errors import InputError, TensorNotFound, UsageError
from onnxvis.measure.boxes.detections import detect
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.maximize.warp import Wobble
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.session import RunOptions, Session
from onnxvis.show.maps import Look
from onnxvis.show.report import ReportOptions
from tests.measure.boxes.yolo import FLAGS, outputs_of, raw, rows
from tests.measure.boxes.yolo import picture as scene
from tests.tiny import from_text, oracle, photo, tiny, write

FEED = {"image": np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tiny(), tmp_path)


def test_public_names_are_there() -> None:
    for name in onnxvis.__all__:
        assert getattr(onnxvis, name) is not None
    assert dir(onnxvis) == sorted(onnxvis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onnxvis.nothing


def test_read_input(path: Path, tmp_path: Path) -> None:
    picture = photo(tmp_path, height=32, width=32)
    flags = PreprocessFlags.parse(preset="raw", fit="stretch")
    by_path, by_model = (onnxvis.read_input(model, picture, flags) for model in (path, onnxvis.load(path)))
    assert by_path.picture is not None
    np.testing.assert_array_equal(by_path.feeds["image"][0], by_path.picture.transpose(2, 0, 1))
    np.testing.assert_array_equal(by_path.feeds["image"], by_model.feeds["image"])
    with pytest.raises(InputError, match="cannot read"):
        onnxvis.read_input(path, tmp_path / "none.png")


def test_activations_of_every_stage_by_default(path: Path) -> None:
    found = onnxvis.activations(path, FEED)
    assert list(found.values) == ["stage1.y/relu", "stage2.y/relu"]
    wanted = oracle(path, list(found.values), FEED)
    for name, value in found.values.items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-5)


def test_activations_from_every_kind_of_source(path: Path, tmp_path: Path) -> None:
    picture = photo(tmp_path)
    prepared = onnxvis.read_input(path, picture)
    options = RunOptions("cpu", 1, exact=True)
    runs = [onnxvis.activations(path, source, ["logits"], options) for source in (picture, str(picture), prepared)]
    wanted = oracle(path, [], prepared.feeds, exact=True)["logits"]
    for found in runs:
        np.testing.assert_array_equal(found.values["logits"], wanted)
        assert found.outputs == {}


def test_activations_of_tensors_that_are_not_there(path: Path) -> None:
    with pytest.raises(TensorNotFound, match="nearest"):
        onnxvis.activations(path, FEED, ["stage3"])


def test_weights(path: Path) -> None:
    stored = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    table = onnxvis.weights(path, bins=12)
    assert [item.name for item in table.weights] == list(stored)
    for item in table.weights:
        values = stored[item.name].astype(np.float64)
        assert item.statistics.counts.tolist() == np.histogram(values, 12)[0].tolist()
        assert item.statistics.mean == pytest.approx(values.mean(), rel=1e-12, abs=1e-15)
        assert item.statistics.std == pytest.approx(values.std(ddof=1), rel=1e-12)
    chosen = onnxvis.weights(onnxvis.load(path), names=["fully connected weight", "stage1.*.bias"])
    assert [item.name for item in chosen.weights] == [
        f"stage1.{n}.bias" for n in ("first", "x.a", "x.b", "y.a", "y.b")
    ] + ["fc.weight"]
    assert onnxvis.weights(path, names=[]).weights == ()
    with pytest.raises(TensorNotFound, match="nearest"):
        onnxvis.weights(path, names=["fc.weigth"])
    with pytest.raises(InputError, match="bins"):
        onnxvis.weights(path, bins=0)


def test_expose(path: Path) -> None:
    before = path.read_bytes()
    model = onnxvis.load(path)
    exposed = onnxvis.expose(model, ["stage1", "pooled"])
    assert [value.name for value in exposed.proto.graph.output] == ["logits", "stage1.y/relu", "pooled"]
    only = onnxvis.expose(path, ["stage1"], only=True)
    assert [value.name for value in only.proto.graph.output] == ["stage1.y/relu"]
    assert len(only.proto.graph.node) < len(onnx.load(path).graph.node)
    assert path.read_bytes() == before


def test_report(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "r.html"
    assert onnxvis.report(path, [photo(tmp_path)], target) == target
    assert "stage2" in target.read_text()
    assert onnxvis.report(onnxvis.load(path), output=str(target)) == target
    assert "No picture was given" in target.read_text()


@pytest.mark.parametrize("name", ["model", "photo"])
def test_the_report_never_replaces_what_it_was_given(name: str, path: Path, tmp_path: Path) -> None:
    files = {"model": path, "photo": photo(tmp_path)}
    before = files[name].read_bytes()
    with pytest.raises(onnxvis.OnnxvisError, match="never changed"):
        onnxvis.report(path, [files["photo"]], files[name])
    assert files[name].read_bytes() == before


def test_the_report_takes_what_the_command_takes(path: Path, tmp_path: Path) -> None:
    labels = tmp_path / "l.txt"
    labels.write_text("\n".join(f"kind {index}" for index in range(10)))
    options = ReportOptions(
        RunOptions("cpu", 1, exact=True), PreprocessFlags.parse(preset="raw"), labels, look=Look("coolwarm", "tensor")
    )
    html = onnxvis.report(path, [photo(tmp_path)], tmp_path / "r.html", options=options).read_text()
    for words in ("GUESSED", "Made again"):
        assert words not in html
    for words in ("kind ", "without graph optimisations", 'value="coolwarm"', "all channels min–max, zero in the"):
        assert words in html
    with pytest.raises(onnxvis.OnnxvisError, match="never changed"):
        onnxvis.report(path, [], labels, options=options)


def test_a_heatmap(path: Path, tmp_path: Path) -> None:
    picture = photo(tmp_path, height=32, width=32)
    found = onnxvis.heatmap(path, picture, "layercam", target=4, layers=["stage1"])
    assert (found.method, found.layers, str(found.target)) == ("layercam", ("stage1.y/relu",), "logits:4")
    assert found.map.shape == (32, 32)
    prepared = onnxvis.read_input(path, picture)
    again = onnxvis.heatmap(onnxvis.load(path), prepared.feeds, "layercam", target="4", layers=["stage1"])
    np.testing.assert_array_equal(found.map, again.map)
    with pytest.raises(UsageError, match="no heatmap method is called 'nothing'"):
        onnxvis.heatmap(path, picture, "nothing")


def test_a_model_with_gradients(path: Path) -> None:
    model = onnxvis.gradient(path, ["logits"], ["stage2", "image"])
    assert [tensor.name for tensor in model.inputs] == ["image", "seed.logits"]
    assert [tensor.name for tensor in model.outputs] == ["logits", "grad.image", "grad.stage2.y/relu"]
    session = Session(model.skeleton, model.folder, RunOptions("cpu", 1))
    seed = np.eye(10, dtype=np.float32)[[3]]
    found = session.run({**FEED, "seed.logits": seed})
    pooled = session.run({**FEED, "seed.logits": 2 * seed})
    np.testing.assert_allclose(pooled["grad.image"], 2 * found["grad.image"], rtol=1e-5)
    weights = onnxvis.load(path).read("fc.weight")
    np.testing.assert_allclose(found["grad.stage2.y/relu"][0].mean(axis=(1, 2)), weights[3] / 64, rtol=1e-5)


def test_a_model_that_explains_itself_refuses_what_it_cannot(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no output 'nothing'; it has logits"):
        onnxvis.embed(path, output="nothing")
    body = "g (float[1,3,4,4] x) => (float[1,3] y) { p = GlobalAveragePool(x)\n y = Flatten(p) }"
    flat = write(from_text(body), tmp_path, "flat.onnx")
    with pytest.raises(UsageError, match="no feature map before 'y'; name a layer, or embed saliency"):
        onnxvis.embed(flat)


def test_boxes_of_a_detector(tmp_path: Path) -> None:
    path, feeds = write(rows(), tmp_path, "rows.onnx"), scene()
    found = onnxvis.detect(path, feeds, least_score=0.2, overlap=0.3, most=9, options=RunOptions("cpu"))
    wanted = detect(
        onnxvis.load(path), feeds, outputs_of(rows(), feeds), least_score=0.2, overlap=0.3, most=9
    )  # fmt: skip
    assert wanted is not None
    assert isinstance(found, onnxvis.Detections)
    assert (found.kind, len(found.boxes), found.found) == ("YOLOv5 rows", 9, wanted.found)
    for box, other in zip(found.boxes, wanted.boxes, strict=True):
        assert (box.label, box.output, box.row, box.column) == (other.label, other.output, other.row, other.column)
        assert (box.x0, box.y1, box.score) == pytest.approx((other.x0, other.y1, other.score), rel=1e-3, abs=1e-3)
    picture = photo(tmp_path, height=64, width=64)
    assert onnxvis.detect(onnxvis.load(path), picture) == onnxvis.detect(path, onnxvis.read_input(path, picture))


def test_boxes_need_a_detector(path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no boxes in the outputs of .*: they look like no known detector"):
        onnxvis.detect(path, FEED)
    bare = write(raw(), tmp_path, "raw.onnx")
    with pytest.raises(UsageError, match="3 anchors cannot be dealt"):
        onnxvis.detect(bare, scene(), onnxvis.DetectorFlags(FLAGS.anchors[:3]))
    assert onnxvis.detect(bare, scene(), FLAGS).kind == "YOLOv3 heads"


def test_a_box_as_the_target_of_a_heatmap(tmp_path: Path) -> None:
    path = write(raw(), tmp_path, "raw.onnx")
    found = onnxvis.heatmap(path, scene(), "gradcam", target="box:0", flags=FLAGS)
    (first, *_) = onnxvis.detect(path, scene(), FLAGS).boxes
    assert found.target.box is not None
    assert (found.target.box.row, found.target.box.column) == (first.row, first.column)
    assert found.layers == ({8: "q3", 16: "q4"}[first.stride],)


def test_channels_projected_back_to_pixels(path: Path, tmp_path: Path) -> None:
    """The plain rule is the gradient of half the squared channel, by central differences."""
    picture = photo(tmp_path, height=32, width=32)
    feeds = onnxvis.read_input(path, picture).feeds
    (found,) = onnxvis.project(path, picture, "stage1", [2], variant="plain")
    assert (found.tensor, found.channel) == ("stage1.y/relu", 2)

    def energy(image: Any) -> float:
        values = onnxvis.activations(path, {"image": image}, ["stage1.y/relu"]).values["stage1.y/relu"][0, 2]
        return float((values.astype(np.float64) ** 2).sum()) / 2

    for place in ((0, 5, 7), (1, 20, 11), (2, 30, 30)):
        moved = np.zeros_like(feeds["image"])
        moved[(0, *place)] = 1e-2
        slope = (energy(feeds["image"] + moved) - energy(feeds["image"] - moved)) / 2e-2
        assert found.values[place] == pytest.approx(slope, rel=0.02, abs=1e-3)


def test_patches_of_a_folder(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    pictures = [photo(folder, f"{number}.png", height=32, width=32, seed=number) for number in range(3)]
    (found,) = onnxvis.patches(path, [folder], ["stage1"], channels=[1], top=2)
    best = {
        picture: float(onnxvis.activations(path, picture, ["stage1.y/relu"]).maps("stage1.y/relu")[1].max())
        for picture in pictures
    }
    expected = sorted(best, key=lambda picture: -best[picture])[:2]
    (channel,) = found.channels
    assert [Path(patch.path) for patch in channel.patches] == expected
    assert [patch.value for patch in channel.patches] == pytest.approx(
        [best[picture] for picture in expected], rel=1e-4
    )


def test_a_picture_that_a_class_likes(path: Path) -> None:
    settings = Settings(steps=30, seed=1, wobble=Wobble(0, 0, 0))
    found = onnxvis.maximize(path, target=3, settings=settings)
    assert found.picture.shape == (32, 32, 3)
    assert found.value > found.curve[0] + 0.5
    logits = onnxvis.activations(path, {"image": found.fed[None]}, ["logits"]).values["logits"]
    assert found.value == pytest.approx(float(logits[0, 3]), rel=1e-4)
