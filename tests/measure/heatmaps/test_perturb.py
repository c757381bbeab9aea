"""The target at masked pictures and behind changed layers, of models of every layout and type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from onnxvis.errors import UsageError
from onnxvis.graph.load import Model, load
from onnxvis.measure.heatmaps.explain import explain
from onnxvis.measure.heatmaps.masked import Occlusion
from onnxvis.measure.heatmaps.method import HeatmapMethod
from onnxvis.measure.heatmaps.perturb import Perturbations
from onnxvis.measure.target import Target
from onnxvis.run.session import RunOptions
from tests.measure.boxes.yolo import FLAGS, raw
from tests.measure.boxes.yolo import picture as scene
from tests.rewrite.differences import run
from tests.rewrite.outputs import with_outputs
from tests.tiny import Array, from_text, tiny

TARGET = Target("logits", (3,), "logits", (1, 10))
LAYER = "stage2.y/relu"


def masks(count: int = 5, side: int = 32) -> list[Array]:
    return list(np.random.default_rng(1).random((count, side, side)))


def picture(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape or (1, 3, 32, 32)).astype(np.float32)


def opened(proto: ModelProto, x: Array, layout: str = "NCHW", target: Target = TARGET, **asked: Any) -> Perturbations:
    model = Model(Path("case.onnx"), proto, Path.cwd()).at({"image": x.shape})
    return Perturbations(model, {"image": x}, "image", layout, target, RunOptions("cpu", 1), **asked)


def score(proto: ModelProto, x: Array) -> float:
    return float(run(proto, {"image": x})["logits"][0, 3])


@pytest.mark.parametrize("batch", [1, 3, "n"])
def test_the_first_picture_is_masked(batch: int | str) -> None:
    x = picture(3 if batch == 3 else 1, 3, 32, 32)
    proto = tiny(batch=batch)
    runs = opened(proto, x, target=Target("logits", (3,), "logits", (len(x), 10)))
    found = runs.masked(masks(), 5)
    expected = []
    for mask in masks():
        changed = x.copy()
        changed[0] *= mask.astype(np.float32)
        expected.append(score(proto, changed))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert runs.provider == "CPUExecutionProvider"
    assert ("fixed" in runs.notes[0]) == (batch != "n")


LAYOUTS = {
    "NHWC": ("float[1, 8, 8, 3]", "t = Transpose <perm = [0, 3, 1, 2]> (image)"),
    "CHW": ("float[3, 8, 8]", "t = Unsqueeze (image, zero)"),
    "HWC": ("float[8, 8, 3]", "u = Unsqueeze (image, zero)  t = Transpose <perm = [0, 3, 1, 2]> (u)"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_masks_lie_over_every_colour_whatever_the_layout(layout: str) -> None:
    """The logits are the third row of the second colour."""
    shape, first = LAYOUTS[layout]
    proto = from_text(
        f"g ({shape} image) => (float[1, 8] logits) <int64[1] zero = {{0}}, int64[2] from = {{1, 2}}, "
        f"int64[2] to = {{2, 3}}, int64[2] axes = {{1, 2}}> "
        f"{{ {first}  c = Slice (t, from, to, axes)  logits = Flatten (c) }}"
    )
    x = picture(3, 8, 8)
    laid = x.transpose(1, 2, 0) if layout.endswith("HWC") else x
    runs = opened(proto, laid[None] if "N" in layout else laid, layout, Target("logits", (3,), "logits", (1, 8)))
    found = runs.masked(masks(4, 8), 4)
    np.testing.assert_allclose(found, [x[1, 2, 3] * mask[2, 3] for mask in masks(4, 8)], rtol=1e-5)
    assert (" one by one" in runs.notes[0]) == ("N" not in layout)


def test_a_picture_of_whole_numbers_is_rounded() -> None:
    proto = from_text(
        "g (uint8[1, 3, 4, 4] image) => (float[1, 48] logits) { c = Cast <to = 1> (image)  logits = Flatten (c) }"
    )
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4)).astype(np.uint8)
    runs = opened(proto, x, target=Target("logits", (7,), "logits", (1, 48)))
    found = runs.masked(masks(6, 4), 6)
    assert [int(value) for value in found] == [round(float(x[0, 0, 1, 3]) * mask[1, 3]) for mask in masks(6, 4)]
    assert "the picture is of whole numbers: what is masked was rounded" in runs.notes


def test_half_precision_is_fed_as_it_is() -> None:
    x = picture().astype(np.float16)
    found = opened(tiny(dtype="float16"), x).masked(masks(3), 3)
    expected = [score(tiny(dtype="float16"), (x * mask).astype(np.float16)) for mask in masks(3)]
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.02)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_rest_runs_on_what_the_layer_is_changed_to(dtype: str) -> None:
    proto, x = tiny(dtype=dtype), picture().astype(dtype)
    own = np.asarray(run(with_outputs(proto, LAYER), {"image": x})[LAYER][0], np.float64)
    told: list[tuple[int, int]] = []
    runs = opened(proto, x, progress=lambda *step: told.append(step))
    found = runs.changed(LAYER, [own, 0 * own, 2 * own], 3)
    stored = {item.name: numpy_helper.to_array(item).astype(np.float64) for item in proto.graph.initializer}
    weights, bias = stored["fc.weight"][3], stored["fc.bias"][3]
    expected = [factor * own.mean(axis=(1, 2)) @ weights + bias for factor in (1, 0, 2)]
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == "float32" else 0.02, atol=1e-5)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_layer_of_channels_last_is_changed_as_it_lies() -> None:
    proto = from_text(
        "g (float[1, 3, 4, 4] image) => (float[1, 2] logits) { r = Relu (image)"
        "  p = MaxPool <kernel_shape = [1, 1]> (r)  t = Transpose <perm = [0, 2, 3, 1]> (p)"
        "  q = Abs (t)  s = Slice (q, from, to, axes)  logits = Flatten (s) }"
    )
    for name, values in (("from", [1, 2, 0]), ("to", [2, 3, 2]), ("axes", [1, 2, 3])):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    changes = list(np.random.default_rng(0).random((3, 3, 4, 4)))
    runs = opened(proto, picture(1, 3, 4, 4), target=Target("logits", (1,), "logits", (1, 2)))
    np.testing.assert_allclose(runs.changed("q", changes, 3), [change[1, 1, 2] for change in changes], rtol=1e-6)


def test_a_layer_of_codes_is_refused() -> None:
    proto = from_text(
        "g (float[1, 3, 4, 4] image) => (float[1, 48] logits) <float one = {1}, uint8 zero = {128}> {"
        "  q = QuantizeLinear (image, one, zero)  d = DequantizeLinear (q, one, zero)  logits = Flatten (d) }"
    )
    with pytest.raises(UsageError, match="'q' holds uint8, whose zero may stand for another number"):
        opened(proto, picture(1, 3, 4, 4)).changed("q", [], 0)


def test_a_target_without_the_picture_is_refused() -> None:
    proto = from_text(
        "g (float[1, 3, 4, 4] image, float[1, 2] other) => (float[1, 2] logits, y) "
        "{ logits = Neg (other)  y = Abs (image) }"
    )
    model = Model(Path("case.onnx"), proto, Path.cwd())
    feeds = {"image": picture(1, 3, 4, 4), "other": np.ones((1, 2), np.float32)}
    target = Target("logits", (1,), "logits", (1, 2))
    runs = Perturbations(model, feeds, "image", "NCHW", target, RunOptions("cpu", 1))
    with pytest.raises(UsageError, match="logits:1 does not depend on the picture 'image'"):
        runs.masked(masks(1, 4), 1)


def test_a_box_is_lost_where_its_own_cell_is_covered() -> None:
    """The windows of this network do not overlap, so that a box of the finest grid sees its cell alone."""
    model = Model(Path("case.onnx"), raw(), Path.cwd())
    methods: list[str | HeatmapMethod] = [Occlusion((8, 8), (8, 8)), "ablationcam", "reciprocam"]
    found = explain(model, scene(), methods, target="class:1@2,5@8", flags=FLAGS)
    covered = found[0].raw
    assert np.abs(covered[16:24, 40:48]).min() > 0
    assert np.count_nonzero(np.abs(covered) > 1e-6 * np.abs(covered).max()) == 64
    other = found[2].raw[0, 0]
    assert np.abs(found[2].raw[2, 5] - other) > 0
    assert np.count_nonzero(np.abs(found[2].raw - other) > 1e-5) == 1


@pytest.mark.parametrize("name", ["winml_squeezenet_fp16", "efficientnet_lite0_ort_qdq_int8"])
def test_real_models_of_half_precision_and_of_codes(corpus: Path, name: str) -> None:
    model = load(corpus / "models" / f"{name}.onnx")
    shape = tuple(int(size or 1) for size in model.inputs[0].shape or ())
    x = np.random.default_rng(0).standard_normal(shape).astype(model.inputs[0].dtype)
    methods: list[str | HeatmapMethod] = ["ablationcam", "reciprocam", Occlusion((112, 112), (56, 56))]
    for found in explain(model, {model.inputs[0].name: x}, methods, target="3", options=RunOptions("cpu", 1)):
        assert np.isfinite(found.raw).all()
        assert any(" at a time; the batch of the model, which is fixed, was freed" in note for note in found.notes)
