"""What stands beside or inside a model about preprocessing, read into flags: one function a convention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from onnxvis.errors import InputError, UsageError
from onnxvis.run.fitting import Interpolation
from onnxvis.run.flags import PreprocessFlags, Size, parse_size
from onnxvis.run.nearby import Table, parse_json

__all__ = ["from_huggingface", "from_image_metadata", "from_our_metadata", "from_sidecar", "from_ultralytics", "stride"]

_KEYS = ("preprocess", "preset", "size", "fit", "interpolation", "mean", "std", "divide", "bgr", "rgb", "shorter")
# Pillow's numbers. Its filters average over the shrunk pixel's whole extent, which of ours only `area` does.
_RESAMPLE: dict[int, Interpolation] = {0: "nearest", 1: "area", 2: "area", 3: "area", 4: "area", 5: "area"}
# (divide, mean) of value = pixel / divide − mean. 16–235 is 16 + pixel · 219 / 255.
_RANGES = {
    "NominalRange_0_255": (1.0, 0.0),
    "Normalized_0_1": (255.0, 0.0),
    "Normalized_1_1": (127.5, 1.0),
    "NominalRange_16_235": (255.0 / 219.0, -16.0),
}


def from_sidecar(table: Table) -> PreprocessFlags:
    """The `[preprocess]` table of MODEL.toml, or our metadata: keys as the flags are called, `preset` for the preset.

    size: a number, [height, width], '224x320' or 'native'. Raises InputError for an unknown key or a wrong type.
    """
    unknown = sorted(set(table.values) - set(_KEYS))
    if unknown:
        raise InputError(f"{table.where} has no setting {unknown[0]!r}; there are {', '.join(_KEYS)}")
    bgr, rgb = table.boolean("bgr"), table.boolean("rgb")
    if bgr is not None and rgb is not None and bgr == rgb:
        raise InputError(f"{table.where}: 'bgr' and 'rgb' cannot both be {str(bgr).lower()}")
    values: dict[str, Any] = {
        "preset": table.text("preset") or table.text("preprocess"),
        "size": _sidecar_size(table),
        "bgr": not rgb if bgr is None and rgb is not None else bgr,
        "fit": table.text("fit"),
        "interpolation": table.text("interpolation"),
        "mean": table.numbers("mean"),
        "std": table.numbers("std"),
        "divide": table.number("divide"),
        "shorter": table.integer("shorter"),
    }
    return PreprocessFlags(**values)


def _sidecar_size(table: Table) -> Size | None:
    text = table.values.get("size")
    if not isinstance(text, str):
        return table.sides("size")
    try:
        return parse_size(text)
    except UsageError as error:
        raise table.refuse("size", "a number, [height, width], 'HEIGHTxWIDTH' or 'native'") from error


def from_our_metadata(metadata: Mapping[str, str]) -> PreprocessFlags | None:
    """The entry `onnxvis.preprocess`: JSON with the fields of Preprocessing; a size of null is the picture's own."""
    text = metadata.get("onnxvis.preprocess")
    if text is None:
        return None
    where = "the model's metadata onnxvis.preprocess"
    content = parse_json(text, where)
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a JSON object, not {type(content).__name__}")
    if "size" in content and content["size"] is None:
        content = {**content, "size": "native"}
    return from_sidecar(Table(where, content))


def from_huggingface(table: Table) -> PreprocessFlags:
    """A `preprocessor_config.json`: resize, centre crop, rescale, normalise, channel order, all fields settled.

    Resampling by bilinear, bicubic and the like becomes `area`: Pillow's filters smooth before shrinking, OpenCV's do
    not. `longest_edge`, padding to a multiple, and a stretch before a centre crop are not followed.
    Raises InputError for a wrong type.
    """
    resample = table.integer("resample")
    if resample is not None and resample not in _RESAMPLE:
        raise table.refuse("resample", "a filter number of Pillow, 0 to 5")
    divide = _huggingface_divide(table)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    if table.boolean("do_normalize") is not False:
        mean, std = table.numbers("image_mean") or mean, table.numbers("image_std") or std
    if table.boolean("rescale_offset") and table.boolean("do_rescale") is not False:
        # value = (pixel · factor − 1 − mean) / std
        mean = tuple(value + 1 for value in mean)
    return replace(
        _huggingface_geometry(table),
        preset="raw",
        interpolation=_RESAMPLE[2 if resample is None else resample],
        mean=mean,
        std=std,
        divide=divide,
        bgr=bool(table.boolean("do_flip_channel_order")),
    )


