"""Turning a picture into the numbers that a model takes: the settings, the presets, and applying them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.run.fitting import Fit, Interpolation, fit_picture, place
from onnxvis.run.pictures import with_channels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_SIDE", "PRESETS", "Preprocessing", "apply", "preset"]

MAX_SIDE = 16384


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a tensor: value = (pixel / divide − mean) / std, pixel in 0–255.

    `size` is the (height, width) fed to the model, None for the picture's own. `shorter` goes with fit 'crop': the
    shorter side is first resized to this. `mean` and `std` have one number for all channels or one for each, in the
    order in which the channels are fed: BGR where `bgr`. `source` says where the settings come from, `guessed` that
    nobody said so. Raises UsageError for values that make no sense.
    """

    size: tuple[int, int] | None
    fit: Fit
    shorter: int | None
    interpolation: Interpolation
    bgr: bool
    divide: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str = "flags"
    guessed: bool = False

    def __post_init__(self) -> None:
        for name, value, choices in (("fit", self.fit, Fit), ("interpolation", self.interpolation, Interpolation)):
            if value not in get_args(choices):
                raise UsageError(f"{name} is {value!r}; it can be {', '.join(get_args(choices))}")
        for side in (*(self.size or ()), *((self.shorter,) if self.shorter is not None else ())):
            if not 1 <= side <= MAX_SIDE:
                raise UsageError(f"a side of {side} pixels cannot be fed; sides go from 1 to {MAX_SIDE}")
        if self.shorter is not None and self.fit != "crop":
            raise UsageError(f"the shorter side (here {self.shorter}) goes with fit crop, not with {self.fit}")
        if len(self.mean) not in (1, 3, 4) or len(self.std) not in (1, 3, 4):
            raise UsageError(f"mean has {len(self.mean)} numbers and std {len(self.std)}; give 1, 3 or 4 of each")
        if not all(map(math.isfinite, (self.divide, *self.mean, *self.std))) or 0 in (self.divide, *self.std):
            raise UsageError("mean, std and divide must be finite numbers, std and divide not zero")

    def for_channels(self, channels: int) -> Preprocessing:
        """The same for a model of 1, 3 or 4 channels.

        Grey takes the average of three means and of three stds (as timm does for models of one channel), alpha is fed
        without either. Raises UsageError where four numbers meet fewer channels.
        """
        return replace(self, mean=_for_channels(self.mean, channels, 0.0), std=_for_channels(self.std, channels, 1.0))


def _for_channels(values: tuple[float, ...], channels: int, neutral: float) -> tuple[float, ...]:
    if len(values) in (1, channels):
        return values
    if len(values) == 3 and channels == 4:
        return (*values, neutral)
    if len(values) == 3 and channels == 1:
        return (math.fsum(values) / 3,)
    raise UsageError(f"{len(values)} numbers of mean or std for a model of {channels} channels")


def _preset(
    divide: float, mean: tuple[float, ...] = (0.0,), std: tuple[float, ...] = (1.0,), bgr: bool = False
) -> Preprocessing:
    return Preprocessing((224, 224), "stretch", None, "area", bgr, divide, mean, std, "preset")


PRESETS: dict[str, Preprocessing] = {
    "imagenet": replace(_preset(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), fit="crop", shorter=256),
    "unit": _preset(255.0),
    "signed": _preset(127.5, (1.0,)),
    "half": _preset(1.0, (127.5,), (128.0,)),
    "caffe": _preset(1.0, (103.939, 116.779, 123.68), bgr=True),
    "raw": _preset(1.0),
    "yolo": replace(_preset(255.0), size=(640, 640), fit="letterbox", interpolation="linear"),
}
"""Preset name → settings at the preset's own size.

imagenet: shorter side 256, centre crop 224, torchvision's means and stds. unit: 0–1. signed: −1 to 1.
half: (x − 127.5) / 128. caffe: BGR minus ImageNet's mean pixel. raw: 0–255. yolo: letterbox on grey 114, 0–1, linear as
its own code resizes. All others resize by `area` and, but for imagenet, stretch.
"""


def preset(name: str, size: tuple[int, int] | str | None = "own") -> Preprocessing:
    """A preset at (height, width) `size`, None for the picture's own, 'own' for the preset's.

    imagenet keeps its proportion: shorter side round(min(size) · 256 / 224); at the picture's own size nothing is cut.
    Raises UsageError for a name that is not in PRESETS.
    """
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    found = PRESETS[name]
    if isinstance(size, str):
        return found
    shorter = min(round(min(size) * 256 / 224), MAX_SIDE) if found.shorter and size else None
    return replace(found, size=size, shorter=shorter)


def apply(
    picture: np.ndarray, preprocessing: Preprocessing, channels: int = 3, layout: str = "NCHW", dtype: str = "float32"
) -> tuple[np.ndarray, np.ndarray]:
    """A picture as the model is fed it, and as a person would see the same pixels.

    `picture`: (H, W, 1|3|4) uint8, grey, RGB or RGBA. The first result: (1, C, h, w) for layout 'NCHW' (or 'CHW'),
    (1, h, w, C) for 'NHWC' ('HWC'), of `dtype`; integer types are rounded and clipped to their range. Computed in
    float32 (float64 where that is asked for). The second: (h, w, 3) uint8 RGB after fitting, alpha on white.
    Raises InputError for a dtype that NumPy does not have.
    """
    fitted = _fitted(with_channels(picture, channels), preprocessing)
    fed = fitted[..., [2, 1, 0, 3][:channels]] if preprocessing.bgr and channels >= 3 else fitted
    values = _values(fed, preprocessing.for_channels(channels), dtype)[None]
    if layout.endswith("CHW"):
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values), with_channels(fitted, 3)


def _fitted(picture: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    height, width = int(picture.shape[0]), int(picture.shape[1])
    placement = place((height, width), preprocessing.size, preprocessing.fit, preprocessing.shorter)
    return fit_picture(picture, placement, preprocessing.interpolation)


def _values(pixels: np.ndarray, preprocessing: Preprocessing, dtype: str) -> np.ndarray:
    """(H, W, C) uint8 → the same shape in `dtype`."""
    try:
        target = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"a picture cannot be fed as {dtype}") from error
    values: NDArray[np.floating[Any]] = pixels.astype(np.float64 if target == np.float64 else np.float32)
    mean, std = (np.asarray(numbers, values.dtype) for numbers in (preprocessing.mean, preprocessing.std))
    with np.errstate(all="ignore"):
        values = (values / preprocessing.divide - mean) / std
        if target.kind in "iu":
            limits = np.iinfo(target)
            values = np.clip(np.rint(values), limits.min, limits.max)
        return np.asarray(values, target)
