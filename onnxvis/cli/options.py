"""Options that several commands share, and what they mean once read."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from onnxvis.errors import UsageError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnxvis.cli.progress import Progress
    from onnxvis.graph.load import Model
    from onnxvis.measure.boxes.flags import DetectorFlags
    from onnxvis.run.flags import PreprocessFlags
    from onnxvis.run.inputs import PreparedInput, Skipped
    from onnxvis.run.preprocess import Preprocessing
    from onnxvis.run.session import RunOptions

__all__ = [
    "add_detector_options",
    "add_input_options",
    "add_look_options",
    "add_quiet",
    "add_run_options",
    "check_seed",
    "check_threads",
    "command_line",
    "detector_flags",
    "guess_note",
    "method_names",
    "prepared",
    "preprocess_flags",
    "preprocessing_guess",
    "run_options",
]

_COLORMAPS = ("gray", "viridis", "magma", "turbo", "jet", "coolwarm")
_DETECTORS = ("auto", "none", "yolov3", "yolov5", "yolov8")
_LARGEST_SEED = 2**63 - 1
_STRETCHES = ("channel", "tensor", "clip99", "none")


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """How pictures are prepared."""
    group = parser.add_argument_group(
        "how pictures are prepared", "default: what the model's metadata or files beside it say, else a guess"
    )
    group.add_argument("--preprocess", metavar="PRESET", help="imagenet, unit, signed, half, caffe, raw or yolo")
    group.add_argument("--size", metavar="N|HxW|native", help="height and width fed to the model")
    group.add_argument("--fit", choices=("stretch", "crop", "letterbox"), help="how the picture comes to that size")
    group.add_argument("--shorter", metavar="N", help="with --fit crop: the shorter side before cropping")
    group.add_argument("--interpolation", choices=("nearest", "linear", "cubic", "area"))
    group.add_argument("--mean", metavar="A[,B,C]", help="subtracted after --divide, in the order fed")
    group.add_argument("--std", metavar="A[,B,C]", help="divided by after --mean")
    group.add_argument("--divide", metavar="X", help="pixels (0-255) are divided by this first")
    order = group.add_mutually_exclusive_group()
    order.add_argument("--bgr", action="store_const", const=True, dest="bgr", help="feed blue first")
    order.add_argument("--rgb", action="store_const", const=False, dest="bgr", help="feed red first")
    group.add_argument(
        "--max-pixels",
        type=int,
        default=100_000_000,
        metavar="N",
        help="refuse pictures with more pixels than this, before decoding them (default: %(default)s)",
    )
    group.add_argument(
        "--feed",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a further input: a number, a list or an .npy file",
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Where and how the model runs."""
    group = parser.add_argument_group("how the model runs")
    group.add_argument(
        "--provider",
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda, or any provider of ONNX Runtime by name (default: %(default)s)",
    )
    group.add_argument(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="threads of one operation; 0: one a core (default: %(default)s)",
    )
    group.add_argument(
        "--exact",
        action=argparse.BooleanOptionalAction,
        help="compute what is exposed just as the graph says, with no graph optimisation "
        "(default: yes for single pictures, but for quantised models; no where many pictures are run)",
    )


def add_look_options(parser: argparse.ArgumentParser) -> None:
    """How maps are coloured."""
    group = parser.add_argument_group("how maps are drawn")
    group.add_argument("--colormap", choices=_COLORMAPS, default="viridis", help="default: %(default)s")
    group.add_argument(
        "--stretch",
        choices=_STRETCHES,
        default="channel",
        help="what spans the colours: each channel's range, the tensor's, the middle 98 %%, or 0-1 as it is "
        "(default: %(default)s)",
    )


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """How a detector's outputs become boxes."""
    group = parser.add_argument_group("how boxes are read", "default: what the model's metadata or its outputs say")
    group.add_argument(
        "--detector", choices=_DETECTORS, default="auto", help="what the outputs are; none leaves them raw"
    )
    group.add_argument(
        "--anchors",
        metavar="W,H,W,H,…",
        help="of raw heads, in pixels of the input, smallest first as in Darknet's cfg",
    )
    group.add_argument(
        "--scale-xy", type=float, default=1.0, metavar="X", help="scale_x_y of raw heads (default: %(default)s)"
    )


def detector_flags(options: argparse.Namespace) -> DetectorFlags:
    """What the command line says of a detector's heads. Raises UsageError."""
    from onnxvis.measure.boxes.flags import DetectorFlags

    return DetectorFlags.parse(anchors=options.anchors, kind=options.detector, scale_xy=options.scale_xy)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Whether progress is told."""
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def preprocess_flags(options: argparse.Namespace) -> PreprocessFlags:
    """The preprocessing that the command line asks for. Raises UsageError."""
    from onnxvis.run.flags import PreprocessFlags

    names = ("size", "fit", "shorter", "interpolation", "mean", "std", "divide", "bgr")
    return PreprocessFlags.parse(preset=options.preprocess, **{name: getattr(options, name) for name in names})


def preprocessing_guess(settings: Preprocessing | None) -> str | None:
    """The options that settle how pictures are prepared where that was guessed; None where it was not."""
    from onnxvis.run.flags import flags_text

    return flags_text(settings) if settings is not None and settings.guessed else None


def guess_note(settings: Preprocessing | None) -> str | None:
    """What is said of a guess; None where there was none."""
    guess = preprocessing_guess(settings)
    return None if guess is None else f"how pictures are prepared was GUESSED; settle it with: {guess}"


def prepared(options: argparse.Namespace, model: Model, progress: Progress) -> Iterator[PreparedInput]:
    """What is fed, one by one; that it was prepared by a guess is told once, and files that are no pictures at the end.

    Raises the errors of reading.
    """
    from onnxvis.run.reading import Reading

    reading = Reading.of(model, preprocess_flags(options), options.feed)
    skipped: list[Skipped] = []
    told: str | None = None
    for item in reading.read([options.input], skipped, options.max_pixels):
        note = guess_note(item.preprocessing)
        if note is not None and told is None:
            progress.tell(note)
        told = told or note
        yield item
    for one in skipped:
        progress.tell(f"passed over: {one.reason}", always=True)


def method_names(words: Sequence[str], option: str, default: str) -> list[str]:
    """The methods that `words` name, split at commas, or the `default`. Raises UsageError where they name none."""
    names = [name for word in words or [default] for name in word.split(",") if name]
    if not names:
        raise UsageError(
            f"{option} '{one_line(','.join(words))}' names no method; give one, such as {default}, or leave it out"
        )
    return names


def check_seed(seed: int) -> int:
    """The seed that `--seed` asks for. Raises UsageError for what cannot be one."""
    if not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"--seed {one_line(seed)} is no seed; give a whole number from 0 to 2^63 - 1")
    return seed


def run_options(options: argparse.Namespace) -> RunOptions:
    """The provider and threads that the command line asks for. Raises UsageError."""
    from onnxvis.run.session import RunOptions

    check_threads(options.threads)
    return RunOptions(options.provider, options.threads, options.exact)


def check_threads(threads: int) -> int:
    """How many threads `--threads` asks for, 0 meaning one a core. Raises UsageError for what cannot be."""
    if threads < 0:
        raise UsageError(f"--threads {threads} is no number of threads; give 0 for one a core")
    cores = os.cpu_count() or 1
    most = max(64, 4 * cores)
    if threads > most:
        raise UsageError(f"--threads {threads} is more than this machine can use ({most}); give 0 for one a core")
    return threads or cores


def command_line() -> str:
    """The command as it was typed, for the report to say how to make it again."""
    return shlex.join(["onnxvis", *sys.argv[1:]])
