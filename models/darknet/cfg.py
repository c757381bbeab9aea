"""The text of a Darknet .cfg file: sections in order, each with lines `key = value`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxvis.errors import ModelError
from onnxvis.files import one_line

__all__ = ["Section", "parse_cfg", "read_cfg"]

_MAX_BYTES = 1 << 22
_MAX_SECTIONS = 4096
_MAX_ITEMS = 4096
_MOST = 1_000_000_000
_INTEGER = re.compile(r"[+-]?\d{1,12}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_ALIASES = {
    "avg": "avgpool",
    "conn": "connected",
    "conv": "convolutional",
    "local_avg": "local_avgpool",
    "max": "maxpool",
    "network": "net",
    "soft": "softmax",
}


@dataclass(frozen=True)
class Section:
    """A section of `file` that begins on line `line`: its kind, as in [kind], and its options as text.

    `number` is Darknet's own, by which other sections refer to it: from 0 after [net], which is -1.
    """

    file: str
    number: int
    kind: str
    line: int
    options: Mapping[str, str]

    def refuse(self, why: str) -> ModelError:
        """The error that says what is wrong with this section."""
        place = "[net]" if self.number < 0 else f"section {self.number} [{one_line(self.kind, 40)}]"
        return ModelError(f"{self.file}, line {self.line}: {place} {why}")

    def integer(self, key: str, default: int | None = None, least: int = 0, most: int = 1 << 16) -> int:
        """A whole number from `least` to `most`; without a default it must be given. Raises ModelError."""
        text = self.options.get(key)
        if text is None:
            if default is None:
                raise self.refuse(f"lacks {key}")
            return default
        return self._whole(key, text, least, most)

    def integers(self, key: str, least: int, most: int) -> tuple[int, ...]:
        """Whole numbers between commas; none where the key is not there. Raises ModelError."""
        return tuple(self._whole(key, item, least, most) for item in self._items(key))

    def number_of(self, key: str, default: float) -> float:
        """A number. Raises ModelError."""
        text = self.options.get(key)
        return default if text is None else self._real(key, text)

    def numbers(self, key: str) -> tuple[float, ...]:
        """Numbers between commas; none where the key is not there. Raises ModelError."""
        return tuple(self._real(key, item) for item in self._items(key))

    def text(self, key: str, default: str) -> str:
        """The option as it stands."""
        return self.options.get(key, default)

    def without(self, *keys: str) -> None:
        """Raise ModelError where one of the options is there and is neither 0 nor `none`."""
        for key in keys:
            value = self.options.get(key, "0")
            if value not in ("0", "0.0", "none"):
                raise self.refuse(f"has {key}={one_line(value, 40)}, which is not supported")

    def _items(self, key: str) -> list[str]:
        items = self.options.get(key, "").split(",")
        if len(items) > _MAX_ITEMS:
            raise self.refuse(f"has {len(items):,} items in {key}; at most {_MAX_ITEMS:,} are read")
        return items[:-1] if items[-1] == "" else items

    def _whole(self, key: str, text: str, least: int, most: int) -> int:
        if not _INTEGER.fullmatch(text):
            raise self.refuse(f"has {key}={one_line(text, 40)}, which is no whole number")
        if not least <= int(text) <= most:
            raise self.refuse(f"has {key}={int(text)}; it can be {least} to {most}")
        return int(text)

    def _real(self, key: str, text: str) -> float:
        if not _NUMBER.fullmatch(text) or abs(float(text)) > _MOST:
            raise self.refuse(f"has {key}={one_line(text, 40)}, which is no number from -{_MOST:,} to {_MOST:,}")
        return float(text)


def read_cfg(path: Path) -> tuple[Section, ...]:
    """The sections of a file. Raises ModelError where it cannot be read or is no cfg."""
    name = one_line(path.name)
    try:
        if not path.is_file():
            raise ModelError(
                f"{one_line(path)} is not a file" if path.exists() else f"there is no file {one_line(path)}"
            )
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read {one_line(path)}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ModelError(f"{name} is larger than {_MAX_BYTES >> 20} MiB, which no cfg of Darknet is")
    return parse_cfg(content.decode("utf-8", "replace"), name)


def parse_cfg(text: str, file: str) -> tuple[Section, ...]:
    """The sections of a text, [net] first. As in Darknet blanks count for nothing, `#` and `;` begin a comment, and of
    a key that is given twice the first counts. Raises ModelError naming `file` and the line.
    """
    sections: list[Section] = []
    options: dict[str, str] = {}
    for line, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        content = re.sub(r"\s+", "", re.split("[#;]", raw, maxsplit=1)[0])
        if not content:
            continue
        if content.startswith("["):
            options = {}
            sections.append(_section(file, len(sections) - 1, content, line, options))
            continue
        key, equals, value = content.partition("=")
        if not equals or not key or not sections:
            expected = "`key=value`" if sections else "a section such as [net]"
            raise ModelError(f"{file}, line {line}: {expected} was expected, not '{one_line(content, 60)}'")
        options.setdefault(key, value)
    if not sections:
        raise ModelError(f"{file} has no sections: it is no cfg of Darknet")
    if sections[0].kind != "net":
        raise ModelError(f"{file}: the first section must be [net], not [{one_line(sections[0].kind, 40)}]")
    return tuple(sections)


def _section(file: str, number: int, content: str, line: int, options: dict[str, str]) -> Section:
    kind = content[1:-1]
    if not content.endswith("]") or not re.fullmatch(r"\w+", kind):
        raise ModelError(
            f"{file}, line {line}: '{one_line(content, 60)}' is no section; they look like [convolutional]"
        )
    if number >= _MAX_SECTIONS:
        raise ModelError(f"{file} has more than {_MAX_SECTIONS:,} sections")
    return Section(file, number, _ALIASES.get(kind, kind), line, options)
