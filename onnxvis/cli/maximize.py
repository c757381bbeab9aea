"""The picture that excites a channel, a position or a class most, found by gradient ascent through the model."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxvis.cli import options as shared
from onnxvis.cli.progress import Progress
from onnxvis.errors import UsageError
from onnxvis.files import check_target, one_line, safe_name, write_atomic, write_many

if TYPE_CHECKING:
    from onnxvis.graph.load import Model
    from onnxvis.measure.maximize.objective import Objective
    from onnxvis.measure.maximize.paths import Landscape
    from onnxvis.measure.maximize.run import Maximized
    from onnxvis.measure.maximize.settings import Settings
    from onnxvis.run.labels import Labels
    from onnxvis.run.reading import Reading

__all__ = ["add_arguments", "run"]

_MOVING = {".gif": "gif", ".apng": "png", ".png": "png"}
_TENTHS = 10
_CHANNELS = re.compile(r"-?[0-9]{1,9}(,-?[0-9]{1,9})*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`onnxvis maximize MODEL (--tensor NAME --channel K | --target N) -o PICTURE`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    what = parser.add_argument_group("what to excite", "of several, each gets a picture")
    what.add_argument("--tensor", metavar="NAME", help="a feature map or a vector; also a block, such as layer3")
    what.add_argument(
        "--channel", metavar="K", action="append", default=[],
        help="the mean of this channel over all positions; may repeat, or K,K",
    )  # fmt: skip
    what.add_argument("--position", metavar="Y,X", help="of that channel only the unit in this row and column")
    what.add_argument(
        "--target", metavar="T", action="append", default=[],
        help="a class, OUTPUT:index,… without the batch, or class:CLASS@ROW,COLUMN of a detector; may repeat",
    )  # fmt: skip
    _add_climbing(parser)
    _add_results(parser)
    shared.add_input_options(parser)
    shared.add_run_options(parser)
    shared.add_quiet(parser)


def _add_climbing(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how the picture climbs")
    how.add_argument(
        "--parameters", choices=("fft", "pixels"), default="fft",
        help="what it is made of: a spectrum in which low frequencies weigh most, or pixels (default: fft)",
    )  # fmt: skip
    how.add_argument(
        "--decorrelate", action=argparse.BooleanOptionalAction, default=True,
        help="let colours vary as those of natural pictures do (default: yes)",
    )  # fmt: skip
    how.add_argument(
        "--optimizer", default="adam", metavar="NAME", help="gd, momentum, adagrad, rmsprop or adam (the default)"
    )
    how.add_argument("--rate", type=float, metavar="R", help="the learning rate (default: each optimiser's own)")
    how.add_argument("--until", type=float, metavar="VALUE", help="stop once the picture reaches this activation")
    for name, value, metavar, what in (
        ("steps", 512, "N", "stop after so many"),
        ("jitter", 8.0, "PX", "before each step, move it by up to this many pixels each way"),
        ("scale", 0.1, "S", "and scale it by up to 1 ± this"),
        ("rotate", 10.0, "DEGREES", "and turn it by up to this each way"),
        ("l2", 0.0, "W", "weight of the penalty on contrast, the mean of (p − 0.5)²"),
        ("tv", 0.0, "W", "weight of the penalty on total variation, for each value of the picture"),
        ("blur", 0, "N", "blur it by one pixel after every N steps; 0: never"),
        ("seed", 0, "N", "repeats a picture exactly"),
    ):
        said = f"{what} (default: {value:g})"
        how.add_argument(f"--{name}", type=type(value), default=value, metavar=metavar, help=said)


def _add_results(parser: argparse.ArgumentParser) -> None:
    results = parser.add_argument_group("what is written")
    results.add_argument(
        "-o", "--output", metavar="PICTURE", type=Path,
        help="a PNG: the picture itself, of several a page; or a folder, for a PNG each",
    )  # fmt: skip
    results.add_argument(
        "--curve", metavar="FILE", type=Path, action="append", default=[],
        help="the activation over the steps: a .png, or a .csv; may repeat",
    )  # fmt: skip
    results.add_argument("--npz", metavar="FILE", type=Path, help="picture, what is fed and curve as arrays")
    results.add_argument("--json", action="store_true", help="print what was found, without the pixels, as JSON")
    results.add_argument("--labels", metavar="FILE", type=Path, help="class names: a text file, one a line, or JSON")
    results.add_argument(
        "--compare-optimizers", metavar="FILE", type=Path, action="append", default=[],
        help="instead: the five optimisers' paths over a plane through the activation's landscape, as a .png, or "
        "moving as a .gif or .apng; may repeat",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Find the pictures and write what was asked for."""
    from onnxvis.graph.load import load
    from onnxvis.run.labels import read_labels
    from onnxvis.run.reading import Reading

    objectives, settings = _objectives(options), _settings(options)
    _check(options, objectives)
    model = load(Path(options.model))
    _check_overwriting(options, model)
    labels = read_labels(model.path, model.metadata, options.labels)
    reading = Reading.of(model, shared.preprocess_flags(options), options.feed)
    with Progress(options.quiet) as progress:
        if note := shared.guess_note(reading.preprocessing):
            progress.tell(note)
        if options.compare_optimizers:
            said = _compared(options, model, objectives[0], settings, reading, labels, progress)
        else:
            said = _maximized(options, model, objectives, settings, reading, labels, progress)
    if options.json:
        import json

        from onnxvis.version import __version__

        head = {"schema_version": 1, "onnxvis_version": __version__, "model": str(model.path)}
        print(json.dumps({**head, **said}, indent=1, allow_nan=False))
    return 0


