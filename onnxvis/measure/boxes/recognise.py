"""Which heads of known kinds a model's outputs hold, judged by their shapes.

Only what fits exactly is taken for a head: an output that is merely like one stays what it is, raw numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from onnxvis.errors import InputError
from onnxvis.files import one_line
from onnxvis.measure.boxes.declared import KEY, declared_heads
from onnxvis.measure.boxes.flags import DetectorFlags
from onnxvis.measure.boxes.heads import Form, Head, Heads

__all__ = ["recognise"]

_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Of outputs that hold several grids."""
_RAW_STRIDES = (8, 16, 32, 64)
_NO_ANCHORS = "look like raw heads of the YOLOv3 family; give --anchors, as in the network's cfg, to see boxes"

Shapes = Mapping[str, tuple[int, ...]]
Size = tuple[int, int]
Found = tuple[Heads | None, str]


def recognise(
    shapes: Shapes, size: Size, metadata: Mapping[str, str], flags: DetectorFlags, named: int | None = None
) -> Found:
    """The heads among outputs of these shapes (with the batch), for an input of `size` (height, width); else why not.

    In this order: what the metadata declares, see `declared_heads`, unless flags say otherwise; YOLOv5's decoded rows
    (N, P, 5 + C), P = 3 · Σ H/s · W/s over the strides s; YOLOv8's decoded columns (N, 4 + C, P), P = Σ H/s · W/s; raw
    heads of YOLOv3 (N, A · (5 + C), H/s, W/s), or channels last, and of YOLOv5 (N, A, H/s, W/s, 5 + C), which need
    anchors. `named`: how many classes the metadata names. The reason is '' where nothing is like any head.
    """
    if flags.kind == "none":
        return None, ""
    if KEY in metadata and flags.kind in ("auto", "yolov3") and not flags.anchors:
        try:
            return declared_heads(metadata[KEY], shapes, size), ""
        except InputError as error:
            return None, str(error)
    told = flags.classes or named
    ways = [_rows, _columns, _raw]
    reasons = []
    for way in reversed(ways) if flags.anchors else ways:
        heads, reason = way(shapes, size, flags, told)
        if heads is not None:
            return heads, ""
        reasons.append(reason)
    told_why = next(filter(None, reasons), "")
    if not told_why and flags.kind != "auto":
        told_why = f"no output has the shape of {flags.kind}'s heads at {size[0]}×{size[1]}"
    return None, told_why


def _rows(shapes: Shapes, size: Size, flags: DetectorFlags, told: int | None) -> Found:
    """(N, P, 5 + C) of YOLOv5, three boxes a cell."""
    if flags.kind not in ("auto", "yolov5"):
        return None, ""
    for name, shape in shapes.items():
        if (
            len(shape) == 3
            and shape[2] > 5
            and not _is_paired(shape, shapes)
            and (strides := _grids(size, shape[1], 3))
        ):
            heads = tuple(_several(name, size, strides, 3, "rows"))
            return _with_classes("YOLOv5 rows", heads, shape[2] - 5, shapes, size, told), ""
    return None, ""


def _columns(shapes: Shapes, size: Size, flags: DetectorFlags, told: int | None) -> Found:
    """(N, 4 + C, P) of YOLOv8; (N, P, 4 + C) only where the classes are known, since YOLOX's (N, P, 5 + C) looks so."""
    if flags.kind not in ("auto", "yolov8"):
        return None, ""
    for name, shape in shapes.items():
        if (
            len(shape) == 3
            and shape[1] > 4
            and not _is_paired(shape, shapes)
            and (strides := _grids(size, shape[2], 1))
        ):
            heads = tuple(_several(name, size, strides, 1, "columns"))
            return _with_classes("YOLOv8 columns", heads, shape[1] - 4, shapes, size, told), ""
    for name, shape in shapes.items():
        if (
            len(shape) == 3
            and shape[2] > 4
            and not _is_paired(shape, shapes)
            and (strides := _grids(size, shape[1], 1))
        ):
            if flags.kind == "yolov8" or told == shape[2] - 4:
                heads = tuple(_several(name, size, strides, 1, "rows"))
                return _with_classes("YOLOv8 rows", heads, shape[2] - 4, shapes, size, told), ""
            return None, (
                f"output '{one_line(name)}' may hold boxes of YOLOv8 in rows, or of YOLOX; give --detector yolov8 "
                "where it is the first"
            )
    return None, ""


def _is_paired(shape: tuple[int, ...], shapes: Shapes) -> bool:
    """Whether another output has the boxes that go with these numbers, four for each: then these are scores alone."""
    return (*shape[:2], 4) in shapes.values() or (shape[0], 4, *shape[2:]) in shapes.values()


