"""Where the preprocessing of a model comes from: flags, files beside it, its metadata, or a guess, in that order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onnxvis.errors import InputError, UsageError
from onnxvis.run.flags import PreprocessFlags, Size, override
from onnxvis.run.guess import looks_like_detector
from onnxvis.run.hints import from_huggingface, from_image_metadata, from_our_metadata, from_sidecar, from_ultralytics
from onnxvis.run.nearby import Table, beside, read_json, read_toml
from onnxvis.run.picture_input import image_channels, image_size
from onnxvis.run.preprocess import Preprocessing, preset

if TYPE_CHECKING:
    from onnxvis.graph.view import Tensor

__all__ = ["read_sidecar", "resolve_preprocessing"]

_SIDECAR_KEYS = ("preprocess", "labels")
_RAW = PreprocessFlags(divide=1.0, mean=(0.0,), std=(1.0,))


def resolve_preprocessing(
    model_path: Path,
    metadata: Mapping[str, str],
    image_input: Tensor,
    outputs: Sequence[Tensor],
    layout: str,
    flags: PreprocessFlags,
) -> Preprocessing:
    """How pictures are prepared for a model, with `source` saying who said so and `guessed` that nobody did.

    Each layer overrides the one below field by field, a preset the whole: flags; MODEL.toml beside the model;
    `preprocessor_config.json` beside it; the model's metadata (ours, Ultralytics', ONNX's `Image.*`); a guess: `raw`
    for a uint8 input, `yolo` where the outputs look like a detector's, else `imagenet`. An input of uint8 gets raw
    pixel values unless flags, MODEL.toml or our own metadata say otherwise. The size that the model fixes always holds.
    Raises UsageError for flags that contradict each other or the model, InputError naming file and key.
    """
    fixed = image_size(image_input, layout)
    settings = _sized(_guess(image_input, outputs), fixed)
    told: Size | None = None
    for source, said in (*_layers(model_path, metadata, image_input.dtype), ("flags", flags)):
        if not said.said():
            continue
        if source == "flags":
            _check_size(flags, fixed, image_input)
            _check_mean(flags, settings)
        # A preset above replaces all that was said below but a size, which belongs to the model.
        told = said.size or told
        settings = _over(settings, replace(said, size=told if said.preset else said.size), source, fixed)
    try:
        return settings.for_channels(image_channels(image_input, layout))
    except UsageError as error:
        kind = UsageError if flags.mean or flags.std else InputError
        raise kind(f"{settings.source}: {error}") from error


def read_sidecar(model_path: Path) -> Table | None:
    """MODEL.toml beside MODEL.onnx, or None. Raises InputError for a key that it does not know."""
    path = model_path.with_suffix(".toml")
    if path == model_path or not path.exists():
        return None
    table = read_toml(path)
    unknown = sorted(set(table.values) - set(_SIDECAR_KEYS))
    if unknown:
        raise InputError(f"{table.where} has no setting {unknown[0]!r}; there are [preprocess] and labels")
    return table


def _guess(image_input: Tensor, outputs: Sequence[Tensor]) -> Preprocessing:
    detector = looks_like_detector(outputs)
    if image_input.dtype == "uint8":
        settings = preset("raw", (640, 640) if detector else (224, 224))
        return replace(settings, source="guess: raw", guessed=True)
    name = "yolo" if detector else "imagenet"
    return replace(preset(name), source=f"guess: {name}", guessed=True)


def _layers(model_path: Path, metadata: Mapping[str, str], dtype: str) -> list[tuple[str, PreprocessFlags]]:
    """What files and metadata say, the weakest first."""
    layers: list[tuple[str, PreprocessFlags]] = []

    def add(source: str, said: PreprocessFlags | None, explicit: bool = False) -> None:
        if said is not None and said.said():
            if dtype == "uint8" and not explicit:
                said = replace(said, divide=_RAW.divide, mean=_RAW.mean, std=_RAW.std)
            layers.append((source, said))

    add("metadata (ONNX Image)", from_image_metadata(metadata))
    add("metadata (Ultralytics)", from_ultralytics(metadata))
    add("metadata (onnxvis)", from_our_metadata(metadata), explicit=True)
    config = beside(model_path, "preprocessor_config.json")
    if config is not None:
        add(config.name, from_huggingface(read_json(config)))
    sidecar = read_sidecar(model_path)
    if sidecar is not None:
        add(model_path.with_suffix(".toml").name, _sidecar_flags(sidecar), explicit=True)
    return layers


def _sidecar_flags(sidecar: Table) -> PreprocessFlags | None:
    if isinstance(sidecar.values.get("preprocess"), str):
        return PreprocessFlags(preset=sidecar.text("preprocess"))
    table = sidecar.table("preprocess")
    return None if table is None else from_sidecar(table)


def _over(
    settings: Preprocessing, said: PreprocessFlags, source: str, fixed: tuple[int | None, int | None]
) -> Preprocessing:
    """`said` over `settings`, at the size that the model fixes. What a file says wrongly is the file's error."""
    try:
        new = _sized(override(settings, said), fixed)
    except UsageError as error:
        if source == "flags":
            raise
        raise InputError(f"{source}: {error}") from error
    return replace(new, source=source if said.settles() else f"{source} over {settings.source}")


def _sized(settings: Preprocessing, fixed: tuple[int | None, int | None]) -> Preprocessing:
    """`settings` at the size that the model fixes; a side it leaves free stays as it was."""
    if fixed == (None, None):
        return settings
    own = settings.size or (224, 224)
    size = fixed[0] or own[0], fixed[1] or own[1]
    return settings if size == settings.size else override(settings, PreprocessFlags(size=size))


def _check_size(flags: PreprocessFlags, fixed: tuple[int | None, int | None], image_input: Tensor) -> None:
    if flags.size is None or fixed == (None, None):
        return
    given = (None, None) if flags.size == "native" else flags.size
    if any(side is not None and side != wanted for side, wanted in zip(fixed, given, strict=True)):
        wanted = "x".join("any" if side is None else str(side) for side in fixed)
        said = "native" if flags.size == "native" else "x".join(map(str, flags.size))
        raise UsageError(
            f"--size {said} does not fit: input {image_input.name!r} is fixed at {wanted} (height x width)"
        )


def _check_mean(flags: PreprocessFlags, base: Preprocessing) -> None:
    """Refuse `--mean 103.9,…` given alone over a base that divides by 255: it would feed values around −104."""
    alone = flags.mean is not None and flags.divide is None and flags.preset is None
    if alone and max(flags.mean or (0.0,)) > 1.001 * 255 / abs(base.divide):
        raise UsageError(
            f"--mean {max(flags.mean or (0.0,)):g} is beyond every pixel once pixels are divided by {base.divide:g}: "
            "add --divide 1, or --preprocess raw"
        )