def _objectives(options: argparse.Namespace) -> list[Objective]:
    from onnxvis.measure.maximize.objective import Objective

    position = _position(options.position)
    if options.target and (options.tensor or options.channel or position):
        raise UsageError("--target names a class by itself; leave out --tensor, --channel and --position, or --target")
    if options.target:
        return [Objective(target=target) for target in dict.fromkeys(options.target)]
    channels: Sequence[int | None] = _channels(options.channel) or [None]
    return [Objective(options.tensor or "", channel, position) for channel in channels]


def _channels(words: Sequence[str]) -> list[int]:
    """The channels named, without repeats."""
    for word in words:
        if not _CHANNELS.fullmatch(word):
            raise UsageError(f"--channel '{one_line(word)}' is no channel; give a number from 0 up, or several as 3,17")
    return list(dict.fromkeys(int(number) for word in words for number in word.split(",")))


def _position(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    row, comma, column = text.partition(",")
    if not (comma and row.isdecimal() and column.isdecimal() and len(text) < 20):
        raise UsageError(f"--position takes a row and a column, as in 7,7, not '{one_line(text)}'")
    return int(row), int(column)


def _settings(options: argparse.Namespace) -> Settings:
    from onnxvis.measure.maximize.settings import Settings
    from onnxvis.measure.maximize.warp import Wobble

    wobble = Wobble(options.jitter, options.scale, options.rotate)
    return Settings(
        options.parameters, options.decorrelate, options.optimizer, options.rate, options.steps, options.until,
        options.seed, wobble, options.l2, options.tv, options.blur,
    )  # fmt: skip


def _check(options: argparse.Namespace, objectives: Sequence[Objective]) -> None:
    results = [options.output, options.npz, *options.curve]
    compared = options.compare_optimizers
    if compared and (any(results) or len(objectives) > 1 or options.rate is not None or options.optimizer != "adam"):
        raise UsageError(
            "--compare-optimizers climbs to one objective by all optimisers at their usual rates, and writes nothing "
            "else but --json; leave out -o, --npz, --curve, --rate and --optimizer, and name one channel or class"
        )
    if not any(results) and not compared and not options.json:
        raise UsageError("say where to: -o PICTURE, --npz FILE for arrays, --curve FILE, --json for the facts")
    _check_files(options, [path for path in (*results, *compared) if path is not None])


def _check_files(options: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Refuse results of unknown kinds, those written over one another, and those that cannot be written."""
    for named, endings in ((options.curve, (".png", ".csv")), (options.compare_optimizers, tuple(_MOVING))):
        for path in named:
            if path.suffix.lower() not in endings:
                raise UsageError(f"'{one_line(path.name)}' should end in {' or '.join(endings)}")
    picture = options.output
    if picture is not None and not _is_folder(picture) and picture.suffix.lower() != ".png":
        raise UsageError(f"'{one_line(picture.name)}' should end in .png, or have no ending, for a folder")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise UsageError(f"two results cannot both be {one_line(path, 300)}; name another file")
        seen.add(path.resolve())
        check_target(path / "file" if path == picture and _is_folder(path) else path)


def _check_overwriting(options: argparse.Namespace, model: Model) -> None:
    from onnxvis.show.target import refuse_overwriting

    for path in (options.output, options.npz, *options.curve, *options.compare_optimizers):
        if path is not None and not path.is_dir():
            refuse_overwriting(path, model, [options.labels] if options.labels else [])


def _is_folder(path: Path) -> bool:
    """A folder that is there, or a name without an ending."""
    return path.is_dir() or not path.suffix


def _tell_written(path: Path, options: argparse.Namespace, progress: Progress) -> None:
    if options.json:
        progress.tell(f"wrote {one_line(path, 4096)}")
    else:
        progress.result(path)


def _climbing(progress: Progress) -> Callable[[int, int, float], None]:
    """Tells the activation: each time on a terminal, ten times elsewhere."""
    every = sys.stderr.isatty()

    def tell(done: int, of: int, value: float) -> None:
        if every or done in (1, of) or done * _TENTHS // of > (done - 1) * _TENTHS // of:
            counted = "" if every else f"step {done} of {of}, "
            progress(f"{counted}activation {value:.4g}", done, of)

    return tell


def _maximized(
    options: argparse.Namespace,
    model: Model,
    objectives: Sequence[Objective],
    settings: Settings,
    reading: Reading,
    labels: Labels | None,
    progress: Progress,
) -> dict[str, Any]:
    from onnxvis.measure.maximize.objective import short_label
    from onnxvis.measure.maximize.run import maximize_all
    from onnxvis.show.maximized import aim_name, describe_maximized

    run = shared.run_options(options)
    found = maximize_all(model, objectives, settings, run, _climbing(progress), reading=reading)
    for note in dict.fromkeys(note for one in found for note in one.notes):
        progress.tell(note)
    names = [aim_name(one.aim, labels) for one in found]
    for path in _written(options, model, found, names):
        _tell_written(path, options, progress)
    for one, name in zip(found, names, strict=True):
        progress.tell(f"{short_label(name)}: activation {one.value:.4g} after {len(one.curve)} steps")
    return {"pictures": [describe_maximized(one, labels) for one in found]}


def _written(options: argparse.Namespace, model: Model, found: Sequence[Maximized], names: Sequence[str]) -> list[Path]:
    """Write what was asked for; returns the files and folders."""
    from onnxvis.show.export import write_npz
    from onnxvis.show.maximized import ascent_picture, ascent_table, maximized_arrays, maximized_page
    from onnxvis.show.png import encode_rgb

    made = []
    if options.npz is not None:
        write_npz(options.npz, maximized_arrays(found))
        made.append(options.npz)
    if options.output is not None:
        if _is_folder(options.output):
            files = (f"{place:03d}-{safe_name(name)}.png" for place, name in enumerate(names))
            write_many(options.output, zip(files, (encode_rgb(one.picture) for one in found), strict=True))
        else:
            single = len(found) == 1
            page = found[0].picture if single else maximized_page([*zip(found, names, strict=True)], model.name)
            write_atomic(options.output, encode_rgb(page))
        made.append(options.output)
    lines = [(name, one.curve) for name, one in zip(names, found, strict=True)]
    for path in options.curve:
        table = path.suffix.lower() == ".csv"
        title = f"{model.name}: activation while the picture climbs"
        write_atomic(path, ascent_table(lines).encode() if table else encode_rgb(ascent_picture(lines, title)))
        made.append(path)
    return made


def _compared(
    options: argparse.Namespace,
    model: Model,
    objective: Objective,
    settings: Settings,
    reading: Reading,
    labels: Labels | None,
    progress: Progress,
) -> dict[str, Any]:
    from onnxvis.measure.maximize.paths import compare_optimizers
    from onnxvis.show.landscape import describe_landscape, encode_moving, landscape_frames, landscape_picture
    from onnxvis.show.maximized import aim_name
    from onnxvis.show.png import encode_rgb

    run = shared.run_options(options)
    found: Landscape = compare_optimizers(model, objective, settings, run, progress, reading=reading)
    for note in found.notes:
        progress.tell(note)
    title = f"{model.name}: {aim_name(found.aim, labels)}"
    for path in options.compare_optimizers:
        ending = path.suffix.lower()
        still = ending == ".png"
        moving = None if still else encode_moving(landscape_frames(found, title), _MOVING[ending])
        write_atomic(path, moving or encode_rgb(landscape_picture(found, title)))
        _tell_written(path, options, progress)
    for ended in found.paths:
        progress.tell(f"{ended.optimizer}: activation {ended.value:.4g} after {len(ended.curve)} steps")
    return {"comparison": describe_landscape(found)}