def _grids(size: Size, count: int, boxes: int) -> tuple[int, ...]:
    """The strides of grids that together have `count` boxes, () where there are none."""
    for strides in _STRIDES:
        fits = not size[0] % strides[-1] and not size[1] % strides[-1]
        if fits and count == boxes * sum((size[0] // stride) * (size[1] // stride) for stride in strides):
            return strides
    return ()


def _several(name: str, size: Size, strides: tuple[int, ...], boxes: int, form: Form) -> Iterator[Head]:
    first = 0
    for stride in strides:
        rows, columns = size[0] // stride, size[1] // stride
        yield Head(name, stride, rows, columns, boxes, form, first)
        first += boxes * rows * columns


def _with_classes(
    kind: str, heads: tuple[Head, ...], numbers: int, shapes: Shapes, size: Size, told: int | None
) -> Heads:
    """How many of a box's last `numbers` are classes: as many as are named; without the coefficients of masks, where an
    output (N, coefficients, H/4, W/4) holds the masks; else all."""
    quarter = (size[0] // 4, size[1] // 4)
    masks = next((s[1] for s in shapes.values() if len(s) == 4 and s[2:] == quarter and s[1] < numbers), 0)
    classes = told if told and told <= numbers else numbers - masks
    more = numbers - classes
    notes = (f"{more} more numbers of each box are no class scores and are not read",) if more else ()
    return Heads(kind, classes, heads, kind == "YOLOv5 rows", notes)


@dataclass(frozen=True)
class _Group:
    """Outputs of the same channels (of all boxes of a cell, or of one where `boxes` is known), by stride."""

    form: Form
    numbers: int
    boxes: int
    outputs: dict[int, str]


def _raw(shapes: Shapes, size: Size, flags: DetectorFlags, told: int | None) -> Found:
    """Two or more grids of the same channels, each at another stride; the finest gets the first anchors."""
    if flags.kind == "yolov8":
        return None, ""
    reason = ""
    for group in _groups(shapes, size):
        names = ", ".join(f"'{one_line(name, 40)}'" for name in group.outputs.values())
        if not flags.anchors:
            like = group.boxes > 0 or (group.numbers % 3 == 0 and group.numbers // 3 > 5)
            reason = reason or (f"outputs {names} {_NO_ANCHORS}" if like else "")
            continue
        boxes, left = divmod(len(flags.anchors), len(group.outputs))
        numbers, over = (group.numbers, 0) if group.boxes else divmod(group.numbers, max(boxes, 1))
        wanted = told if flags.classes else None
        if left or over or numbers < 6 or group.boxes not in (0, boxes) or wanted not in (None, numbers - 5):
            reason = reason or (
                f"{len(flags.anchors)} anchors cannot be dealt to outputs {names} of {group.numbers} numbers: each "
                "cell has A · (5 + classes) numbers for A anchors"
            )
            continue
        squared = flags.kind == "yolov5" or (flags.kind == "auto" and group.form == "stacked")
        return _dealt(group, boxes, numbers - 5, size, flags, squared), ""
    return None, reason


def _groups(shapes: Shapes, size: Size) -> Iterator[_Group]:
    found: dict[tuple[Form, int, int], dict[int, str] | None] = {}
    for name, shape in shapes.items():
        for form, rows, columns, numbers, boxes in _grid_forms(shape):
            stride = size[0] // max(rows, 1)
            if stride not in _RAW_STRIDES or (rows * stride, columns * stride) != size:
                continue
            group = found.setdefault((form, numbers, boxes), {})
            # two outputs of the same stride and channels: which of them is the head is not said
            found[form, numbers, boxes] = None if group is None or stride in group else {**group, stride: name}
    for (form, numbers, boxes), group in found.items():
        if group is not None and len(group) >= 2:
            yield _Group(form, numbers, boxes, dict(sorted(group.items())))


def _grid_forms(shape: tuple[int, ...]) -> Iterator[tuple[Form, int, int, int, int]]:
    """(form, rows, columns, numbers, boxes or 0) that an output may have."""
    if len(shape) == 4:
        yield "channels", shape[2], shape[3], shape[1], 0
        yield "channels last", shape[1], shape[2], shape[3], 0
    elif len(shape) == 5:
        yield "stacked", shape[2], shape[3], shape[4], shape[1]


def _dealt(group: _Group, boxes: int, classes: int, size: Size, flags: DetectorFlags, squared: bool) -> Heads:
    plain = Head("", 1, 1, 1, boxes, group.form, scale_xy=2.0 if squared else flags.scale_xy, squared=squared)
    heads = tuple(
        replace(
            plain, output=name, stride=stride, rows=size[0] // stride, columns=size[1] // stride,
            anchors=flags.anchors[place * boxes : (place + 1) * boxes],
        )
        for place, (stride, name) in enumerate(group.outputs.items())
    )  # fmt: skip
    return Heads("YOLOv5 heads" if squared else "YOLOv3 heads", classes, heads, objectness=True)
