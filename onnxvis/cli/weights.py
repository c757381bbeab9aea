"""Every weight's numbers and histogram, and the kernels as pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import check_target, one_line

if TYPE_CHECKING:
    from onnxvis.graph.kernels import Kernel
    from onnxvis.graph.load import Model
    from onnxvis.measure.weights import WeightNumbers, WeightTable

__all__ = ["add_arguments", "run"]

_ORDERS = ("name", "role", "size", "mean", "std", "min", "max", "zeros", "abs")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis weights MODEL [--json] [-o DIR] [--filter K]`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "--tensor", metavar="NAME", action="append", default=[],
        help="a weight, a pattern (*bias), a role ('conv kernel') or a scope (layer1); may repeat (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--sort", choices=_ORDERS,
        help="largest numbers first, names and roles from A to Z; abs: the largest magnitude (default: as in the file)",
    )  # fmt: skip
    parser.add_argument("--reverse", action="store_true", help="the other way round")
    parser.add_argument("--bins", metavar="N", type=int, default=50, help="bins of a histogram (default: %(default)s)")
    parser.add_argument(
        "--filter", metavar="K", type=int,
        help="one filter of one convolution whole: its numbers, its histogram, each input channel; --tensor names the "
        "kernel (default: the first convolution's)",
    )  # fmt: skip
    group = parser.add_argument_group("where to, instead of a table")
    group.add_argument("--json", action="store_true", help="print JSON")
    group.add_argument("--csv", metavar="FILE", type=Path, help="write the numbers to this file")
    group.add_argument("-o", "--output", metavar="DIR", type=Path, help="write pictures to this folder: PNG and SVG")
    group.add_argument("--tensorboard", metavar="DIR", type=Path, help="write a TensorBoard event file to this folder")
    group.add_argument(
        "--draw", choices=("all", "kernels", "histograms"), default="all", help="with -o: which pictures (default: all)"
    )
    group.add_argument("--format", choices=("png", "svg"), help="with -o: what histograms are drawn as (default: both)")
    look = parser.add_argument_group("how kernels are drawn, with -o and --tensorboard")
    look.add_argument(
        "--slice", metavar="K|norm",
        help="input channel K of each filter, or the norm over all of them (default: RGB where a convolution reads a "
        "picture, else channel 0, for 1 × 1 kernels the norm)",
    )  # fmt: skip
    look.add_argument("--bgr", action="store_true", help="the model is fed blue first: swap the colours of RGB kernels")
    parser.add_argument(
        "--threads", type=int, default=0, metavar="N", help="threads that share the weights; 0: one a core"
    )
    shared.add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Measure the weights and print or write what was asked for."""
    from onnxvis.graph.load import load
    from onnxvis.show.target import refuse_overwriting

    slice_ = _check(options)
    threads = shared.check_threads(options.threads)
    model = load(Path(options.model))
    if options.csv is not None:
        refuse_overwriting(options.csv, model)
    with Progress(options.quiet) as progress:
        if options.filter is not None:
            return _one_filter(options, model, progress)
        table = _ordered(_measured(options, model, threads, progress), options.sort, options.reverse)
        for reason in table.unread:
            progress.tell(f"not read: {one_line(reason, 400)}", always=True)
        asked = any(path is not None for path in (options.csv, options.output, options.tensorboard))
        for path in _write(options, model, table, slice_, progress) if asked else ():
            if options.json:
                progress.tell(f"wrote {one_line(path, 4096)}")
            else:
                progress.result(path)
    if options.json or not asked:
        _print(options, model, table)
    return 0


