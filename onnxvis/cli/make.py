"""Models made from what people start from: Darknet's files, torchvision's networks, modules of one's own, training."""

from __future__ import annotations

import argparse
from importlib import import_module

from onnxvis.errors import UsageError

__all__ = ["RECIPES", "add_arguments", "run"]

RECIPES = {
    "darknet": "a network of Darknet, from its .cfg and .weights files, with no framework",
    "yolov3": "YOLOv3 on Darknet-53, or YOLOv3-tiny, from a description that comes with onnxvis",
    "torchvision": "a classifier of torchvision, pretrained, random, or from a checkpoint",
    "torch": "an nn.Module from a Python file of your own",
    "finetune": "a classifier trained on a folder of pictures, on CIFAR-10 or on drawn shapes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis make RECIPE ...`."""
    width = max(map(len, RECIPES)) + 2
    listed = "\n".join(f"  {name:<{width}}{summary}" for name, summary in RECIPES.items())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"recipes:\n{listed}\n\nMore on one: onnxvis make RECIPE --help"
    parser.usage = "onnxvis make RECIPE ... -o OUT.onnx"
    parser.add_argument("recipe", metavar="RECIPE", nargs="?", choices=tuple(RECIPES), help="see below")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Run the recipe with the options that follow its name."""
    name = options.recipe
    if name is None:
        raise UsageError(f"name what to make: {', '.join(RECIPES)}; more with: onnxvis make --help")
    recipe = import_module(f"onnxvis.cli.recipes.{name}")
    what = f"{RECIPES[name][0].upper()}{RECIPES[name][1:]}."
    parser = argparse.ArgumentParser(prog=f"onnxvis make {name}", description=what, allow_abbrev=False)
    recipe.add_arguments(parser)
    return int(recipe.run(parser.parse_args(options.rest)))
