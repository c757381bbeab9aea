"""An nn.Module from a Python file of the user's own as an .onnx file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.cli.options import add_quiet
from onnxvis.cli.progress import Progress
from onnxvis.cli.recipes.torchvision import check_seed, class_names, sides, write
from onnxvis.errors import UsageError

if TYPE_CHECKING:
    import onnx

__all__ = ["add_arguments", "run"]

_MOST_CHANNELS = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis make torch FILE.py:CLASS -o OUT.onnx`."""
    parser.epilog = (
        "The Python file is run, as `python FILE.py` would: name only files that you trust. What stands beside it, and "
        "in the folder above, can be imported. A checkpoint is read as tensors only: code in it is refused, not run. "
        "Its input is called image, its output output, or output0, output1, … where the module returns several."
    )
    parser.add_argument(
        "module", metavar="FILE.py:CLASS", help="a class, or a function that returns a module, in a file that is run"
    )
    parser.add_argument("-o", "--output", metavar="OUT.onnx", type=Path, required=True)
    parser.add_argument(
        "--args", metavar="NAME=VALUE", action="append", default=[],
        help="an argument of CLASS: a Python literal (num_classes=5, sizes=[1,2]), or else text; may repeat",
    )  # fmt: skip
    parser.add_argument("--checkpoint", metavar="FILE.pth", type=Path, help="weights (default: as CLASS makes them)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of random weights (default: %(default)s)")
    parser.add_argument("--size", metavar="N|HxW", default="224", help="of the input (default: %(default)s)")
    parser.add_argument("--channels", metavar="N", type=int, default=3, help="of the input (default: %(default)s)")
    parser.add_argument("--fold", action="store_true", help="fold batch norm into the convolutions before it")
    parser.add_argument("--opset", metavar="N", type=int, default=17, help="11 to 20 (default: %(default)s)")
    parser.add_argument("--preprocess", metavar="PRESET", help="imagenet, unit, signed, half, caffe, raw or yolo")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the classes, one a line or JSON")
    add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Make the file and print its path."""
    from onnxvis.files import one_line, refuse_overwriting
    from onnxvis.models.checkpoints import load_checkpoint
    from onnxvis.models.own_module import build_own, own_imports, parse_arguments, parse_where
    from onnxvis.models.torch_export import check_opset, export_checked, need

    file, name = parse_where(options.module)
    arguments = parse_arguments(options.args)
    height, width = sides(options.size) or (224, 224)
    check_opset(options.opset)
    check_seed(options.seed)
    if not 1 <= options.channels <= _MOST_CHANNELS:
        raise UsageError(f"--channels {options.channels} cannot be; give 1 to {_MOST_CHANNELS}")
    given = [path for path in (file, options.checkpoint, options.labels) if path is not None]
    refuse_overwriting(options.output, (), given)
    labels = class_names(options.labels, None)
    metadata = _metadata(labels, options.preprocess, (height, width))
    need("torch")
    with Progress(options.quiet) as progress, own_imports(file):
        progress(f"running {one_line(file.name)}")
        network = build_own(file, name, arguments, options.seed)
        if options.checkpoint is not None:
            progress(f"reading {one_line(options.checkpoint.name)}")
            load_checkpoint(options.checkpoint, network)
        progress(f"exporting {name} and comparing it with PyTorch")
        shape = (1, options.channels, height, width)
        exported = export_checked(network, shape, metadata, fold=options.fold, opset=options.opset, name=name)
        if labels is not None:
            _check_labels(labels, exported.model, name)
        write(exported, options.output, progress)
    print(options.output)
    return 0


def _metadata(labels: Sequence[str] | None, preprocess: str | None, size: tuple[int, int]) -> dict[str, str]:
    from onnxvis.models.describe import labels_metadata, preprocess_metadata
    from onnxvis.run.preprocess import preset

    metadata: dict[str, str] = {}
    if labels is not None:
        metadata |= labels_metadata(labels)
    if preprocess is not None:
        preset(preprocess)
        metadata |= preprocess_metadata({"preset": preprocess, "size": list(size)})
    return metadata


def _check_labels(labels: Sequence[str], model: onnx.ModelProto, name: str) -> None:
    """Raise UsageError where there are outputs (batch, classes), and none of them has as many classes as labels."""
    shapes = [output.type.tensor_type.shape.dim for output in model.graph.output]
    counts = [sides[1].dim_value for sides in shapes if len(sides) == 2 and sides[1].dim_value]
    if counts and len(labels) not in counts:
        raise UsageError(f"{len(labels)} labels do not go with the {counts[0]} classes of {name}")
