"""Where a model looks: heatmaps of a picture by any of many methods, from the .onnx file alone."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import faithfulness, projections
from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import check_apart, check_target

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.heatmaps.explain import Heatmap
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels

__all__ = ["add_arguments", "run"]

_MOST_MASKS = 1_000_000

_COLORMAP = "turbo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis heatmap MODEL INPUT --method NAME ... (-o PICTURE | --npz FILE | --json)`, and its two other modes."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("input", metavar="INPUT", help="a picture, a folder of pictures, an .npy or .npz array")
    parser.add_argument(
        "--method", metavar="NAME", action="append", default=[],
        help="gradcam, gradcam++, layercam, saliency, …; 'all' for each that is quick; may repeat, or NAME,NAME "
        "(default: gradcam)",
    )  # fmt: skip
    parser.add_argument(
        "--target", metavar="T", default="top",
        help="what to explain: a class, top, OUTPUT:index,index,… without the batch; of a detector box:K, the box "
        "in place K, or class:CLASS@ROW,COLUMN[@OUTPUT|@STRIDE], a class in a cell (default: %(default)s, the best "
        "box or class)",
    )  # fmt: skip
    parser.add_argument(
        "--layer", metavar="NAME", action="append", default=[],
        help="the feature map, a block or a pattern; several are fused (default: the last one before the head)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="PICTURE", type=Path, help="a PNG; a folder where INPUT is one")
    parser.add_argument("--npz", metavar="FILE", type=Path, help="write METHOD/map in 0-1 and METHOD/raw as arrays")
    parser.add_argument("--json", action="store_true", help="print what was computed, without the pixels, as JSON")
    parser.add_argument(
        "--masks", metavar="N", type=int, default=1000, help="of rise: how many random masks (default: %(default)s)"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of methods that draw at random (default: 0)")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="class names: a text file, one a line, or JSON")
    parser.add_argument(
        "--list-methods", action=_ListMethods, nargs=0, help="print every method with its definition, and stop"
    )
    parser.add_argument("--list-targets", action="store_true", help="print what can be explained of INPUT, and stop")
    parser.add_argument(
        "--colormap", choices=("turbo", "jet", "viridis", "magma", "gray", "coolwarm"),
        help="default: turbo; of feature maps magma",
    )  # fmt: skip
    projections.add_options(parser)
    faithfulness.add_options(parser)
    shared.add_detector_options(parser)
    shared.add_input_options(parser)
    shared.add_run_options(parser)
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Compute the heatmaps and write what was asked for."""
    from onnxvis.graph.load import load
    from onnxvis.run.labels import read_labels

    if not options.faithfulness:
        faithfulness.refuse_alone(options)
    if not options.list_targets and projections.is_meant(options):
        return projections.run(options)
    options.colormap = options.colormap or _COLORMAP
    if not options.list_targets and options.faithfulness:
        return faithfulness.run(options)
    names = _methods(options)
    if options.list_targets:
        _check_listing(options)
    else:
        _check(options)
    model = load(Path(options.model))
    labels = read_labels(model.path, model.metadata, options.labels)
    said = []
    with Progress(options.quiet) as progress:
        if options.list_targets:
            said = _listed(options, model, labels, progress)
        else:
            for item, found in _explained(options, model, names, progress):
                said.append({
                    "input": item.path,
                    "preprocessing_guess": shared.preprocessing_guess(item.preprocessing),
                    "heatmaps": _written(options, model, item, found, labels, progress),
                })  # fmt: skip
    if options.json:
        import json

        from onnxvis.version import __version__

        head = {"schema_version": 1, "onnxvis_version": __version__, "model": str(model.path)}
        print(json.dumps({**head, "inputs": said}, indent=1, allow_nan=False))
    return 0


def _listed(
    options: argparse.Namespace, model: Model, labels: Labels | None, progress: Progress
) -> list[dict[str, object]]:
    """What can be explained of each input; printed unless it is asked for as JSON."""
    from onnxvis.cli.targets import find_targets, targets_table
    from onnxvis.files import one_line

    flags, run = shared.detector_flags(options), shared.run_options(options)
    said = []
    for item in shared.prepared(options, model, progress):
        found = find_targets(model, item, labels, flags, run)
        for note in found["notes"]:
            progress.tell(note)
        if not options.json:
            if Path(options.input).is_dir():
                print(f"{one_line(item.path, 4096)}:")
            print("\n".join(targets_table(found)))
        said.append({"preprocessing_guess": shared.preprocessing_guess(item.preprocessing), **found})
    return said


