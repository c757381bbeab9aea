"""A model that explains itself: a copy that also returns a heatmap, for any runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress

if TYPE_CHECKING:
    from onnxvis.graph.load import Model

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis embed MODEL -o OUT.onnx --method gradcam [--layer TENSOR]`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", type=Path, required=True)
    parser.add_argument(
        "--method", choices=("gradcam", "layercam", "hirescam", "gradcam++", "cam", "saliency"), default="gradcam",
        help="default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="the feature map (default: the last one before the head)")
    parser.add_argument("--of", metavar="OUTPUT", help="the output with the class scores (default: the first)")
    parser.add_argument(
        "--link", action="store_true", help="refer to the original file for the weights instead of copying them"
    )
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Write the model, say how far its own outputs have moved, and print its path."""
    import numpy as np

    from onnxvis.api import embed
    from onnxvis.files import one_line
    from onnxvis.graph.load import load
    from onnxvis.measure.moved import moved_outputs
    from onnxvis.rewrite.save import save_linked, save_self_contained

    model = load(Path(options.model))
    with Progress(options.quiet) as progress:
        found = embed(model, options.method, layer=options.layer, output=options.of)
        for note in found.notes:
            progress.tell(note)
        progress.tell(
            f"output '{one_line(found.heatmap)}': (N, H, W) in 0-1; input '{one_line(found.target)}': int64, a class "
            "for each picture or one for all, -1 for the top class"
        )
        progress("comparing the outputs on a random input")
        progress.tell(_how_far(model, moved_outputs(model, found.proto, {found.target: np.array([-1])})))
        progress("writing the model")
        save = save_linked if options.link else save_self_contained
        written = save(found.proto, model, options.output)
    for path in written:
        print(path)
    return 0


def _how_far(model: Model, gaps: dict[str, float]) -> str:
    moved = {name: gap for name, gap in gaps.items() if gap}
    if not moved:
        return f"the outputs of {model.name} are unchanged on a random input"
    worst = max(moved, key=lambda name: moved[name])
    return f"output '{worst}' moves by up to {moved[worst]:.2g} of its largest value, as ONNX Runtime fuses differently"
