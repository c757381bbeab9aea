from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from onnxvis.measure.class_map import MOST_CLASSES, ClassMap, class_map, class_maps
from tests.tiny import Array

SIZE = (24, 32)


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def found(value: object, size: tuple[int, int] = SIZE, layout: str = "NCHW") -> ClassMap:
    result = class_map("out", value, size, layout)
    assert result is not None
    return result


def counted(labels: Array) -> list[tuple[int, float]]:
    """Every class with its share, place by place; the most frequent first, of equal ones the lower."""
    counts = Counter(int(label) for row in labels for label in row if label >= 0)
    return sorted(((label, count / labels.size) for label, count in counts.items()), key=lambda p: (-p[1], p[0]))


@pytest.mark.parametrize("channels", [2, 5, 21])
def test_the_class_is_the_largest_channel_of_each_place(channels: int) -> None:
    values = random(2, channels, 6, 8)
    result = found(values)
    for y in range(6):
        for x in range(8):
            column = [values[0, k, y, x] for k in range(channels)]
            assert result.labels[y, x] == column.index(max(column))
    assert list(result.shares) == counted(result.labels)
    assert (result.output, result.classes, result.mask) == ("out", channels, False)
    assert result.how == f"at each place the largest of {channels} channels"


def test_of_equal_channels_the_first_is_taken() -> None:
    values = np.zeros((1, 3, 6, 8), np.float32)
    values[0, 1:, 2, 3] = 7
    labels = found(values).labels
    assert labels[2, 3] == 1
    assert labels.sum() == 1


def test_channels_may_come_last() -> None:
    values = random(1, 6, 8, 5)
    np.testing.assert_array_equal(
        found(values, layout="NHWC").labels, found(np.moveaxis(values, 3, 1), layout="NCHW").labels
    )
    several = class_maps({"a": values, "b": np.moveaxis(values, 3, 1)}, SIZE, {"a": "NHWC"})
    assert [item.classes for item in several] == [5, 5]


def test_what_is_no_number_is_no_class() -> None:
    values = random(1, 3, 6, 8)
    values[0, :, 1, 2] = np.nan
    values[0, 0, 3, 4] = np.nan
    values[0, 2, 5, 5] = -np.inf
    result = found(values)
    assert result.labels[1, 2] == -1
    assert result.labels[3, 4] == 1 + int(values[0, 2, 3, 4] > values[0, 1, 3, 4])
    assert result.labels[5, 5] == int(values[0, 1, 5, 5] > values[0, 0, 5, 5])
    assert sum(share for _, share in result.shares) == pytest.approx(47 / 48)


@pytest.mark.parametrize(("scale", "limit", "words"), [(0.25, 0.5, "above 0.5"), (3, 0, "logit is above 0")])
def test_a_single_channel_is_a_mask(scale: float, limit: float, words: str) -> None:
    values = random(1, 1, 6, 8) * scale
    if limit:
        values = np.clip(values + 0.5, 0, 1)
    result = found(values)
    for y in range(6):
        for x in range(8):
            assert result.labels[y, x] == (1 if values[0, 0, y, x] > limit else 0)
    assert result.mask
    assert result.classes == 2
    assert words in result.how
    assert list(result.shares) == counted(result.labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("shape", [(2, 6, 8), (2, 1, 6, 8)])
def test_whole_numbers_are_the_classes_themselves(shape: tuple[int, ...], dtype: Any) -> None:
    values = np.random.default_rng(3).integers(0, 2 if dtype is np.bool_ else 19, shape).astype(dtype)
    result = found(values)
    np.testing.assert_array_equal(result.labels, values.reshape(2, 6, 8)[0])
    assert result.labels.dtype == np.int64
    assert list(result.shares) == counted(result.labels)
    assert result.classes is None


@pytest.mark.parametrize(
    "value",
    [
        random(1, 5),
        random(1, 5, 1, 1),
        random(1, 5, 2, 8),  # a twelfth of the rows
        random(1, 5, 6, 3),
        random(1, 5, 48, 64),  # larger than the picture
        random(1, 84, 48),
        random(1, 6, 8),  # float of rank 3
        random(1, 5, 6, 8).astype(np.complex64),
        np.abs(random(1, 3, *SIZE)),  # a picture
        np.abs(random(1, 1, 6, 8)) * 40,  # a depth
        np.full((1, 1, 6, 8), np.nan, np.float32),
        np.full((1, 6, 8), -1),
        np.full((1, 6, 8), 2**63, np.uint64),
        np.zeros((1, 2, 6, 8), np.int64),
        np.arange(300).reshape(1, 15, 20),
        np.zeros((1, 0, 6, 8), np.float32),
        np.zeros((0, 5, 6, 8), np.float32),
        [random(1, 5, 6, 8)],
        None,
    ],
)
def test_what_looks_like_no_map_of_classes(value: object) -> None:
    assert class_map("out", value, SIZE) is None
    assert class_maps({"out": value}, SIZE) == ()


def test_one_place_is_no_map_even_of_a_small_picture() -> None:
    assert class_map("out", random(1, 5, 1, 1), (8, 8)) is None
    assert found(random(1, 5, 1, 2), (8, 8)).labels.shape == (1, 2)


def test_three_channels_of_the_pictures_size_may_be_classes() -> None:
    logits = random(1, 3, *SIZE)
    assert found(logits).classes == 3
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(found(chances).labels, found(logits).labels)


def test_a_list_of_classes_ends() -> None:
    values = np.full((1, 400, 20, 20), -1, np.float32)
    places = np.arange(400).reshape(20, 20)
    np.put_along_axis(values[0], places[None], 1, axis=0)
    result = found(values, (20, 20))
    np.testing.assert_array_equal(result.labels, places)
    assert result.shares == tuple((index, 1 / 400) for index in range(MOST_CLASSES))


def test_half_precision_and_infinities() -> None:
    values = random(1, 4, 6, 8).astype(np.float16)
    values[0, 3, 0, 0] = np.inf
    labels = found(values).labels
    assert labels[0, 0] == 3
    mask = random(1, 1, 6, 8)
    mask[0, 0, 0, 0], mask[0, 0, 0, 1], mask[0, 0, 0, 2] = np.inf, -np.inf, np.nan
    assert found(mask).labels[0, :3].tolist() == [1, 0, -1]


def test_beside_probabilities_other_numbers_are_no_classes() -> None:
    logits, offsets, stated = random(1, 2, 6, 8), random(1, 4, 6, 8, seed=1), np.ones((1, 6, 8), np.int64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    both = class_maps({"prob": chances, "boxes": offsets, "classes": stated}, SIZE)
    assert [item.output for item in both] == ["prob", "classes"]
    raw = class_maps({"out": logits, "aux": offsets, "classes": stated}, SIZE)
    assert [item.output for item in raw] == ["out", "aux", "classes"]