def _check(options: argparse.Namespace) -> int | Literal["norm"] | None:
    """Refuse what cannot be; returns what `--slice` means."""
    pictures = options.output is not None or options.tensorboard is not None
    if (options.slice is not None or options.bgr) and not pictures:
        raise UsageError("--slice and --bgr say how kernels are drawn; add -o DIR or --tensorboard DIR")
    if options.draw != "all" and options.output is None:
        raise UsageError(f"--draw {options.draw} says which pictures are written; add -o DIR")
    if options.format and (options.output is None or options.draw == "kernels"):
        raise UsageError(f"--format {options.format} says what histograms are drawn as; draw them with -o DIR")
    if options.filter is not None:
        asked = [f"--{name}" for name in ("json", "csv", "tensorboard", "sort", "reverse", "slice", "bgr", "format")
                 if getattr(options, name)]  # fmt: skip
        if asked:
            raise UsageError(f"--filter shows one filter whole, which {asked[0]} has no part in; leave {asked[0]} out")
    for folder in (options.output, options.tensorboard):
        if folder is not None:
            check_target(folder / "file")
    if options.slice is None or options.slice == "norm":
        return "norm" if options.slice else None
    if not options.slice.isdecimal():
        raise UsageError(f"--slice is '{one_line(options.slice)}'; give the number of an input channel, or norm")
    return int(options.slice)


def _measured(options: argparse.Namespace, model: Model, threads: int, progress: Progress) -> WeightTable:
    from onnxvis.graph.choose import choose_weights
    from onnxvis.measure.weights import measure_weights

    names = choose_weights(model, options.tensor) if options.tensor else None

    def tell(done: int, of: int) -> None:
        progress(f"reading the weights of {model.name}", done, of)

    return measure_weights(model, bins=options.bins, names=names, threads=threads, progress=tell)


def _ordered(table: WeightTable, order: str | None, reverse: bool) -> WeightTable:
    """Numbers largest first with NaN last, texts from A to Z; ties, and no order at all, as in the file."""
    from dataclasses import replace

    weights = table.weights
    if order in ("name", "role"):
        weights = tuple(sorted(weights, key=lambda item: str(getattr(item, order)), reverse=reverse))
    elif order:
        value = _value(order)
        known = [item for item in weights if value(item) == value(item)]
        known.sort(key=value, reverse=not reverse)
        weights = (*known, *(item for item in weights if value(item) != value(item)))
    elif reverse:
        weights = weights[::-1]
    return replace(table, weights=tuple(weights))


def _value(order: str) -> Callable[[WeightNumbers], float]:
    def value(item: WeightNumbers) -> float:
        found = item.statistics
        if order == "size":
            return found.count
        if order == "abs":
            return max(abs(found.min), abs(found.max))
        return float(found.zero_fraction if order == "zeros" else getattr(found, order))

    return value


def _print(options: argparse.Namespace, model: Model, table: WeightTable) -> None:
    if options.json:
        import json

        from onnxvis.show.data import describe_weights

        print(json.dumps(describe_weights(table), indent=1, allow_nan=False))
        return
    from onnxvis.graph import cost
    from onnxvis.show.terminal import summary_line, table_lines

    encoding = sys.stdout.encoding or "ascii"
    for line in table_lines(table.weights, _columns(), encoding):
        print(line)
    print(summary_line(table, None if options.tensor else cost.parameters(model)))


def _columns() -> int | None:
    """The terminal's width; None where the output goes elsewhere, and must not be cut."""
    import shutil

    return max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def _write(
    options: argparse.Namespace,
    model: Model,
    table: WeightTable,
    slice_: int | Literal["norm"] | None,
    progress: Progress,
) -> list[Path]:
    """Make the files that were asked for; returns where they are."""
    from onnxvis.show.tensorboard import EventFile, write_weight_events
    from onnxvis.show.weights_export import HISTOGRAM_FORMATS, WeightPictures, write_csv, write_weights

    if slice_ is not None:
        _check_slice(model, slice_)
    made, skipped = [], []

    def drawing(done: int, of: int) -> None:
        progress("drawing kernels and histograms", done, of)

    if options.csv is not None:
        write_csv(table, options.csv)
        made.append(options.csv)
    if options.output is not None:
        how = WeightPictures(
            slice_, options.bgr, kernels=options.draw != "histograms", histograms=options.draw != "kernels",
            formats=(options.format,) if options.format else HISTOGRAM_FORMATS,
        )  # fmt: skip
        skipped += write_weights(table, model, options.output, how, drawing)
        made.append(options.output)
    if options.tensorboard is not None:
        with EventFile(options.tensorboard) as events:
            skipped += write_weight_events(events, table, model, slice_, options.bgr, drawing)
        made.append(events.path)
    for reason in dict.fromkeys(skipped):
        if reason not in table.unread:
            progress.tell(one_line(reason, 400), always=True)
    return made


