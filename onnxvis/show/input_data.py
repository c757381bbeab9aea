"""One input of a page as plain data for JSON: its predictions, boxes, heatmaps, and the numbers of its feature maps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxvis.measure.channels import ChannelStatistics
    from onnxvis.show.class_map import ClassMapCard
    from onnxvis.show.excited import ChannelCard
    from onnxvis.show.found import BoxCard, FoundCard
    from onnxvis.show.page import Fact, HeatmapCard, InputCard, MapCard, OutputCard, Score
    from onnxvis.show.trust import TrustCard

__all__ = ["Data", "all_finite", "describe_input", "finite", "port"]

Data = dict[str, Any]


def describe_input(item: InputCard) -> Data:
    """What `data.describe_page` says of one input; "predictions" are those of the first output that has scores."""
    scored = next((output for output in item.outputs if output.scores), None)
    return {
        "path": item.path or item.name,
        "name": item.name,
        "preparation": _facts(item.preparation),
        "notes": list(item.notes),
        "predictions": [_score(score) for score in scored.scores] if scored else [],
        "outputs": [_output(output) for output in item.outputs],
        "detections": _detections(item.found) if item.found else None,
        "class_maps": [_class_map(card) for card in item.class_maps],
        "heatmaps": [_heatmap(card) for card in item.heatmaps],
        "heatmaps_note": item.heatmaps_note,
        "stages": [_stage_maps(stage) for stage in item.stages],
        "strongest_note": item.strongest_note,
    }


def _stage_maps(stage: MapCard) -> Data:
    data = {**_map(stage), "blocks": [_map(block) for block in stage.children]}
    if stage.strongest is not None:
        data |= {
            "strongest": [_channel(card) for card in stage.strongest.channels],
            "strongest_notes": [*stage.strongest.notes, *stage.strongest.how],
        }
    return data


def _channel(card: ChannelCard) -> Data:
    """ "projected": whether its projection could be had; "window" (y0, x0, y1, x1), half-open, in pixels as fed."""
    patches = [
        {
            "path": one.path,
            "value": finite(one.value),
            "row": one.row,
            "column": one.column,
            "window": list(one.window),
        }
        for one in card.patches
    ]
    peak = {"row": card.row, "column": card.column, "value": finite(card.value)}
    return {"channel": card.channel, "peak": peak, "projected": bool(card.projection), "patches": patches}


def _trust(card: TrustCard) -> Data:
    curves = {"insertion": card.insertion, "deletion": card.deletion}
    data: Data = {
        name: {"area": finite(one.area), "fractions": list(one.fractions), "scores": all_finite(one.scores)}
        for name, one in curves.items()
    }
    return {**data, "score_is": card.kind}


def _detections(found: FoundCard) -> Data:
    return {
        "kind": found.kind,
        "classes": found.classes,
        "least_score": found.least_score,
        "overlap": found.overlap,
        "found": found.found,
        "notes": list(found.notes),
        "boxes": [_box(card) for card in found.boxes],
    }


def _box(card: BoxCard) -> Data:
    box = card.box
    return {
        "index": box.label,
        "label": card.name,
        "score": finite(box.score),
        "box": all_finite((box.x0, box.y0, box.x1, box.y1)),
        "output": box.output,
        "row": box.row,
        "column": box.column,
        "anchor": box.anchor,
        "stride": box.stride,
    }


def _class_map(card: ClassMapCard) -> Data:
    """Of classes that are there; "classes": how many there can be, null where the model does not say."""
    shares = [{"index": item.index, "label": item.label, "share": item.share} for item in card.shares]
    sizes = {"classes": card.classes, "height": card.height, "width": card.width}
    return {"output": card.output, "how": card.how, **sizes, "shares": shares}


def _heatmap(card: HeatmapCard) -> Data:
    return {
        "method": card.method,
        "definition": card.definition,
        "layer": card.layers[0] if card.layers else "",
        "layers": list(card.layers),
        "target": card.target,
        "label": card.label,
        "score": finite(card.score),
        "peak": None if card.peak is None else list(card.peak),
        "notes": list(card.notes),
        "provider": card.provider,
        **({"faithfulness": _trust(card.faithfulness)} if card.faithfulness else {}),
    }


def _facts(facts: Iterable[Fact]) -> list[Data]:
    return [{"label": fact.label, "value": fact.value} for fact in facts]


def _score(score: Score) -> Data:
    return {"index": score.index, "label": score.label, "score": finite(score.score)}


def _output(item: OutputCard) -> Data:
    return {
        **port(item.name, list(item.shape), item.dtype),
        "scores": [_score(score) for score in item.scores],
        "scores_are": item.scores_are,
        "max_abs_difference": finite(item.max_abs_difference),
        "relative_difference": finite(item.relative_difference),
        "note": item.note,
    }


def _map(card: MapCard) -> Data:
    drawn = card.mosaic
    return {
        "name": card.name,
        "tensor": card.tensor,
        "kind": card.kind,
        "part": card.part,
        "shape": [card.channels, card.height, card.width],
        "statistics": _channels(card.statistics) if card.statistics else None,
        "merged": card.merged_how,
        "colours": {"stretch": drawn.stretch, "low": all_finite(drawn.low), "high": all_finite(drawn.high)}
        if drawn
        else None,
        "notes": list(card.notes),
    }


def _channels(found: ChannelStatistics) -> Data:
    """A list for each number, one entry a channel."""
    floats = ("min", "max", "mean", "std", "zero_fraction")
    data: Data = {name: all_finite(getattr(found, name).tolist()) for name in floats}
    return data | {name: getattr(found, name).tolist() for name in ("nan", "inf", "dead")}


def port(name: str, shape: object, dtype: str) -> Data:
    """A tensor of the graph: its name, shape and type."""
    return {"name": name, "shape": shape, "dtype": dtype}


def finite(value: float | None) -> float | None:
    """`value`, None where it is NaN or infinite, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None


def all_finite(values: Iterable[float]) -> list[float | None]:
    """`finite` of each of `values`."""
    return [value if math.isfinite(value) else None for value in values]
