"""A report on the small network that comes with onnxvis: the first thing to try."""

from __future__ import annotations

import argparse

from onnxvis.cli.report import add_page_options, write_report

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis demo [classifier]`."""
    parser.add_argument(
        "which",
        metavar="NETWORK",
        nargs="?",
        choices=("classifier",),
        default="classifier",
        help="classifier (default: %(default)s)",
    )
    add_page_options(parser)
    parser.set_defaults(heatmaps=",".join(DEMO_HEATMAPS), classes=DEMO_CLASSES)


def run(options: argparse.Namespace) -> int:
    """Write the report on the built-in classifier and its scenes, and print its path."""
    from importlib.resources import as_file, files

    with as_file(files("onnxvis.models") / "data") as data:
        scenes = sorted((data / "scenes").glob("*.png"))[:DEMO_SCENES]
        return write_report(options, data / "classifier.onnx", scenes, None)


DEMO_SCENES, DEMO_CLASSES = 3, 3
DEMO_HEATMAPS = ("gradcam", "layercam", "integratedgradients", "guidedbackprop", "guided-gradcam")
