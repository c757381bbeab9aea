"""Preprocessing settings as a user gives them, field by field: from text, over a base, and back to text."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

from onnxvis.errors import UsageError
from onnxvis.files import one_line
from onnxvis.run.fitting import Fit, Interpolation
from onnxvis.run.preprocess import MAX_SIDE, PRESETS, Preprocessing, preset

__all__ = ["PreprocessFlags", "Size", "flags_text", "override", "parse_size"]

Size = tuple[int, int] | Literal["native"]
_FIELDS = ("size", "fit", "shorter", "interpolation", "bgr", "divide", "mean", "std")


@dataclass(frozen=True)
class PreprocessFlags:
    """What was said about preprocessing; None is what was not said. `size` is (height, width) or 'native'."""

    preset: str | None = None
    size: Size | None = None
    fit: Fit | None = None
    interpolation: Interpolation | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    divide: float | None = None
    bgr: bool | None = None
    shorter: int | None = None

    @classmethod
    def parse(cls, **texts: str | bool | None) -> PreprocessFlags:
        """From the texts of the command line: `--preprocess` as `preset`, the rest under their own names, `bgr` a bool.

        size: '224', '224x320' (height x width) or 'native'. mean, std: '127.5' or '0.485,0.456,0.406'.
        Raises UsageError naming the flag and its text.
        """
        read = {"size": parse_size, "mean": _numbers, "std": _numbers, "divide": _divide, "shorter": _shorter}
        values: dict[str, Any] = {}
        for name, text in texts.items():
            values[name] = read[name](text) if name in read and isinstance(text, str) else text
        if values.get("preset") is not None:
            preset(str(values["preset"]))
        return cls(**values)

    def said(self) -> dict[str, object]:
        """The fields that were given, by name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}

    def settles(self) -> bool:
        """Whether nothing about the values or the fit is left to a guess."""
        values = (self.mean, self.std, self.divide, self.bgr, self.fit)
        return self.preset is not None or all(value is not None for value in values)


def override(base: Preprocessing, flags: PreprocessFlags) -> Preprocessing:
    """`base` with what `flags` say put over it, field by field.

    A preset replaces everything, with the preset's own size where no other is given. A new size alone scales the base's
    shorter side with it. BGR against RGB alone turns the base's means and stds round, since they belong to colours.
    Raises UsageError for settings that contradict each other.
    """
    size = None if flags.size == "native" else flags.size
    if flags.preset is not None:
        base = replace(preset(flags.preset, "own" if flags.size is None else size), source=base.source)
    elif flags.size is not None:
        base = _resized(base, size)
    if flags.fit is not None:
        base = replace(base, fit=flags.fit, shorter=base.shorter if flags.fit == "crop" else None)
    if flags.bgr is not None and flags.bgr != base.bgr:
        base = replace(base, bgr=flags.bgr, mean=_reversed(base.mean), std=_reversed(base.std))
    rest = {name: value for name, value in flags.said().items() if name not in ("preset", "size", "fit", "bgr")}
    return replace(base, guessed=base.guessed and not flags.settles(), **cast("dict[str, Any]", rest))


def flags_text(wanted: Preprocessing) -> str:
    """The fewest flags that give exactly `wanted`, whatever would have been taken without them.

    For a shell: `--preprocess unit --size 64x64 --rgb`.
    """
    # Plain presets first: where as few flags lead there from `caffe`, its name would mislead.
    candidates = (_difference(name, wanted) for name in ("raw", "unit", *PRESETS))
    flags = min((flags for flags in candidates if flags), key=lambda flags: len(flags.said()))
    parts = ["--preprocess", str(flags.preset), "--size", _size_text(wanted.size)]
    for name in ("fit", "shorter", "interpolation", "divide", "mean", "std"):
        value = getattr(flags, name)
        if value is not None:
            text = value if isinstance(value, str) else ",".join(map(_number_text, _as_tuple(value)))
            # With a space argparse would take '-1,0,0' for a flag of its own.
            parts += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    parts.append("--bgr" if wanted.bgr else "--rgb")
    return shlex.join(parts)


def _difference(name: str, wanted: Preprocessing) -> PreprocessFlags | None:
    """The flags that make the preset `name` into `wanted`; None where a shorter side cannot be taken back."""
    flags = PreprocessFlags(preset=name, size=wanted.size or "native", bgr=wanted.bgr)
    start = replace(wanted, guessed=False)
    given = override(start, flags)
    if given.fit != wanted.fit:
        flags = replace(flags, fit=wanted.fit)
        given = override(start, flags)
    if given.shorter is not None and wanted.shorter is None:
        return None
    differing = {field: getattr(wanted, field) for field in _FIELDS if getattr(given, field) != getattr(wanted, field)}
    return replace(flags, **differing)


def parse_size(text: str) -> Size:
    """'224' → (224, 224); '224x320' → 224 high, 320 wide; 'native' → 'native'. Raises UsageError."""
    if text == "native":
        return "native"
    parts = text.lower().split("x")
    try:
        sides = [int(part) for part in parts if len(part) < 10]
    except ValueError:
        sides = []
    if len(sides) != len(parts) or len(sides) not in (1, 2) or not all(1 <= side <= MAX_SIDE for side in sides):
        raise UsageError(
            f"--size is {one_line(text)!r}; give HEIGHTxWIDTH (224x320), one number for both, or native; "
            f"sides from 1 to {MAX_SIDE}"
        )
    return sides[0], sides[-1]


def _resized(base: Preprocessing, size: tuple[int, int] | None) -> Preprocessing:
    """`base` at another size, its shorter side in the same proportion where there is one to keep."""
    shorter = base.shorter
    if shorter is not None and size != base.size:
        shorter = round(shorter * min(size) / min(base.size)) if size and base.size else None
        shorter = None if shorter is None else max(1, min(shorter, MAX_SIDE))
    return replace(base, size=size, shorter=shorter)


def _reversed(values: tuple[float, ...]) -> tuple[float, ...]:
    return (*values[:3][::-1], *values[3:])


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text[:1000].split(","))
    except ValueError as error:
        message = f"{one_line(text)!r} is not one number or several with commas between them, as in 0.485,0.456,0.406"
        raise UsageError(message) from error


def _divide(text: str) -> float:
    values = _numbers(text)
    if len(values) != 1:
        raise UsageError(f"--divide takes one number, not {one_line(text)!r}")
    return values[0]


def _shorter(text: str) -> int:
    size = parse_size(text) if text.isdecimal() else "native"
    if size == "native":
        raise UsageError(f"--shorter takes a number of pixels, not {one_line(text)!r}")
    return size[0]


def _as_tuple(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _number_text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _size_text(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "native"
