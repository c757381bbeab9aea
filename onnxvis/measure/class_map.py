"""Which class a segmentation model gives each place of the picture, where its outputs look like that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LEAST_SHARE_OF_SIDE", "MOST_CLASSES", "ClassMap", "class_map", "class_maps"]

Array = np.ndarray[Any, np.dtype[Any]]

LEAST_SHARE_OF_SIDE = 8
"""A map of classes has at least this part, one eighth, of the input's rows and columns."""
MOST_CLASSES = 256
"""A map of whole numbers with more different ones than this names no classes; of others so many are listed."""

_SURE, _IMAGE_CHANNELS = 0.01, 3


@dataclass(frozen=True, eq=False)
class ClassMap:
    """The class at each place of output `output`: `labels` (H, W) int64, −1 where the output holds no number.

    `how`: what was done to come to them, in words; `classes`: how many there can be, None where the model only says
    their numbers. `shares`: (class, its share of the places in 0–1), the largest first, `MOST_CLASSES` at most.
    `mask`: only the foreground, class 1, has a meaning.
    """

    output: str
    how: str
    classes: int | None
    labels: Array
    shares: tuple[tuple[int, float], ...]
    mask: bool = False


def class_maps(
    outputs: Mapping[str, Any], size: tuple[int, int], layouts: Mapping[str, str] | None = None
) -> tuple[ClassMap, ...]:
    """A map for each of `outputs` that looks like one, of the first picture; `size`: rows and columns of the input.

    `layouts`: {output: 'NHWC'} for those whose channels come last. Where some float output is in 0–1 throughout, those
    that are not are left out: beside probabilities they are offsets or sides.
    """
    known = layouts or {}
    found = [class_map(name, value, size, known.get(name, "NCHW")) for name, value in outputs.items()]
    maps = [item for item in found if item is not None]
    unit = {item.output for item in maps if _in_unit(outputs[item.output])}
    whole = {item.output for item in maps if outputs[item.output].dtype.kind != "f"}
    return tuple(item for item in maps if not unit or item.output in unit | whole)


def class_map(name: str, value: object, size: tuple[int, int], layout: str = "NCHW") -> ClassMap | None:
    """The map of classes that one output holds, None where it looks like none.

    It looks so where its rows and columns are more than one place, at least an eighth of the input's and no more than
    those, and it is
    1. float (batch, C, H, W) with C ≥ 2: the class is the channel with the largest value, the first of equal ones. Not
       three channels of the input's own size that are nowhere negative and do not add up to 1: those are a picture.
    2. float (batch, 1, H, W): a mask, class 1 where the value is above 0.5 if all lie in 0–1, else above 0; not where
       none is negative, as a depth or a distance is.
    3. whole numbers or bools (batch, H, W) or (batch, 1, H, W), none negative and at most `MOST_CLASSES` different
       ones: the classes themselves.
    """
    if not isinstance(value, np.ndarray) or not value.size:
        return None
    if value.ndim == 3 and value.dtype.kind in "iub":
        values = value[:1]
    elif value.ndim == 4:
        values = value[0].transpose(2, 0, 1) if layout == "NHWC" else value[0]
    else:
        return None
    if not _fits(values.shape[1:], size):
        return None
    if value.dtype.kind in "iub":
        return _stated(name, values[0]) if values.shape[0] == 1 else None
    if value.dtype.kind != "f":
        return None
    return _mask(name, values[0]) if values.shape[0] == 1 else _largest(name, values, size)


def _in_unit(values: Array) -> bool:
    return values.dtype.kind == "f" and bool(values.min() >= 0 and values.max() <= 1)


def _fits(found: tuple[int, ...], size: tuple[int, int]) -> bool:
    within = all(side <= most <= LEAST_SHARE_OF_SIDE * side for side, most in zip(found, size, strict=True))
    return within and found != (1, 1)


def _largest(name: str, values: Array, size: tuple[int, int]) -> ClassMap | None:
    """Case 1. NaN is no largest value."""
    if values.shape == (_IMAGE_CHANNELS, *size) and _is_picture(values):
        return None
    odd = np.isnan(values)
    labels = (np.where(odd, -np.inf, values) if odd.any() else values).argmax(axis=0)
    labels[odd.all(axis=0)] = -1
    how = f"at each place the largest of {len(values)} channels"
    return ClassMap(name, how, len(values), labels, _shares(labels))


def _is_picture(values: Array) -> bool:
    sums = values.astype(np.float64).sum(axis=0)
    return bool((values >= 0).all() and (np.abs(sums - 1) > _SURE).any())


def _mask(name: str, values: Array) -> ClassMap | None:
    """Case 2."""
    numbers = values[np.isfinite(values)]
    if not numbers.size:
        return None
    unit = bool(numbers.min() >= 0 and numbers.max() <= 1)
    if not unit and numbers.min() >= 0:
        return None
    with np.errstate(invalid="ignore"):
        labels = (values > (0.5 if unit else 0)).astype(np.int64)
    labels[np.isnan(values)] = -1
    how = "foreground where the value is above 0.5" if unit else "foreground where the logit is above 0"
    return ClassMap(name, how, 2, labels, _shares(labels), mask=True)


def _stated(name: str, values: Array) -> ClassMap | None:
    """Case 3."""
    different = np.unique(values)
    if different[0] < 0 or len(different) > MOST_CLASSES or different[-1] > np.iinfo(np.int64).max:
        return None
    labels = values.astype(np.int64)
    return ClassMap(name, "class numbers as the model gives them", None, labels, _shares(labels))


def _shares(labels: Array) -> tuple[tuple[int, float], ...]:
    """Each class that is there, the most frequent first, of equal ones the lower."""
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    return tuple((int(numbers[i]), float(counts[i] / labels.size)) for i in order)
