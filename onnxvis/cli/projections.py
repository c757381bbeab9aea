"""The channel mode of `onnxvis heatmap`: what a feature map has found, projected back to the picture's pixels."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import check_apart, check_target, one_line

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.ladder import Ladder
    from onnxvis.measure.projections import Position, Projection
    from onnxvis.rewrite.tape import Variant
    from onnxvis.run.inputs import PreparedInput

__all__ = ["add_options", "is_meant", "run"]

VARIANTS: dict[str, Variant] = {"deconvnet": "deconvnet", "guidedbackprop": "guided", "saliency": "plain"}
"""{method: the rule by which a channel is projected}."""
_COLORMAP = "magma"
_NUMBERS = re.compile(r"\d{1,9}(,\d{1,9})*")


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--layer T (--channel K | --strongest K | --whole) [--position P]`, and `--ladder [--first N]`."""
    group = parser.add_argument_group(
        "feature maps projected back to pixels",
        "by --method deconvnet (default behind a max-pool), guidedbackprop (else) or saliency, and --layer; -o is then "
        "one page where it ends in .png, else a folder with a picture each",
    )
    group.add_argument(
        "--channel", metavar="K", action="append", default=[], help="project channel K of the layer; may repeat, or K,K"
    )
    group.add_argument(
        "--strongest", metavar="K", type=int, help="the K channels of the layer with the largest maximum"
    )
    group.add_argument("--whole", action="store_true", help="all channels of the layer together")
    group.add_argument(
        "--position",
        choices=("all", "strongest"),
        help="start from all of a channel's map (default), or its largest value",
    )
    group.add_argument(
        "--ladder", action="store_true",
        help="what is rebuilt at every convolution on the way down, from one channel or (default) the whole layer",
    )  # fmt: skip
    group.add_argument(
        "--first", metavar="N", type=int, help="with --ladder: the first N channels of each, not all as one"
    )


def is_meant(options: argparse.Namespace) -> bool:
    """Whether an option asks for channels to be projected, not for heatmaps of a target."""
    counted = options.strongest is not None or options.first is not None
    return counted or any(getattr(options, name) for name in ("channel", "whole", "position", "ladder"))


def run(options: argparse.Namespace) -> int:
    """Project what was asked for and write it."""
    from onnxvis.graph.load import load
    from onnxvis.show.target import refuse_overwriting

    asked, channels = _variant(options), _channels(options)
    _check(options, channels)
    _check_target(options)
    model = load(Path(options.model))
    for target in (options.npz, options.output and _page_of(options.output)):
        if target is not None:
            refuse_overwriting(target, model, [options.input])
    tensor = _tensor(options, model)
    said = []
    with Progress(options.quiet) as progress:
        variant = asked or _telling(model, tensor, progress)
        for item in shared.prepared(options, model, progress):
            project = _ladder if options.ladder else _projections
            found = project(options, model, item, tensor, channels, variant, progress)
            guess = shared.preprocessing_guess(item.preprocessing)
            said.append({"input": item.path, "preprocessing_guess": guess, **found})
    if options.json:
        import json

        from onnxvis.version import __version__

        head = {"schema_version": 1, "onnxvis_version": __version__, "model": str(model.path)}
        print(json.dumps({**head, "inputs": said}, indent=1, allow_nan=False))
    return 0


def _projections(
    options: argparse.Namespace,
    model: Model,
    item: PreparedInput,
    tensor: str,
    channels: list[int] | None,
    variant: Variant,
    progress: Progress,
) -> dict[str, Any]:
    """Write the projections of one input; returns what is said of them."""
    from onnxvis.measure.projections import SeededProbe, strongest_channels
    from onnxvis.show.projections import describe_projection, projection_arrays

    progress(f"running {model.name}")
    probe = SeededProbe(model, item.feeds, tensor, shared.run_options(options))
    if options.strongest:
        channels = list(strongest_channels(probe.activation, options.strongest))
    position: Position = options.position or "all"
    found = tuple(probe.project(channels, variant=variant, position=position, progress=progress))
    _tell(progress, (note for one in found for note in one.notes))
    if options.npz is not None:
        _write_arrays(options, projection_arrays(found), progress)
    if options.output is not None:
        _draw_projections(options, model, item, found, progress)
    return {"projections": [describe_projection(one) for one in found]}


