"""Results as plain data for JSON: what stands on the page and in the tables, with every number at full precision.

Only dicts, lists, texts, numbers and None: NaN and infinity, which JSON does not have, become None. Keys may be added
in later versions, not renamed. What varies from run to run stands in the one object `run`.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from onnxvis.graph import cost
from onnxvis.show.input_data import Data, all_finite, describe_input, finite, port
from onnxvis.version import __version__

if TYPE_CHECKING:
    from onnxvis.graph.blocks import Block
    from onnxvis.graph.load import Model
    from onnxvis.measure.statistics import TensorStatistics
    from onnxvis.measure.weights import WeightNumbers, WeightTable
    from onnxvis.show.page import KernelCard, Page, RunCard

__all__ = ["SCHEMA_VERSION", "describe_layers", "describe_page", "describe_weights", "to_json"]

SCHEMA_VERSION = 1


def to_json(data: Data) -> bytes:
    """`data` as UTF-8 JSON, the same bytes for the same data. Raises ValueError where it holds NaN or infinity."""
    return json.dumps(data, allow_nan=False).encode() + b"\n"


def describe_layers(model: Model) -> Data:
    """The model, its stages, and every tensor with its place: what `onnxvis layers --json` prints.

    A tensor that a local function makes has an "origin", the name by which it can be asked for as well.
    """
    return {
        **_head(),
        "model": {
            "path": str(model.path),
            "sha256": model.sha256,
            "producer": model.producer,
            "opset": model.opset,
            "parameters": cost.parameters(model),
            "macs": cost.macs(model.view),
            "inputs": [port(tensor.name, tensor.shape, tensor.dtype) for tensor in model.inputs],
            "outputs": [port(tensor.name, tensor.shape, tensor.dtype) for tensor in model.outputs],
            "assumed_shapes": {name: list(shape) for name, shape in model.assumed_shapes.items()},
        },
        "stages": [_stage(stage) for stage in model.stages()],
        "parts": [{"name": part.name, "kind": part.kind, "output": part.output} for part in model.parts],
        "tensors": [
            {
                **port(t.name, t.shape, t.dtype),
                "op": t.op,
                "part": t.part,
                "stage": t.stage,
                "block": t.block,
                **({"origin": model.function_names[t.name]} if t.name in model.function_names else {}),
            }
            for t in model.tensors()
        ],
    }


def describe_weights(table: WeightTable) -> Data:
    """Every weight with its numbers and histogram: what `onnxvis weights --json` prints.

    "left_out": how many stored tensors carry only shapes, axes, indices or text; "unread": why each of the others that
    are missing could not be read.
    """
    weights = [_weight(item) for item in table.weights]
    return {**_head(), "weights": weights, "left_out": table.left_out, "unread": list(table.unread)}


def describe_page(model: Model, page: Page) -> Data:
    """Everything that stands on `page`, the report on `model`: what `onnxvis report --json-file` writes.

    As `describe_layers`, with the weights as in `describe_weights`, the kernels that were drawn, and for each input
    its predictions, its outputs, its heatmaps, and every channel's numbers for each stage and block; "detections": the
    boxes of a detector, strongest first, each with its class ("index", "label"), corners "box" [x0, y0, x1, y1] in
    pixels of the picture as it is fed, and the place in "output" that it was predicted at, null for other models;
    "class_maps": each class's share of the places, for every output that gives them one. Where they are shown, a stage
    has its "strongest" channels, strongest first, each with its "peak" (row and column in its map, value) and the
    "patches" of other pictures that excite it most; a heatmap has its "faithfulness", the areas and points of its
    insertion and deletion curves. Pictures are not in it.
    """
    layers = describe_layers(model)
    card = page.model
    notes = {port.name: port.note for port in card.inputs if port.note}
    facts = {
        "file": card.file,
        "size_bytes": card.size_bytes,
        "external_bytes": card.external_bytes,
        "nodes": card.nodes,
        "metadata": dict(model.metadata),
        "input_notes": notes,
    }
    return {
        **layers,
        "model": {**layers["model"], **facts},
        "guess": asdict(page.guess) if page.guess else None,
        "notices": [asdict(notice) for notice in page.notices],
        "inputs": [describe_input(item) for item in page.inputs],
        "weights": [_weight(item) for item in page.weights],
        "weights_note": page.weights_note,
        "kernels": [_kernel(item) for item in page.kernels],
        "kernels_note": page.kernels_note,
        "layers_note": page.layers_note,
        "left_out": [asdict(item) for item in page.left_out],
        "budget_bytes": page.budget_bytes,
        "colormap": page.colormap,
        "run": _run(page.run, page.command),
    }


def _head() -> Data:
    return {"schema_version": SCHEMA_VERSION, "onnxvis_version": __version__}


def _stage(stage: Block) -> Data:
    blocks = [{"name": block.name, "kind": block.kind, "output": block.output} for block in stage.children]
    sizes = {"channels": stage.channels, "height": stage.height, "width": stage.width}
    return {"name": stage.name, "output": stage.output, **sizes, "blocks": blocks}


def _weight(item: WeightNumbers) -> Data:
    data = {
        "name": item.name,
        "role": item.role,
        "op": item.op,
        "storage": item.storage,
        "place": item.place,
        "shape": list(item.shape),
        "dtype": item.dtype,
        **_statistics(item.statistics),
    }
    if item.quantization:
        data["quantization"] = asdict(item.quantization)
    if item.steps:
        data["steps"] = _statistics(item.steps)
    return data


def _statistics(found: TensorStatistics) -> Data:
    return {
        "count": found.count,
        "mean": finite(found.mean),
        "std": finite(found.std),
        "min": finite(found.min),
        "max": finite(found.max),
        "zero_fraction": finite(found.zero_fraction),
        "nan": found.nan,
        "inf": found.inf,
        "histogram": {"counts": found.counts.tolist(), "edges": all_finite(found.edges.tolist())},
    }


def _kernel(item: KernelCard) -> Data:
    drawn = item.drawn
    ends = {"low": finite(drawn.low), "high": finite(drawn.high)}
    return {
        **asdict(item.kernel),
        "drawn": {"what": drawn.what, "filters": drawn.filters, "shown": drawn.shown, **ends},
    }


def _run(run: RunCard | None, command: str) -> Data:
    """What varies from run to run."""
    if run is None:
        return {"command": command}
    return {
        "command": command,
        "date": run.date,
        "provider": run.provider,
        "provider_note": run.provider_note,
        "exact": run.exact,
        "fallback": list(run.fallback),
        "versions": {fact.label: fact.value for fact in run.versions},
        "seconds": dict(run.seconds),
    }
