"""One input of a model with a target: the gradients of the target by layers and by the picture."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import InputError, UsageError
from onnxvis.files import one_line
from onnxvis.graph.ops import QUANTIZED
from onnxvis.measure.activations import Probe
from onnxvis.measure.heatmaps.laid_out import as_laid_out, channels_first
from onnxvis.measure.heatmaps.perturb import Perturbations
from onnxvis.rewrite.gradient import Gradient, differentiate
from onnxvis.rewrite.tape import Choices, Variant
from onnxvis.run.picture_input import image_layout
from onnxvis.run.session import RunOptions, Session, resolve_provider

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.target import Target

__all__ = ["GradientProbe"]

Array = np.ndarray[Any, np.dtype[Any]]
Layers = dict[str, tuple[Array, Array]]

_FEW = 4
"""Up to so many runs, optimising a graph costs more than it saves."""


@dataclass(frozen=True)
class _Seen:
    """What a run gave: {tensor: its value}, {tensor: the gradient by it}, where it ran, and notes."""

    values: dict[str, Array]
    gradients: dict[str, Array]
    provider: str
    notes: tuple[str, ...]


class GradientProbe:
    """A model seen at one input (`feeds`, of which `picture_input` is the picture), and one target.

    `picture`: (C, H, W) float64, what is fed. `layers` and `notes` are those of one method, see `at`. Each session is
    made when it is first needed and closed before the next. Methods raise RewriteError, UsageError, and the errors of
    running.
    """

    def __init__(
        self,
        model: Model,
        feeds: Mapping[str, Array],
        picture_input: str,
        target: Target,
        options: RunOptions | None = None,
        *,
        random_seed: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.model = model.at({name: tuple(value.shape) for name, value in feeds.items()})
        self.target = target
        self.random_seed = random_seed
        self.layers: Layers = {}
        self.notes: dict[str, None] = {}
        self.provider = ""
        self._feeds = dict(feeds)
        self._input = picture_input
        self._options = options or RunOptions()
        self._progress = progress
        self._kept: dict[Hashable, _Seen] = {}
        known = self.model.maps.layouts.get(picture_input)
        self._layout = image_layout(self.model.view.tensor(picture_input), known) or known or "NCHW"
        self.picture = channels_first(self._feeds[picture_input], self._layout)

    def at(
        self,
        layers: Sequence[str] = (),
        *,
        gradients: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> GradientProbe:
        """The probe for one method: with notes of its own, and in `layers` what these layers hold.

        `layers` is {tensor: (activation, gradient of the target by it)}, each (K, h, w) float64; without `gradients`
        nothing is differentiated, and they are zeros. What one method has computed is there for the others too.
        `progress` is told how many of its runs are done, of how many.
        Raises InputError for a tensor that is no feature map.
        """
        found = copy.copy(self)
        found.notes = {}
        found._progress = progress or self._progress
        found.layers = found._look(tuple(layers), gradients) if layers else {}
        return found

    def by_input(self, variant: Variant = "plain") -> Array:
        """The gradient of the target by the picture, (C, H, W) float64."""
        source, layout = self._differentiable_input()
        seen = self._once(variant, lambda: self._differentiated([source], [], variant))
        return channels_first(seen.gradients[source], layout)

    def floats(self) -> Array:
        """What the gradient is by, (C, H, W) float64: the picture, or the floats that its whole numbers stand for."""
        source, layout = self._differentiable_input()
        if source == self._input:
            return self.picture
        return channels_first(self._once("floats", lambda: self._exposed([source])).values[source], layout)

    def by_inputs(self, pictures: Iterable[Array], count: int) -> Iterator[tuple[float, Array]]:
        """For each of `count` pictures (C, H, W): the target's value, and its gradient by the picture."""
        source, layout = self._differentiable_input()
        if source != self._input:
            raise UsageError(
                f"input '{one_line(self._input)}' takes whole numbers, so there is nothing between two pictures; use a "
                "method that looks at the picture itself, such as saliency"
            )
        found = self._gradient([source], [self.target.tensor], "plain")
        given = self._seeded(found)
        with self._session(found, count) as session:
            for number, picture in enumerate(pictures, 1):
                fed = self._feeds[source].copy()
                (fed[0] if "N" in layout else fed)[...] = as_laid_out(picture, layout)
                values = session.run({**given, source: fed})
                value = self.target.value(values[found.values[self.target.tensor]])
                yield value, channels_first(values[found.gradients[source]], layout)
                if self._progress is not None:
                    self._progress(number, count)

    def by_masks(self, masks: Iterable[Array], count: int) -> Array:
        """The target's value where the picture is multiplied by each of `count` masks (H, W): (count,) float64."""
        runs = self._perturbations()
        return self._told(runs, runs.masked(masks, count))

    def by_changes(self, layer: str, changes: Iterable[Array], count: int) -> Array:
        """The target's value where `layer` holds each of `count` values (K, h, w) instead: (count,) float64."""
        runs = self._perturbations()
        return self._told(runs, runs.changed(layer, changes, count))

    def _perturbations(self) -> Perturbations:
        return Perturbations(
            self.model, self._feeds, self._input, self._layout, self.target, self._options, self._progress
        )

    def _told(self, runs: Perturbations, values: Array) -> Array:
        self.provider = runs.provider
        self.notes |= dict.fromkeys(runs.notes)
        return values

    def _look(self, layers: tuple[str, ...], gradients: bool) -> Layers:
        for name in layers:
            if name not in self.model.maps:
                raise InputError(
                    f"'{one_line(name)}' is no feature map: a heatmap needs rows and columns; list feature maps with: "
                    f"onnxvis layers {self.model.name}"
                )
        if gradients:
            seen = self._once((layers, True), lambda: self._differentiated(layers, layers, "plain"))
        else:
            seen = self._once((layers, False), lambda: self._exposed(layers))
        layouts = self.model.maps.layouts
        found = {}
        for name in layers:
            activation = channels_first(seen.values[name], layouts[name])
            gradient = channels_first(seen.gradients[name], layouts[name]) if gradients else np.zeros_like(activation)
            found[name] = activation, gradient
        return found

    def _once(self, key: Hashable, compute: Callable[[], _Seen]) -> _Seen:
        """What `compute` gives, computed once for all methods."""
        if key not in self._kept:
            self._kept[key] = compute()
        seen = self._kept[key]
        self.provider = seen.provider
        self.notes |= dict.fromkeys(seen.notes)
        return seen

    def _differentiated(self, wrt: Sequence[str], values: Sequence[str], variant: Variant) -> _Seen:
        found = self._gradient(wrt, values, variant)
        with self._session(found, 1) as session:
            given = session.run(self._seeded(found))
        carried = {name: given[output] for name, output in found.values.items()}
        gradients = {name: given[output] for name, output in found.gradients.items()}
        return _Seen(carried, gradients, session.placement.provider, (*found.notes, *session.placement.notes))

    def _exposed(self, names: Sequence[str]) -> _Seen:
        """The values of tensors, without a gradient."""
        exact = self._options.exact if self._options.exact is not None else True
        with Probe(self.model, names, replace(self._options, exact=exact), only=True) as probe:
            found = probe.run(self._feeds)
        return _Seen(found.values, {}, found.placement.provider, found.placement.notes)

    def _gradient(self, wrt: Sequence[str], values: Sequence[str], variant: Variant) -> Gradient:
        shapes = {tensor.name: tuple(self._feeds[tensor.name].shape) for tensor in self.model.inputs}
        provider, _ = resolve_provider(self._options.provider)
        choices = Choices(flip_convolutions=provider != "CUDAExecutionProvider")
        found = differentiate(
            self.model, [self.target.tensor], wrt,
            variant=variant, values=values, only=True, shapes=shapes, choices=choices,
        )  # fmt: skip
        self.notes |= dict.fromkeys(found.notes)
        return found

    def _session(self, found: Gradient, runs: int) -> Session:
        """Quantised models are never optimised: in integers they would compute something else than is explained."""
        quantised = any(node.op in QUANTIZED for node in self.model.view.nodes)
        exact = self._options.exact if self._options.exact is not None else runs <= _FEW or quantised
        session = Session(found.proto, self.model.folder, replace(self._options, exact=exact), self.model.name)
        self.provider = session.placement.provider
        self.notes |= dict.fromkeys(session.placement.notes)
        return session

    def _seeded(self, found: Gradient) -> dict[str, Array]:
        """The feeds, with the target's seed."""
        declared = next(v for v in found.proto.graph.input if v.name == found.seeds[self.target.tensor])
        double = declared.type.tensor_type.elem_type == 11  # DOUBLE
        like = np.zeros(self._shape_of_target(), np.float64 if double else np.float32)
        return {**self._feeds, found.seeds[self.target.tensor]: self.target.seed(like)}

    def _shape_of_target(self) -> tuple[int, ...]:
        shape = self.model.view.shape(self.target.tensor)
        if shape is not None and all(isinstance(size, int) for size in shape):
            return tuple(int(size) for size in shape if isinstance(size, int))
        return tuple(self._exposed([self.target.tensor]).values[self.target.tensor].shape)

    def _differentiable_input(self) -> tuple[str, str]:
        """The picture input, or the floats that its whole numbers are made first, and how its axes lie."""
        view, name, layout = self.model.view, self._input, self._layout
        while not view.tensor(name).dtype.startswith(("float", "bfloat")):
            readers = view.consumers(name)
            if len(readers) != 1 or readers[0].op not in ("Cast", "Identity", "Transpose", "DequantizeLinear"):
                dtype = view.tensor(name).dtype
                raise UsageError(
                    f"input '{one_line(self._input)}' takes {dtype}, which has no gradient; use a layer method"
                )
            name = readers[0].outputs[0]
            if readers[0].op == "Transpose":
                turn = readers[0].ints("perm") or range(len(layout))[::-1]
                layout = "".join(layout[axis] for axis in turn)
        return name, layout