class _ListMethods(argparse.Action):
    """Prints every method with its definition and stops, as `--help` does: without a model or an input."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from onnxvis.measure.heatmaps.explain import METHOD_NAMES, find_methods

        width = max(map(len, METHOD_NAMES)) + 2
        for item in find_methods(METHOD_NAMES):
            print(f"{item.name:<{width}}{item.definition}")
        parser.exit()


def _methods(options: argparse.Namespace) -> list[str]:
    """The methods asked for, split at commas."""
    from onnxvis.measure.heatmaps.explain import METHOD_NAMES, find_methods

    names = shared.method_names(options.method, "--method", "gradcam")
    if "all" in names:
        return [item.name for item in find_methods(METHOD_NAMES) if item.name != "cam" and not item.slow]
    find_methods(names)
    return names


def _check_listing(options: argparse.Namespace) -> None:
    for name, path in (("-o", options.output), ("--npz", options.npz)):
        if path is not None:
            raise UsageError(f"--list-targets writes no file; leave {name} out, or take --json for the list as JSON")


def _check(options: argparse.Namespace) -> None:
    if options.output is None and options.npz is None and not options.json:
        raise UsageError("say where to: -o PICTURE for a picture, --npz FILE for arrays, --json for the facts")
    if not 1 <= options.masks <= _MOST_MASKS:
        raise UsageError(f"--masks {options.masks} is no number of masks; give 1 to {_MOST_MASKS:,}")
    shared.check_seed(options.seed)
    check_apart({"-o": options.output, "--npz": options.npz})
    folder = Path(options.input).is_dir()
    if folder and options.npz is not None:
        raise UsageError("--npz holds the arrays of one input; give a picture, not a folder")
    if options.output is not None:
        check_target(options.output / "file" if folder else options.output)
    if options.npz is not None:
        check_target(options.npz)


def _explained(
    options: argparse.Namespace, model: Model, names: list[str], progress: Progress
) -> Iterator[tuple[PreparedInput, tuple[Heatmap, ...]]]:
    from onnxvis.measure.heatmaps.explain import explain
    from onnxvis.measure.heatmaps.masked import RISE
    from onnxvis.show.target import refuse_overwriting

    flags = shared.detector_flags(options)
    for target in (options.npz, options.output):
        if target is not None and not target.is_dir():
            refuse_overwriting(target, model, [options.input, *([options.labels] if options.labels else [])])
    methods = [RISE(options.masks) if name == RISE.name else name for name in dict.fromkeys(names)]
    for item in shared.prepared(options, model, progress):
        found = explain(
            model, item.feeds, methods, target=options.target, layers=options.layer, flags=flags,
            options=shared.run_options(options), random_seed=options.seed, progress=progress,
        )  # fmt: skip
        yield item, found


def _written(
    options: argparse.Namespace,
    model: Model,
    item: PreparedInput,
    found: tuple[Heatmap, ...],
    labels: Labels | None,
    progress: Progress,
) -> list[dict[str, object]]:
    """Write the files for one input; returns what is said of it."""
    from onnxvis.files import one_line, picture_of, write_atomic
    from onnxvis.show.export import write_npz
    from onnxvis.show.heatmaps import describe_heatmap, heatmap_arrays, heatmap_page, heatmap_picture, target_label
    from onnxvis.show.png import encode_rgb
    from onnxvis.show.target import refuse_overwriting

    target = found[0].target
    name = target_label(target, labels)
    for note in dict.fromkeys(note for one in found for note in one.notes):
        progress.tell(note)
    made = []
    if options.npz is not None:
        write_npz(options.npz, heatmap_arrays(found))
        made.append(options.npz)
    if options.output is not None:
        path = options.output
        if Path(options.input).is_dir():
            path = picture_of(Path(item.path), path)
            refuse_overwriting(path, model, [item.path])
        if len(found) == 1:
            pixels = heatmap_picture(found[0], item.picture, options.colormap)
        else:
            texts = [(one, ", ".join(one.layers) or "the picture itself") for one in found]
            pixels = heatmap_page(texts, item.picture, f"{model.name}: {name}", options.colormap)
        write_atomic(path, encode_rgb(pixels))
        made.append(path)
    for path in made:
        if options.json:
            progress.tell(f"wrote {one_line(path, 4096)}")
        else:
            progress.result(path)
    if not options.json:
        progress.tell(f"target: {one_line(f'{name} ({target})', 300)}")
    return [describe_heatmap(one, labels) for one in found]
