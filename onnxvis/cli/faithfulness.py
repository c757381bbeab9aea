"""How good heatmaps are: `onnxvis heatmap MODEL INPUT --method NAME … --faithfulness`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import check_apart, one_line

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.faithfulness.judge import Judgement, Terms, Verdicts
    from onnxvis.measure.faithfulness.rank import Row
    from onnxvis.measure.faithfulness.truth import Truth
    from onnxvis.measure.target import Target
    from onnxvis.run.inputs import PreparedInput
    from onnxvis.run.labels import Labels

__all__ = ["add_options", "refuse_alone", "run"]


@dataclass
class _Found:
    """What was found so far: all judgements, what is said of each picture, and the first one with its maps."""

    judgements: list[Judgement] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    first: tuple[PreparedInput, Mapping[str, Any], str] | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--faithfulness` and what belongs to it."""
    group = parser.add_argument_group(
        "how good the maps are", "with --faithfulness methods are ranked; -o draws their curves, as one picture"
    )
    group.add_argument(
        "--faithfulness", action="store_true",
        help="rank the methods by insertion and deletion: how the score rises and falls as the pixels that a map marks "
        "enter a blurred picture, or leave the sharp one; random and edges are controls that know nothing of the model",
    )  # fmt: skip
    group.add_argument(
        "--mask", metavar="FILE|FOLDER",
        help="where the subject is, for the pointing game: a picture, white on the subject, of the size of INPUT; "
        "for a folder a folder of such, by the same names or as .png",
    )  # fmt: skip
    group.add_argument(
        "--box", metavar="X0,Y0,X1,Y1|JSON",
        help='the same as a box in pixels of INPUT, or a JSON list of {"file": …, "box": [x0, y0, x1, y1]}',
    )  # fmt: skip
    group.add_argument(
        "--tolerance", metavar="PIXELS", type=float,
        help="how far from the subject a map may point, in pixels of what is fed (default: 0)",
    )  # fmt: skip
    group.add_argument(
        "--blur", metavar="SIGMA", type=float,
        help="of the blurred picture, in pixels of what is fed (default: a tenth of the shorter side)",
    )  # fmt: skip
    group.add_argument(
        "--randomisation", action="store_true",
        help="also shuffle the weights of the last layers, further and further down: maps must change; many runs",
    )  # fmt: skip
    group.add_argument("--csv", metavar="FILE", type=Path, help="write the ranking as CSV")


def refuse_alone(options: argparse.Namespace) -> None:
    """Raise UsageError for an option that says something only with `--faithfulness`, for where that is not given."""
    for name in ("mask", "box", "tolerance", "blur", "randomisation", "csv"):
        value = getattr(options, name)
        if value is not None and value is not False:
            raise UsageError(f"--{name} belongs to --faithfulness; give that too, or leave --{name} out")


def run(options: argparse.Namespace) -> int:
    """Judge every method on every picture, print the ranking, and write what was asked for."""
    from onnxvis.graph.load import load
    from onnxvis.measure.faithfulness.judge import judge
    from onnxvis.measure.faithfulness.rank import rank
    from onnxvis.measure.faithfulness.truth import Truth
    from onnxvis.run.labels import read_labels

    terms = _terms(options)
    truth = Truth.of(options.mask, options.box, folder=Path(options.input).is_dir())
    model = load(Path(options.model))
    _check_targets(options, model)
    labels = read_labels(model.path, model.metadata, options.labels)
    found = _Found()
    with Progress(options.quiet) as progress:
        for item, target in _targets(options, model, progress):
            verdicts = judge(
                model, item, target, terms, _finder(truth, item, progress), shared.run_options(options), progress
            )
            _keep(found, item, target, verdicts, labels)
        rows = rank(found.judgements)
        _tell(found, rows, progress)
        _write(options, model, found, rows, progress)
    return 0


def _terms(options: argparse.Namespace) -> Terms:
    """What the command line asks for, checked before any work."""
    import math

    from onnxvis.measure.faithfulness.judge import Terms
    from onnxvis.measure.heatmaps.explain import METHOD_NAMES, find_methods

    if options.npz is not None:
        raise UsageError("--faithfulness writes no arrays; leave --npz out")
    tolerance = 0.0 if options.tolerance is None else options.tolerance
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"--tolerance {tolerance:g} is no number of pixels; give 0 or more")
    if options.blur is not None and not 0 < options.blur < math.inf:
        raise UsageError(f"--blur {options.blur:g} blurs nothing; give a number of pixels above 0")
    check_apart({"-o": options.output, "--csv": options.csv})
    names = shared.method_names(options.method, "--method", "gradcam")
    if "all" in names:
        names = [item.name for item in find_methods(METHOD_NAMES) if item.name != "cam" and not item.slow]
    names = [item.name for item in find_methods(names)]
    seed = shared.check_seed(options.seed)
    return Terms(tuple(names), tuple(options.layer), options.blur, tolerance, options.randomisation, seed)


