from __future__ import annotations

from typing import Any

import pytest

from onnxvis.errors import InputError
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.hints import (
    from_huggingface,
    from_image_metadata,
    from_our_metadata,
    from_sidecar,
    from_ultralytics,
    stride,
)
from onnxvis.run.nearby import Table
from onnxvis.run.preprocess import preset
from tests.run.metadata import our_metadata

VIT = {
    "do_normalize": True, "do_resize": True, "do_rescale": True, "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224}, "image_processor_type": "ViTImageProcessor",
}  # fmt: skip


def test_huggingface_vit() -> None:
    assert from_huggingface(Table("c", VIT)) == PreprocessFlags(
        "raw", (224, 224), "stretch", "area", (0.5,) * 3, (0.5,) * 3, 255.0, False
    )


@pytest.mark.parametrize(
    ("change", "size", "fit", "shorter"),
    [
        ({"size": 384}, (384, 384), "stretch", None),
        ({"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}, (224, 224), "crop", 256),
        (
            {"size": 224, "do_center_crop": True, "crop_size": {"height": 224, "width": 200}}, (224, 200), "crop", 224
        ),
        ({"size": {"height": 256, "width": 256}, "do_center_crop": True, "crop_size": 224}, (224, 224), "crop", 256),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, 224), "crop", 256),
        ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, 384), "stretch", None),
        ({"size": {"shortest_edge": 800, "longest_edge": 1333}}, "native", "crop", 800),
        ({"do_resize": False}, "native", "stretch", None),
        ({"do_resize": False, "do_center_crop": True, "crop_size": 224}, (224, 224), "crop", None),
        ({"size": None}, "native", "stretch", None),
    ],
)  # fmt: skip
def test_huggingface_geometry(change: dict[str, Any], size: object, fit: str, shorter: int | None) -> None:
    flags = from_huggingface(Table("c", {**VIT, **change}))
    assert (flags.size, flags.fit, flags.shorter) == (size, fit, shorter)


def test_huggingface_values() -> None:
    plain = from_huggingface(Table("c", {**VIT, "do_rescale": False, "do_normalize": False}))
    assert (plain.divide, plain.mean, plain.std) == (1.0, (0.0,), (1.0,))
    # EfficientNet: pixel / 127.5 − 1, then normalised.
    offset = {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}
    signed = from_huggingface(Table("c", {**VIT, **offset}))
    assert (signed.divide, signed.mean, signed.std) == (127.5, (1.0,), (1.0,))
    assert from_huggingface(Table("c", {**VIT, "do_flip_channel_order": True})).bgr is True
    assert from_huggingface(Table("c", {**VIT, "resample": 0})).interpolation == "nearest"
    assert from_huggingface(Table("c", {})).divide == 255


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_resize", "yes"), ("image_mean", "0.5"), ("image_std", [0.5] * 9), ("resample", 77), ("resample", "x"),
        ("rescale_factor", 0), ("rescale_factor", [1]), ("size", "224"), ("size", {"height": "224", "width": 224}),
        ("size", [1, 2, 3]), ("crop_size", {"height": True, "width": 3}), ("crop_pct", "0.9"),
    ],
)  # fmt: skip
def test_huggingface_wrong_types_name_the_key(key: str, value: object) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        from_huggingface(Table("config.json", {**VIT, "do_center_crop": True, "crop_size": 224, key: value}))


def test_ultralytics() -> None:
    metadata = {"task": "detect", "stride": "32", "imgsz": "[480, 640]", "names": "{0: 'person'}", "batch": "1"}
    assert from_ultralytics(metadata) == PreprocessFlags("yolo", (480, 640), bgr=False)
    assert stride(metadata) == 32
    classify = {**metadata, "task": "classify", "imgsz": "[224, 224]"}
    assert from_ultralytics(classify) == PreprocessFlags("unit", (224, 224), "crop", shorter=224, bgr=False)
    for text in ("", "[640", "['a', 'b']", "[1, 2, 3]", "[true, 3]", "[-1, 5]", "[" * 10**6):
        assert from_ultralytics({**metadata, "imgsz": text}) == PreprocessFlags("yolo", bgr=False)
    assert from_ultralytics({"names": "x"}) is None
    assert [stride({"stride": text}) for text in ("", "x", "0", "-3", "9" * 99, "64")] == [1, 1, 1, 1, 1, 64]


@pytest.mark.parametrize(
    ("limits", "formula"),
    [
        ("NominalRange_0_255", lambda pixel: pixel),
        ("Normalized_0_1", lambda pixel: pixel / 255),
        ("Normalized_1_1", lambda pixel: 2 * pixel / 255 - 1),
        ("NominalRange_16_235", lambda pixel: 16 + pixel * (235 - 16) / 255),
    ],
)
@pytest.mark.parametrize(("order", "bgr"), [("Bgr8", True), ("Rgb8", False), ("Gray8", False)])
def test_image_metadata(limits: str, formula: Any, order: str, bgr: bool) -> None:
    flags = from_image_metadata({"Image.BitmapPixelFormat": order, "Image.NominalPixelRange": limits})
    assert flags is not None
    assert flags.bgr is bgr
    assert flags.divide is not None
    assert flags.mean is not None
    assert flags.std == (1.0,)
    for pixel in (0, 1, 100, 255):
        assert pixel / flags.divide - flags.mean[0] == pytest.approx(formula(pixel))
    assert from_image_metadata({"Image.ColorSpaceGamma": "SRGB"}) is None


def test_our_metadata() -> None:
    assert from_our_metadata({}) is None
    text = our_metadata(preset("imagenet", None))
    flags = from_our_metadata({"onnxvis.preprocess": text})
    assert flags is not None
    assert flags.size == "native"
    assert flags.mean == (0.485, 0.456, 0.406)
    assert flags.settles()
    for text in ("[]", "{", '{"mean": "x"}', '{"colour": 1}', '{"size": [1, 2, 3]}', "[" * 10**5):
        with pytest.raises(InputError, match=r"metadata onnxvis\.preprocess"):
            from_our_metadata({"onnxvis.preprocess": text})


def test_sidecar() -> None:
    values = {
        "preset": "unit",
        "size": "64x96",
        "rgb": False,
        "mean": 0.5,
        "std": [1, 2, 3],
        "fit": "crop",
        "shorter": 9,
    }
    assert from_sidecar(Table("m.toml", values)) == PreprocessFlags(
        "unit", (64, 96), "crop", None, (0.5,), (1.0, 2.0, 3.0), None, True, 9
    )
    assert from_sidecar(Table("m.toml", {"size": [64, 96]})).size == (64, 96)
    assert from_sidecar(Table("m.toml", {"size": "native"})).size == "native"
    with pytest.raises(InputError, match=r"m\.toml has no setting 'colour'; there are"):
        from_sidecar(Table("m.toml", {"colour": "bgr"}))
    with pytest.raises(InputError, match="cannot both be true"):
        from_sidecar(Table("m.toml", {"bgr": True, "rgb": True}))
    with pytest.raises(InputError, match=r"m\.toml: 'size' must be a number, .* not 'big'"):
        from_sidecar(Table("m.toml", {"size": "big"}))