def _huggingface_divide(table: Table) -> float:
    if table.boolean("do_rescale") is False:
        return 1.0
    factor = table.number("rescale_factor")
    if factor == 0:
        raise table.refuse("rescale_factor", "a number other than 0")
    divide = 255.0 if factor is None else 1 / factor
    # 0.00392156862745098 is 1 / 255 in as many digits as were written.
    return round(divide, 3) if abs(divide - round(divide, 3)) < 1e-6 else divide


def _huggingface_geometry(table: Table) -> PreprocessFlags:
    """Size, fit and shorter side."""
    crop = _huggingface_sides(table, "crop_size") if table.boolean("do_center_crop") else None
    if table.boolean("do_resize") is False or "size" not in table:
        return PreprocessFlags(size=crop or "native", fit="crop" if crop else "stretch")
    size = _huggingface_sides(table, "size")
    edge = _shortest_edge(table)
    percent = table.number("crop_pct")
    if edge is not None and percent and "crop_size" not in table:
        # ConvNeXt: below 384 the shorter side is edge / crop_pct, then cropped; from there on stretched.
        if edge >= 384:
            return PreprocessFlags(size=(edge, edge), fit="stretch")
        return PreprocessFlags(size=(edge, edge), fit="crop", shorter=int(edge / percent))
    if crop is not None:
        return PreprocessFlags(size=crop, fit="crop", shorter=edge or (min(size) if size else None))
    if edge is not None and isinstance(table.values["size"], dict):
        return PreprocessFlags(size="native", fit="crop", shorter=edge)
    return PreprocessFlags(size=size or "native", fit="stretch")


def _huggingface_sides(table: Table, key: str) -> tuple[int, int] | None:
    if not isinstance(table.values.get(key), dict):
        return table.sides(key)
    inner = cast("Table", table.table(key))
    height, width = inner.integer("height"), inner.integer("width")
    return (height, width) if height is not None and width is not None else None


def _shortest_edge(table: Table) -> int | None:
    if isinstance(table.values["size"], dict):
        return cast("Table", table.table("size")).integer("shortest_edge")
    return table.integer("size") if isinstance(table.values["size"], int) else None


def from_ultralytics(metadata: Mapping[str, str]) -> PreprocessFlags | None:
    """What Ultralytics exports (`task`, `stride`, `imgsz`, `names`): letterbox, or crop for a classifier; 0–1."""
    if "names" not in metadata or not {"task", "stride", "imgsz"} & set(metadata):
        return None
    size = _ultralytics_size(metadata.get("imgsz", ""))
    if metadata.get("task") == "classify":
        edge = min(size) if size else None
        return PreprocessFlags("unit", size, "crop", shorter=edge, bgr=False)
    return PreprocessFlags("yolo", size, bgr=False)


def _ultralytics_size(text: str) -> tuple[int, int] | None:
    """'[640, 480]' → (640, 480)."""
    try:
        sides = json.loads(text[:100])
    except (ValueError, RecursionError):
        return None
    sides = [sides, sides] if isinstance(sides, int) else sides
    fitting = isinstance(sides, list) and len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    return (sides[0], sides[1]) if fitting else None


def from_image_metadata(metadata: Mapping[str, str]) -> PreprocessFlags | None:
    """ONNX's own `Image.BitmapPixelFormat` and `Image.NominalPixelRange` (docs/MetadataProps.md), as WinML reads them.

    Nothing there speaks of geometry: the picture is cropped to the model's proportions, as WinML does.
    `Image.ColorSpaceGamma` Linear is not followed; pixels stay as they are stored.
    """
    order = metadata.get("Image.BitmapPixelFormat", "").lower()
    limits = metadata.get("Image.NominalPixelRange")
    if not order and limits is None:
        return None
    divide, mean = _RANGES.get(limits or "NominalRange_0_255", (1.0, 0.0))
    return PreprocessFlags("raw", fit="crop", divide=divide, mean=(mean,), std=(1.0,), bgr=order.startswith("bgr"))


def stride(metadata: Mapping[str, str]) -> int:
    """The multiple that sides must have by the model's metadata (Ultralytics' `stride`); 1 where nothing is said."""
    text = metadata.get("stride", "").strip()
    return int(text) if text.isdecimal() and len(text) < 5 and int(text) > 0 else 1
