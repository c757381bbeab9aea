"""Real models from five frameworks, each opened, named and shown. Needs $ONNXVIS_CORPUS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.show.page import MapCard, Page
from onnxvis.show.report import ReportOptions, build_page

MODELS = {
    "blazeface_front_128_barracuda.onnx": [(28, 64), (42, 32), (88, 16), (96, 8)],
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": [(8, 112), (8, 56), (8, 28), (16, 14), (32, 7)],
    "efficientnet_lite0_ort_qdq_int8.onnx": [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)],
    "fastestdet.onnx": [(48, 44), (96, 22), (192, 11)],
    "mtcnn_pnet_classic_op11.onnx": [(10, 222), (32, 107)],
    "silero_vad_16k_op15.onnx": [],
    "winml_squeezenet_fp16.onnx": [(128, 55), (256, 27), (512, 13)],
    "yunet_n_dynamic.onnx": [(16, 112), (64, 56), (64, 28), (64, 14), (64, 7)],
}
KERNELS = {
    "blazeface_front_128_barracuda.onnx": 37,
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": 54,
    "efficientnet_lite0_ort_qdq_int8.onnx": 50,
    "fastestdet.onnx": 70,
    "mtcnn_pnet_classic_op11.onnx": 8,
    "silero_vad_16k_op15.onnx": 8,
    "winml_squeezenet_fp16.onnx": 26,
    "yunet_n_dynamic.onnx": 59,
}
"""How many weights of two or more axes each holds."""
STORED_AS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
CATEGORIES = {"chelsea.png": 285, "coffee.png": 967}
PREPROCESSING = {
    "efficientnet_lite0_ort_qdq_int8.onnx": ("--preprocess", "half", "--mean", "127", "--std", "128"),
    "winml_squeezenet_fp16.onnx": ("--preprocess", "caffe", "--mean", "104,117,123"),
}


@pytest.mark.parametrize("name", MODELS)
def test_stages(corpus: Path, name: str) -> None:
    found = [(stage.channels, stage.height) for stage in load(corpus / "models" / name).stages()]
    assert found == MODELS[name]


@pytest.mark.parametrize("name", MODELS)
def test_every_model_gives_a_report(corpus: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "report.html"
    assert main(["report", str(corpus / "models" / name), str(corpus / "photos/coffee.png"), "-o", str(output)]) == (
        2 if name.startswith("silero") else 0
    )
    if name.startswith("silero"):
        assert main(["report", str(corpus / "models" / name), "-o", str(output)]) == 0
        assert "takes no picture" in output.read_text()
    assert output.stat().st_size < 10_000_000


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_shown_stage_by_stage(corpus: Path, name: str) -> None:
    """All stages of the list above are on the page at the default budget, each with a mosaic of all its channels."""
    photos = () if name.startswith("silero") else (corpus / "photos/coffee.png",)
    page = _page(corpus / "models" / name, *photos)
    assert len(page.inputs) == len(photos)
    for card in page.inputs:
        stages = [stage for stage in card.stages if stage.part == "backbone"]
        assert [stage.channels for stage in stages] == [channels for channels, _ in MODELS[name]]
        for stage in card.stages:
            _shown_whole(stage)


def _shown_whole(stage: MapCard) -> None:
    assert stage.mosaic is not None, stage.left_out
    assert stage.merged is not None
    assert stage.statistics is not None
    mosaic = stage.mosaic
    assert len(mosaic.low) == len(mosaic.high) == len(stage.statistics.max) == stage.channels
    assert mosaic.columns * mosaic.rows >= stage.channels
    pixels = cv2.imdecode(np.frombuffer(mosaic.png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert pixels.shape[:2] == (
        mosaic.rows * (mosaic.tile_height + mosaic.gap) - mosaic.gap,
        mosaic.columns * (mosaic.tile_width + mosaic.gap) - mosaic.gap,
    )
    assert len(np.unique(pixels)) > 1, "a mosaic of one colour"


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_has_a_card(corpus: Path, name: str) -> None:
    """Against onnx's own reading of the file: no kernel is missing, quantised ones among them."""
    cards = {card.name: card for card in _page(corpus / "models" / name).weights}
    assert sum(len(card.shape) > 1 for card in cards.values()) == KERNELS[name]
    kernels = dict(_kernels(corpus / "models" / name))
    assert len(kernels) == KERNELS[name]
    for tensor, (shape, values) in kernels.items():
        assert cards[tensor].shape == shape
        found = cards[tensor]
        assert (found.steps or found.statistics).max == pytest.approx(values.max())


def _kernels(path: Path) -> Iterator[tuple[str, tuple[tuple[int, ...], np.ndarray[Any, np.dtype[Any]]]]]:
    graph = onnx.load(path).graph
    stored = [(tensor.name, tensor) for tensor in graph.initializer]
    stored += [
        (n.output[0], a.t) for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.HasField("t")
    ]
    for name, tensor in stored:
        if len(tensor.dims) > 1 and tensor.data_type in STORED_AS:
            yield name, (tuple(tensor.dims), onnx.numpy_helper.to_array(tensor))


@pytest.mark.parametrize("name", PREPROCESSING)
@pytest.mark.parametrize("photo", CATEGORIES)
def test_classifiers_are_right(corpus: Path, name: str, photo: str, tmp_path: Path) -> None:
    page = _page(corpus / "models" / name, corpus / "photos" / photo, flags=PREPROCESSING[name])
    best = page.inputs[0].outputs[0].scores[0]
    assert best.index == CATEGORIES[photo]
    assert page.guess is None


def _page(model: Path, *photos: Path, flags: tuple[str, ...] = ()) -> Page:
    import argparse

    from onnxvis.cli import options, report

    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    parsed = parser.parse_args([str(model), *map(str, photos), *flags])
    return build_page(load(model), photos, ReportOptions(preprocess=options.preprocess_flags(parsed)))
