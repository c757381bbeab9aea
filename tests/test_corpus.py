"""Real models from five frameworks, each opened, named and shown. Needs $ONNXVIS_CORPUS."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxvis.cli.main import main
from onnxvis.graph.load import load
from onnxvis.show.page import Page
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


@pytest.mark.parametrize("name", PREPROCESSING)
@pytest.mark.parametrize("photo", CATEGORIES)
def test_classifiers_are_right(corpus: Path, name: str, photo: str, tmp_path: Path) -> None:
    page = _page(corpus / "models" / name, corpus / "photos" / photo, PREPROCESSING[name])
    best = page.inputs[0].outputs[0].scores[0]
    assert best.index == CATEGORIES[photo]
    assert page.guess is None


def _page(model: Path, photo: Path, flags: tuple[str, ...]) -> Page:
    import argparse

    from onnxvis.cli import options, report

    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    parsed = parser.parse_args([str(model), str(photo), *flags])
    return build_page(load(model), [photo], ReportOptions(preprocess=options.preprocess_flags(parsed)))
