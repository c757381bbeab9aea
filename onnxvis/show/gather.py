"""The facts of a model as the page's cards: what it is, its weights, its layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from onnxvis.errors import InputError, ModelError
from onnxvis.files import one_line
from onnxvis.graph import cost
from onnxvis.graph.kernels import Kernel, find_kernels, read_kernel
from onnxvis.measure.weights import measure_weights
from onnxvis.run.installation import packages
from onnxvis.show.depth import DepthChart, depth_charts, reading_order
from onnxvis.show.kernels import draw_kernels
from onnxvis.show.page import Fact, KernelCard, LayerRow, ModelCard, Port
from onnxvis.show.text import shape

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor
    from onnxvis.measure.weights import WeightNumbers

__all__ = [
    "FILTERS_SHOWN",
    "kernel_cards",
    "layer_rows",
    "model_card",
    "versions",
    "weight_cards",
    "weights_over_depth",
]

FILTERS_SHOWN = 256
"""Filters of one layer that the page shows."""

_METADATA_SHOWN, _METADATA_LENGTH, _UNREAD_SHOWN = 30, 300, 5


def model_card(model: Model) -> ModelCard:
    """What the file is, with parameters and multiply-accumulates for the assumed input sizes."""
    beside = model.files - {model.path.resolve()}
    metadata = [Fact(key, one_line(value, _METADATA_LENGTH)) for key, value in model.metadata.items()]
    return ModelCard(
        file=model.path.name,
        size_bytes=model.size,
        sha256=model.sha256,
        producer=model.producer,
        opset=str(model.opset),
        parameters=cost.parameters(model),
        macs=cost.macs(model.view),
        inputs=tuple(_port(model, tensor) for tensor in model.inputs),
        outputs=tuple(Port(tensor.name, tensor.shape, tensor.dtype) for tensor in model.outputs),
        nodes=len(model.view.nodes),
        external_bytes=sum(file.stat().st_size for file in beside),
        metadata=tuple(metadata[:_METADATA_SHOWN]),
    )


def layer_rows(model: Model) -> tuple[LayerRow, ...]:
    """Every tensor of the graph with its place in the network."""
    return tuple(LayerRow(t.name, t.op, t.shape, t.dtype, t.part, t.stage, t.block) for t in model.tensors())


def weight_cards(
    model: Model, *, bins: int = 50, threads: int = 1, progress: Callable[[int, int], None]
) -> tuple[tuple[WeightNumbers, ...], str]:
    """The numbers and histogram of every stored tensor of real values, and a note on what was left out.

    `progress` is told how many of how many tensors are done.
    Raises the errors of `measure_weights`.
    """
    table = measure_weights(model, bins=bins, threads=threads, progress=progress)
    notes = []
    if table.left_out:
        notes.append(f"Left out: {table.left_out} tensors that carry shapes, axes, indices, settings or text.")
    if table.unread:
        notes.append(f"{len(table.unread)} could not be read: {'; '.join(table.unread[:_UNREAD_SHOWN])}.")
    return table.weights, " ".join(notes)


def weights_over_depth(model: Model, weights: Sequence[WeightNumbers]) -> tuple[DepthChart, ...]:
    """A chart for each role with two weights or more, in the order in which the main graph uses them.

    Passed over are zero points, whose height says nothing, and single numbers that arithmetic adds or multiplies by,
    which are no parameters of a layer.
    """
    shown = [item for item in weights if item.role != "zero point" and not _is_a_number(item)]
    charts = depth_charts(shown, reading_order(model.view))
    return tuple(chart for chart in charts if len(chart.points) > 1)


def _is_a_number(item: WeightNumbers) -> bool:
    return item.statistics.count == 1 and item.op in ("Add", "Sub", "Mul", "Div")


def kernel_cards(
    model: Model, *, bgr: bool = False, threads: int = 1, progress: Callable[[int, int], None]
) -> tuple[tuple[KernelCard, ...], str]:
    """The kernels of every convolution as pictures, in graph order, and a note on what is not drawn.

    At most 256 filters of each, the first. `bgr`: the model is fed blue first, which the colours of the first
    convolution then follow. `threads` are drawn at a time; `progress` is told how many of how many are done.
    """
    kernels = find_kernels(model)

    def draw(kernel: Kernel) -> KernelCard | str:
        try:
            weights = read_kernel(model, kernel)
            drawn = draw_kernels(weights, rgb=kernel.reads_picture, bgr=bgr, limit=FILTERS_SHOWN)
        except (InputError, ModelError, ValueError) as error:
            return f"{one_line(kernel.weight, 60)}: {one_line(error)}"
        model.weights.release()
        return KernelCard(kernel, drawn)

    found = []
    with ThreadPoolExecutor(threads) as pool:
        for done, card in enumerate(pool.map(draw, kernels), 1):
            found.append(card)
            progress(done, len(kernels))
    cards = tuple(card for card in found if isinstance(card, KernelCard))
    undrawn = [reason for reason in found if isinstance(reason, str)]
    notes = []
    if any(card.drawn.shown < card.drawn.filters for card in cards):
        every = f"onnxvis weights {one_line(model.path.name)} -o DIR"
        notes.append(f"At most {FILTERS_SHOWN} filters of a layer are shown; all: {every}.")
    if undrawn:
        notes.append(f"{len(undrawn)} could not be drawn: {'; '.join(undrawn[:_UNREAD_SHOWN])}.")
    return cards, " ".join(notes)


def versions() -> tuple[Fact, ...]:
    """The packages that took part, with their versions."""
    return tuple(Fact("Python" if name == "python" else name, number) for name, number in packages().items())


def _port(model: Model, tensor: Tensor) -> Port:
    assumed = model.assumed_shapes.get(tensor.name)
    note = f"seen here at {shape(assumed)}" if assumed and assumed != tensor.shape else ""
    return Port(tensor.name, tensor.shape, tensor.dtype, note)
