"""A classifier trained on a folder of pictures, on CIFAR-10 or on drawn shapes, with its curves and checkpoints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import one_line, write_atomic

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onnxvis.models.finetune.curves import Row
    from onnxvis.models.finetune.data import Split
    from onnxvis.models.finetune.outputs import Outputs
    from onnxvis.models.finetune.settings import Settings
    from onnxvis.models.finetune.train import Trainer

__all__ = ["add_arguments", "run"]

_NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis make finetune -o OUT.onnx (--data DIR|LIST | --cifar10 DIR | --shapes) ...`."""
    parser.add_argument("-o", "--output", metavar="OUT.onnx", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data", metavar="DIR|LIST.txt", type=Path,
        help="a folder with one folder of pictures for each class, or a text file of 'path label' lines",
    )  # fmt: skip
    source.add_argument("--cifar10", metavar="DIR", type=Path, help="CIFAR-10, from this folder or downloaded to it")
    source.add_argument("--shapes", action="store_true", help="scenes of drawn shapes, each seen once")
    parser.add_argument("--kinds", metavar="A,B,...", help="with --shapes: which shapes (default: all ten)")
    parser.add_argument(
        "--held-out", metavar="X", type=float,
        help="what is measured with and never trained on: a share of the pictures, or how many (default: 0.2; with "
        "--shapes 400 scenes, with --cifar10 its test pictures)",
    )  # fmt: skip
    _add_network(parser)
    _add_training(parser)
    results = parser.add_argument_group("what is left behind")
    results.add_argument(
        "--every", metavar="N", type=int,
        help="measure, and write OUT-step000N.onnx and OUT.pth, every N steps (default: a tenth of them)",
    )  # fmt: skip
    results.add_argument(
        "--curves",
        metavar="PREFIX",
        type=Path,
        help="where the curves go: PREFIX.csv, PREFIX.png (default: OUT.curves)",
    )
    results.add_argument(
        "--resume", metavar="OUT.pth", type=Path, help="go on from this file, with its settings; give the same pictures"
    )
    results.add_argument("--stop-at", metavar="N", type=int, help="stop after step N; --resume does the rest")
    shared.add_quiet(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    from onnxvis.models.finetune.settings import HEADS, NETWORKS

    group = parser.add_argument_group("the network")
    group.add_argument(
        "--network", choices=NETWORKS,
        help="ResNet-18 with a new last layer, or VGG-16 with global average pooling in place of its fully connected "
        "layers (default: resnet18)",
    )  # fmt: skip
    group.add_argument(
        "--head", choices=HEADS, help="ResNet's last layer: replaced, or one appended to it (default: replace)"
    )
    start = group.add_mutually_exclusive_group()
    start.add_argument("--pretrained", action="store_true", help="begin with torchvision's weights")
    start.add_argument(
        "--checkpoint", metavar="FILE.pth", type=Path, help="begin with these weights of torchvision's network"
    )
    group.add_argument(
        "--size", metavar="N", type=int, help="side of the input (default: 224; with --shapes and --cifar10 64)"
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    from onnxvis.models.finetune.settings import OPTIMIZERS

    group = parser.add_argument_group("how it is trained")
    group.add_argument("--steps", metavar="N", type=int, help="batches in all (default: 1000)")
    group.add_argument("--batch", metavar="N", type=int, help="pictures a step (default: 32)")
    group.add_argument("--optimizer", choices=tuple(OPTIMIZERS), help="default: adam")
    group.add_argument(
        "--lr", metavar="[NAME=]X", action="append", default=[],
        help="highest learning rate, of every layer or of those whose name begins so (layer4=0.001, layer1.0=0); 0 "
        "freezes; the longest name counts; may repeat. The rate rises in a line over a tenth of the steps, then falls "
        f"by half a cosine to 0 (default: {', '.join(f'{rate:g} with {name}' for name, rate in OPTIMIZERS.items())})",
    )  # fmt: skip
    group.add_argument("--momentum", metavar="X", type=float, help="of sgd (default: 0.9)")
    group.add_argument("--weight-decay", metavar="X", type=float, help="default: 0.0001")
    group.add_argument("--seed", metavar="N", type=int, help="of weights, order and scenes (default: 0)")
    group.add_argument("--threads", metavar="N", type=int, default=0, help="threads of PyTorch; 0: one a core")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Train, write what was learnt and how it went, and print the accuracies and the model's path."""
    from onnxvis.models.finetune.outputs import Outputs
    from onnxvis.models.finetune.settings import fresh
    from onnxvis.models.torch_export import need

    outputs = Outputs.of(options.output, options.curves)
    outputs.check(path for path in (options.data, options.checkpoint) if path is not None)
    given = _given(options)
    settings = None if options.resume else fresh(given, _source(options))
    threads = shared.check_threads(options.threads)
    need("torch", "torchvision")
    import torch

    torch.set_num_threads(threads)
    with Progress(options.quiet) as progress:
        trainer, data, rows = _prepared(options, outputs, settings, given, progress)
        _train(options, outputs, trainer, data, rows, progress)
        _tell_result(trainer, data, rows, progress)
        progress.result(outputs.model)
    return 0


def _prepared(
    options: argparse.Namespace, outputs: Outputs, settings: Settings | None, given: dict[str, Any], progress: Progress
) -> tuple[Trainer, Split, list[Row]]:
    """Network, pictures and curves so far: with `settings` at their beginning, else as --resume left them."""
    from onnxvis.models.finetune.checkpoint import read, restore
    from onnxvis.models.finetune.networks import build_network
    from onnxvis.models.finetune.settings import continued
    from onnxvis.models.finetune.train import Trainer, choose_device

    device = choose_device(options.device)
    checkpoint = None
    if settings is None:
        checkpoint = read(options.resume)
        settings = continued(checkpoint.settings, given, one_line(options.resume))
    data = _data(options, outputs, settings, progress)
    progress("building the network")
    start = checkpoint is None and (options.checkpoint or options.pretrained)
    network = build_network(settings.network, settings.head, len(data.labels), settings.seed, start)
    trainer = Trainer(network, settings, device)
    if checkpoint is None:
        return trainer, data, []
    restore(trainer, checkpoint, data)
    return trainer, data, list(checkpoint.rows)


def _source(options: argparse.Namespace) -> str:
    return "shapes" if options.shapes else "data" if options.cifar10 is None else "cifar10"


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line speaks of. Raises UsageError for options that go with others."""
    if options.kinds and not options.shapes:
        raise UsageError("--kinds chooses the shapes of --shapes; leave it out, or give --shapes")
    for flag, value in (("every", options.every), ("stop-at", options.stop_at)):
        if value is not None and value < 1:
            raise UsageError(f"--{flag} {value} is no number of steps; give 1 or more")
    return {name: value for name in _SETTINGS if (value := getattr(options, name)) not in (None, [])}


_SETTINGS = (
    "network", "head", "size", "steps", "batch", "optimizer", "lr", "momentum", "weight_decay", "held_out", "seed",
)  # fmt: skip


def _data(options: argparse.Namespace, outputs: Outputs, settings: Settings, progress: Progress) -> Split:
    """The pictures, and on stderr what was left out of them."""
    from onnxvis.run.fitting import resize
    from onnxvis.run.pictures import read_picture

    size = (settings.size, settings.size)
    if options.shapes:
        from onnxvis.models.finetune.shapes_data import shapes_split
        from onnxvis.models.shapes import KINDS

        kinds = [kind.strip() for kind in options.kinds.split(",")] if options.kinds else KINDS
        return shapes_split(kinds, settings.size, settings.held_out, settings.seed)
    if options.cifar10 is not None:
        from onnxvis.models.finetune.cifar import cifar10_split

        progress("reading CIFAR-10")
        return cifar10_split(options.cifar10, lambda pixels: resize(pixels, size, "area"), settings.held_out)
    from onnxvis.models.finetune.listing import list_pictures
    from onnxvis.models.finetune.pictures import picture_split

    listing = list_pictures(options.data)
    outputs.check(path for path, _ in listing.entries)
    data = picture_split(
        listing,
        lambda path: resize(read_picture(path).pixels, size, "area"),
        settings.held_out,
        settings.seed,
        lambda done, of: progress("reading the pictures", done, of),
    )
    for reason in data.skipped[:_NAMED]:
        progress.tell(f"left out: {reason}", always=True)
    if len(data.skipped) > _NAMED:
        progress.tell(f"left out: {len(data.skipped) - _NAMED} more", always=True)
    return data


def _train(
    options: argparse.Namespace, outputs: Outputs, trainer: Trainer, data: Split, rows: list[Row], progress: Progress
) -> None:
    """Train, with checkpoint and curves at every row, which is added to `rows`; in the end the model itself."""
    from onnxvis.models.finetune.checkpoint import exported, write
    from onnxvis.models.finetune.curves import csv_text
    from onnxvis.models.finetune.train import Score, train
    from onnxvis.show.png import encode_rgb

    steps = trainer.settings.steps
    every = options.every or max(1, steps // 10)
    state, model = options.resume, b""

    def tell(step: int, score: Score) -> None:
        if step % max(1, steps // 20) == 0:
            progress(f"training: loss {score.loss:.3f}, accuracy {score.accuracy:.1%}", step, steps)

    try:
        for row in train(trainer, data, every, options.stop_at, tell):
            rows.append(row)
            progress.tell(
                f"step {row.step}/{steps}: loss {row.train_loss:.3f}, accuracy {row.train_accuracy:.1%}; "
                f"held out: loss {row.held_out_loss:.3f}, accuracy {row.held_out_accuracy:.1%}"
            )
            model = exported(trainer, data.labels)
            write_atomic(outputs.at_step(row.step), model)
            write(outputs.state, trainer, data, rows)
            state = outputs.state
            write_atomic(outputs.table, csv_text(rows).encode())
            write_atomic(outputs.picture, encode_rgb(_drawn(rows)))
        write_atomic(outputs.model, model or exported(trainer, data.labels))
    except KeyboardInterrupt:
        if state is not None:
            progress.tell(f"go on from the last checkpoint with --resume {one_line(state)}", always=True)
        raise


def _tell_result(trainer: Trainer, data: Split, rows: Sequence[Row], progress: Progress) -> None:
    """The accuracy on pictures it was trained on, and apart from it that on those held out."""
    from onnxvis.models.finetune.train import evaluate, trained_indices

    progress("measuring on the training pictures")
    seen = evaluate(trainer, data.train, trained_indices(data, trainer.step, trainer.settings.batch))
    progress.result(f"accuracy on {seen.count:,} training pictures: {seen.accuracy:.2%}")
    progress.result(f"accuracy on {data.held_out.count:,} held-out pictures: {rows[-1].held_out_accuracy:.2%}")


def _drawn(rows: Sequence[Row]) -> NDArray[np.uint8]:
    from onnxvis.show.curves import curves_picture

    losses = [row.train_loss for row in rows], [row.held_out_loss for row in rows]
    accuracies = [row.train_accuracy for row in rows], [row.held_out_accuracy for row in rows]
    return curves_picture([row.step for row in rows], losses, accuracies)
