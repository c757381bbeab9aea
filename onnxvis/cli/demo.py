"""A report on a small network that comes with onnxvis: the first thing to try."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from onnxvis.cli.report import add_page_options, write_report
from onnxvis.errors import ModelError

__all__ = ["add_arguments", "run"]

_PICTURES = 3


@dataclass(frozen=True)
class _Demo:
    """A network of the package's data, the folder of its pictures, and what its report shows unless told otherwise."""

    file: str
    folder: str
    heatmaps: tuple[str, ...]
    classes: int = 3


_DEMOS = {
    "classifier": _Demo(
        "classifier.onnx",
        "scenes",
        ("gradcam", "layercam", "integratedgradients", "guidedbackprop", "guided-gradcam"),
    ),
    "detector": _Demo("detector.onnx", "crowds", ("gradcam", "layercam")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis demo [classifier|detector]`."""
    parser.add_argument(
        "which",
        metavar="NETWORK",
        nargs="?",
        choices=tuple(_DEMOS),
        default="classifier",
        help="classifier or detector (default: %(default)s)",
    )
    add_page_options(parser, heatmaps=None, classes=None)


def run(options: argparse.Namespace) -> int:
    """Write the report on a built-in network and its pictures, and print its path."""
    from importlib.resources import as_file, files

    demo = _DEMOS[options.which]
    if options.heatmaps is None:
        options.heatmaps = ",".join(demo.heatmaps)
    if options.classes is None:
        options.classes = demo.classes
    with as_file(files("onnxvis.models") / "data") as data:
        model = data / demo.file
        if not model.exists():
            raise ModelError(f"this installation has no {demo.file}; the other demos are: {_others(options.which)}")
        pictures = sorted((data / demo.folder).glob("*.png"))[:_PICTURES]
        return write_report(options, model, pictures, None)


def _others(which: str) -> str:
    return ", ".join(f"onnxvis demo {name}" for name in _DEMOS if name != which)
