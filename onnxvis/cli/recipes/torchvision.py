"""Classifiers of torchvision as .onnx files: pretrained, random, or with the weights of a checkpoint."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.cli.options import add_quiet
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import one_line

if TYPE_CHECKING:
    from onnxvis.models.torch_export import Exported

__all__ = ["add_arguments", "check_seed", "class_names", "run", "sides", "write"]


@dataclass(frozen=True)
class _Job:
    """One file to make."""

    name: str
    checkpoint: Path | None
    target: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis make torchvision NAME ... -o OUT.onnx`."""
    parser.epilog = (
        "Batch norm and the names of the modules are kept, the batch is left free; class names and preprocessing are "
        "written into the file, so that `onnxvis report OUT.onnx PICTURE` needs no flags. A checkpoint is read as "
        "tensors only: code in it is refused, not run."
    )
    parser.add_argument("name", metavar="NAME", nargs="+", help="resnet18, alexnet, vgg16, … as in torchvision.models")
    parser.add_argument(
        "-o", "--output", metavar="OUT.onnx|DIR", type=Path, required=True, help="a file; for several, a folder"
    )
    weights = parser.add_argument_group("weights", "default: torchvision's pretrained ones, fetched where need be")
    kind = weights.add_mutually_exclusive_group()
    kind.add_argument("--random", action="store_true", help="as torchvision initialises them")
    kind.add_argument(
        "--checkpoint", metavar="FILE.pth", type=Path, action="append", default=[],
        help="a state dict, plain or under state_dict, model or the like; may repeat: one .onnx for each in DIR",
    )  # fmt: skip
    weights.add_argument("--seed", metavar="N", type=int, default=0, help="of --random (default: %(default)s)")
    weights.add_argument(
        "--classes", metavar="N", type=int, help="outputs of the last layer (default: as in the checkpoint, else 1000)"
    )
    parser.add_argument("--size", metavar="N|HxW", help="of the input (default: that of the pretrained weights)")
    parser.add_argument("--fold", action="store_true", help="fold batch norm into the convolutions before it")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="names of the classes, one a line or JSON")
    add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Make each file and print its path."""
    from onnxvis.files import refuse_overwriting
    from onnxvis.models import vision_zoo

    jobs = _jobs(options.name, options.checkpoint, options.output)
    size = sides(options.size)
    check_seed(options.seed)
    if options.classes is not None and not (options.random or options.checkpoint):
        raise UsageError(
            "--classes goes with --random or --checkpoint: the pretrained weights have their own; "
            "to train a new last layer on them use: onnxvis make finetune"
        )
    given = [*options.checkpoint, *([options.labels] if options.labels else [])]
    for job in jobs:
        vision_zoo.check(job.name, options.classes)
        refuse_overwriting(job.target, (), given)
    with Progress(options.quiet) as progress:
        for job in jobs:
            _make(job, options, size, progress)
            print(job.target, flush=True)
    return 0


def sides(text: str | None) -> tuple[int, int] | None:
    """(height, width) from '224' or '224x320', None where nothing was said. Raises UsageError."""
    from onnxvis.run.flags import parse_size

    size = None if text is None else parse_size(text)
    if size == "native":
        raise UsageError("--size native cannot be: the file's input has one size; give a number or HEIGHTxWIDTH")
    return size


def check_seed(seed: int) -> None:
    """Raise UsageError for a seed that PyTorch does not take."""
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"--seed {seed} is no seed; give a number from 0")


def class_names(path: Path | None, classes: int | None) -> list[str] | None:
    """The names in a file of labels, which must be as many as the classes where those are known.

    None where there is no file. Raises InputError for a bad file, UsageError for another number.
    """
    if path is None:
        return None
    from onnxvis.run.labels import read_labels

    labels = read_labels(path, {}, path)
    names = dict(labels.names) if labels else {}
    count = classes if classes is not None else max(names, default=-1) + 1
    if len(names) != count or (names and max(names) >= count):
        raise UsageError(f"{labels.source if labels else path} names {len(names)} classes, the network has {count}")
    return [names[index] for index in range(count)]


def write(exported: Exported, target: Path, progress: Progress) -> None:
    """Write the file, and tell how it compares with PyTorch. Raises OutputError."""
    from onnxvis.files import write_atomic

    progress("writing the model")
    write_atomic(target, exported.model.SerializeToString())
    for note in exported.notes:
        progress.tell(f"{one_line(target.name)}: {note}", always=True)
    if exported.difference <= 1e-3:
        progress.tell(
            f"{one_line(target.name)}: its outputs equal PyTorch's to {exported.difference:.0e} of the largest"
        )


def _jobs(names: Iterable[str], checkpoints: list[Path], output: Path) -> list[_Job]:
    names = list(names)
    if checkpoints and len(names) > 1:
        raise UsageError("--checkpoint goes with one network; give one NAME, and run once for each other")
    wanted: list[tuple[str, Path | None, str]] = [(names[0], path, path.stem) for path in checkpoints]
    wanted = wanted or [(name, None, name) for name in names]
    twice = {own for *_, own in wanted if [other for *_, other in wanted].count(own) > 1}
    if twice:
        raise UsageError(f"two files would be called {one_line(min(twice))}.onnx; make them one at a time")
    if output.suffix.lower() == ".onnx":
        if len(wanted) > 1:
            raise UsageError(f"-o {one_line(output)} is one file, and {len(wanted)} will be made; name a folder")
        return [_Job(wanted[0][0], wanted[0][1], output)]
    return [_Job(name, path, output / f"{own}.onnx") for name, path, own in wanted]


def _make(job: _Job, options: argparse.Namespace, size: tuple[int, int] | None, progress: Progress) -> None:
    from onnxvis.models import vision_zoo
    from onnxvis.models.torch_export import export_checked

    side = vision_zoo.default_size(job.name)
    height, width = size or (side, side)
    network = _build(job, options, height, progress)
    classes = vision_zoo.classes_of(network)
    metadata = vision_zoo.describe(job.name, classes, (height, width), class_names(options.labels, classes))
    progress(f"exporting {one_line(job.target.name)} and comparing it with PyTorch")
    exported = export_checked(
        network, (1, 3, height, width), metadata, outputs=("logits",), fold=options.fold, name=job.name
    )
    write(exported, job.target, progress)


def _build(job: _Job, options: argparse.Namespace, side: int, progress: Progress) -> Any:
    from onnxvis.models import vision_zoo

    if job.checkpoint is not None:
        progress(f"reading {one_line(job.checkpoint.name)}")
        return vision_zoo.build_from_checkpoint(job.name, job.checkpoint, options.classes, size=side)
    if options.random:
        progress(f"initialising {job.name}")
        return vision_zoo.build_random(job.name, options.seed, options.classes, size=side)
    progress(
        f"fetching the weights of {job.name}, {vision_zoo.weights_megabytes(job.name):.0f} MB unless they are here"
    )
    return vision_zoo.build(job.name, pretrained=True, size=side)
