"""A copy of a model that also returns the tensors you name, for use in any runtime."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis expose MODEL -o OUT.onnx --tensor NAME ...`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", type=Path, required=True)
    parser.add_argument(
        "--tensor", metavar="NAME", action="append", required=True,
        help="a tensor, a pattern (*Relu*), a block (stage3.block2) or a scope (layer1); may repeat",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="store_true", help="return nothing else, and leave out what is not needed for it"
    )
    parser.add_argument(
        "--link", action="store_true", help="refer to the original file for the weights instead of copying them"
    )
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Write the model and print its path."""
    from onnxvis.files import one_line
    from onnxvis.graph.load import load
    from onnxvis.graph.select import select
    from onnxvis.rewrite.expose import expose
    from onnxvis.rewrite.save import save_linked, save_self_contained

    model = load(Path(options.model))
    selection = select(model, options.tensor)
    with Progress(options.quiet) as progress:
        for word, how in selection.matched.items():
            progress.tell(f"{one_line(word)}: {how}")
        exposed = expose(model, selection.tensors, only=options.only)
        for tensor, (dtype, wider) in exposed.casts.items():
            progress.tell(
                f"{one_line(tensor)}: {dtype} is returned as {wider}, as '{one_line(exposed.outputs[tensor])}'"
            )
        progress("writing the model")
        save = save_linked if options.link else save_self_contained
        written = save(exposed.proto, model, options.output)
    for path in written:
        print(path)
    return 0
