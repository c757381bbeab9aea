"""The Python interface: what the commands do, as functions that take a model or a path and return data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxvis.errors import UsageError
from onnxvis.graph.choose import choose_weights
from onnxvis.graph.load import Model, load
from onnxvis.graph.logits import before_softmax
from onnxvis.graph.select import select
from onnxvis.graph.target_layer import last_map, same_map
from onnxvis.measure.activations import Activations, Probe, run_deployed
from onnxvis.measure.boxes.detections import LEAST_SCORE, OVERLAP, Detections, why_raw
from onnxvis.measure.boxes.detections import detect as _detect
from onnxvis.measure.boxes.flags import NO_FLAGS, DetectorFlags
from onnxvis.measure.heatmaps.explain import Heatmap, explain
from onnxvis.measure.heatmaps.zhou import linear_head_layer
from onnxvis.measure.maximize.objective import Objective
from onnxvis.measure.maximize.run import Maximized
from onnxvis.measure.maximize.run import maximize as _maximize
from onnxvis.measure.maximize.settings import Settings
from onnxvis.measure.patches import TensorPatches, find_patches
from onnxvis.measure.projections import Position, Projection
from onnxvis.measure.projections import project as _project
from onnxvis.measure.target import TOP
from onnxvis.measure.weights import WeightTable, measure_weights
from onnxvis.rewrite.embed import Embedded
from onnxvis.rewrite.embed import embed as _embed
from onnxvis.rewrite.expose import Exposed
from onnxvis.rewrite.expose import expose as _expose
from onnxvis.rewrite.gradient import differentiate
from onnxvis.rewrite.tape import Variant
from onnxvis.run.flags import PreprocessFlags
from onnxvis.run.inputs import PreparedInput
from onnxvis.run.picture_input import image_input
from onnxvis.run.reading import Reading
from onnxvis.run.session import RunOptions

if TYPE_CHECKING:
    from onnxvis.show.report import ReportOptions

__all__ = [
    "activations",
    "detect",
    "embed",
    "expose",
    "gradient",
    "heatmap",
    "maximize",
    "patches",
    "project",
    "read_input",
    "report",
    "weights",
]

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


def detect(
    model: Model | Path | str,
    source: PreparedInput | Feeds | Path | str,
    flags: DetectorFlags = NO_FLAGS,
    *,
    least_score: float = LEAST_SCORE,
    overlap: float = OVERLAP,
    most: int = 100,
    options: RunOptions | None = None,
) -> Detections:
    """The boxes that a detector finds in one input, `.boxes` strongest first, in pixels of the picture as it is fed.

    Known are raw heads of the YOLOv3 family (with `onnxvis.detector` metadata, or `flags` with the anchors) and the
    decoded outputs of YOLOv5 and YOLOv8: see `measure.boxes`. `least_score`, `overlap`, `most`: of the suppression.
    `source` as for `activations`. Raises UsageError, with the reason, where no output holds boxes of a known kind.
    """
    opened = _opened(model)
    if isinstance(source, (str, Path)):
        source = read_input(opened, source)
    feeds = source.feeds if isinstance(source, PreparedInput) else source
    (outputs,), _ = run_deployed(opened, [feeds], options or RunOptions())
    found = _detect(opened, feeds, outputs, flags, least_score=least_score, overlap=overlap, most=most)
    if found is None:
        reason = why_raw(opened, feeds, outputs, flags) or "they look like no known detector"
        raise UsageError(f"no boxes in the outputs of {opened.name}: {reason}")
    return found


def expose(model: Model | Path | str, tensors: Iterable[str], *, only: bool = False) -> Exposed:
    """A new model that also returns `tensors` (names, patterns, blocks or scopes): see `rewrite.expose.expose`."""
    opened = _opened(model)
    return _expose(opened, select(opened, tensors).tensors, only=only)


def heatmap(
    model: Model | Path | str,
    source: PreparedInput | Feeds | Path | str,
    method: str = "gradcam",
    *,
    target: str | int = TOP,
    layers: Iterable[str] = (),
    flags: DetectorFlags = NO_FLAGS,
    options: RunOptions | None = None,
    random_seed: int = 0,
) -> Heatmap:
    """Where the model looks for `target`: `.map` (H, W) float32 in 0–1, `.raw` before it was made a map.

    `method`: 'gradcam', 'layercam', 'saliency', … (`measure.heatmaps.explain.METHOD_NAMES`); `target`: a class, 'top',
    'OUTPUT:index,…', or of a detector 'box:0' or 'class:17@3,4', see `measure.target.resolve_target`; `flags`: how its
    boxes are read; `layers`: tensors, blocks or patterns, several are fused. `source` as for `activations`.
    For several methods at once: `measure.heatmaps.explain.explain`. Raises its errors.
    """
    opened = _opened(model)
    if isinstance(source, (str, Path)):
        source = read_input(opened, source)
    feeds = source.feeds if isinstance(source, PreparedInput) else source
    return explain(
        opened, feeds, (method,), target=str(target), layers=tuple(layers), flags=flags, options=options,
        random_seed=random_seed,
    )[0]  # fmt: skip


def project(
    model: Model | Path | str,
    source: PreparedInput | Feeds | Path | str,
    tensor: str,
    channels: Iterable[int] | None = None,
    *,
    variant: Variant = "deconvnet",
    position: Position = "all",
    options: RunOptions | None = None,
) -> tuple[Projection, ...]:
    """What excites `channels` of `tensor`, sent back to the pixels: `.values` (C, H, W) signed, `.peak`; None: all at
    once. See `measure.projections.project`, whose errors it raises. `tensor` is a name, a block or a pattern that means
    one; `source` as for `activations`.
    """
    opened = _opened(model)
    if isinstance(source, (str, Path)):
        source = read_input(opened, source)
    feeds = source.feeds if isinstance(source, PreparedInput) else source
    chosen = None if channels is None else list(channels)
    name = select(opened, [tensor]).tensors[-1]
    return _project(opened, feeds, name, chosen, variant=variant, position=position, options=options)


def patches(
    model: Model | Path | str,
    pictures: Sequence[Path | str],
    tensors: Iterable[str],
    *,
    channels: Iterable[int] | None = None,
    top: int = 9,
    preprocess: PreprocessFlags | None = None,
    options: RunOptions | None = None,
) -> tuple[TensorPatches, ...]:
    """The `top` patches of `pictures` (files and folders) that excite each channel of `tensors` most, strongest first.

    `.channels[k].patches[i]` has `.path`, `.value`, `.window` and `.pixels`: see `measure.patches.find_patches`, whose
    errors it raises.
    """
    opened = _opened(model)
    reading = Reading.of(opened, preprocess)
    return find_patches(
        opened, lambda: reading.read(pictures, []), select(opened, tensors).tensors,
        channels=None if channels is None else list(channels), top=top, options=options or RunOptions(),
    )  # fmt: skip


def maximize(
    model: Model | Path | str,
    *,
    tensor: str = "",
    channel: int | None = None,
    position: tuple[int, int] | None = None,
    target: str | int = "",
    settings: Settings | None = None,
    options: RunOptions | None = None,
) -> Maximized:
    """The picture that excites a channel of `tensor` (or its unit at `position`), or class `target`, most: `.picture`
    (H, W, 3) uint8, `.value`, `.curve`. See `measure.maximize.run.maximize`, whose errors it raises.
    """
    objective = Objective(tensor, channel, position, str(target))
    return _maximize(_opened(model), objective, settings, options)


def gradient(
    model: Model | Path | str,
    of: Iterable[str],
    wrt: Iterable[str],
    *,
    variant: Variant = "plain",
    only: bool = False,
) -> Model:
    """A model with an input `seed.T` for each tensor of `of` and an output `grad.T` for each of `wrt`.

    Both are names, patterns, blocks or scopes; see `rewrite.gradient.differentiate` for the rest and the errors raised.
    Its weights stay in the original's file: write it with `rewrite.save`.
    """
    opened = _opened(model)
    found = differentiate(opened, select(opened, of).tensors, select(opened, wrt).tensors, variant=variant, only=only)
    return Model(opened.path, found.proto, opened.folder)


def embed(
    model: Model | Path | str, method: str = "gradcam", *, layer: str | None = None, output: str | None = None
) -> Embedded:
    """A model with a heatmap by `method` as one more output: see `rewrite.embed.embed`, whose errors it raises.

    `layer`: a tensor or block (default: the last feature map before the head); `output`: the output with the class
    scores (default: the first). Raises UsageError where there is no picture input, no such output or no such layer.
    """
    opened = _opened(model)
    picture = image_input(opened.inputs)
    names = [tensor.name for tensor in opened.outputs]
    if picture is None:
        raise UsageError(f"{opened.name} takes no picture that a heatmap could be laid over")
    if not names or (output is not None and output not in names):
        raise UsageError(f"{opened.name} has no output '{output}'; it has {', '.join(names) or 'none'}")
    scores, _ = before_softmax(opened.view, output or names[0])
    named = select(opened, [layer]).tensors[-1] if layer is not None else None
    if method == "saliency":
        source: str | None = picture.name
    elif method == "cam":
        source = linear_head_layer(opened, scores)
        if named is not None and same_map(opened, named) != source:
            raise UsageError(f"cam is defined for '{source}' alone, which the pooling reads; leave the layer out")
    else:
        source = named or last_map(opened, scores)
    if source is None:
        raise UsageError(f"{opened.name} has no feature map before '{scores}'; name a layer, or embed saliency")
    return _embed(opened, method, scores, source, picture.name)


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
