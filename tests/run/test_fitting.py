from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxvis.errors import InputError
from onnxvis.run.fitting import Interpolation, Placement, fit_picture, place, resize

RNG = np.random.default_rng(3)
SIDES = st.integers(1, 700)


def bilinear(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The textbook formula, point by point: half-pixel centres, edges repeated."""
    height, width = picture.shape[:2]
    result = np.zeros((*size, picture.shape[2]))
    for y, x in np.ndindex(*size):
        v = min(max((y + 0.5) * height / size[0] - 0.5, 0), height - 1)
        u = min(max((x + 0.5) * width / size[1] - 0.5, 0), width - 1)
        top, left = int(v), int(u)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        v, u = v - top, u - left
        upper = picture[top, left] * (1 - u) + picture[top, right] * u
        result[y, x] = upper * (1 - v) + (picture[bottom, left] * (1 - u) + picture[bottom, right] * u) * v
    return result


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(5, 9), (20, 31), (8, 30)])
def test_linear_is_the_textbook_formula(channels: int, size: tuple[int, int]) -> None:
    picture = RNG.integers(0, 256, (13, 17, channels), dtype=np.uint8)
    resized = resize(picture, size, "linear")
    assert resized.shape == (*size, channels)
    assert np.abs(resized - bilinear(picture, size)).max() <= 1


def test_nearest_takes_the_pixel_under_the_centre() -> None:
    picture = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    for size in ((5, 9), (20, 31)):
        resized = resize(picture, size, "nearest")
        for y, x in np.ndindex(*size):
            source = picture[int((y + 0.5) * 13 / size[0]), int((x + 0.5) * 17 / size[1])]
            np.testing.assert_array_equal(resized[y, x], source)


def test_cubic_is_opencvs() -> None:
    picture = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
    wanted = cv2.resize(picture, (9, 20), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(resize(picture, (20, 9), "cubic"), wanted)


def test_area_averages_boxes_and_is_linear_where_it_grows() -> None:
    picture = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
    boxes = picture.reshape(4, 3, 5, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize(picture, (4, 5), "area") - boxes).max() <= 0.51
    assert np.abs(resize(picture, (30, 40), "area") - bilinear(picture, (30, 40))).max() <= 1
    one_axis = picture.reshape(4, 3, 20, 3).mean(axis=1)
    assert np.abs(resize(picture, (4, 45), "area") - bilinear(one_axis, (4, 45))).max() <= 1.6


def test_letterbox_by_hand() -> None:
    # 300 x 450 into 640 x 640: ratio 640 / 450, 427 rows, 213 left over: 106 above, 107 below.
    assert place((300, 450), (640, 640), "letterbox") == Placement((427, 640), 106, 0, (640, 640))
    assert place((450, 300), (640, 640), "letterbox") == Placement((640, 427), 0, 106, (640, 640))
    picture = np.full((300, 450, 4), 200, np.uint8)
    boxed = fit_picture(picture, place((300, 450), (640, 640), "letterbox"), "linear")
    assert boxed.shape == (640, 640, 4)
    assert (boxed[106:533] == 200).all()
    for outside in (boxed[:106], boxed[533:]):
        assert (outside[..., :3] == 114).all()
        assert (outside[..., 3] == 255).all()


def test_crop_by_hand() -> None:
    # torchvision: Resize(256) of 300 x 451 gives 256 x int(256 · 451 / 300) = 384, CenterCrop(224) from 16, 80.
    assert place((300, 451), (224, 224), "crop", 256) == Placement((256, 384), -16, -80, (224, 224))
    assert place((451, 300), (224, 224), "crop", 256) == Placement((384, 256), -80, -16, (224, 224))
    picture = RNG.integers(0, 256, (300, 451, 3), dtype=np.uint8)
    cropped = fit_picture(picture, place((300, 451), (224, 224), "crop", 256), "area")
    np.testing.assert_array_equal(
        cropped, cv2.resize(picture, (384, 256), interpolation=cv2.INTER_AREA)[16:240, 80:304]
    )
    # Without a shorter side: just covering.
    assert place((100, 200), (50, 50), "crop") == Placement((50, 100), 0, -25, (50, 50))


def test_native_size() -> None:
    assert place((300, 451), None, "stretch") == Placement((300, 451), 0, 0, (300, 451))
    assert place((300, 451), None, "letterbox") == Placement((300, 451), 0, 0, (300, 451))
    assert place((300, 450), None, "crop", 100) == Placement((100, 150), 0, 0, (100, 150))


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["stretch", "crop", "letterbox"]), st.none() | SIDES)
def test_what_is_asked_for_comes_out(height: int, width: int, tall: int, wide: int, fit: str, shorter: int) -> None:
    placement = place((height, width), (tall, wide), fit, shorter if fit == "crop" else None)  # type: ignore[arg-type]
    assert placement.size == (tall, wide)
    for axis, corner in enumerate((placement.top, placement.left)):
        spare = placement.size[axis] - placement.resized[axis]
        assert abs(corner - spare / 2) <= 0.5
        assert spare >= 0 if fit == "letterbox" else spare <= 0
    if fit == "letterbox":
        assert 0 in (tall - placement.resized[0], wide - placement.resized[1])


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 40)] * 4),
    st.sampled_from(["stretch", "crop", "letterbox"]),
    st.sampled_from(["nearest", "linear", "cubic", "area"]),
    st.sampled_from([1, 3, 4]),
)
def test_a_plain_picture_stays_plain(
    sides: tuple[int, int, int, int], fit: str, interpolation: Interpolation, channels: int
) -> None:
    picture = np.full((*sides[:2], channels), 114, np.uint8)
    picture[..., 3:] = 255
    fitted = fit_picture(picture, place(sides[:2], sides[2:], fit), interpolation)  # type: ignore[arg-type]
    assert fitted.shape == (*sides[2:], channels)
    assert (fitted[..., :3] == 114).all()


def test_a_sliver_is_refused_before_it_fills_the_memory() -> None:
    sliver = np.zeros((1, 60000, 3), np.uint8)
    with pytest.raises(InputError, match="60000x1 would have to be resized to 491520000x8192"):
        fit_picture(sliver, place((1, 60000), (224, 224), "crop", 8192), "area")