def _draw_projections(
    options: argparse.Namespace, model: Model, item: PreparedInput, found: tuple[Projection, ...], progress: Progress
) -> None:
    from onnxvis.show.projections import projection_page, projection_picture

    bgr = item.preprocessing is not None and item.preprocessing.bgr
    title = f"{model.name}: {one_line(found[0].tensor, 200)}"
    page = projection_page(found, item.picture, title, colormap=options.colormap or _COLORMAP, bgr=bgr)
    names = ["whole" if one.channel is None else f"channel-{one.channel:04d}" for one in found]
    each = [(name, projection_picture(one.values, bgr=bgr)) for name, one in zip(names, found, strict=True)]
    _write_pictures(options, model, item, page, each, progress)


def _ladder(
    options: argparse.Namespace,
    model: Model,
    item: PreparedInput,
    tensor: str,
    channels: list[int] | None,
    variant: Variant,
    progress: Progress,
) -> dict[str, Any]:
    """Write the ladder of one input; returns what is said of it."""
    from onnxvis.measure.ladder import ladder
    from onnxvis.measure.projections import SeededProbe, strongest_channels
    from onnxvis.show.projections import describe_ladder, ladder_arrays

    run = shared.run_options(options)
    if options.strongest:
        channels = list(strongest_channels(SeededProbe(model, item.feeds, tensor, run).activation, 1))
    found = ladder(
        model, item.feeds, tensor, channels[0] if channels else None,
        variant=variant, position=options.position or "all", options=run, progress=progress,
    )  # fmt: skip
    _tell(progress, found.notes)
    if options.output is not None:
        _draw_ladder(options, model, item, found, progress)
    if options.npz is not None:
        _write_arrays(options, ladder_arrays(found), progress)
    return {"ladder": describe_ladder(found)}


def _draw_ladder(
    options: argparse.Namespace, model: Model, item: PreparedInput, found: Ladder, progress: Progress
) -> None:
    from onnxvis.files import safe_name
    from onnxvis.show.projections import ladder_page, projection_name, step_pictures

    bgr = item.preprocessing is not None and item.preprocessing.bgr
    colormap = options.colormap or _COLORMAP
    title = f"{model.name}: from {projection_name(found.channel)} of {one_line(found.tensor, 200)} down to the picture"
    first = options.first or 0
    page = ladder_page(found, item.picture, title, first=first, colormap=colormap, bgr=bgr)
    drawn = step_pictures(found, first=first, colormap=colormap, bgr=bgr)
    each = [
        (f"step-{number:02d}-{safe_name(step.tensor)}", pixels)
        for number, (step, pixels) in enumerate(zip(found.steps, drawn, strict=True))
    ]
    _write_pictures(options, model, item, page, each, progress)


def _write_pictures(
    options: argparse.Namespace,
    model: Model,
    item: PreparedInput,
    page: Any,
    each: list[tuple[str, Any]],
    progress: Progress,
) -> None:
    """One page; where the target is a folder for one input, that page and a picture each."""
    from onnxvis.files import picture_of, write_atomic
    from onnxvis.show.png import encode_rgb
    from onnxvis.show.target import refuse_overwriting

    folder = Path(options.input).is_dir()
    path = picture_of(Path(item.path), options.output) if folder else _page_of(options.output)
    drawn = {path: page}
    if not folder and path.parent == options.output:
        drawn |= {options.output / f"{name}.png": pixels for name, pixels in each}
    for target in drawn:
        refuse_overwriting(target, model, [item.path])
    for target, pixels in drawn.items():
        write_atomic(target, encode_rgb(pixels))
    _made(options, path, progress)


def _write_arrays(options: argparse.Namespace, arrays: dict[str, Any], progress: Progress) -> None:
    from onnxvis.show.export import write_npz

    write_npz(options.npz, arrays)
    _made(options, options.npz, progress)


def _made(options: argparse.Namespace, path: Path, progress: Progress) -> None:
    if options.json:
        progress.tell(f"wrote {one_line(path, 4096)}")
    else:
        progress.result(path)


def _tell(progress: Progress, notes: Any) -> None:
    for note in dict.fromkeys(notes):
        progress.tell(one_line(note, 400))


