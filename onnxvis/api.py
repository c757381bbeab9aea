"""The Python interface: what the commands do, as functions that take a model or a path and return data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.graph.choose import choose_weights
from onnxvis.graph.load import Model, load
from onnxvis.graph.select import select
from onnxvis.measure.activations import Activations, Probe
from onnxvis.measure.weights import WeightTable, measure_weights
from onnxvis.rewrite.expose import Exposed
from onnxvis.rewrite.expose import expose as _expose
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from onnxvis.show.report import ReportOptions

__all__ = ["activations", "expose", "read_input", "report", "weights"]

Feeds = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


def read_input(model: Model | Path | str, path: Path | str, preprocess: PreprocessFlags | None = None) -> PreparedInput:
    """A picture, .npy or .npz prepared as `model` is fed; `.feeds` holds the arrays, `.picture` what the model sees.

    Raises InputError for what cannot be read or does not fit, UsageError for settings that contradict the model.
    """
    return next(Reading.of(_opened(model), preprocess).read([path]))


def activations(
    model: Model | Path | str,
    source: PreparedInput | Feeds | Path | str,
    tensors: Iterable[str] = (),
    options: RunOptions | None = None,
) -> Activations:
    """The values of `tensors` for one input; without any named, every stage's output.

    `tensors` are names, patterns, blocks or scopes, see `select`. `source` is a picture's path, what `read_input` gave,
    or arrays by input name. The graph ends after the deepest tensor, so the model's own outputs are not computed.
    Raises TensorNotFound, InputError, ProviderError, ModelError.
    """
    opened = _opened(model)
    wanted = select(opened, tensors or [stage.name for stage in opened.stages()])
    if isinstance(source, (str, Path)):
        source = read_input(opened, source)
    feeds = source.feeds if isinstance(source, PreparedInput) else source
    with Probe(opened, wanted.tensors, options or RunOptions(), only=True) as probe:
        return probe.run(feeds)


def expose(model: Model | Path | str, tensors: Iterable[str], *, only: bool = False) -> Exposed:
    """A new model that also returns `tensors` (names, patterns, blocks or scopes): see `rewrite.expose.expose`."""
    opened = _opened(model)
    return _expose(opened, select(opened, tensors).tensors, only=only)


def weights(model: Model | Path | str, *, bins: int = 50, names: Iterable[str] | None = None) -> WeightTable:
    """Every weight's statistics and histogram of `bins` bins, in file order; `names`: these alone.

    `names` are weights, patterns (`*bias`), roles (`conv kernel`) or scopes, see `graph.choose.choose_weights`.
    Raises TensorNotFound, InputError, ModelError.
    """
    opened = _opened(model)
    return measure_weights(opened, bins=bins, names=None if names is None else choose_weights(opened, names))


def report(
    model: Model | Path | str,
    inputs: Sequence[Path | str] = (),
    output: Path | str = "report.html",
    *,
    options: ReportOptions | None = None,
) -> Path:
    """Write the offline HTML report on `model` and `inputs`; returns where. Raises every error of the parts.

    `options` is an `onnxvis.show.report.ReportOptions`: provider, preprocessing, labels, colours, budget.
    """
    from onnxvis.show.report import ReportOptions, write_report

    write_report(_opened(model), inputs, Path(output), options or ReportOptions())
    return Path(output)


def _opened(model: Model | Path | str) -> Model:
    return model if isinstance(model, Model) else load(model)
