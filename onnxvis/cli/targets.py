"""What can be explained of an input: `onnxvis heatmap MODEL INPUT --list-targets`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.boxes.detections import Box
    from onnxvis.measure.boxes.flags import DetectorFlags
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels
    from onnxvis.run.session import RunOptions

__all__ = ["find_targets", "targets_table"]

_BEST = 5
_NAME_WIDTH = 40
_SMALL = 0.01


def find_targets(
    model: Model, item: PreparedInput, labels: Labels | None, flags: DetectorFlags, options: RunOptions
) -> dict[str, Any]:
    """What a target may be for this input, as data for JSON: boxes, classes, and every output with numbers.

    "boxes": "target", "index", "label", "score", "box" x0, y0, x1, y1, "output", "row", "column", "anchor" and
    "stride", and where none reaches the least score the strongest candidate alone; "classes": of the first output with
    class scores, "target" 'top' first; "outputs": "target" as the form of an index; "notes". Raises the errors of
    running.
    """
    from onnxvis.measure.activations import run_deployed
    from onnxvis.measure.boxes.detections import detect, why_raw

    (outputs,), _ = run_deployed(model, [item.feeds], options)
    found = detect(model, item.feeds, outputs, flags)
    boxes, notes = (found.boxes, found.notes) if found else ((), ())
    if found and not boxes:
        boxes, notes = _strongest(model, item, outputs, flags, notes)
    reason = "" if found else why_raw(model, item.feeds, outputs, flags)
    return {
        "input": str(item.path),
        "kind": found.kind if found else "",
        "boxes": [_box(place, box, labels) for place, box in enumerate(boxes)],
        "classes": [] if found else _classes(outputs, labels),
        "outputs": [_output(name, value) for name, value in outputs.items() if _has_numbers(value)],
        "notes": [*notes, *([reason] if reason else [])],
    }


def targets_table(found: Mapping[str, Any]) -> list[str]:
    """The same as lines of text: boxes first, then classes, then outputs."""
    from onnxvis.files import one_line
    from onnxvis.show.text import shape

    boxes: list[tuple[str, ...]] = [
        (
            box["target"], f"{box['label']} {_score(box['score'])}", " ".join(f"{side:.1f}" for side in box["box"]),
            f"{one_line(box['output'], _NAME_WIDTH)} row {box['row']} column {box['column']}",
        )
        for box in found["boxes"]
    ]  # fmt: skip
    classes: list[tuple[str, ...]] = [
        (one["target"], f"{one['index']} {one['label']}".rstrip(), f"{one['score']:.4g}") for one in found["classes"]
    ]
    outputs: list[tuple[str, ...]] = [
        (one_line(one["target"], 120), shape(tuple(one["shape"]))) for one in found["outputs"]
    ]
    return [line for rows in (boxes, classes, outputs) for line in _aligned(rows)]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _score(score: float) -> str:
    return f"{score:.2f}" if score >= _SMALL else f"{score:.2g}"


def _strongest(
    model: Model, item: PreparedInput, outputs: Mapping[str, Any], flags: DetectorFlags, notes: tuple[str, ...]
) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """What box:0 means where no box is strong enough, and `notes` with why; no box where all are broken."""
    from onnxvis.errors import UsageError
    from onnxvis.measure.boxes.chosen import choose

    try:
        chosen = choose(model, item.feeds, outputs, "box:0", flags)
    except UsageError as error:
        return (), (*notes, str(error))
    return (chosen.box,), (*notes, *chosen.notes)


def _box(place: int, box: Box, labels: Labels | None) -> dict[str, Any]:
    kept = {key: value for key, value in asdict(box).items() if key in ("output", "row", "column", "anchor", "stride")}
    return {
        "target": f"box:{place}",
        "index": box.label,
        "label": labels.name(box.label) if labels is not None else f"class {box.label}",
        "score": box.score,
        "box": [box.x0, box.y0, box.x1, box.y1],
        **kept,
    }


def _classes(outputs: Mapping[str, Any], labels: Labels | None) -> list[dict[str, Any]]:
    """The best classes, the first as 'top', the others by their number."""
    from onnxvis.measure.predictions import class_scores

    scored = next((scores for value in outputs.values() if (scores := class_scores(value, _BEST))), None)
    return [
        {
            "target": str(one.index) if place else "top",
            "index": one.index,
            "label": labels.name(one.index) if labels is not None and one.index in labels.names else "",
            "score": one.score,
        }
        for place, one in enumerate(scored.best if scored else ())
    ]


def _has_numbers(value: object) -> bool:
    import numpy as np

    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim >= 1 and value.size > 0


def _output(name: str, value: Any) -> dict[str, Any]:
    letters = [f"0–{size - 1}" for size in value.shape[1:]]
    return {"target": f"{name}:{','.join(letters)}" if letters else name, "output": name, "shape": list(value.shape)}
