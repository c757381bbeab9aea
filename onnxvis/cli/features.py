"""Feature maps of any tensors as pictures, or as arrays."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import check_target

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from onnxvis.graph.load import Model
    from onnxvis.graph.select import Selection
    from onnxvis.measure.activations import Activations
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.show.tensorboard import EventFile

__all__ = ["add_arguments", "run"]

MAX_UPSCALE = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis features MODEL INPUT [--tensor NAME ...] (-o DIR | --npz FILE | --tensorboard DIR)`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("input", metavar="INPUT", help="a picture, a folder of pictures, an .npy or .npz array")
    parser.add_argument(
        "--tensor", metavar="NAME", action="append", default=[],
        help="a tensor, a pattern (*Relu*), a block (stage3.block2) or a scope (layer1); may repeat "
        "(default: every stage)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="write pictures to this folder")
    parser.add_argument(
        "--weights", action="store_true", help="with -o: also every weight's numbers and histogram, as weights.json"
    )
    parser.add_argument("--npz", metavar="FILE", type=Path, help="write arrays, each under its tensor's name")
    parser.add_argument(
        "--tensorboard", metavar="DIR", type=Path,
        help="write histograms, mosaics and merged maps to a TensorBoard event file in this folder, a step an input",
    )  # fmt: skip
    parser.add_argument(
        "--mosaics", action="store_true", help="only mosaic.png and merged.png for each tensor, no file a channel"
    )
    parser.add_argument(
        "--first",
        metavar="N",
        type=int,
        default=0,
        help="one titled page of the first N channels instead of a file a channel",
    )
    parser.add_argument("--columns", metavar="N", type=int, default=0, help="columns of that page")
    parser.add_argument(
        "--upscale", metavar="PX", type=int, default=0, help="also an enlarged copy of each channel (nearest pixels)"
    )
    parser.add_argument(
        "--merge",
        choices=("mean", "sum", "max", "blend"),
        default="mean",
        help="how merged.png joins the channels (default: %(default)s)",
    )
    shared.add_input_options(parser)
    shared.add_run_options(parser)
    shared.add_look_options(parser)
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Run the model up to the deepest tensor asked for and write what stands there."""
    from onnxvis.files import one_line
    from onnxvis.graph.load import load
    from onnxvis.graph.select import select
    from onnxvis.measure.activations import Probe
    from onnxvis.run.inputs import Skipped
    from onnxvis.run.reading import Reading
    from onnxvis.show.target import refuse_overwriting

    _check(options)
    _check_targets(options)
    model = load(Path(options.model))
    if options.npz is not None:
        refuse_overwriting(options.npz, model, [options.input])
    wanted = options.tensor or [stage.name for stage in model.stages()]
    if not wanted:
        raise UsageError(
            f"{model.name} has no stages; name tensors with --tensor. List them: onnxvis layers {model.name}"
        )
    selection = select(model, wanted)
    reading = Reading.of(model, shared.preprocess_flags(options), options.feed)
    skipped: list[Skipped] = []
    inputs = reading.read([options.input], skipped, options.max_pixels)
    with Progress(options.quiet) as progress:
        for word, how in selection.matched.items() if options.tensor else ():
            progress.tell(f"{one_line(word)}: {how}")
        progress(f"running {model.name}")
        with Probe(model, selection.tensors, shared.run_options(options), only=True) as probe:
            _write_all(options, model, selection, ((item, probe.run(item.feeds)) for item in inputs), progress)
        for item in skipped:
            progress.tell(f"passed over: {item.reason}", always=True)
        if options.weights:
            progress.result(_write_weights(model, options.output, shared.run_options(options).workers, progress))
    return 0


