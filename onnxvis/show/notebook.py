"""How results show themselves in a notebook: small pieces of HTML that ask for nothing outside themselves.

Every text that comes from a model passes through markupsafe's escaping, which `Markup.format` applies to each argument.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from onnxvis.graph import cost
from onnxvis.show import text
from onnxvis.show.chart import histogram
from onnxvis.show.colormap import palette
from onnxvis.show.merge import merge
from onnxvis.show.mosaic import mosaic, stretch
from onnxvis.show.png import encode_indexed, encode_rgb

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from onnxvis.graph.blocks import Block
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor
    from onnxvis.measure.activations import Activations
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.measure.weights import WeightNumbers, WeightTable

__all__ = ["activations_html", "heatmap_html", "model_html", "weights_html"]

_MOST_ROWS, _MOST_TENSORS = 200, 12
_MOSAIC_PIXELS = 600_000
_MERGED_SIDE, _HEATMAP_SIDE = 160, 320
_TABLE = Markup('<table><thead><tr>{}</tr></thead><tbody style="font-variant-numeric: tabular-nums">{}</tbody></table>')


def model_html(model: Model) -> str:
    """What the model is, in a few lines, and its stages as a table."""
    lines = [
        ("opset", str(model.opset)),
        ("made by", text.clean(model.producer, 200) or "unknown"),
        ("parameters", text.count(cost.parameters(model))),
        ("multiply-accumulates", text.count(cost.macs(model.view))),
        *(("input", _port(item)) for item in model.inputs[:_MOST_TENSORS]),
        *(("output", _port(item)) for item in model.outputs[:_MOST_TENSORS]),
    ]
    rest = len(model.inputs[_MOST_TENSORS:]) + len(model.outputs[_MOST_TENSORS:])
    facts = Markup("<br>").join(
        [*(Markup("{}: {}").format(*line) for line in lines), *_more(rest, "inputs and outputs")]
    )
    stages = model.stages()
    rows = [(text.shorten(item.name, 40), _size(item), text.shorten(item.output, 80)) for item in stages]
    table = _table(("stage", "channels × height × width", "tensor"), rows) if rows else Markup("<p>no stages</p>")
    more = _more(rest, "inputs and outputs")
    return Markup("<div><b>{}</b><p>{}</p>{}{}</div>").format(text.clean(model.name, 200), facts, more, table)


def weights_html(table: WeightTable) -> str:
    """The first 200 weights as a table, a histogram each, and how many more there are."""
    titles = ("weight", "role", "shape", "dtype", "mean", "std", "min", "max", "zeros", "histogram")
    rows = [_weight(item) for item in table.weights[:_MOST_ROWS]]
    total = sum(item.statistics.count for item in table.weights)
    said = [f"{len(table.weights):,} weights, {text.count(total)} parameters"]
    said += [f"{table.left_out:,} tensors of shapes, axes, indices or text left out"] * bool(table.left_out)
    said += [f"not read: {text.clean(reason, 300)}" for reason in table.unread[:_MOST_TENSORS]]
    more = _more(len(table.weights) - len(rows), "weights")
    return Markup("<div>{}{}<p>{}</p></div>").format(_table(titles, rows), more, Markup("<br>").join(said))


def activations_html(found: Activations) -> str:
    """The merged map and the mosaic of each of the first 12 feature maps; for what is no map, its type and shape.

    A mosaic holds as many channels, the first ones, as fit in 600,000 pixels, one at least.
    """
    names = list(found.values)
    pieces = [_maps(name, found) for name in names[:_MOST_TENSORS]]
    return Markup("<div>{}{}</div>").format(
        Markup().join(pieces), Markup().join(_more(len(names) - len(pieces), "tensors"))
    )


def heatmap_html(found: Heatmap) -> str:
    """The map, enlarged, with its method, target, layer and notes."""
    pixels = palette("turbo")[stretch(found.map[None], "none").indices[0]]
    data = base64.b64encode(encode_rgb(pixels)).decode("ascii")
    picture = Markup('<img alt="heatmap" width="{}" style="max-width: 100%" src="data:image/png;base64,{}">').format(
        max(_HEATMAP_SIDE, found.map.shape[1]), data
    )
    layers = ", ".join(text.shorten(name, 80) for name in found.layers) or "the picture itself"
    lines = [f"target {text.clean(str(found.target), 200)}, layer {layers}", *(text.clean(n, 400) for n in found.notes)]
    facts = Markup("<br>").join(lines)
    return Markup("<div><b>{}</b> {}<p>{}</p>{}</div>").format(found.method, found.definition, facts, picture)


def _maps(name: str, found: Activations) -> Markup:
    value = found.values[name]
    title = Markup("<b>{}</b> {} {}").format(text.shorten(name, 80), value.dtype, text.shape(value.shape))
    if not found.is_map(name):
        return Markup("<p>{}</p>").format(title)
    maps = found.maps(name)
    shown = maps[: max(1, _MOSAIC_PIXELS // (maps.shape[1] * maps.shape[2]))]
    merged = _picture(stretch(merge(maps)[None], "tensor").indices[0], "mean of the channels", _MERGED_SIDE)
    what = f"channels 0 to {len(shown) - 1} of {len(maps)}"
    channels = _picture(mosaic(stretch(shown).indices).pixels, what)
    return Markup("<p>{}, {}</p><p>{} {}</p>").format(title, what, merged, channels)


def _picture(indices: NDArray[np.uint8], alt: str, width: int = 0) -> Markup:
    png = base64.b64encode(encode_indexed(indices, palette("viridis"))).decode("ascii")
    size = Markup(' width="{}"').format(width) if width else Markup()
    style = "image-rendering: pixelated; display: inline-block; vertical-align: top; max-width: 100%"
    return Markup('<img alt="{}"{} style="{}" src="data:image/png;base64,{}">').format(alt, size, style, png)


def _weight(item: WeightNumbers) -> tuple[object, ...]:
    found = item.statistics
    bad = [f"{found.nan:,} NaN"] * bool(found.nan) + [f"{found.inf:,} infinite"] * bool(found.inf)
    numbers = (text.number(value) for value in (found.mean, found.std, found.min, found.max))
    drawn = histogram(found.counts, height=24)
    picture = Markup(
        '<svg viewBox="{}" width="120" height="24" preserveAspectRatio="none" role="img" aria-label="histogram">'
        '<path d="{}" fill="currentColor"/></svg>{}'
    ).format(drawn.view_box, drawn.path, " ".join(["", *bad]))
    zeros = "–" if math.isnan(found.zero_fraction) else text.percent(found.zero_fraction)
    name, shape = text.shorten(item.name, 60), text.shape(item.shape)
    return name, text.shorten(item.role, 40), shape, item.dtype, *numbers, zeros, picture


def _table(titles: Iterable[str], rows: Iterable[Iterable[object]]) -> Markup:
    head = Markup().join(Markup("<th>{}</th>").format(title) for title in titles)
    body = Markup().join(
        Markup("<tr>{}</tr>").format(Markup().join(Markup("<td>{}</td>").format(cell) for cell in row)) for row in rows
    )
    return _TABLE.format(head, body)


def _more(count: int, what: str) -> Markup:
    return Markup("<p>and {} more {}</p>").format(f"{count:,}", what) if count > 0 else Markup()


def _port(tensor: Tensor) -> str:
    return f"{text.shorten(tensor.name, 80)}, {tensor.dtype} {text.shape(tensor.shape)}"


def _size(block: Block) -> str:
    return f"{block.channels} × {block.height} × {block.width}"