def _check_slice(model: Model, slice_: int | Literal["norm"]) -> None:
    """Refuse to draw an input channel that no kernel has."""
    from onnxvis.graph.kernels import find_kernels

    kernels = find_kernels(model)
    if not kernels:
        raise UsageError(f"--slice: {model.name} has no convolution whose kernel is stored in it; leave it out")
    widest = max(kernels, key=lambda kernel: kernel.shape[1])
    if slice_ != "norm" and slice_ >= widest.shape[1]:
        raise UsageError(
            f"--slice {slice_}: no kernel of {model.name} has that input channel; the widest, "
            f"{one_line(widest.weight)}, has {widest.shape[1]}, 0 to {widest.shape[1] - 1}"
        )


def _one_filter(options: argparse.Namespace, model: Model, progress: Progress) -> int:
    """Print, and with -o draw, one filter of one kernel."""
    from onnxvis.graph.kernels import find_kernels, read_kernel
    from onnxvis.show.terminal import filter_lines

    kernel = _one_kernel(model, find_kernels(model), options.tensor)
    filters = kernel.shape[0]
    if not 0 <= options.filter < filters:
        raise UsageError(
            f"--filter {options.filter}: {one_line(kernel.weight)} has {filters} filters, 0 to {filters - 1}"
        )
    weights = read_kernel(model, kernel)[options.filter]
    if options.output is None:
        for line in filter_lines(kernel, options.filter, weights, options.bins, sys.stdout.encoding or "ascii"):
            print(line)
        return 0
    from onnxvis.files import safe_name, write_atomic
    from onnxvis.show.kernel_page import filter_page
    from onnxvis.show.png import encode_rgb

    title = f"{kernel.weight}: filter {options.filter} of {filters}"
    path = options.output / f"{safe_name(kernel.weight)}-filter-{options.filter:04d}.png"
    try:
        page = filter_page(weights, title, kernel.label, bins=options.bins)
    except ValueError as error:
        raise UsageError(f"{error}, so there is no picture of them; leave -o out to see their numbers") from error
    write_atomic(path, encode_rgb(page))
    progress.result(path)
    return 0


def _one_kernel(model: Model, kernels: Sequence[Kernel], words: Sequence[str]) -> Kernel:
    """The kernel that `words` name, the first one where there is none. Raises UsageError, TensorNotFound."""
    from onnxvis.graph.choose import choose_weights

    if not kernels:
        raise UsageError(
            f"{model.name} has no convolution whose kernel is stored in it, so there is no filter to show; "
            f"see its weights: onnxvis weights {model.name}"
        )
    if not words:
        return kernels[0]
    chosen = choose_weights(model, words)
    found = [kernel for kernel in kernels if kernel.weight in chosen]
    if not found:
        raise UsageError(
            f"--filter needs a convolution's kernel, and '{one_line(chosen[0])}' is none; "
            f"list them: onnxvis weights {model.name} --tensor 'conv kernel'"
        )
    several = list(dict.fromkeys(kernel.weight for kernel in found))
    if len(several) > 1:
        raise UsageError(
            f"--filter shows one kernel, and --tensor names {len(several)}: "
            f"{', '.join(repr(one_line(name, 60)) for name in several[:3])}{', …' * (len(several) > 3)}; name one"
        )
    return found[0]
