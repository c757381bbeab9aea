"""The target of a model at changed pictures, and behind changed layers: many runs, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.graph.ops import QUANTIZED
from onnxvis.measure.activations import Probe
from onnxvis.measure.heatmaps.laid_out import as_laid_out
from onnxvis.rewrite.expose import expose
from onnxvis.rewrite.tail import tail
from onnxvis.run.batches import Batches, Job
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.target import Target

__all__ = ["Perturbations"]

Array = np.ndarray[Any, np.dtype[Any]]


class Perturbations:
    """A model at one input (`feeds`, of which `picture` with axes `layout` is the picture), to be changed.

    A target that is infinite comes as NaN. After each method `notes` say how it ran, and `provider` where. Methods
    raise RewriteError, UsageError, and the errors of running.
    """

    def __init__(
        self,
        model: Model,
        feeds: Mapping[str, Array],
        picture: str,
        layout: str,
        target: Target,
        options: RunOptions,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self.provider = ""
        self._model = model
        self._feeds = dict(feeds)
        self._picture = picture
        self._layout = layout
        self._target = target
        self._options = options
        self._progress = progress

    def masked(self, masks: Iterable[Array], count: int) -> Array:
        """The target where the picture is multiplied by each of `count` masks (H, W), float64 (count,).

        The whole model runs, optimised as when it is deployed. A picture of whole numbers is rounded.
        """
        found = expose(self._model, [self._target.tensor], only=True)
        needed = {value.name for value in found.proto.graph.input}
        feeds = {name: value for name, value in self._feeds.items() if name in needed}
        if self._picture not in feeds:
            raise UsageError(f"{self._target} does not depend on the picture '{one_line(self._picture)}'")
        fed = feeds[self._picture]
        batched = self._layout.startswith("N")
        picture = (fed[0] if batched else fed).astype(np.float64 if fed.dtype == np.float64 else np.float32)
        colours = self._layout.replace("N", "").index("C")
        masked = (_rounded(picture * np.expand_dims(mask, colours), fed.dtype) for mask in masks)
        job = Job(
            found.proto, self._model.folder, self._model.name, feeds, self._picture,
            found.outputs[self._target.tensor], batched, self._is_fixed(),
        )  # fmt: skip
        whole = ("the picture is of whole numbers: what is masked was rounded",) if fed.dtype.kind in "iu" else ()
        return self._values(job, masked, count, exact=False, notes=whole)

    def changed(self, layer: str, changes: Iterable[Array], count: int) -> Array:
        """The target where `layer` holds each of `count` values (K, h, w) instead of its own, float64 (count,).

        Only what comes after the layer runs. Raises UsageError for a layer of whole numbers.
        """
        dtype = self._model.view.tensor(layer).dtype
        if not dtype.startswith("float"):
            raise UsageError(
                f"'{one_line(layer)}' holds {dtype or 'an unknown type'}, whose zero may stand for another number; "
                f"name a layer of floats with --layer, see: onnxvis layers {self._model.name}"
            )
        found = tail(self._model, layer, self._target.tensor)
        exact = self._options.exact if self._options.exact is not None else True
        with Probe(self._model, found.inputs, replace(self._options, exact=exact), only=True) as probe:
            values = probe.run(self._feeds).values
        layout = self._model.maps.layouts[layer]
        laid_out = (as_laid_out(change, layout).astype(dtype, copy=False) for change in changes)
        job = Job(
            found.proto, self._model.folder, self._model.name, values, layer, found.output, True, self._is_fixed(),
            f"what comes after '{one_line(layer)}'",
        )  # fmt: skip
        # In integers, as optimised, the rest would compute something else than the layer was computed with.
        quantised = any(node.op in QUANTIZED for node in self._model.view.nodes)
        return self._values(job, laid_out, count, exact=quantised)

    def _values(
        self, job: Job, values: Iterator[Array], count: int, *, exact: bool, notes: tuple[str, ...] = ()
    ) -> Array:
        options = self._options if self._options.exact is not None else replace(self._options, exact=exact)
        found, target = np.zeros(count), self._target
        # The runs are of single pictures, whatever batch the model was fed.
        single = target if target.elements else replace(target, shape=(1, *target.shape[1:]))
        with Batches(job, count, options) as batches:
            self.provider = batches.placement.provider
            self.notes = (*batches.notes, *notes, *batches.placement.notes)
            for number, value in enumerate(batches.run(values)):
                found[number] = single.value(value)
                if self._progress is not None:
                    self._progress(number + 1, count)
        found[~np.isfinite(found)] = np.nan
        return found

    def _is_fixed(self) -> bool:
        shape = next((item.shape for item in self._model.inputs if item.name == self._picture), None)
        return bool(shape) and isinstance((shape or (None,))[0], int)


def _rounded(picture: Array, dtype: np.dtype[Any]) -> Array:
    """`picture` in the type that is fed."""
    return (np.rint(picture) if dtype.kind in "iu" else picture).astype(dtype, copy=False)