def _check_targets(options: argparse.Namespace, model: Model) -> None:
    from onnxvis.show.target import refuse_overwriting

    given = [options.input, *filter(None, (options.labels, options.mask, options.box))]
    for target in (options.output, options.csv):
        if target is not None:
            refuse_overwriting(target, model, given)


def _targets(options: argparse.Namespace, model: Model, progress: Progress) -> Iterator[tuple[PreparedInput, Target]]:
    """What is fed, one by one, each with what is explained of it."""
    from onnxvis.measure.activations import run_deployed
    from onnxvis.measure.target import resolve_target

    flags = shared.detector_flags(options)
    for item in shared.prepared(options, model, progress):
        progress("running the model", 0, 0)
        (outputs,), _ = run_deployed(model, [item.feeds], shared.run_options(options))
        yield item, resolve_target(model, options.target, outputs, feeds=item.feeds, flags=flags)


def _finder(truth: Truth, item: PreparedInput, progress: Progress) -> Callable[[tuple[int, int]], Any]:
    """What finds the subject's pixels of one input; it is told where nothing is known of that one."""

    def find(size: tuple[int, int]) -> Any:
        region = truth.region(item, size)
        if truth.known and region is None:
            progress.tell(f"no mask or box is known for {one_line(item.path, 4096)}; it is not pointed at")
        return region

    return find


def _keep(found: _Found, item: PreparedInput, target: Target, verdicts: Verdicts, labels: Labels | None) -> None:
    from onnxvis.show.faithfulness import describe_judgement
    from onnxvis.show.heatmaps import target_label

    name = target_label(target, labels)
    found.judgements += verdicts.judgements
    found.said.append({
        "input": item.path,
        "preprocessing_guess": shared.preprocessing_guess(item.preprocessing),
        "target": str(target),
        "label": name,
        "methods": [describe_judgement(one) for one in verdicts.judgements],
        "notes": [*verdicts.notes],
    })  # fmt: skip
    if found.first is None:
        found.first = item, verdicts.maps, name


def _tell(found: _Found, rows: Sequence[Row], progress: Progress) -> None:
    """Notes, each once, and what the columns mean."""
    from onnxvis.measure.faithfulness.randomisation import DEPENDS_BELOW

    notes = [
        *dict.fromkeys(note for one in found.judgements for note in one.notes),
        *(f"{one_line(said['input'], 200)}: {note}" for said in found.said for note in said["notes"]),
    ]
    for note in notes:
        progress.tell(note)
    kinds = dict.fromkeys(one.curves.kind for one in found.judgements)
    progress.tell(f"score: {'; '.join(kinds)}; best insertion − deletion first; controls in brackets")
    for row in rows:
        if row.similarity is not None and not row.control:
            side, verdict = ("below", "depends") if row.depends else ("not below", "hardly depends")
            said = f"similarity {row.similarity:z.2f} to its maps of shuffled weights, {side} {DEPENDS_BELOW}"
            progress.tell(f"{row.method} {verdict} on the weights: {said}")


def _write(options: argparse.Namespace, model: Model, found: _Found, rows: Sequence[Row], progress: Progress) -> None:
    """The ranking on stdout, as a table or as JSON, and the files."""
    from onnxvis.files import write_atomic
    from onnxvis.show.faithfulness import describe_row, faithfulness_picture, ranking_csv, ranking_table
    from onnxvis.show.png import encode_rgb

    made = []
    if options.csv is not None:
        write_atomic(options.csv, ranking_csv(rows))
        made.append(options.csv)
    if options.output is not None and found.first is not None:
        item, maps, name = found.first
        pictures = len(found.said)
        title = f"{model.name}: {name}" if pictures == 1 else f"{model.name}: {pictures} pictures, maps of the first"
        pixels = faithfulness_picture(rows, maps, item.picture, title, options.colormap)
        write_atomic(options.output, encode_rgb(pixels))
        made.append(options.output)
    for path in made:
        progress.tell(f"wrote {one_line(path, 4096)}")
    if options.json:
        import json

        from onnxvis.version import __version__

        head = {"schema_version": 1, "onnxvis_version": __version__, "model": str(model.path)}
        data = {**head, "ranking": [describe_row(row) for row in rows], "inputs": found.said}
        progress.result(json.dumps(data, indent=1, allow_nan=False))
    else:
        progress.result("\n".join(ranking_table(rows)))
