"""Heads that a model declares in its metadata, `onnxvis.detector`. Nothing in it is trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.measure.boxes.heads import Head, Heads
from onnxvis.run.nearby import LIMIT, Table, parse_json

__all__ = ["KEY", "declared_heads"]

KEY = "onnxvis.detector"
_MOST_HEADS, _MOST_ANCHORS, _MOST_CLASSES, _LARGEST = 64, 64, 1_000_000, 1e6


def declared_heads(text: str, shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int]) -> Heads:
    """The heads that metadata `text` declares, for outputs of these `shapes` and an input of `size` (height, width).

    Raises InputError, naming the key, for whatever is not as it must be or does not fit the outputs.
    """
    where = f"metadata {KEY}"
    if len(text) > LIMIT:
        raise InputError(f"{where} is longer than {LIMIT:,} characters")
    content = parse_json(text, where)
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a JSON object")
    table = Table(where, content)
    if table.text("kind") != "yolo":
        raise table.refuse("kind", "'yolo'")
    classes = table.integer("classes")
    if classes is None or not 1 <= classes <= _MOST_CLASSES:
        raise table.refuse("classes", f"a whole number in 1–{_MOST_CLASSES}")
    entries = content.get("heads")
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MOST_HEADS:
        raise table.refuse("heads", f"a list of 1 to {_MOST_HEADS} heads")
    heads = tuple(
        _head(entry, f"{where}: heads[{place}]", classes, shapes, size) for place, entry in enumerate(entries)
    )
    if len({head.output for head in heads}) < len(heads):
        raise InputError(f"{where}: heads name an output twice")
    return Heads("YOLOv3 heads", classes, heads, objectness=True)


def _head(
    entry: object, where: str, classes: int, shapes: Mapping[str, tuple[int, ...]], size: tuple[int, int]
) -> Head:
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be an object, not {type(entry).__name__}")
    table = Table(where, entry)
    output, stride = table.text("output"), table.integer("stride")
    if output is None or output not in shapes:
        raise table.refuse("output", f"an output with numbers: {', '.join(map(one_line, shapes)) or 'there is none'}")
    if stride is None or not 1 <= stride <= max(size):
        raise table.refuse("stride", "the pixels of the input that a cell stands for")
    anchors = _anchors(table)
    scale, squared = table.number("scale_xy"), table.boolean("new_coords") or False
    if scale is not None and not 0 < scale <= 10:
        raise table.refuse("scale_xy", "a number in 0–10")
    rows, columns = size[0] // stride, size[1] // stride
    wanted = (len(anchors) * (5 + classes), rows, columns)
    if shapes[output][1:] != wanted or (rows * stride, columns * stride) != size:
        raise InputError(
            f"{where}: output '{one_line(output)}' should be {list(wanted)} without the batch for {len(anchors)} "
            f"anchors, {classes} classes and stride {stride} at {size[0]}×{size[1]}; it is {list(shapes[output][1:])}"
        )
    return Head(
        output, stride, rows, columns, len(anchors), "channels",
        anchors=anchors, scale_xy=1.0 if scale is None else scale, activated=squared, squared=squared,
    )  # fmt: skip


def _anchors(table: Table) -> tuple[tuple[float, float], ...]:
    pairs: Any = table.values.get("anchors")
    if not isinstance(pairs, list) or not 1 <= len(pairs) <= _MOST_ANCHORS or not all(map(_is_pair, pairs)):
        raise table.refuse("anchors", f"a list of 1 to {_MOST_ANCHORS} pairs [width, height] above 0")
    return tuple((float(width), float(height)) for width, height in pairs)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(
        isinstance(side, int | float) and not isinstance(side, bool) and 0 < side <= _LARGEST for side in pair
    )  # fmt: skip
