"""A copy of a model that also computes gradients, for use in any runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis gradient MODEL -o OUT.onnx --of OUTPUT ... --wrt TENSOR ...`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", type=Path)
    parser.add_argument(
        "--of", metavar="TENSOR", action="append", default=[],
        help="what is differentiated; an input 'seed.TENSOR' takes its gradient; may repeat (default: first output)",
    )  # fmt: skip
    parser.add_argument(
        "--wrt", metavar="TENSOR", action="append", default=[],
        help="by what: a tensor, a pattern, a block or an input; the output 'grad.TENSOR' holds it; may repeat "
        "(default: the picture input)",
    )  # fmt: skip
    parser.add_argument(
        "--rule", choices=("plain", "guided", "deconvnet"), default="plain",
        help="how units like Relu pass the gradient (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="store_true", help="return gradients alone, and leave out what they do not need"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; list every node that no gradient passes")
    parser.add_argument("--json", action="store_true", help="with --check: print JSON")
    parser.add_argument(
        "--link", action="store_true", help="refer to the original file for the weights instead of copying them"
    )
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Write the model and print its path, or list what stands in the way of that: exit code 1 where something does."""
    from onnxvis.graph.load import load
    from onnxvis.graph.select import select

    if options.check == (options.output is not None):
        raise UsageError("give -o OUT.onnx for a model with gradients, or --check to see whether there can be one")
    if options.json and not options.check:
        raise UsageError("--json goes with --check")
    model = load(Path(options.model))
    of = select(model, options.of).tensors if options.of else (_first_output(model),)
    wrt = select(model, options.wrt).tensors if options.wrt else (_picture_input(model),)
    return _check(options, model, of, wrt) if options.check else _write(options, model, of, wrt)


def _first_output(model: Model) -> str:
    if not model.outputs:
        raise UsageError(f"{model.name} has no output; name a tensor with --of")
    return model.outputs[0].name


def _picture_input(model: Model) -> str:
    from onnxvis.run.picture_input import image_input

    found = image_input(model.inputs) or next(iter(model.inputs), None)
    if found is None:
        raise UsageError(f"{model.name} has no input; name a tensor with --wrt")
    return found.name


def _write(options: argparse.Namespace, model: Model, of: tuple[str, ...], wrt: tuple[str, ...]) -> int:
    from onnxvis.files import one_line
    from onnxvis.rewrite.gradient import differentiate
    from onnxvis.rewrite.save import save_linked, save_self_contained

    with Progress(options.quiet) as progress:
        found = differentiate(model, of, wrt, variant=options.rule, only=options.only)
        for note in found.notes:
            progress.tell(note)
        for tensor, seed in found.seeds.items():
            progress.tell(f"feed '{one_line(seed)}' with the gradient that starts at {one_line(tensor)}")
        for tensor, output in found.gradients.items():
            progress.tell(f"'{one_line(output)}' is the gradient by {one_line(tensor)}")
        progress("writing the model")
        save = save_linked if options.link else save_self_contained
        written = save(found.proto, model, options.output)
    for path in written:
        print(path)
    return 0


def _check(options: argparse.Namespace, model: Model, of: tuple[str, ...], wrt: tuple[str, ...]) -> int:
    from onnxvis.files import one_line
    from onnxvis.rewrite.gradient import check_gradient

    found = check_gradient(model, of, wrt, variant=options.rule)
    if options.json:
        import json
        from dataclasses import asdict

        from onnxvis.version import __version__

        head = {"schema_version": 1, "onnxvis_version": __version__, "of": list(of), "wrt": list(wrt)}
        print(json.dumps({**head, "obstacles": [asdict(item) for item in found]}, indent=1))
        return int(bool(found))
    for item in found:
        print(f"{one_line(item.op)}  {item.node}: {one_line(item.reason, 300)}")
    if not found:
        print("every node on the way has a gradient")
    return int(bool(found))
