from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import InputError, UsageError
from onnxvis.run.preprocess import PRESETS, Preprocessing, apply, preset

RNG = np.random.default_rng(5)
PICTURE = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("unit", lambda red, green, blue: (red / 255, green / 255, blue / 255)),
        ("signed", lambda red, green, blue: (red / 127.5 - 1, green / 127.5 - 1, blue / 127.5 - 1)),
        ("half", lambda red, green, blue: ((red - 127.5) / 128, (green - 127.5) / 128, (blue - 127.5) / 128)),
        ("caffe", lambda red, green, blue: (blue - 103.939, green - 116.779, red - 123.68)),
        ("raw", lambda red, green, blue: (red, green, blue)),
        ("yolo", lambda red, green, blue: (red / 255, green / 255, blue / 255)),
        (
            "imagenet",
            lambda r, g, b: ((r / 255 - 0.485) / 0.229, (g / 255 - 0.456) / 0.224, (b / 255 - 0.406) / 0.225),
        ),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_presets_are_their_formulas(name: str, formula: Any, dtype: str) -> None:
    tensor, seen = apply(PICTURE, preset(name, None), 3, "NCHW", dtype)
    assert tensor.shape == (1, 3, 6, 8)
    assert tensor.dtype == dtype
    np.testing.assert_array_equal(seen, PICTURE)
    tolerance = {"float32": 1e-6, "float64": 1e-12, "float16": 1e-3}[dtype]
    for y, x in np.ndindex(6, 8):
        wanted = formula(*map(float, PICTURE[y, x]))
        np.testing.assert_allclose(tensor[0, :, y, x], wanted, rtol=tolerance, atol=2 * tolerance)


def test_nhwc_is_the_same_numbers_in_another_order() -> None:
    first, _ = apply(PICTURE, PRESETS["imagenet"], 3, "NCHW")
    last, _ = apply(PICTURE, PRESETS["imagenet"], 3, "NHWC")
    assert last.shape == (1, 224, 224, 3)
    assert last.flags.c_contiguous
    assert first.flags.c_contiguous
    np.testing.assert_array_equal(last.transpose(0, 3, 1, 2), first)


def test_imagenet_is_resize_crop_normalise() -> None:
    picture = RNG.integers(0, 256, (300, 451, 3), dtype=np.uint8)
    tensor, seen = apply(picture, PRESETS["imagenet"])
    cropped = cv2.resize(picture, (384, 256), interpolation=cv2.INTER_AREA)[16:240, 80:304]
    np.testing.assert_array_equal(seen, cropped)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(tensor[0].transpose(1, 2, 0), (cropped / 255 - mean) / std, atol=1e-5)


@pytest.mark.parametrize(("side", "shorter"), [(224, 256), (299, 342), (384, 439), (112, 128)])
def test_imagenet_keeps_its_proportion_at_other_sizes(side: int, shorter: int) -> None:
    assert preset("imagenet", (side, side)).shorter == shorter == round(side * 256 / 224)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_uint8_models_get_the_pixels(layout: str) -> None:
    tensor, _ = apply(PICTURE, preset("raw", None), 3, layout, "uint8")
    pixels = tensor[0].transpose(1, 2, 0) if layout == "NCHW" else tensor[0]
    np.testing.assert_array_equal(pixels, PICTURE)
    tensor, _ = apply(PICTURE, preset("caffe", None), 3, "NHWC", "uint8")
    wanted = np.clip(np.round(PICTURE[..., ::-1] - [103.939, 116.779, 123.68]), 0, 255)
    np.testing.assert_array_equal(tensor[0], wanted)


