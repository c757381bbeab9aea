from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onnxvis.errors import InputError, UsageError
from onnxvis.graph.view import Tensor
from onnxvis.run.flags import PreprocessFlags, flags_text
from onnxvis.run.preprocess import Preprocessing, preset
from onnxvis.run.settings import resolve_preprocessing
from tests.run.metadata import our_metadata

FREE = Tensor("x", ("N", 3, "H", "W"), "float32")
FIXED = Tensor("x", (1, 3, 320, 320), "float32")
SCORES = [Tensor("y", (1, 1000), "float32")]
BOXES = [Tensor("y", (1, 84, 8400), "float32")]
ULTRALYTICS = {"task": "detect", "stride": "32", "imgsz": "[480, 640]", "names": "{0: 'person'}"}
IMAGE = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
HUGGINGFACE = {"size": 256, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}


def resolve(
    folder: Path, metadata: dict[str, str] | None = None, tensor: Tensor = FREE, outputs: list[Tensor] = SCORES,
    layout: str = "NCHW", **flags: Any,
) -> Preprocessing:  # fmt: skip
    return resolve_preprocessing(
        folder / "model.onnx", metadata or {}, tensor, outputs, layout, PreprocessFlags(**flags)
    )


def said(settings: Preprocessing) -> tuple[str, bool]:
    return settings.source, settings.guessed


def test_guesses(tmp_path: Path) -> None:
    guess = resolve(tmp_path)
    assert said(guess) == ("guess: imagenet", True)
    assert (guess.size, guess.shorter, guess.fit) == ((224, 224), 256, "crop")
    guess = resolve(tmp_path, outputs=BOXES)
    assert said(guess) == ("guess: yolo", True)
    assert (guess.size, guess.fit, guess.divide) == ((640, 640), "letterbox", 255)
    guess = resolve(tmp_path, tensor=FIXED)
    assert (guess.size, guess.shorter) == ((320, 320), 366)
    guess = resolve(tmp_path, tensor=Tensor("x", (1, 48, None, 3), "uint8"), layout="NHWC")
    assert said(guess) == ("guess: raw", True)
    assert (guess.size, guess.divide, guess.mean) == ((48, 224), 1, (0.0,))


def test_each_layer_goes_over_the_one_below(tmp_path: Path) -> None:
    metadata = dict(IMAGE)
    layers = [said(resolve(tmp_path, metadata))]
    metadata |= ULTRALYTICS
    layers.append(said(resolve(tmp_path, metadata)))
    metadata["onnxvis.preprocess"] = our_metadata(preset("half"))
    layers.append(said(resolve(tmp_path, metadata)))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(HUGGINGFACE))
    layers.append(said(resolve(tmp_path, metadata)))
    (tmp_path / "model.toml").write_text('[preprocess]\npreset = "caffe"\n')
    layers.append(said(resolve(tmp_path, metadata)))
    layers.append(said(resolve(tmp_path, metadata, preset="unit")))
    assert layers == [
        ("metadata (ONNX Image)", False),
        ("metadata (Ultralytics)", False),
        ("metadata (onnxvis)", False),
        ("preprocessor_config.json", False),
        ("model.toml", False),
        ("flags", False),
    ]
    # A preset above keeps the size that was told last.
    assert resolve(tmp_path, metadata, preset="unit").size == (256, 256)
    caffe = resolve(tmp_path, metadata)
    assert (caffe.bgr, caffe.mean, caffe.size) == (True, (103.939, 116.779, 123.68), (256, 256))


def test_ultralytics_size_and_image_metadata(tmp_path: Path) -> None:
    yolo = resolve(tmp_path, ULTRALYTICS, outputs=BOXES)
    assert (yolo.size, yolo.fit, yolo.bgr, yolo.divide) == ((480, 640), "letterbox", False, 255)
    image = resolve(tmp_path, IMAGE, FIXED)
    assert (image.size, image.bgr, image.divide, image.mean) == ((320, 320), True, 1, (0.0,))


def test_flags_over_what_is_below_field_by_field(tmp_path: Path) -> None:
    settings = resolve(tmp_path, size=(448, 448))
    assert said(settings) == ("flags over guess: imagenet", True)
    assert (settings.size, settings.shorter, settings.mean) == ((448, 448), 512, (0.485, 0.456, 0.406))
    settings = resolve(tmp_path, ULTRALYTICS, interpolation="area")
    assert said(settings) == ("flags over metadata (Ultralytics)", False)
    settings = resolve(tmp_path, mean=(0.0,), std=(1.0,), divide=255.0, bgr=False, fit="stretch")
    assert said(settings) == ("flags", False)
    assert flags_text(resolve(tmp_path, preset="imagenet")) == "--preprocess imagenet --size 224x224 --rgb"


