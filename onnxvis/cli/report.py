"""One offline HTML page that shows a model from the inside."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnxvis.show.options import ReportOptions

__all__ = ["add_arguments", "add_page_options", "run", "write_report"]

_LARGEST_BUDGET = 1e6
_MOST_CLASSES = 20
_MOST_CHANNELS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis report MODEL [INPUT ...]`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="pictures, folders of pictures, .npy or .npz arrays")
    add_page_options(parser)
    parser.add_argument("--labels", metavar="FILE", type=Path, help="class names: a text file, one a line, or JSON")
    shared.add_input_options(parser)
    shared.add_detector_options(parser)


def add_page_options(
    parser: argparse.ArgumentParser, heatmaps: str | None = "gradcam", classes: int | None = 1
) -> None:
    """What `report` and `demo` share. A default of None is chosen later, for the network."""
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("report.html"), help="default: %(default)s"
    )
    parser.add_argument("--json-file", metavar="FILE", type=Path, help="write every number of the page as JSON, too")
    parser.add_argument(
        "--heatmaps",
        metavar="METHOD,...|none",
        default=heatmaps,
        help="where the model looked, by these methods for the top class, or a detector's strongest box: gradcam, "
        "layercam, saliency, …, or all, some of which take minutes "
        f"(default: {heatmaps or 'chosen for each network'})",
    )
    parser.add_argument(
        "--classes",
        metavar="N",
        type=int,
        default=classes,
        help="the first of these methods also for the next strongest classes or boxes, N in all "
        f"(default: {classes or 'chosen for each network'})",
    )
    parser.add_argument(
        "--faithfulness",
        action="store_true",
        help="test each heatmap by insertion and deletion: 54 runs of the model each",
    )
    _add_channel_options(parser)
    parser.add_argument("--open", action="store_true", help="show the page in the browser")
    parser.add_argument(
        "--budget",
        metavar="MB",
        type=float,
        default=10.0,
        help="size that the page is kept to by leaving out pictures, then rows; what cannot be left out may take more, "
        "and the page then says so (default: %(default)s)",
    )
    parser.add_argument(
        "--bins", metavar="N", type=int, default=50, help="bins of each weight's histogram (default: %(default)s)"
    )
    shared.add_run_options(parser)
    shared.add_look_options(parser)
    shared.add_quiet(parser)


def _add_channel_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the strongest channels of each stage respond to")
    group.add_argument(
        "--channels",
        metavar="N",
        type=int,
        default=3,
        help="so many of its strongest channels beside each stage, 0 for none (default: %(default)s)",
    )
    group.add_argument(
        "--projections",
        action=argparse.BooleanOptionalAction,
        help="project them back to the pixels by a deconvnet (default: with heatmaps, where the model is quick)",
    )
    group.add_argument(
        "--patches",
        metavar="FOLDER",
        type=Path,
        help="the patches of this folder's pictures that excite them most, beside them",
    )


def run(options: argparse.Namespace) -> int:
    """Write the report and print its path."""
    return write_report(options, Path(options.model), options.inputs, options.labels)


def write_report(options: argparse.Namespace, model: Path, inputs: Sequence[str | Path], labels: Path | None) -> int:
    """Build the page for `model`, write it whole or not at all, and print where it is."""
    from onnxvis.graph.load import load
    from onnxvis.show import report

    _check(options)
    _check_channels(options)
    settings = _settings(options, labels)
    if settings.faithfulness and not settings.heatmaps:
        raise UsageError("--faithfulness tests heatmaps, and --heatmaps none leaves none; name a method")
    if settings.patches is not None and not inputs:
        raise UsageError("--patches go beside the strongest channels of an INPUT; give a picture too")
    with Progress(options.quiet) as progress:
        progress(f"opening {one_line(model.name)}")
        report.write_report(load(model), inputs, options.output, settings, progress, options.json_file)
    print(options.output)
    if options.open:
        import webbrowser

        webbrowser.open(options.output.resolve().as_uri())
    return 0


def _settings(options: argparse.Namespace, labels: Path | None) -> ReportOptions:
    """What the command line asks for. Raises UsageError."""
    from onnxvis.measure.boxes.flags import NO_FLAGS
    from onnxvis.run.flags import PreprocessFlags
    from onnxvis.show.maps import Look
    from onnxvis.show.options import ReportOptions

    return ReportOptions(
        run=shared.run_options(options),
        preprocess=shared.preprocess_flags(options) if hasattr(options, "preprocess") else PreprocessFlags(),
        labels=labels,
        feeds=tuple(getattr(options, "feed", ())),
        max_pixels=getattr(options, "max_pixels", ReportOptions.max_pixels),
        look=Look(options.colormap, options.stretch),
        budget=int(options.budget * 1e6),
        command=shared.command_line(),
        bins=options.bins,
        heatmaps=_heatmaps(options.heatmaps),
        classes=options.classes,
        detector=shared.detector_flags(options) if hasattr(options, "detector") else NO_FLAGS,
        faithfulness=options.faithfulness,
        channels=options.channels,
        projections=options.projections,
        patches=options.patches,
    )


def _check(options: argparse.Namespace) -> None:
    from onnxvis.measure.histogram import MAX_BINS

    if not 0 < options.budget < _LARGEST_BUDGET:
        raise UsageError(f"--budget {options.budget:g} is no size for a page; give megabytes above 0")
    if not 1 <= options.classes <= _MOST_CLASSES:
        raise UsageError(f"--classes {options.classes} is no number of classes to explain; give 1 to {_MOST_CLASSES}")
    if not 1 <= options.bins <= MAX_BINS:
        raise UsageError(f"--bins {options.bins} is no number of bins; give 1 to {MAX_BINS}")


def _check_channels(options: argparse.Namespace) -> None:
    if not 0 <= options.channels <= _MOST_CHANNELS:
        raise UsageError(f"--channels {options.channels} is no number of channels; give 0 to {_MOST_CHANNELS}")
    if not options.channels and (options.patches or options.projections):
        raise UsageError("--channels 0 shows no channels that could have projections or patches; leave it out")
    if options.patches is not None and not options.patches.is_dir():
        raise UsageError(f"--patches {one_line(options.patches)} is no folder; give one with pictures")


def _heatmaps(text: str) -> tuple[str, ...]:
    """The methods that `--heatmaps` names, each once. Raises UsageError."""
    names = shared.method_names([text], "--heatmaps", "gradcam")
    if names == ["none"]:
        return ()
    from onnxvis.measure.heatmaps.explain import METHOD_NAMES, find_methods

    if "all" in names:
        find_methods([name for name in names if name != "all"])
        return METHOD_NAMES
    return tuple(item.name for item in find_methods(names))