def test_one_channel_is_luma_and_four_are_rgba() -> None:
    tensor, seen = apply(PICTURE, preset("raw", None), 1)
    luma = PICTURE @ np.array([0.299, 0.587, 0.114])
    assert np.abs(tensor[0, 0] - luma).max() <= 0.51
    for channel in range(3):
        np.testing.assert_array_equal(seen[..., channel], tensor[0, 0])
    tensor, _ = apply(PICTURE, preset("imagenet", None), 1)
    np.testing.assert_allclose(tensor[0, 0], (np.round(luma) / 255 - 1.347 / 3) / (0.678 / 3), atol=0.02)
    rgba = np.concatenate([PICTURE, np.full((6, 8, 1), 128, np.uint8)], axis=2)
    for bgr in (False, True):
        settings = Preprocessing(None, "stretch", None, "area", bgr, 1.0, (0.0,), (1.0,))
        tensor, seen = apply(rgba, settings, 4, "NHWC")
        np.testing.assert_array_equal(tensor[0], rgba[..., [2, 1, 0, 3]] if bgr else rgba)
        assert np.abs(seen - (PICTURE.astype(float) * 128 / 255 + 127)).max() <= 0.5001
    settings = preset("imagenet", None)
    np.testing.assert_allclose(apply(rgba, settings, 4, "NHWC")[0][0, ..., 3], 128 / 255)


def test_what_is_seen_is_rgb_even_where_bgr_is_fed() -> None:
    tensor, seen = apply(PICTURE, preset("caffe", None), 3, "NHWC")
    np.testing.assert_array_equal(seen, PICTURE)
    np.testing.assert_allclose(tensor[0, ..., 0], PICTURE[..., 2] - np.float32(103.939), atol=1e-4)


def test_yolo_letterboxes_on_grey() -> None:
    tensor, seen = apply(np.full((20, 40, 3), 255, np.uint8), preset("yolo", (64, 64)))
    assert (seen[:16] == 114).all()
    assert (seen[16:48] == 255).all()
    np.testing.assert_allclose(tensor[0, :, 0, 0], 114 / 255, rtol=1e-6)


def test_nothing_is_changed_in_place() -> None:
    before = PICTURE.copy()
    tensor, seen = apply(PICTURE, preset("raw", None), 3, "NHWC", "uint8")
    tensor[:] = 0
    seen_before = seen.copy()
    np.testing.assert_array_equal(PICTURE, before)
    np.testing.assert_array_equal(seen, seen_before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fit": "zoom"}, "fit is 'zoom'; it can be stretch, crop, letterbox"),
        ({"interpolation": "lanczos"}, "nearest, linear, cubic, area"),
        ({"size": (0, 5)}, "a side of 0 pixels"),
        ({"size": (5, 100000)}, "a side of 100000 pixels"),
        ({"shorter": 5}, "goes with fit crop"),
        ({"mean": (1.0, 2.0)}, "mean has 2 numbers"),
        ({"std": (1.0, 0.0, 1.0)}, "not zero"),
        ({"divide": 0.0}, "not zero"),
        ({"mean": (float("nan"),)}, "finite"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "size": (4, 4), "fit": "stretch", "shorter": None, "interpolation": "area",
        "bgr": False, "divide": 1.0, "mean": (0.0,), "std": (1.0,),
    }  # fmt: skip
    with pytest.raises(UsageError, match=message):
        Preprocessing(**{**values, **change})


def test_errors_of_use() -> None:
    with pytest.raises(UsageError, match="no preset 'vgg'; there are imagenet, unit"):
        preset("vgg")
    with pytest.raises(InputError, match="cannot be fed as bfloat17"):
        apply(PICTURE, preset("raw", None), 3, "NCHW", "bfloat17")
    with pytest.raises(UsageError, match="4 numbers of mean or std for a model of 3"):
        apply(PICTURE, Preprocessing(None, "stretch", None, "area", False, 1.0, (0.0,) * 4, (1.0,)), 3)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0.1, 300), st.tuples(*[st.floats(-300, 300)] * 3), st.tuples(*[st.floats(0.1, 300)] * 3), st.booleans()
)
def test_any_numbers_follow_the_formula(
    divide: float, mean: tuple[float, ...], std: tuple[float, ...], bgr: bool
) -> None:
    tensor, _ = apply(PICTURE, Preprocessing(None, "stretch", None, "area", bgr, divide, mean, std), dtype="float64")
    for channel in range(3):
        pixels = PICTURE[..., 2 - channel if bgr else channel]
        np.testing.assert_allclose(tensor[0, channel], (pixels / divide - mean[channel]) / std[channel], rtol=1e-12)
