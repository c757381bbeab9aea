"""A network of Darknet, from its .cfg and .weights files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxvis.models.darknet.cfg import Section
    from onnxvis.models.darknet.plan import Plan
    from onnxvis.models.darknet.weights import Weights

__all__ = ["add_arguments", "add_shared", "convert", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis make darknet CFG (WEIGHTS | --random) -o OUT.onnx [--size N] [--classes N] [--decode]`."""
    parser.add_argument("cfg", metavar="CFG", type=Path, help="the network's .cfg file")
    parser.add_argument("weights", metavar="WEIGHTS", type=Path, nargs="?", help="its .weights file; or give --random")
    add_shared(parser)


def add_shared(parser: argparse.ArgumentParser) -> None:
    """What the recipes of Darknet have in common; `weights` is left to each."""
    parser.add_argument("-o", "--output", metavar="OUT.onnx", type=Path, required=True)
    parser.add_argument("--random", action="store_true", help="weights drawn by chance instead of a file")
    parser.add_argument("--seed", metavar="N", type=int, help="of the drawn weights (default: 0)")
    parser.add_argument(
        "--classes", metavar="N", type=int, help="classes of each head, with the channels that go with it"
    )
    parser.add_argument("--size", metavar="N|HxW", help="height and width of the input (default: the cfg's own)")
    parser.add_argument("--decode", action="store_true", help="also give boxes and scores, computed in the graph")
    parser.add_argument(
        "--labels", metavar="FILE", type=Path, help="names of the classes, one a line, kept in the model"
    )
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Write the model and print its path."""
    from onnxvis.models.darknet.cfg import read_cfg

    return convert(options, read_cfg(options.cfg), [options.cfg])


def convert(options: argparse.Namespace, sections: Sequence[Section], given: Sequence[Path]) -> int:
    """Write the network of `sections` with the weights that the options name; `given` are files not to be overwritten.

    Raises UsageError for options that do not go together, ModelError for a cfg or weights that cannot be converted.
    """
    from onnxvis.files import atomic_writer, one_line, refuse_overwriting
    from onnxvis.models.darknet.build import build
    from onnxvis.models.darknet.plan import make_plan
    from onnxvis.models.darknet.write import write_model

    _check(options)
    files = [path for path in (*given, options.weights, options.labels) if path is not None]
    refuse_overwriting(options.output, (), files, instead="another file with -o")
    labels = _labels(options.labels)
    with Progress(options.quiet) as progress:
        plan = make_plan(sections, _size(options.size), options.classes)
        progress("reading the weights" if options.weights else "drawing the weights")
        weights = _weights(options, plan)
        progress("building the model")
        model = build(plan, weights, labels, options.decode)
        progress("writing the model")
        with atomic_writer(options.output) as stream:
            write_model(model, stream)
        progress.tell(_summary(plan, [output.name for output in model.graph.output]))
        for note in weights.notes:
            progress.tell(f"warning: {note}", always=True)
        progress.result(one_line(options.output, 4096))
    return 0


def _check(options: argparse.Namespace) -> None:
    from onnxvis.errors import UsageError

    if (options.weights is None) != options.random:
        both = "both weights and --random were given" if options.random else "no weights were given"
        raise UsageError(f"{both}: name a .weights file, or draw weights by chance with --random")
    if options.seed is not None and not options.random:
        raise UsageError("--seed goes with --random")
    if options.seed is not None and not 0 <= options.seed < 1 << 63:
        raise UsageError(f"--seed is {options.seed}; it can be 0 to 2^63 - 1")


def _weights(options: argparse.Namespace, plan: Plan) -> Weights:
    from onnxvis.models.darknet.drawn import DrawnWeights
    from onnxvis.models.darknet.weights import FileWeights

    if options.random:
        return DrawnWeights(plan, options.seed or 0, few_boxes=True)
    return FileWeights(options.weights, plan)


def _size(text: str | None) -> tuple[int, int] | None:
    from onnxvis.errors import UsageError
    from onnxvis.run.flags import parse_size

    if text is None:
        return None
    size = parse_size(text)
    if isinstance(size, str):
        raise UsageError("--size native is not possible: a network of Darknet takes one size")
    return size


def _labels(path: Path | None) -> list[str] | None:
    from onnxvis.errors import UsageError
    from onnxvis.files import one_line
    from onnxvis.run.labels import read_labels

    if path is None:
        return None
    found = read_labels(path, {}, path)
    names = found.names if found else {}
    if not names or set(names) != set(range(len(names))):
        raise UsageError(f"{one_line(path)} does not name every class from 0 on")
    return [names[index] for index in range(len(names))]


def _summary(plan: Plan, outputs: Sequence[str]) -> str:
    size = " x ".join(map(str, plan.picture))
    has = f"{len(plan.layers)} sections, {plan.parameters:,} parameters"
    return f"{plan.name}: {has}, input {size}, outputs {', '.join(outputs)}"