def test_a_partial_sidecar_leaves_the_guess_a_guess(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text("[preprocess]\nsize = 96\n")
    settings = resolve(tmp_path)
    assert said(settings) == ("model.toml over guess: imagenet", True)
    assert settings.size == (96, 96)
    assert resolve(tmp_path, preset="unit").size == (96, 96)
    (tmp_path / "model.toml").write_text('preprocess = "signed"\n')
    assert resolve(tmp_path).mean == (1.0,)
    (tmp_path / "model.toml").write_text('labels = ["a"]\n')
    assert said(resolve(tmp_path)) == ("guess: imagenet", True)


def test_uint8_models_get_raw_pixels_unless_told(tmp_path: Path) -> None:
    tensor = Tensor("x", (1, 3, 64, 64), "uint8")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(HUGGINGFACE))
    settings = resolve(tmp_path, ULTRALYTICS, tensor)
    assert (settings.divide, settings.mean, settings.std) == (1, (0.0,), (1.0,))
    assert said(settings) == ("preprocessor_config.json", False)
    assert resolve(tmp_path, {}, tensor, preset="unit").divide == 255
    (tmp_path / "model.toml").write_text("[preprocess]\ndivide = 2\n")
    assert resolve(tmp_path, {}, tensor).divide == 2


def test_a_fixed_size_holds(tmp_path: Path) -> None:
    assert resolve(tmp_path, ULTRALYTICS, FIXED, BOXES).size == (320, 320)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**HUGGINGFACE, "size": {"shortest_edge": 800}}))
    settings = resolve(tmp_path, {}, FIXED)
    assert (settings.size, settings.fit, settings.shorter) == ((320, 320), "crop", None)
    assert resolve(tmp_path).size is None
    assert resolve(tmp_path).shorter == 800
    assert resolve(tmp_path, {}, FIXED, size=(320, 320)).size == (320, 320)
    for size in ((224, 224), (320, 321), "native"):
        with pytest.raises(UsageError, match=r"input 'x' is fixed at 320x320 \(height x width\)"):
            resolve(tmp_path, {}, FIXED, size=size)
    wide = Tensor("x", (1, 3, 48, "W"), "float32")
    assert resolve(tmp_path, {}, wide, size=(48, 320)).size == (48, 320)
    with pytest.raises(UsageError, match="fixed at 48xany"):
        resolve(tmp_path, {}, wide, size=(32, 320))
    assert resolve(tmp_path, size="native").size is None


def test_grey_models_and_mean_alone(tmp_path: Path) -> None:
    settings = resolve(tmp_path, {}, Tensor("x", (1, 1, 64, 64), "float32"))
    assert settings.mean == pytest.approx((0.449,))
    with pytest.raises(UsageError, match="add --divide 1, or --preprocess raw"):
        resolve(tmp_path, mean=(103.9, 116.8, 123.7))
    assert resolve(tmp_path, mean=(103.9, 116.8, 123.7), divide=1.0).mean == (103.9, 116.8, 123.7)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("model.toml", "[preprocess]\nfit = 3\n", r"model\.toml: preprocess: 'fit' must be text"),
        ("model.toml", '[preprocess]\nfit = "zoom"\n', r"model\.toml: fit is 'zoom'"),
        ("model.toml", '[preprocess]\nsize = "big"\n', r"model\.toml.*'big'"),
        ("model.toml", '[preprocess]\npreset = "vgg"\n', r"model\.toml: there is no preset 'vgg'"),
        ("model.toml", "[preprocess]\nstd = 0\n", r"model\.toml: .*not zero"),
        ("model.toml", "[preprocess]\nmean = [1, 2, 3, 4]\n", r"model\.toml.*4 numbers"),
        ("model.toml", "preprocess = 3\n", r"model\.toml: 'preprocess' must be a table"),
        ("model.toml", "prepocess = 3\n", r"model\.toml has no setting 'prepocess'"),
        ("preprocessor_config.json", '{"size": {"height": 0, "width": 5}}', r"preprocessor_config\.json: a side of 0"),
        ("preprocessor_config.json", "[]", r"preprocessor_config\.json must hold a JSON object"),
        ("preprocessor_config.json", '{"do_resize": 1}', r"preprocessor_config\.json: 'do_resize' must be true or"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        resolve(tmp_path)
