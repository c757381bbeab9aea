"""Whole networks: every layer against OpenCV's reader of Darknet, and what the model file is like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxvis
from onnxvis.errors import ModelError
from onnxvis.models.darknet import build as module
from onnxvis.models.darknet.build import build
from onnxvis.models.darknet.cfg import parse_cfg
from onnxvis.models.darknet.drawn import DrawnWeights
from onnxvis.models.darknet.names import outputs, scopes
from onnxvis.models.darknet.plan import Plan, make_plan
from onnxvis.models.darknet.structures import yolov3_tiny
from onnxvis.models.darknet.weights import FileWeights
from tests.models.darknet.cfgs import cfg, run, with_outputs
from tests.references.make_darknet import NETWORKS, REFERENCES, SIZE, image, kept, weights_bytes


def tensor_of(plan: Plan, layer: str) -> str:
    """Our name of a layer of OpenCV's."""
    step, _, digits = layer.partition("_")
    number = int(digits) - (step == "leaky")
    scope: str = scopes(plan)[number]
    ends: dict[int, str] = {end.layer: end.name for end in outputs(plan)}
    return ends.get(number, f"{scope}/{step}" if step in ("conv", "bn", "leaky") else scope)


@pytest.mark.parametrize("name", ["yolov3_tiny", pytest.param("yolov3", marks=pytest.mark.slow)])
def test_every_layer_equals_opencv(name: str, tmp_path: Path) -> None:
    reference = np.load(REFERENCES)
    plan = make_plan(parse_cfg(NETWORKS[name](SIZE), name))
    path = tmp_path / "x.weights"
    path.write_bytes(weights_bytes(plan))
    model = build(plan, FileWeights(path, plan), decoded=True)
    layers = [str(layer) for layer in reference[f"{name}/layers"]]
    # All that OpenCV has: for each of our nodes one, but for the outputs' decoding.
    ours = [node.output[0] for node in model.graph.node if not node.name.startswith(("decode/", "boxes", "scores"))]
    tensors = [tensor_of(plan, layer) for layer in layers]
    assert sorted(tensors) == sorted(ours)
    values = run(with_outputs(model, tensors), image())
    for layer, tensor, size, expected in zip(
        layers, tensors, reference[f"{name}/sizes"], reference[f"{name}/values"], strict=True
    ):
        assert values[tensor].size == size, layer
        gap = np.abs(kept(values[tensor]) - expected).max() / expected[-1]
        assert gap <= 1e-5, f"{layer}: {gap:.2g}"


