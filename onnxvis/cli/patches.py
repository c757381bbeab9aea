"""The patches of a folder's pictures that excite each channel of a tensor most, as pictures and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import OutputError, UsageError

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.patches import TensorPatches
    from onnxvis.run.inputs import PreparedInput, Skipped
    from onnxvis.run.reading import Reading

__all__ = ["add_arguments", "run"]

_TOLD = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis patches MODEL FOLDER --tensor NAME ... [--channel K ...] [--top N] (-o DIR | --json)`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("folder", metavar="FOLDER", help="a folder of pictures")
    parser.add_argument(
        "--tensor", metavar="NAME", action="append", default=[], required=True,
        help="a feature map: a tensor, a pattern (*Relu*), a block (stage3.block2) or a scope (layer1); may repeat",
    )  # fmt: skip
    parser.add_argument(
        "--channel", metavar="K", type=int, action="append", default=[], help="only this one; may repeat (default: all)"
    )
    parser.add_argument("--top", metavar="N", type=int, default=9, help="patches a channel (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="write pages and patches.json to this folder")
    parser.add_argument(
        "--projections", action=argparse.BooleanOptionalAction,
        help="beside each patch what in it excites the channel, by one backward run each "
        "(default: where a tensor shows 16 channels at most)",
    )  # fmt: skip
    parser.add_argument(
        "--variant", choices=("deconvnet", "guided"),
        help="how they are projected (default: deconvnet behind a max-pool, else guided: a deconvnet tells pictures "
        "apart by the places of the pools' maxima alone)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print where the patches stand as JSON")
    shared.add_input_options(parser)
    shared.add_run_options(parser)
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Find the patches in one pass over the pictures and write what was asked for."""
    from onnxvis.files import one_line
    from onnxvis.graph.load import load
    from onnxvis.graph.select import select
    from onnxvis.measure.patches import locate_patches
    from onnxvis.run.reading import Reading

    if options.output is None and not options.json:
        raise UsageError("say where to: -o DIR for pictures, --json for where the patches stand")
    if options.variant and options.projections is False:
        raise UsageError(f"--no-projections leaves nothing for --variant {options.variant}; give one of the two")
    model = load(Path(options.model))
    selection = select(model, options.tensor)
    places = _places(options, model, selection.tensors)
    reading = Reading.of(model, shared.preprocess_flags(options), options.feed)
    with Progress(options.quiet) as progress:
        for word, how in selection.matched.items():
            progress.tell(f"{one_line(word)}: {how}")
        found = locate_patches(
            model, _pictures(options, reading, progress), selection.tensors, channels=options.channel or None,
            top=options.top, options=shared.run_options(options), progress=progress, total=_count(options.folder),
        )  # fmt: skip
        _tell_notes(found, progress)
        _write(options, model, reading, found, places, progress)
    return 0


def _places(options: argparse.Namespace, model: Model, tensors: Sequence[str]) -> list[Path]:
    """The folder of each tensor. Raises OutputError where one cannot be written, or pictures are read from it."""
    from onnxvis.files import one_line, safe_name
    from onnxvis.show.target import refuse_overwriting

    if options.output is None:
        return []
    refuse_overwriting(options.output / "patches.json", model, [options.folder])
    read_from = Path(options.folder) if Path(options.folder).is_dir() else Path(options.folder).parent
    places = [options.output / f"{number:03d}-{safe_name(name)}" for number, name in enumerate(tensors)]
    places = [options.output] if len(tensors) == 1 else places
    for place in (options.output, *places):
        if place.exists() and read_from.exists() and place.samefile(read_from):
            raise OutputError(f"{one_line(place)} holds the pictures, which are never changed; name another folder")
    return places


def _pictures(options: argparse.Namespace, reading: Reading, progress: Progress) -> Iterator[PreparedInput]:
    """What is fed, one by one; what was done with it is told once, and files that are no pictures at the end."""
    guess = shared.guess_note(reading.preprocessing)
    if guess is not None:
        progress.tell(guess)
    skipped: list[Skipped] = []
    told: set[str] = set()
    for item in reading.read([options.folder], skipped, options.max_pixels):
        for note in item.notes:
            if note not in told and len(told) < _TOLD:
                told.add(note)
                progress.tell(note)
        yield item
    for one in skipped:
        progress.tell(f"passed over: {one.reason}", always=True)


def _count(folder: str) -> int:
    """How many files there are to read, for the progress alone."""
    path = Path(folder)
    return sum(not one.name.startswith(".") and one.is_file() for one in path.iterdir()) if path.is_dir() else 1


def _tell_notes(found: Sequence[TensorPatches], progress: Progress) -> None:
    from onnxvis.files import one_line

    for one in found:
        for note in one.notes:
            progress.tell(f"{one_line(one.tensor)}: {note}")


def _write(
    options: argparse.Namespace,
    model: Model,
    reading: Reading,
    found: Sequence[TensorPatches],
    places: Sequence[Path],
    progress: Progress,
) -> None:
    """Write the pages of each tensor to its folder of `places`, and where the patches stand."""
    from onnxvis.files import one_line, write_atomic, write_many
    from onnxvis.show.data import to_json
    from onnxvis.show.patch_pages import PatchPages
    from onnxvis.show.patches import describe_patches

    def again(path: str) -> PreparedInput:
        return next(reading.read([path], max_pixels=options.max_pixels))

    drawing = PatchPages(model, again, options.projections, shared.run_options(options), progress, options.variant)
    for one, place in zip(found, places, strict=False):
        write_many(place, drawing.pages(one))
        if options.json:
            progress.tell(f"wrote {one_line(place, 4096)}")
        else:
            progress.result(place)
    for note in drawing.notes:
        progress.tell(note)
    data = to_json(describe_patches(model.path, found))
    if places:
        write_atomic(options.output / "patches.json", data)
    if options.json:
        print(data.decode(), end="")
