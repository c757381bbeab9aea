"""The facts of a model as the page's cards: what it is, its weights, its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onnxvis.errors import InputError, ModelError
from onnxvis.files import one_line
from onnxvis.graph import cost
from onnxvis.graph.roles import find_role
from onnxvis.measure.statistics import summarise
from onnxvis.run.installation import packages
from onnxvis.show.page import Fact, LayerRow, ModelCard, Port, WeightCard
from onnxvis.show.text import shape

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.graph.view import Tensor

__all__ = ["layer_rows", "model_card", "versions", "weight_cards"]

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


def weight_cards(model: Model, progress: Callable[[int, int], None]) -> tuple[tuple[WeightCard, ...], str]:
    """A card with numbers and histogram for every stored tensor of real values, and what was left out.

    `progress` is told how many of how many tensors are done.
    """
    every = model.weights.all()
    stored = [item for item in every if item.count and cost.carries_values(model, item)]
    cards: list[WeightCard] = []
    unread: list[str] = []
    for done, item in enumerate(stored, 1):
        role, op = find_role(model.view, item.name) if model.view.has(item.name) else ("", "")
        try:
            numbers = summarise(model.weights.read(item.name))
        except (InputError, ModelError) as error:
            unread.append(str(error))
            continue
        kept_in = f"in {item.place}" if item.place else "initializer"
        cards.append(WeightCard(item.name, role, op, item.shape, item.dtype, numbers, kept_in))
        progress(done, len(stored))
    left = sum(1 for item in every if not cost.carries_values(model, item))
    notes = [f"Left out: {left} tensors of integers or text, which carry shapes, axes or indices."] if left else []
    if unread:
        notes.append(f"{len(unread)} could not be read: {'; '.join(unread[:_UNREAD_SHOWN])}.")
    return tuple(cards), " ".join(notes)


def versions() -> tuple[Fact, ...]:
    """The packages that took part, with their versions."""
    return tuple(Fact("Python" if name == "python" else name, number) for name, number in packages().items())


def _port(model: Model, tensor: Tensor) -> Port:
    assumed = model.assumed_shapes.get(tensor.name)
    note = f"seen here at {shape(assumed)}" if assumed and assumed != tensor.shape else ""
    return Port(tensor.name, tensor.shape, tensor.dtype, note)