def _write_weights(model: Model, folder: Path, threads: int, progress: Progress) -> Path:
    """What `onnxvis weights --json` prints, as a file beside the maps."""
    from onnxvis.files import write_atomic
    from onnxvis.measure.weights import measure_weights
    from onnxvis.show.data import describe_weights, to_json

    table = measure_weights(model, threads=threads, progress=lambda done, of: progress("reading weights", done, of))
    path = folder / "weights.json"
    write_atomic(path, to_json(describe_weights(table)))
    return path


def _check(options: argparse.Namespace) -> None:
    if options.output is None and options.npz is None and options.tensorboard is None:
        raise UsageError("say where to: -o DIR for pictures, --npz FILE for arrays, --tensorboard DIR for TensorBoard")
    if options.weights and options.output is None:
        raise UsageError("--weights writes beside the pictures; add -o DIR. Alone: onnxvis weights MODEL --json")
    if options.mosaics and (options.first or options.upscale):
        raise UsageError("--mosaics writes no single channels; leave out --first and --upscale, or --mosaics")
    for name in ("first", "columns", "upscale"):
        if getattr(options, name) < 0:
            raise UsageError(f"--{name} {getattr(options, name)} is below 0")
    if options.upscale > MAX_UPSCALE:
        raise UsageError(f"--upscale {options.upscale} is above {MAX_UPSCALE} pixels a side")
    if not options.input:
        raise UsageError("INPUT is empty; name a picture, a folder or an array")


def _check_targets(options: argparse.Namespace) -> None:
    for folder in (options.output, options.tensorboard):
        if folder is not None:
            check_target(folder / "index.json")
    if options.npz is not None and Path(options.input).is_dir():
        raise UsageError("--npz holds the arrays of one input; give a picture, not a folder")


def _write_all(
    options: argparse.Namespace,
    model: Model,
    selection: Selection,
    runs: Iterable[tuple[PreparedInput, Activations]],
    progress: Progress,
) -> None:
    from onnxvis.files import safe_name
    from onnxvis.show.export import ExportOptions, write_events, write_npz, write_pictures

    labels = _labels(model, selection)
    how = ExportOptions(
        options.colormap, options.stretch, options.merge, options.first, options.columns, options.upscale,
        channels=not options.mosaics,
    )  # fmt: skip
    several = Path(options.input).is_dir()
    told: set[str] = set()

    def report(done: int, of: int) -> None:
        progress("writing maps", done, of)

    with _events(options) as events:
        for number, (item, found) in enumerate(runs):
            for note in _notes(item):
                if note not in told:
                    progress.tell(note)
            told.update(_notes(item))
            if options.npz is not None:
                write_npz(options.npz, found.values)
                progress.result(options.npz)
            if events is not None:
                write_events(events, found, labels, how, number)
            if options.output is None:
                continue
            folder = options.output / f"{number:03d}-{safe_name(Path(item.path).name)}" if several else options.output
            for reason in write_pictures(found, item.path, labels, folder, how, report):
                progress.tell(f"passed over: {reason}, no feature map; --npz writes it", always=True)
            progress.result(folder)
    if events is not None:
        progress.result(events.path)


def _events(options: argparse.Namespace) -> AbstractContextManager[EventFile | None]:
    """The event file that is asked for, or nothing."""
    from contextlib import nullcontext

    from onnxvis.show.tensorboard import EventFile

    return EventFile(options.tensorboard) if options.tensorboard is not None else nullcontext()


def _notes(item: PreparedInput) -> tuple[str, ...]:
    """What was done with an input that its reader might not expect."""
    guess = shared.guess_note(item.preprocessing)
    return item.notes if guess is None else (*item.notes, guess)


def _labels(model: Model, selection: Selection) -> dict[str, str]:
    """{tensor: block}: the block that was asked for, else the outermost that ends in the tensor, the backbone aside."""
    labels: dict[str, str] = {}
    for block in (block for part in model.parts for block in part.walk()):
        asked = block.name in selection.matched
        if asked or (block.output not in labels and block.kind != "backbone"):
            labels[block.output] = block.name
    return labels
