"""YOLOv3 or YOLOv3-tiny, from a description that comes with onnxvis."""

from __future__ import annotations

import argparse
from pathlib import Path

from onnxvis.cli.recipes.darknet import add_shared, convert

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis make yolov3 [--tiny] (--weights FILE | --random) -o OUT.onnx [--classes N] [--size N] [--decode]`."""
    parser.add_argument("--tiny", action="store_true", help="YOLOv3-tiny: 9 million parameters instead of 62")
    parser.add_argument("--weights", metavar="FILE", type=Path, help="a .weights file of Darknet; or give --random")
    add_shared(parser)


def run(options: argparse.Namespace) -> int:
    """Write the model and print its path."""
    from onnxvis.models.darknet.cfg import parse_cfg
    from onnxvis.models.darknet.structures import yolov3, yolov3_tiny

    name, text = ("yolov3-tiny", yolov3_tiny()) if options.tiny else ("yolov3", yolov3())
    return convert(options, parse_cfg(text, name), [])
