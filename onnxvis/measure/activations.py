"""What a model computes on the way: any tensors' values for one input, and how far exposing them moved the result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from onnxvis.errors import InputError, ModelError
from onnxvis.files import one_line
from onnxvis.graph.ops import QUANTIZED
from onnxvis.rewrite.expose import WIDER, Exposed, expose
from onnxvis.run.memory import give_back
from onnxvis.run.session import Execution, RunOptions, Session

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["Activations", "Difference", "Probe", "differences", "fetchable_outputs", "run_deployed"]

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Activations:
    """The values of tensors for one input, by the tensors' own names, exactly as ONNX Runtime gave them.

    `layouts` is {tensor: 'NCHW' | 'NHWC'} for feature maps. `outputs` are the model's own outputs of the same run, or
    empty where they were not asked for. `casts`: {tensor: (its type, the type it is given in)}. `exact`: computed
    without any graph optimisation.
    """

    values: dict[str, Array]
    layouts: Mapping[str, str]
    outputs: dict[str, Any]
    placement: Execution
    casts: Mapping[str, tuple[str, str]]
    exact: bool = False

    def maps(self, tensor: str, picture: int = 0) -> Array:
        """A tensor's feature maps for one picture of the batch, (channels, height, width).

        A vector of K comes as (K, 1, 1). Raises InputError for a tensor of another rank.
        """
        value = self.values[tensor]
        if value.ndim == 4:
            maps: Array = value[picture]
            return maps.transpose(2, 0, 1) if self.layouts.get(tensor) == "NHWC" else maps
        if value.ndim == 2:
            vector: Array = value[picture].reshape(-1, 1, 1)
            return vector
        raise InputError(
            f"'{one_line(tensor)}' of shape {list(value.shape)} is no feature map: it has no rows and columns"
        )

    def is_map(self, tensor: str) -> bool:
        """Whether `maps` can show this tensor."""
        value = self.values[tensor]
        return value.ndim in (2, 4) and value.size > 0 and value.dtype.kind in "fiub"


@dataclass(frozen=True)
class Difference:
    """How far one output of the exposed run is from the deployed run's: max |a − b|, and that over max |b|."""

    output: str
    max_abs: float
    relative: float


class Probe:
    """A model opened for looking: one session, any number of inputs. Use it in a `with` block.

    With `only` the graph ends after the deepest tensor asked for and the model's own outputs are not computed.
    Unless the options say, the graph is not optimised: optimising one that runs a few times costs more than it saves,
    and what is exposed is then what the graph says. Quantised models are: as deployed they compute in integers, which
    only optimised graphs do. So are graphs that ONNX Runtime takes in no other way.
    Raises TensorNotFound, RewriteError, ProviderError, ModelError.
    """

    def __init__(self, model: Model, tensors: Iterable[str], options: RunOptions, *, only: bool = False) -> None:
        self._model = model
        self._exposed: Exposed = expose(model, tensors, only=only)
        self._session, self.exact = self._start(options)
        self._own = () if only else fetchable_outputs(model)

    def _start(self, options: RunOptions) -> tuple[Session, bool]:
        proto, folder, name = self._exposed.proto, self._model.folder, self._model.name
        if options.exact is None and not any(node.op in QUANTIZED for node in self._model.view.nodes):
            with contextlib.suppress(ModelError):
                return Session(proto, folder, replace(options, exact=True), name), True
        exact = bool(options.exact)
        return Session(proto, folder, replace(options, exact=exact), name), exact

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def run(self, feeds: Mapping[str, Array]) -> Activations:
        """Run one input. Raises InputError where it does not fit."""
        carried = self._exposed.outputs
        found = self._session.run(feeds, list(dict.fromkeys([*self._own, *carried.values()])))
        values = {tensor: np.asarray(found[output]) for tensor, output in carried.items()}
        own = {name: found[name] for name in self._own}
        layouts, casts = self._model.maps.layouts, self._exposed.casts
        return Activations(values, layouts, own, self._session.placement, casts, self.exact)


def run_deployed(
    model: Model, inputs: Sequence[Mapping[str, Array]], options: RunOptions
) -> tuple[list[dict[str, Any]], Execution]:
    """The outputs of the model as it is deployed, not rewritten, for each input; the session is gone afterwards.

    It is optimised as in deployment whatever `options.exact` says.
    """
    wanted = fetchable_outputs(model)
    with Session(model.skeleton, model.folder, replace(options, exact=False), model.name) as session:
        found = [session.run(feeds, wanted) for feeds in inputs]
        placement = session.placement
    give_back()
    return found, placement


def fetchable_outputs(model: Model) -> tuple[str, ...]:
    """The model's outputs that ONNX Runtime can hand over as they are: those of types that NumPy has."""
    return tuple(tensor.name for tensor in model.outputs if tensor.dtype not in WIDER)


def differences(exposed: Mapping[str, Any], deployed: Mapping[str, Any]) -> tuple[Difference, ...]:
    """How far the exposed run's outputs are from the deployed run's, output by output; values that are not numbers, or
    not finite in both, are left out. `relative` is 0 where both are zero throughout."""
    found = []
    for name, value in deployed.items():
        other = exposed.get(name)
        if not _comparable(value) or not _comparable(other) or value.shape != other.shape or not value.size:
            continue
        a, b = np.asarray(other, np.float64), np.asarray(value, np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        gap = float(np.abs(np.subtract(a, b, where=finite, out=np.zeros(a.shape))).max())
        largest = float(np.abs(b).max(where=finite, initial=0))
        found.append(Difference(name, gap, gap / largest if largest else float(gap > 0)))
    return tuple(found)


def _comparable(value: object) -> TypeGuard[Array]:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
