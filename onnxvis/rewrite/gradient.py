"""A model that also computes gradients: of any tensors, by any others, for ONNX Runtime or another runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnxvis.errors import RewriteError, TensorNotFound
from onnxvis.files import one_line
from onnxvis.graph.load import Model
from onnxvis.graph.select import select
from onnxvis.graph.types import element_type
from onnxvis.rewrite.backward import Obstacle, backward, obstacles
from onnxvis.rewrite.prepare import prepare
from onnxvis.rewrite.prune import prune
from onnxvis.rewrite.tape import Choices, Tape, Variant

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

__all__ = ["Gradient", "check_gradient", "differentiate"]


@dataclass(frozen=True)
class Gradient:
    """A model with gradients among its outputs.

    `seeds`: {tensor that is differentiated: the input that takes the gradient it starts from}, of the tensor's shape.
    `gradients`: {tensor that it is differentiated by: the output with its gradient}. `values`: {tensor asked for: the
    output with its value}. `notes`: what a reader of the gradients should know.
    """

    proto: ModelProto
    seeds: dict[str, str]
    gradients: dict[str, str]
    values: dict[str, str]
    notes: tuple[str, ...]


def differentiate(
    model: Model,
    of: Iterable[str],
    wrt: Iterable[str],
    *,
    variant: Variant = "plain",
    values: Iterable[str] = (),
    only: bool = False,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    choices: Choices | None = None,
) -> Gradient:
    """`model` with an input `seed.T` for each tensor T of `of` and an output `grad.T` for each T of `wrt`.

    grad.T = sum over S in `of` of (dS/dT)ᵀ seed.S, of the shape of T; a number follows a name that is taken. The
    model's own inputs and outputs stay, first and in order, unless `only` is given: then `values` and gradients are all
    that it returns, and what they do not need is left out. `shapes` fixes the shapes of inputs, and with them of all
    that follows; without it a free dimension stays free. `variant`: see `rules.guided`. The model given is not changed.
    Raises TensorNotFound; RewriteError for a tensor without a gradient, an operator without a rule, and a graph that
    cannot be prepared.
    """
    of, wrt, values = (list(dict.fromkeys(names)) for names in (of, wrt, values))
    _check_names(model, of, wrt, values)
    prepared = prepare(model, shapes)
    tape = Tape(prepared.proto, model.folder, choices)
    seeds = {name: tape.fresh(f"seed.{name}") for name in of}
    here = {name: prepared.names.get(name, name) for name in (*of, *wrt, *values)}
    found = backward(tape, {here[name]: seed for name, seed in seeds.items()}, [here[name] for name in wrt], variant)
    graph = tape.proto.graph
    if only:
        del graph.output[:]
    for name in values:
        _return(tape, here[name], here[name])
    gradients = {}
    for name in wrt:
        gradients[name] = tape.fresh(f"grad.{name}")
        _identity(tape, found[here[name]], gradients[name])
        _return(tape, gradients[name], here[name])
    if only:
        prune(graph)
    graph.input.extend(_value_info(tape, seed, here[name]) for name, seed in seeds.items())
    carried = {name: here[name] for name in values}
    return Gradient(tape.proto, seeds, gradients, carried, (*prepared.notes, *tape.notes))


def check_gradient(
    model: Model,
    of: Iterable[str],
    wrt: Iterable[str],
    *,
    variant: Variant = "plain",
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[Obstacle, ...]:
    """Every node between `wrt` and `of` that no gradient passes, in order; nothing where `differentiate` would work.

    Raises as `differentiate` does, but for operators without a rule.
    """
    of, wrt = list(dict.fromkeys(of)), list(dict.fromkeys(wrt))
    _check_names(model, of, wrt, ())
    prepared = prepare(model, shapes)
    tape = Tape(prepared.proto, model.folder)
    names = prepared.names
    return obstacles(tape, [names.get(name, name) for name in of], [names.get(name, name) for name in wrt], variant)


def _check_names(model: Model, of: Sequence[str], wrt: Sequence[str], values: Sequence[str]) -> None:
    if not of or not wrt:
        raise RewriteError("a gradient is of a tensor by a tensor; name one of each")
    for name in (*of, *wrt, *values):
        if not model.view.has(name):
            matched = select(model, [name]).matched[name]  # raises with the nearest names where nothing matches
            raise TensorNotFound(f"{model.name} has no tensor '{one_line(name)}', only {matched}; name a tensor itself")


def _return(tape: Tape, name: str, like: str) -> None:
    """Make tensor `name` an output, of the type of `like`."""
    if name not in {value.name for value in tape.proto.graph.output}:
        tape.proto.graph.output.append(_value_info(tape, name, like))


def _value_info(tape: Tape, name: str, like: str) -> ValueInfoProto:
    from onnx import ValueInfoProto as Value
    from onnx import helper

    dtype, shape = tape.view.tensor(like).dtype, tape.view.shape(like)
    if not dtype and name == like:
        return Value(name=name)
    return helper.make_tensor_value_info(name, element_type(dtype or tape.dtype(like)), shape)


def _identity(tape: Tape, source: str, target: str) -> None:
    from onnx import helper

    tape.proto.graph.node.append(helper.make_node("Identity", [source], [target]))