def _page_of(output: Path) -> Path:
    """Where the page goes: the target itself where it is a PNG, else into the folder that it names."""
    return output if output.suffix.lower() == ".png" and not output.is_dir() else output / "page.png"


def _telling(model: Model, tensor: str, progress: Progress) -> Variant:
    """The rule where none is asked for; it is told where that is not the deconvnet's."""
    from onnxvis.measure.patch_projections import telling_variant

    variant = telling_variant(model, tensor)
    if variant == "guided":
        why = f"no max-pool lies before '{one_line(tensor, 200)}', whose map is all that a deconvnet would know"
        progress.tell(f"projected by guidedbackprop: {why}; settle it with --method")
    return variant


def _variant(options: argparse.Namespace) -> Variant | None:
    """The rule asked for; None where none is."""
    if not options.method:
        return None
    names = shared.method_names(options.method, "--method", "deconvnet")
    for name in names:
        if name not in VARIANTS:
            raise UsageError(
                f"method '{one_line(name)}' explains what a model returns, not a channel; channels are projected by "
                f"one of: {', '.join(VARIANTS)}"
            )
    if len(names) > 1:
        raise UsageError(f"channels are projected by one method at a time; choose one of: {', '.join(VARIANTS)}")
    return VARIANTS[names[0]]


def _channels(options: argparse.Namespace) -> list[int] | None:
    """The channels named, without repeats; None where none is."""
    for word in options.channel:
        if not _NUMBERS.fullmatch(word):
            raise UsageError(f"--channel '{one_line(word)}' is no channel; give a number from 0 up, or several as 3,17")
    named = [int(number) for word in options.channel for number in word.split(",")]
    return list(dict.fromkeys(named)) or None


def _check(options: argparse.Namespace, channels: list[int] | None) -> None:
    """Raises UsageError for options that contradict each other or lack another."""
    chosen = [f"--{name}" for name in ("channel", "strongest", "whole") if getattr(options, name)]
    for name in ("strongest", "first"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UsageError(f"--{name} {getattr(options, name)} is no number of channels; give 1 or more")
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} contradict each other; give one of them")
    if options.first and not options.ladder:
        raise UsageError("--first goes with --ladder; to project some channels, name them with --channel")
    if options.ladder and (len(channels or ()) > 1 or (options.strongest or 1) > 1):
        raise UsageError("--ladder starts from one channel (--channel K, --strongest 1) or from the whole layer")
    if not options.ladder and not chosen:
        raise UsageError("say what to project: --channel K, --strongest K or --whole")
    if not options.ladder and not options.layer:
        raise UsageError(f"{chosen[0]} is of a layer; name it with --layer TENSOR. List them: onnxvis layers MODEL")
    if options.faithfulness:
        raise UsageError("--faithfulness judges heatmaps of a target, not projections of channels; give one of the two")
    if options.target != "top":
        raise UsageError("--target is what a model returns; a channel's projection has none, so leave it out")


def _check_target(options: argparse.Namespace) -> None:
    if options.output is None and options.npz is None and not options.json:
        raise UsageError("say where to: -o PICTURE or DIR for pictures, --npz FILE for arrays, --json for the facts")
    folder = Path(options.input).is_dir()
    if folder and options.npz is not None:
        raise UsageError("--npz holds the arrays of one input; give a picture, not a folder")
    page = options.output and (options.output / "file" if folder else _page_of(options.output))
    check_apart({"-o": page, "--npz": options.npz})
    for path in (page, options.npz):
        if path is not None:
            check_target(path)


def _tensor(options: argparse.Namespace, model: Model) -> str:
    """The layer: the one tensor that `--layer` names, else the last feature map before the head."""
    from onnxvis.graph.select import select
    from onnxvis.graph.target_layer import last_map

    if options.layer:
        named = select(model, options.layer).tensors
        if len(named) > 1:
            raise UsageError(
                f"--layer names {len(named)} tensors, '{one_line(named[0])}' the first; channels are of one: name it"
            )
        return named[0]
    outputs = [output.name for output in model.outputs]
    deepest = next((found for name in outputs if (found := last_map(model, name)) is not None), None)
    if deepest is None:
        raise UsageError(f"{model.name} has no feature map with rows and columns; name a layer with --layer")
    return deepest