@pytest.mark.parametrize("name", ["yolov3_tiny", pytest.param("yolov3", marks=pytest.mark.slow)])
def test_boxes_equal_opencv(name: str) -> None:
    reference = np.load(REFERENCES)[f"{name}/rows"]
    plan = make_plan(parse_cfg(NETWORKS[name](SIZE), name))
    values = run(build(plan, DrawnWeights(plan, 20), decoded=True), image())
    start = 0
    for head, expected in zip(plan.heads, reference, strict=True):
        cells = head.shape[1] * head.shape[2]
        boxes = values["boxes"][0, start : start + 3 * cells]
        start += 3 * cells
        # OpenCV's rows go cell by cell, in a cell anchor by anchor: centre and sides in shares of the picture.
        boxes = boxes.reshape(3, cells, 4).transpose(1, 0, 2).reshape(-1, 4)[:: 3 * cells // 27] / SIZE
        centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        found = np.concatenate([centre, side], axis=1)
        np.testing.assert_allclose(found, expected[:, :4], rtol=2e-5, atol=2e-5 * np.abs(expected).max())
    assert start == values["boxes"].shape[1] == values["scores"].shape[1]


@pytest.fixture(scope="module")
def tiny() -> tuple[Plan, onnx.ModelProto]:
    plan = make_plan(parse_cfg(yolov3_tiny(), "tiny.cfg"))
    return plan, build(plan, DrawnWeights(plan, 0), decoded=True)


def test_inputs_and_outputs_have_a_free_batch(tiny: tuple[Plan, onnx.ModelProto]) -> None:
    _, model = tiny
    ports = {
        port.name: [dim.dim_param or dim.dim_value for dim in port.type.tensor_type.shape.dim]
        for port in (*model.graph.input, *model.graph.output)
    }
    assert ports == {
        "image": ["batch", 3, 416, 416],
        "head13": ["batch", 255, 13, 13],
        "head26": ["batch", 255, 26, 26],
        "boxes": ["batch", 3 * (13**2 + 26**2), 4],
        "scores": ["batch", 3 * (13**2 + 26**2), 80],
    }


def test_two_pictures_give_what_each_gives_alone() -> None:
    plan = make_plan(parse_cfg(yolov3_tiny(64), "tiny.cfg"))
    model = build(plan, DrawnWeights(plan, 0), decoded=True)
    pictures = np.random.default_rng(0).random((2, 3, 64, 64), np.float32)
    both, alone = run(model, pictures), run(model, pictures[1:])
    for name, value in both.items():
        np.testing.assert_allclose(value[1:], alone[name], rtol=1e-4, atol=1e-4)
        assert np.abs(value[0] - value[1]).max() > 1e-3


def test_every_name_is_given_once_and_nodes_are_called_after_what_they_give(
    tiny: tuple[Plan, onnx.ModelProto],
) -> None:
    _, model = tiny
    made = [name for node in model.graph.node for name in node.output]
    names = made + [tensor.name for tensor in model.graph.initializer] + ["image"]
    assert len(set(names)) == len(names)
    assert [node.name for node in model.graph.node] == [node.output[0] for node in model.graph.node]
    assert {"darknet/stem/conv", "darknet/stem/bn", "darknet/stem/leaky", "darknet/stage1/pool"} <= set(names)
    assert {"darknet/stem/conv/weight", "darknet/stem/bn/mean", "head13/conv2/conv/bias"} <= set(names)


def test_it_is_a_valid_model_of_opset_17_made_by_onnxvis(tiny: tuple[Plan, onnx.ModelProto]) -> None:
    _, model = tiny
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.producer_name == "onnxvis"


def test_inferred_shapes_are_the_shapes_of_the_plan(tiny: tuple[Plan, onnx.ModelProto]) -> None:
    plan, model = tiny
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    shapes = {
        info.name: tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)[1:]
        for info in (*inferred.graph.value_info, *inferred.graph.output)
    }
    checked = 0
    for layer in plan.layers:
        step = {"convolutional": "leaky"}.get(layer.kind)
        name = f"{scopes(plan)[layer.number]}/{step}" if step else scopes(plan)[layer.number]
        if name in shapes:
            assert shapes[name] == layer.shape
            checked += 1
    assert checked == 11 + 6 + 1 + 1


def test_onnxvis_finds_its_stages(tiny: tuple[Plan, onnx.ModelProto], tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny[1].SerializeToString())
    found = [(stage.channels, stage.height) for stage in onnxvis.load(path).stages()]
    assert found[1:5] == [(32, 208), (64, 104), (128, 52), (256, 26)]


def test_what_onnx_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise onnx.checker.ValidationError("no\nsuch thing")

    plan = make_plan(parse_cfg(cfg("convolutional filters=2"), "x.cfg"))
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(ModelError, match=r"^x.cfg gives a model that onnx.checker refuses: no such thing$"):
        module.build(plan, DrawnWeights(plan, 0))


def test_runtimes_older_than_today_can_read_it(tiny: tuple[Plan, onnx.ModelProto]) -> None:
    """ONNX Runtime 1.14 and later: IR version 8."""
    assert tiny[1].ir_version == 8
    assert onnxruntime.InferenceSession(tiny[1].SerializeToString(), providers=["CPUExecutionProvider"])
